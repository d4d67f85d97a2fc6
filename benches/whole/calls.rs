//! The scenario `calls`: an allowed call through every peer, by bytes and connections. All peers of a table run at the
//! same time and are measured in turns, A B C … A B C …, because other work on the machine comes and goes: a round holds
//! every peer under nearly the same neighbours. Called by `main`.

use crate::Options;
use crate::load::{Figures, Mark, drive};
use crate::peer::{Known, Peer, Running};
use crate::process::{Process, Usage};
use crate::report::Report;
use serde_json::{Value, json};
use std::time::Duration;

/// Before each measured time, so that connections, caches and compiled patterns are warm.
const WARM_UP: Duration = Duration::from_millis(500);
const DIRECT: &str = "direct";
const COLUMNS: [&str; 10] = ["", "calls/s", "rounds", "of direct", "of its stand-in", "p50 µs", "added p50", "p99 µs", "CPU µs/call", "peak MiB"];

/// One peer in one round.
struct Round {
    figures: Figures,
    cpu: Duration,
    peak: u64,
}

/// One peer in one table: its rounds.
struct Row {
    peer: Peer,
    rounds: Vec<Round>,
    failed: Option<String>,
}

/// Runs it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut upstream = Process::start(&[options.exe.display().to_string(), "role-upstream".into()], &[], &options.log("upstream"))?;
    let known = Known { paraph: options.paraph.clone(), exe: options.exe.clone(), upstream: upstream.address().await? };
    let peers = chosen(options, report)?;
    report.section(
        "Calls that pass",
        &format!(
            "Closed loop, keep-alive, every answer checked. {} rounds of {} s in turns; each figure is the median of the rounds (the mean of two), \
             `rounds` the lowest and highest calls/s. CPU and memory are the peer's own processes; the load and the upstream share the cores.",
            options.rounds, options.seconds
        ),
    );
    report.table(&["peer", "what it does"], &peers.iter().map(|peer| vec![peer.name.clone(), peer.about.clone()]).collect::<Vec<_>>());
    for bytes in &options.bytes {
        for connections in &options.connections {
            let rows = table(options, &known, &peers, *bytes, *connections).await;
            show(report, &rows, *bytes, *connections);
        }
    }
    report.note(&format!("The upstream received {} tool calls.", crate::upstream::count(known.upstream).await));
    upstream.stop().await;
    Ok(())
}

/// The peers of this run; those that do not run are named with the reason.
fn chosen(options: &Options, report: &mut Report) -> Result<Vec<Peer>, String> {
    let all = Peer::read(&options.peers)?;
    if let Some(unknown) = options.peer.iter().find(|name| all.iter().all(|peer| peer.name != **name)) {
        let known: Vec<&str> = all.iter().map(|peer| peer.name.as_str()).collect();
        return Err(format!("no peer is called {unknown}; there are {}", known.join(", ")));
    }
    let mut taken = Vec::new();
    for peer in all {
        let named = options.peer.contains(&peer.name);
        if !options.peer.is_empty() && !named && peer.name != DIRECT {
            continue;
        }
        match (&peer.disabled, peer.missing()) {
            (Some(why), _) if !named => report.note(&format!("{}: not run. {why}", peer.name)),
            (_, Some(program)) => report.note(&format!("{}: not here, because there is no {program} on this machine.", peer.name)),
            _ => taken.push(peer),
        }
    }
    Ok(taken)
}

async fn table(options: &Options, known: &Known, peers: &[Peer], bytes: usize, connections: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut running = Vec::new();
    for peer in peers {
        let started = peer.start(known).await;
        rows.push(Row { peer: peer.clone(), rounds: Vec::new(), failed: started.as_ref().err().cloned() });
        running.push(started.ok());
    }
    for _ in 0..options.rounds {
        for (row, running) in rows.iter_mut().zip(&running) {
            let Some(running) = running else { continue };
            match round(running, bytes, connections, Duration::from_secs(options.seconds)).await {
                Ok(round) => row.rounds.push(round),
                Err(cause) => row.failed = Some(cause),
            }
        }
    }
    for running in running.into_iter().flatten() {
        running.stop().await;
    }
    rows
}

