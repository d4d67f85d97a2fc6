//! What a waiting agent costs: memory for each held call on an open stream, beside a bare axum server with as many
//! streams, and the CPU of a gateway with which everybody waits. Called by `main`.

use crate::Options;
use crate::asker::{Asker, Waits};
use crate::figures::{Table, mebi};
use crate::load::{Connection, mcp_headers, request};
use crate::process::{Process, usage};
use crate::report::Report;
use crate::scene::{Scene, hold};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

const AGENTS: usize = 100;
/// Until what was allocated on the way is given back, and until all is written.
const SETTLE: Duration = Duration::from_secs(5);
/// Two rounds of keep-alives, which come every 15 s.
const IDLE: Duration = Duration::from_secs(30);
/// Threads come and go; what one ran since the last look before it went is not seen.
const LOOK: Duration = Duration::from_millis(500);
/// Descriptors for everything but the streams.
const OTHERS: u64 = 500;

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let streams = within_limit(options.held.unwrap_or(10_000));
    let how = format!(
        "{streams} held calls of {AGENTS} agents, each waiting on a stream of its own; RSS 5 s after the last, less RSS before the first. `hold.keep_open` = 1h instead of 50s, \
         that nobody is told \"pending\" meanwhile. \"agents gone\": as many held calls without a stream, which is what the store and its cache take. Idle CPU over {IDLE:?} with all waiting."
    );
    let mut table = Table::new("waiting", &["what", "streams", "RSS before MiB", "RSS after MiB", "KiB each", "idle CPU µs/s"]);
    for (what, waits) in [("paraph, agents wait", true), ("paraph, agents gone", false)] {
        let scene = Scene::open(&options.paraph, "[hold]\nkeep_open = \"1h\"\n\n", AGENTS.min(streams)).await;
        let mut askers = scene.askers().await;
        let before = settled(scene.paraph.pid()).await;
        let mut waiting = Vec::new();
        if waits {
            waiting = wait(&mut askers, streams).await;
        } else {
            hold(askers, streams, 16, Duration::MAX).await;
        }
        let after = settled(scene.paraph.pid()).await;
        row(&mut table, what, streams, before, after, idle(scene.paraph.pid()).await);
        drop(waiting);
    }
    let mut bare = Process::start(&[options.exe.display().to_string(), "role-streams".to_owned()], &[], &options.log("streams"))?;
    let address = bare.address().await?;
    // What the first connections make it allocate once is not the streams'.
    drop(Connection::open(address).await.expect("a connection"));
    let before = settled(bare.pid).await;
    let mut open = Vec::with_capacity(streams);
    for _ in 0..streams {
        let mut connection = Connection::open(address).await.expect("a connection");
        connection.send(&request("POST", "/mcp", address, &mcp_headers("", ""), b"{}")).await.expect("the server reads");
        let head = connection.head().await.expect("an answer");
        assert!(head.status == 200 && head.stream, "no stream");
        open.push(connection);
    }
    let after = settled(bare.pid).await;
    row(&mut table, "bare axum streams", streams, before, after, idle(bare.pid).await);
    drop(open);
    table.print(report, &how);
    Ok(())
}

/// Ten ask at the same time, so that it does not take for ever.
async fn wait(askers: &mut [Asker], streams: usize) -> Vec<Waits> {
    let mut working = tokio::task::JoinSet::new();
    let (agents, groups) = (askers.len(), 10.min(askers.len()));
    for (number, group) in askers.chunks(agents.div_ceil(groups)).enumerate() {
        let mut group = group.to_vec();
        let first = number * agents.div_ceil(groups);
        working.spawn(async move {
            let mut waiting = Vec::new();
            for (at, asker) in group.iter_mut().enumerate() {
                let own = streams / agents + usize::from(first + at < streams % agents);
                for _ in 0..own {
                    waiting.push(asker.hold().await);
                }
            }
            waiting
        });
    }
    working.join_all().await.into_iter().flatten().collect()
}

fn row(table: &mut Table, what: &str, streams: usize, before: u64, after: u64, idle: f64) {
    let each = after.saturating_sub(before) as f64 / 1024.0 / streams as f64;
    table.row(vec![json!(what), json!(streams), mebi(before), mebi(after), json!(each), json!(idle)]);
}

/// Bytes in memory when it has come to rest.
async fn settled(pid: i32) -> u64 {
    tokio::time::sleep(SETTLE).await;
    usage(pid).resident
}

/// Microseconds of CPU a second.
async fn idle(pid: i32) -> f64 {
    let first = run_times(pid);
    let (mut seen, begun) = (first.clone(), Instant::now());
    while begun.elapsed() < IDLE {
        tokio::time::sleep(LOOK).await;
        seen.extend(run_times(pid));
    }
    let took: u64 = seen.iter().map(|(thread, nanos)| nanos - first.get(thread).copied().unwrap_or_default()).sum();
    took as f64 / 1e3 / begun.elapsed().as_secs_f64()
}

/// Nanoseconds that each thread has run (`schedstat`): `stat` counts in steps of 10 ms.
fn run_times(pid: i32) -> BTreeMap<PathBuf, u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let of_one = |path: PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        Some((path, text.split(' ').next()?.parse().ok()?))
    };
    threads.flatten().filter_map(|entry| of_one(entry.path())).collect()
}

/// As many streams as this process may have descriptors for; the gateway inherits the limit. Says what is missing.
fn within_limit(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHERS;
    let raised = limit.maximum.map_or(needed, |hard| hard.min(needed));
    if limit.current.is_some_and(|soft| soft < raised) && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_err() {
        eprintln!("waiting: the limit of open files could not be raised");
    }
    let Some(soft) = getrlimit(Resource::Nofile).current.filter(|soft| *soft < needed) else { return wanted };
    let fits = usize::try_from(soft.saturating_sub(OTHERS)).unwrap_or(wanted);
    eprintln!(
        "waiting: this process may open {soft} files and {needed} are needed for {wanted} streams: {fits} are measured. Raise the hard limit (ulimit -Hn) for all."
    );
    fits
}
