//! What things cost as work grows: held calls, audit entries, agents. Each step goes on from the one before, on one
//! gateway, so that the rows of a table differ in one number only. Called by `main`.

use crate::Options;
use crate::asker::Asker;
use crate::figures::{Table, Times, mebi};
use crate::inbox::ask;
use crate::load::Connection;
use crate::officer::Officer;
use crate::report::Report;
use crate::scene::{Scene, hold, room_for};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Measured of each, at most.
const EACH: usize = 100;
/// Connections that fill.
const AT_ONCE: usize = 64;
const ROOM: usize = 1_000_000;
/// Audit entries of a call of a reading tool: let through, and answered.
const ENTRIES: usize = 2;

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    by_held(options, report).await;
    by_agents(options, report).await;
    by_entries(options, report).await;
    Ok(())
}

fn steps(from: usize, to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(from), |step| step.checked_mul(10)).take_while(move |step| *step <= to)
}

async fn by_held(options: &Options, report: &mut Report) {
    let agents = AT_ONCE.min(options.agents);
    let mut scene = Scene::open(&options.paraph, &room_for(ROOM), agents).await;
    let mut askers = scene.askers().await;
    let mut officer = Officer::with_token(scene.paraph.address, &scene.token).await;
    let mut browser = Officer::with_cookie(scene.paraph.address, &scene.paraph.cookie().await).await;
    let mut connection = askers[0].connect().await;
    let how = format!(
        "One connection measures, at most {EACH} of each; {agents} agents, gone. Raised bounds: `hold.max_held`, `hold.max_held_per_agent`, `bounds.outbox`."
    );
    let mut table =
        Table::new("growth by held calls", &["held", "allowed durable call p50 ms", "hold p50 ms", "inbox first byte p50 ms", "decision p50 ms", "RSS MiB"]);
    let mut held = 0;
    for step in steps(10, options.held.unwrap_or(10_000)) {
        let last = EACH.min(step / 2);
        let quickly = step - last - held;
        (askers, _, _) = hold(askers, quickly, AT_ONCE, Duration::MAX).await;
        let (returned, holds, _) = hold(askers, last, 1, Duration::MAX).await;
        askers = returned;
        let allowed = notes(&mut askers[0], &mut connection, EACH).await;
        let (inbox, _) = ask(&mut browser, "/", EACH / 2).await;
        let mut decisions = Times::default();
        for call in officer.held(EACH.min(step / 10)).await {
            let shown = officer.view(&call).await;
            decisions.add(officer.approve(&shown).await.1);
            scene.receiver.next().await;
        }
        held = step - decisions.count();
        let rss = scene.paraph.usage().resident as f64 / f64::from(1 << 20);
        table.row(vec![json!(step), json!(allowed.p50()), json!(holds.p50()), json!(inbox.p50()), json!(decisions.p50()), json!(rss)]);
        // The notes came to the server too.
        scene.receiver.reset();
    }
    table.print(report, &how);
}

async fn by_agents(options: &Options, report: &mut Report) {
    let scene = Scene::open(&options.paraph, &room_for(ROOM), options.agents.min(1000)).await;
    let how = "One connection measures, the agents take turns; every agent has a session and has called once.";
    let mut table =
        Table::new("growth by agents", &["agents", "reads call p50 ms", "hold p50 ms", "hold p50 ms, up to 64 at once", "RSS MiB", "KiB each new agent"]);
    let mut askers: Vec<Asker> = Vec::new();
    for step in BTreeSet::from([1, 10, 100, 1000].map(|step: usize| step.min(options.agents))) {
        let (before, known) = (scene.paraph.usage().resident, askers.len());
        let mut connection = Connection::open(scene.paraph.address).await.expect("a connection");
        for (number, token) in scene.agents.iter().enumerate().take(step).skip(askers.len()) {
            let mut asker = Asker::enter(scene.paraph.address, crate::scene::SERVER, &format!("bot-{number}"), token).await;
            asker.call(&mut connection, "read_inbox", &json!({"to": "@me", "text": "all"})).await;
            askers.push(asker);
        }
        let rss = scene.paraph.usage().resident;
        let mut reads = Times::default();
        for turn in 0..EACH.max(step.min(1000)) {
            reads.add(askers[turn % step].call(&mut connection, "read_inbox", &json!({"to": "@me", "text": "all"})).await);
        }
        let (returned, holds, _) = hold(askers, EACH, 1, Duration::MAX).await;
        let (returned, together, _) = hold(returned, EACH * 10, AT_ONCE, Duration::MAX).await;
        askers = returned;
        let each = rss.saturating_sub(before) as f64 / 1024.0 / (step - known) as f64;
        table.row(vec![json!(step), json!(reads.p50()), json!(holds.p50()), json!(together.p50()), json!(rss as f64 / f64::from(1 << 20)), json!(each)]);
    }
    table.print(report, how);
}