async fn round(running: &Running, bytes: usize, connections: usize, measured: Duration) -> Result<Round, String> {
    let workers = running.workers(connections, bytes).await?;
    let (mut before, mut after) = (Usage::default(), Usage::default());
    let mark = |mark| match mark {
        Mark::Begin => before = running.usage(),
        Mark::End => after = running.usage(),
    };
    let figures = drive(workers, WARM_UP, measured, mark).await;
    Ok(Round { figures, cpu: after.cpu.saturating_sub(before.cpu), peak: after.peak })
}

/// The figures of a row, each the median of its rounds.
struct Medians {
    per_second: f64,
    lowest: f64,
    highest: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
    peak: f64,
}

impl Row {
    fn medians(&self) -> Option<Medians> {
        if self.rounds.is_empty() || self.rounds.iter().any(|round| round.figures.calls == 0) {
            return None;
        }
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let of = |figure: &dyn Fn(&Round) -> f64| {
            let mut all: Vec<f64> = self.rounds.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let per_second = of(&|round| round.figures.per_second());
        Some(Medians {
            lowest: per_second[0],
            highest: per_second[per_second.len() - 1],
            per_second: median(&per_second),
            p50: median(&of(&|round| micros(round.figures.latency.quantile(0.5)))),
            p99: median(&of(&|round| micros(round.figures.latency.quantile(0.99)))),
            cpu: median(&of(&|round| micros(round.cpu) / round.figures.calls as f64)),
            peak: median(&of(&|round| round.peak as f64 / f64::from(1 << 20))),
        })
    }

    fn wrong(&self) -> u64 {
        self.rounds.iter().map(|round| round.figures.wrong).sum()
    }
}

/// Of sorted numbers; between two of them their mean.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

fn show(report: &mut Report, rows: &[Row], bytes: usize, connections: usize) {
    let named = |name: &str| rows.iter().find(|row| row.peer.name == name).and_then(Row::medians);
    let direct = named(DIRECT);
    let mut lines = Vec::new();
    for row in rows {
        let Some(own) = row.medians() else { continue };
        let of = |other: Option<Medians>| other.map(|other| own.per_second / other.per_second);
        let (of_direct, of_stand_in) = (of(named(DIRECT)), of(row.peer.beside.as_deref().and_then(named)));
        let added = direct.as_ref().map(|direct| own.p50 - direct.p50);
        let is_direct = row.peer.name == DIRECT;
        let or_dash = |figure: Option<f64>, digits: usize| figure.filter(|_| !is_direct).map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"));
        let of_stand_in_shown = match &row.peer.beside {
            Some(name) if of_stand_in.is_some() => format!("{} of {name}", or_dash(of_stand_in, 2)),
            _ => "–".into(),
        };
        lines.push(vec![
            row.peer.name.clone(),
            format!("{:.0}", own.per_second),
            format!("{:.0}–{:.0}", own.lowest, own.highest),
            or_dash(of_direct, 3),
            of_stand_in_shown,
            format!("{:.0}", own.p50),
            or_dash(added, 0),
            format!("{:.0}", own.p99),
            or_dash(Some(own.cpu), 1),
            or_dash(Some(own.peak), 1),
        ]);
        report.keep(
            "calls",
            json!({
                "peer": row.peer.name, "bytes": bytes, "connections": connections, "per_second": own.per_second,
                "per_second_by_round": row.rounds.iter().map(|round| round.figures.per_second()).collect::<Vec<_>>(),
                "of_direct": of_direct, "beside": row.peer.beside, "of_beside": of_stand_in, "p50_us": own.p50, "added_p50_us": added,
                "p99_us": own.p99, "cpu_us_per_call": (!is_direct).then_some(own.cpu), "peak_mib": (!is_direct).then_some(own.peak),
                "wrong": row.wrong(),
            }),
        );
    }
    report.note(&format!("**{bytes} bytes, {connections} connection{}**", if connections == 1 { "" } else { "s" }));
    report.table(&COLUMNS, &lines);
    for row in rows {
        if let Some(why) = &row.failed {
            report.note(&format!("{}: failed. {why}", row.peer.name));
            report.keep("failed", json!({"peer": row.peer.name, "bytes": bytes, "connections": connections, "why": why}));
        }
        let complaint = row.rounds.iter().find_map(|round| round.figures.complaint.as_deref());
        if let Some(complaint) = complaint {
            report.note(&format!("{}: {} answers were WRONG, so its row counts for nothing. The first: {complaint}", row.peer.name, row.wrong()));
            report.keep("failed", Value::String(format!("{}: {complaint}", row.peer.name)));
        }
    }
}
