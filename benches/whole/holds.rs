//! Holds made durable each second with 1, 64 and as many agents as a gateway serves, beside what a bare transaction over two trees costs on
//! the same disk in the same run. Called by `main`.

use crate::Options;
use crate::bare;
use crate::figures::{Table, mebi};
use crate::report::Report;
use crate::scene::{Scene, hold, room_for};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Far more than a run makes.
const ROOM: usize = 2_000_000;

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let time = Duration::from_secs(options.seconds);
    let how = format!(
        "Each agent asks for a new message of 200 bytes, leaves when the head of its stream is there (the hold is durable then) and asks the next over a new connection, for {time:?}; \
         beside it, before and after: one committer thread over bare sled, two trees with 1 KB and 200 B, up to 64 writers in a transaction, flush and fdatasync. \
         Raised bounds: `hold.max_held`, `hold.max_held_per_agent` and `bounds.outbox` = {ROOM}."
    );
    let columns = ["agents", "bare/s before", "holds/s", "bare/s after", "ratio", "p50 ms", "p99 ms", "CPU µs per hold", "RSS MiB"];
    let mut table = Table::new("holds", &columns);
    for agents in BTreeSet::from([1, 64.min(options.agents), options.agents]) {
        let scene = Scene::open(&options.paraph, &room_for(ROOM), agents).await;
        let askers = scene.askers().await;
        let folder = scene.paraph.place().path("");
        let before = bare::transactions(&folder, "before", agents, time).await;
        let cpu = scene.paraph.usage().cpu;
        let (_, times, took) = hold(askers, ROOM, agents, time).await;
        let usage = scene.paraph.usage();
        let after = bare::transactions(&folder, "after", agents, time).await;
        let rate = times.count() as f64 / took.as_secs_f64();
        let cpu = (usage.cpu - cpu).as_secs_f64() * 1e6 / times.count() as f64;
        table.row(vec![
            json!(agents),
            json!(before),
            json!(rate),
            json!(after),
            json!(rate * 2.0 / (before + after)),
            json!(times.p50()),
            json!(times.p99()),
            json!(cpu),
            mebi(usage.resident),
        ]);
    }
    table.print(report, &how);
    Ok(())
}
