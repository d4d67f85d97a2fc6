//! The whole gateway under load, beside what it is compared with, in one run: `cargo bench --bench whole`.
//! docs/performance.md says what each row means and how to repeat it. Here: the command line, the table of scenarios, and
//! the roles that this executable plays as a child of itself. What is measured is `cargo build --release`, built first: a
//! bench's own build has the features of the tests switched on too.

mod asker;
mod bare;
mod calls;
mod decide;
mod figures;
mod growth;
mod histogram;
mod holds;
mod inbox;
mod load;
mod officer;
mod paraph;
mod peer;
mod process;
mod receiver;
mod report;
mod restart;
mod scene;
mod standin;
mod streams;
mod upstream;
mod waiting;

use clap::Parser;
use report::Report;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use tempfile::TempDir;

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// One thing to measure.
struct Scenario {
    name: &'static str,
    help: &'static str,
    run: for<'a> fn(&'a Options, &'a mut Report) -> Running<'a>,
}

/// Another scenario is a line here.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "calls",
        help: "allowed calls through every peer, by bytes and connections",
        run: |options, report| Box::pin(calls::run(options, report)),
    },
    Scenario { name: "holds", help: "holds made durable each second, beside bare transactions", run: |options, report| Box::pin(holds::run(options, report)) },
    Scenario {
        name: "decide",
        help: "from a decision to the first byte at the server; all at once",
        run: |options, report| Box::pin(decide::run(options, report)),
    },
    Scenario {
        name: "waiting",
        help: "memory and idle CPU of agents that wait, beside bare streams",
        run: |options, report| Box::pin(waiting::run(options, report)),
    },
    Scenario { name: "restart", help: "from a start to ready with very many held calls", run: |options, report| Box::pin(restart::run(options, report)) },
    Scenario { name: "inbox", help: "pages and lists with many held calls", run: |options, report| Box::pin(inbox::run(options, report)) },
    Scenario {
        name: "growth",
        help: "the same work with more held calls, agents, audit entries",
        run: |options, report| Box::pin(growth::run(options, report)),
    },
];

/// Measure the gateway beside what it is compared with
#[derive(Parser)]
#[command(name = "cargo bench --bench whole --", after_help = scenarios())]
struct Line {
    /// What to measure [default: calls]
    scenarios: Vec<String>,
    /// Measured seconds of each round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds, in each of which every peer has its turn
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Connections, each with one call under way
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Bytes of a call's body
    #[arg(long, value_delimiter = ',', default_values_t = [200, 20_000])]
    bytes: Vec<usize>,
    /// A peer to run; may be given several times. direct runs always [default: every one that is not disabled]
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Held calls [default: 10000, restart 100000]
    #[arg(long)]
    held: Option<usize>,
    /// Agents at most; a gateway keeps 1,000 instances of servers, one for each agent and one that asks for tools
    #[arg(long, default_value_t = 999)]
    agents: usize,
    /// Audit entries at most
    #[arg(long, default_value_t = 100_000)]
    entries: usize,
    /// The folder with the peers' files [default: benches/whole/peers]
    #[arg(long, value_name = "FOLDER")]
    peers: Option<PathBuf>,
    /// Measure this program instead of building one
    #[arg(long, value_name = "PATH")]
    paraph: Option<PathBuf>,
    /// Write the figures as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn scenarios() -> String {
    let lines = SCENARIOS.iter().map(|scenario| format!("\n  {:<10} {}", scenario.name, scenario.help));
    format!("Scenarios:{}", lines.collect::<String>())
}

/// What every scenario is told.
struct Options {
    seconds: u64,
    rounds: usize,
    connections: Vec<usize>,
    bytes: Vec<usize>,
    peer: Vec<String>,
    held: Option<usize>,
    agents: usize,
    entries: usize,
    peers: PathBuf,
    /// The program that is measured.
    paraph: PathBuf,
    /// This executable.
    exe: PathBuf,
    logs: TempDir,
}

impl Options {
    /// A file for what a child says on standard error.
    fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(format!("{name}.log"))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let done = match arguments.first() {
        Some(role) if role.starts_with("role-") => runtime.block_on(play(role, &arguments[1..])),
        _ => runtime.block_on(measure(Line::parse())),
    };
    // Standard input of a role may still be read, and nobody will answer.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// A child of ours. It ends with whoever holds its standard input, so that none outlives a run that was killed.
async fn play(role: &str, arguments: &[String]) -> Result<(), String> {
    let playing = async {
        match role {
            "role-upstream" => upstream::over_http().await,
            "role-streams" => streams::serve().await,
            "role-standin" => standin::run(arguments).await,
            other => Err(std::io::Error::other(format!("no role is called {other}"))),
        }
    };
    let ended = async {
        match role {
            "role-stdio" => upstream::over_stdio().await,
            _ => tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await.map(|_| ()),
        }
    };
    let done = if role == "role-stdio" {
        ended.await
    } else {
        tokio::select! { done = playing => done, done = ended => done }
    };
    done.map_err(|cause| format!("{role}: {cause}"))
}

async fn measure(line: Line) -> Result<(), String> {
    let names = if line.scenarios.is_empty() { vec!["calls".to_owned()] } else { line.scenarios };
    let mut chosen = Vec::new();
    for name in &names {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        chosen.push(found.ok_or_else(|| format!("no scenario is called {name}\n{}", scenarios()))?);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paraph = match line.paraph {
        Some(path) => std::path::absolute(path).map_err(|cause| cause.to_string())?,
        None => built(here)?,
    };
    let options = Options {
        seconds: line.seconds.max(1),
        rounds: line.rounds.max(1),
        connections: line.connections,
        bytes: line.bytes,
        peer: line.peer,
        held: line.held.map(|held| held.max(1)),
        agents: line.agents.max(1),
        entries: line.entries.max(1),
        peers: line.peers.unwrap_or_else(|| here.join("benches/whole/peers")),
        paraph,
        exe: std::env::current_exe().map_err(|cause| cause.to_string())?,
        logs: tempfile::tempdir().map_err(|cause| cause.to_string())?,
    };
    let mut report = Report::default();
    let machine = process::machine();
    report::say(&format!("# {machine}"));
    report.keep("machine", machine.into());
    for scenario in chosen {
        (scenario.run)(&options, &mut report).await?;
    }
    if let Some(file) = line.json {
        std::fs::write(&file, format!("{:#}\n", report.into_json())).map_err(|cause| format!("{}: {cause}", file.display()))?;
    }
    Ok(())
}

/// The default build as users make it.
fn built(here: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "--locked", "--bin", "paraph"]).current_dir(here).status();
    match status {
        Ok(status) if status.success() => Ok(env!("CARGO_BIN_EXE_paraph").into()),
        Ok(status) => Err(format!("cargo build ended with {status}")),
        Err(cause) => Err(format!("cargo: {cause}")),
    }
}
