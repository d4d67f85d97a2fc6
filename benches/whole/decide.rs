//! From a decision to the first byte of the forwarded call: one after the other, and ten thousand at once. The server
//! behind the gateway runs in this process, so one clock sees both ends. Called by `main`.

use crate::Options;
use crate::bare::Syncs;
use crate::figures::{Table, Times};
use crate::officer::{self, Officer};
use crate::receiver::Receiver;
use crate::report::Report;
use crate::scene::{Scene, hold};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// People who decide at the same time.
const OFFICERS: usize = 64;
/// What one agent may have waiting by default.
const OF_AGENT: usize = 100;
/// How long the server takes for a call when all leave at once, so that calls are under way beside each other.
const ANSWER: Duration = Duration::from_millis(20);

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let held = options.held.unwrap_or(10_000);
    one_by_one(options, report, held.clamp(20, 1000)).await;
    all_at_once(options, report, held).await;
    Ok(())
}

async fn one_by_one(options: &Options, report: &mut Report, count: usize) {
    let mut scene = Scene::open(&options.paraph, "", 1).await;
    let mut asker = scene.askers().await.remove(0);
    let mut officer = Officer::with_token(scene.paraph.address, &scene.token).await;
    let mut syncs = Syncs::new(&scene.paraph.place().path(""));
    let (mut left, mut answered, mut raw, mut beyond) = (Times::default(), Times::default(), Times::default(), Times::default());
    for _ in 0..count {
        let message = asker.next_message();
        let waits = asker.hold_this(&message).await;
        let shown = officer.view(&waits.call).await;
        let (begun, took) = officer.approve(&shown).await;
        let arrived = scene.receiver.next().await;
        assert_eq!(message["text"], arrived.text, "another call was forwarded");
        waits.answered().await;
        let two = syncs.two();
        left.add(arrived.first_byte - begun);
        answered.add(took);
        raw.add(two);
        beyond.add((arrived.first_byte - begun).saturating_sub(two));
    }
    let how = "Undo 0 s, no limit, default config; one agent waits, one call at a time, decided over the API; the server runs in the load process. Two raw syncs: pwrite and fdatasync of 4 KiB twice, after each decision, on the same disk.";
    let mut table = Table::new("decide", &["what", "count", "p50 ms", "p99 ms"]);
    for (what, times) in [
        ("decision written → first byte at the server", &left),
        ("decision written → its answer", &answered),
        ("two raw syncs", &raw),
        ("first byte less two syncs, pair by pair", &beyond),
    ] {
        table.row(vec![json!(what), json!(times.count()), json!(times.p50()), json!(times.p99())]);
    }
    table.row(vec![json!("p99 beyond p99 of two syncs (aim < 3 ms)"), json!(count), json!(""), json!(left.p99() - raw.p99())]);
    table.print(report, how);
}

async fn all_at_once(options: &Options, report: &mut Report, held: usize) {
    let agents = held.div_ceil(OF_AGENT);
    let receiver = Receiver::start(ANSWER).await;
    let mut scene = Scene::before(&options.paraph, "", agents, receiver).await;
    let (_askers, times, _) = hold(scene.askers().await, held, OFFICERS, Duration::MAX).await;
    assert_eq!(times.count(), held, "all are held");
    let (address, token) = (scene.paraph.address, scene.token.clone());
    let ids = Officer::with_token(address, &token).await.held(held).await;
    assert_eq!(ids.len(), held, "all are listed");
    let begun = Instant::now();
    let shown = officer::view_all(address, &token, ids, OFFICERS).await;
    let viewed = begun.elapsed();
    scene.receiver.reset();
    let begun = Instant::now();
    let (_, arrived) = tokio::join!(officer::approve_all(address, &token, shown, OFFICERS), async {
        let mut arrived = Vec::with_capacity(held);
        for _ in 0..held {
            arrived.push(scene.receiver.next().await.first_byte);
        }
        arrived
    });
    let most = scene.receiver.most();
    all_left(report, (held, agents), viewed, begun, arrived, most);
}

fn all_left(
    report: &mut Report,
    (held, agents): (usize, usize),
    viewed: Duration,
    begun: Instant,
    mut arrived: Vec<Instant>,
    (connections, calls): (usize, usize),
) {
    arrived.sort_unstable();
    let gap = arrived.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
    let (first, last) = (arrived[0], arrived[arrived.len() - 1]);
    let how = format!(
        "{held} calls of {agents} agents, default bounds, agents gone; each read first ({OFFICERS} connections, {:.0}/s), then all approved over {OFFICERS} connections; the server answers each call after {ANSWER:?}. Bound of calls under way to one server: `bounds.in_flight_per_server` = 256.",
        held as f64 / viewed.as_secs_f64()
    );
    let columns = ["decided", "first left after ms", "last left after s", "sends/s", "largest gap ms", "most calls at once", "most connections at once"];
    let mut table = Table::new("decide at once", &columns);
    table.row(vec![
        json!(held),
        json!((first - begun).as_secs_f64() * 1e3),
        json!((last - begun).as_secs_f64()),
        json!(held as f64 / (last - begun).as_secs_f64()),
        json!(gap.as_secs_f64() * 1e3),
        json!(calls),
        json!(connections),
    ]);
    table.print(report, &how);
}
