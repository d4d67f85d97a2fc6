//! `paraph demo`: the main job with nothing to set up. Everything is real: this gateway, this program once more
//! as the MCP server, an agent over HTTP, mails in files, and a decision over the page, the terminal or, with
//! `--decide`, the API. Called by `cli`.

mod agent;
mod folder;
mod round;

use super::calls::api::Api;
use super::fault::Fault;
use super::serve::own_program;
use super::terminal;
use crate::config::{Config, Transport};
use crate::domain::people::Role;
use crate::gate::SystemClock;
use crate::gate::people::NewAgent;
use crate::observe::{self, LogFormat};
use crate::serve::{self, Running};
use agent::Agent;
use clap::{Args, ValueEnum};
use folder::Folder;
use round::{Round, Seen};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const CONFIG: &str = include_str!("config.toml");
const PERSON: &str = "you@localhost";
/// How long the pages stay open after a person has decided.
const AFTERWARDS: Duration = Duration::from_secs(15);
/// How long one API token of the demo counts.
const TOKEN_FOR: Duration = Duration::from_secs(24 * 3600);

const EXAMPLES: &str = "\
Examples:
  paraph demo                                     you decide, in the browser or in a terminal
  paraph demo --decide approve                    nobody is needed
  paraph demo --decide reject

One round: the agent makes a call that is allowed, one that is denied and one that is held. Exit code 0 when the
outcome of all three was seen. When a person decided, the pages stay open for 15 more seconds, unless --once.
Everything lies in a folder of its own that is removed at the end.";

/// `paraph demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Listen here [default: a free port on 127.0.0.1]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Decide by itself instead of waiting for a person
    #[arg(long, value_enum)]
    decide: Option<Verdict>,
    /// End at once when the round is over
    #[arg(long)]
    once: bool,
}

/// What `--decide` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Verdict {
    /// Send the message
    Approve,
    /// Refuse it
    Reject,
}

impl Demo {
    pub(super) async fn run(self) -> Result<ExitCode, Fault> {
        observe::log_to_stderr(Some(std::env::var("PARAPH_LOG").as_deref().unwrap_or("error")), LogFormat::Text);
        let folder = Folder::make(&SystemClock).map_err(|error| Fault::new(1, format!("no folder for the demo: {error}")))?;
        let running = Box::pin(serve::start(self.config(folder.path())?, own_program()?, None)).await?;
        let done = tokio::select! {
            done = Box::pin(self.show(&running, &folder)) => done,
            _ = interrupted() => Err(Fault::new(1, "interrupted before every outcome was seen")),
        };
        tokio::select! {
            _ = Box::pin(running.stop()) => {}
            // A second Ctrl-C: the folder goes away all the same.
            _ = interrupted() => {}
        }
        drop(folder);
        done.map(|()| ExitCode::SUCCESS)
    }

    fn config(&self, folder: &Path) -> Result<Config, Fault> {
        let loaded = Config::parse(CONFIG, "the demo's configuration", folder, &|_| None);
        let mut config = loaded.map_err(|mistakes| Fault::new(1, mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?.config;
        let program = own_program()?;
        for server in config.servers.values_mut() {
            // `paraph` need not be on the PATH.
            if let Transport::Process { command, .. } = &mut server.transport
                && let Some(first) = command.first_mut()
            {
                *first = program.to_string_lossy().into_owned();
            }
        }
        if let Some(address) = &self.listen {
            config.listen.listen_on(address).map_err(Fault::usage)?;
        }
        Ok(config)
    }

    async fn show(&self, running: &Running, folder: &Folder) -> Result<(), Fault> {
        let refused = |error: crate::gate::people::PeopleError| Fault::new(1, error.to_string());
        let gate = &running.gate;
        let base = format!("http://{}", running.address);
        gate.add_person(PERSON, Some("You".to_owned()), Vec::new(), Role::Operator).await.map_err(refused)?;
        let token = gate.add_agent(NewAgent { name: "demo-agent".to_owned(), ..NewAgent::default() }).await.map_err(refused)?;
        let api_token = gate.make_api_token(PERSON, "demo", TOKEN_FOR).await.map_err(refused)?;

        terminal::say(&format!("{}\n", terminal::strong("Paraph demo")));
        terminal::say(&format!("The gateway listens on {base}"));
        terminal::say("Behind it runs an MCP server with a tool that sends direct messages (to nobody).");
        let agent = Agent::connect(&format!("{base}/mcp/demo"), token).await?;
        let round = Round {
            api: Api::new(&base, api_token.clone())?,
            gate: gate.clone(),
            public_url: running.public_url.clone(),
            base,
            api_token,
            decide: self.decide,
        };
        let seen = Box::pin(round.play(agent, folder)).await?;
        summary(&seen);
        if self.decide.is_none() && !self.once {
            terminal::say(&format!("\nThe pages stay open for {} more seconds; Ctrl-C ends now.", AFTERWARDS.as_secs()));
            tokio::select! {
                () = tokio::time::sleep(AFTERWARDS) => {}
                _ = interrupted() => {}
            }
        }
        Ok(())
    }
}

fn summary(seen: &Seen) {
    terminal::say(&format!("\n{}", terminal::strong("All three outcomes were seen")));
    terminal::say("  read_inbox      allowed");
    terminal::say("  delete_account  denied");
    terminal::say(&format!("  send_dm         held, then {}", seen.held));
    terminal::say("\nNext, before your own server: paraph init NAME -- COMMAND…, then paraph serve.");
}

/// Ctrl-C or SIGTERM.
async fn interrupted() -> Option<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        got = interrupt.recv() => got,
        got = terminate.recv() => got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_runs_with_a_configuration_that_any_operator_could_write() {
        let loaded = Config::parse(CONFIG, "demo", Path::new(""), &|_| None).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.servers.len(), 1);
    }
}