async fn by_entries(options: &Options, report: &mut Report) {
    let mut scene = Scene::open(&options.paraph, "", AT_ONCE).await;
    let how = format!(
        "Entries are made by calls of a tool in `reads` over {AT_ONCE} connections at full speed; then a clean stop and a start. One connection measures, at most {EACH} of each. Default config."
    );
    let columns =
        ["entries", "made in s", "allowed durable call p50 ms", "audit page first byte p50 ms", "start to ready s", "RSS after start MiB", "store MiB"];
    let mut table = Table::new("growth by audit entries", &columns);
    for step in steps(1000, options.entries) {
        let begun = Instant::now();
        let mut askers = scene.askers().await;
        // Entries of the start and the agents are there already; a few more or less say nothing.
        let missing = step.saturating_sub(last_entry(&scene).await);
        reads(&askers, missing.div_ceil(ENTRIES)).await;
        let made = begun.elapsed();
        let mut connection = askers[0].connect().await;
        let allowed = notes(&mut askers[0], &mut connection, EACH).await;
        let mut browser = Officer::with_cookie(scene.paraph.address, &scene.paraph.cookie().await).await;
        let (page, _) = ask(&mut browser, "/audit", EACH / 2).await;
        let entries = last_entry(&scene).await;
        assert!(entries >= step, "{entries} entries are there, fewer than {step}");
        let Scene { paraph, receiver, token, agents } = scene;
        let paraph = paraph.stop().await.serve().await;
        scene = Scene { paraph, receiver, token, agents };
        let store = std::fs::metadata(scene.paraph.place().path("data/store/db")).map_or(0, |file| file.len());
        let ready = scene.paraph.ready_after.as_secs_f64();
        let rss = scene.paraph.usage().resident;
        table.row(vec![json!(entries), json!(made.as_secs_f64()), json!(allowed.p50()), json!(page.p50()), json!(ready), mebi(rss), mebi(store)]);
    }
    table.print(report, &how);
}

/// Calls that are durable before they are sent, one after the other.
async fn notes(asker: &mut Asker, connection: &mut Connection, count: usize) -> Times {
    let mut times = Times::default();
    for _ in 0..count {
        let note = asker.next_message();
        times.add(asker.call(connection, "post_note", &note).await);
    }
    times
}

/// So many calls of a reading tool by all agents at once.
async fn reads(askers: &[Asker], count: usize) {
    let mut working = JoinSet::new();
    for (number, asker) in askers.iter().enumerate() {
        let mut asker = asker.clone();
        let share = count / askers.len() + usize::from(number < count % askers.len());
        working.spawn(async move {
            let mut connection = asker.connect().await;
            for _ in 0..share {
                asker.call(&mut connection, "read_inbox", &json!({"to": "@me", "text": "all"})).await;
            }
        });
    }
    working.join_all().await;
}

/// The number of the newest audit entry. Entries of reading tools are written a moment after their calls.
async fn last_entry(scene: &Scene) -> usize {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (metrics, _) = Officer::with_token(scene.paraph.address, &scene.token).await.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics);
    let head = metrics.lines().find_map(|line| line.strip_prefix("paraph_audit_head "));
    head.and_then(|head| head.parse::<f64>().ok()).unwrap_or_else(|| panic!("no paraph_audit_head in {metrics}")) as usize
}
