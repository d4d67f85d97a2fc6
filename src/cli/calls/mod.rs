//! `paraph calls`: the desk in a terminal, as a named reviewer over the HTTP API. Nothing is decided that was not
//! read: `approve` shows the whole call first, or names the digest of a text that was shown. Called by `cli`.

pub(super) mod api;
mod decide;
mod show;
mod watch;

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use api::Api;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  export PARAPH_TOKEN=$(paraph reviewer token ann@example.org)
  paraph calls                                    what waits for a person
  paraph calls --state answered --json
  paraph calls show c_…                           the whole call
  paraph calls approve c_…                        shows it and asks
  paraph calls approve c_… --digest sha256:…      for scripts: approves exactly this text
  paraph calls reject c_… --reason \"Wrong person.\"
  paraph calls watch

The gateway is PARAPH_URL or --url, else the one in the configuration; the token is PARAPH_TOKEN or in --token-file.";

/// `paraph calls`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub(super) struct Calls {
    #[command(flatten)]
    gateway: api::Gateway,
    /// Only calls in this state
    #[arg(long, value_name = "STATE", default_value = "held", value_parser = STATES)]
    state: String,
    /// Only calls of this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only calls to this server
    #[arg(long)]
    server: Option<String>,
    /// JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const STATES: [&str; 11] = ["all", "held", "approved", "sending", "answered", "rejected", "changes_requested", "expired", "withdrawn", "lapsed", "unconfirmed"];

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one call, whole
    #[command(after_help = "Examples:\n  paraph calls show c_…\n  paraph calls show c_… --json")]
    Show {
        /// The call's id
        id: String,
    },
    /// Show a call, ask, and approve it
    #[command(after_help = "Examples:\n  paraph calls approve c_…\n  paraph calls approve c_… --digest sha256:…")]
    Approve {
        /// The call's id
        id: String,
        /// The digest of the text you read; needed without a terminal
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
        /// For the record
        #[arg(long)]
        reason: Option<String>,
    },
    /// Reject a call; the agent is told the reason
    #[command(after_help = "Examples:\n  paraph calls reject c_… --reason \"Wrong person.\"")]
    Reject {
        /// The call's id
        id: String,
        /// What the agent is told
        #[arg(long)]
        reason: String,
        /// Reject only this text
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// Print a line for everything that happens, until Ctrl-C
    #[command(after_help = "Examples:\n  paraph calls watch\n  paraph calls watch --json | while read -r event; do …; done")]
    Watch,
    #[command(hide = true)]
    Resolve(super::later::Rest),
    #[command(hide = true)]
    Undo(super::later::Rest),
}

impl Calls {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        if let Some(Command::Resolve(_) | Command::Undo(_)) = self.command {
            return Err(Fault::usage("this command is not in this version"));
        }
        let api = Api::open(&self.gateway, place)?;
        match self.command {
            None => list(&api, &self.state, self.agent.as_deref(), self.server.as_deref(), self.json).await,
            Some(Command::Show { id }) => {
                let call = api.call(&id).await?;
                terminal::say(&if self.json { terminal::json(&call, true) } else { show::text(&call) });
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Approve { id, digest, reason }) => decide::approve(&api, &id, digest, reason, self.json).await,
            Some(Command::Reject { id, reason, digest }) => decide::reject(&api, &id, digest, &reason, self.json).await,
            Some(Command::Watch) => watch::run(&api, self.json).await,
            Some(Command::Resolve(_) | Command::Undo(_)) => Ok(ExitCode::from(2)),
        }
    }
}

async fn list(api: &Api, state: &str, agent: Option<&str>, server: Option<&str>, as_json: bool) -> Result<ExitCode, Fault> {
    let mut calls: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let filters = [
            ("state", Some(state).filter(|state| *state != "all")),
            ("agent", agent),
            ("server", server),
            ("limit", Some("200")),
            ("cursor", cursor.as_deref()),
        ];
        let query: Vec<(&str, &str)> = filters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let mut page = api.ask(Method::GET, "/api/v1/calls", &query, None).await?;
        let found = page["calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let is_empty = found.is_empty();
        calls.extend(found);
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() || is_empty {
            break;
        }
    }
    if as_json {
        terminal::say(&terminal::json(&json!({ "calls": calls }), true));
    } else if calls.is_empty() {
        terminal::note(if state == "held" { "Nothing waits for a person." } else { "There is no such call." });
    } else {
        terminal::say(&terminal::table(&show::rows(&calls)));
    }
    Ok(ExitCode::SUCCESS)
}
