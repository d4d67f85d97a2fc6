//! How long a gateway with very many held calls takes from its start to ready: after `kill -9`, and after a clean stop.
//! Called by `main`.

use crate::Options;
use crate::figures::{Table, mebi};
use crate::officer::Officer;
use crate::paraph::Paraph;
use crate::report::Report;
use crate::scene::{Scene, hold, room_for};
use serde_json::json;
use std::time::Duration;

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let held = options.held.unwrap_or(100_000);
    let agents = options.agents.min(held);
    let scene = Scene::open(&options.paraph, &room_for(held), agents).await;
    let askers = scene.askers().await;
    let (_, times, took) = hold(askers, held, 64, Duration::MAX).await;
    assert_eq!(times.count(), held, "all are held");
    let Scene { paraph, receiver: _receiver, token, .. } = scene;
    let how = format!(
        "{} calls of {agents} agents held through the front door ({:.0}/s), agents gone; from spawn to `/readyz` 200. Raised bounds: `hold.max_held`, `hold.max_held_per_agent`, `bounds.outbox` = {}.",
        held,
        held as f64 / took.as_secs_f64(),
        held
    );
    let mut table = Table::new("restart", &["after", "held", "ready after s", "RSS MiB", "CPU s until ready", "store MiB"]);
    let paraph = paraph.kill().await.serve().await;
    row(&mut table, "kill -9", &paraph, &token, held).await;
    let paraph = paraph.stop().await.serve().await;
    row(&mut table, "a clean stop", &paraph, &token, held).await;
    table.print(report, &how);
    Ok(())
}

async fn row(table: &mut Table, after: &str, paraph: &Paraph, token: &str, held: usize) {
    let usage = paraph.usage();
    let mut officer = Officer::with_token(paraph.address, token).await;
    assert_eq!(officer.held(held + 1).await.len(), held, "every held call is still held");
    let store = std::fs::metadata(paraph.place().path("data/store/db")).map_or(0, |file| file.len());
    table.row(vec![json!(after), json!(held), json!(paraph.ready_after.as_secs_f64()), mebi(usage.resident), json!(usage.cpu.as_secs_f64()), mebi(store)]);
}
