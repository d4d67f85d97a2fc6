//! How long a gateway with very many held calls takes from its start to ready: after `kill -9`, and after a clean stop.
//! Called by `scenarios`.

use crate::figures::Table;
use crate::officer::Officer;
use crate::paraph::Paraph;
use crate::scene::{Scene, Sizes, hold, room_for};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

pub async fn run(program: &Path, sizes: Sizes) {
    let agents = sizes.agents.min(sizes.held);
    let scene = Scene::open(program, &room_for(sizes.held), agents).await;
    let askers = scene.askers().await;
    let (_, times, took) = hold(askers, sizes.held, 64, Duration::MAX).await;
    assert_eq!(times.count(), sizes.held, "all are held");
    let Scene { paraph, receiver: _receiver, token, .. } = scene;
    let how = format!(
        "{} calls of {agents} agents held through the front door ({:.0}/s), agents gone; from spawn to `/readyz` 200. Raised bounds: `hold.max_held`, `hold.max_held_per_agent`, `bounds.outbox` = {}.",
        sizes.held,
        sizes.held as f64 / took.as_secs_f64(),
        sizes.held
    );
    let mut table = Table::new("restart", how, &["after", "held", "ready after s", "RSS MiB", "CPU s until ready", "store MiB"]);
    let paraph = paraph.kill().await.serve().await;
    row(&mut table, "kill -9", &paraph, &token, sizes.held).await;
    let paraph = paraph.stop().await.serve().await;
    row(&mut table, "a clean stop", &paraph, &token, sizes.held).await;
    table.print();
}

async fn row(table: &mut Table, after: &str, paraph: &Paraph, token: &str, held: usize) {
    let usage = paraph.usage();
    let mut officer = Officer::with_token(paraph.address, token).await;
    assert_eq!(officer.held(held + 1).await.len(), held, "every held call is still held");
    let store = std::fs::metadata(paraph.place().path("data/store/db")).map_or(0, |file| file.len());
    let mebi = |bytes: u64| json!(bytes as f64 / f64::from(1 << 20));
    table.row(vec![json!(after), json!(held), json!(paraph.ready_after.as_secs_f64()), mebi(usage.resident), json!(usage.cpu.as_secs_f64()), mebi(store)]);
}
