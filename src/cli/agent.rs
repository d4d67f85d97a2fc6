//! `paraph agent`: agents and their tokens. A token is printed once, alone on standard output, so that a script
//! can catch it; the gateway keeps only its hash. Called by `cli`.

use super::fault::Fault;
use super::settings::{Where, mail_address, millis, time};
use super::terminal;
use crate::control::{AgentView, Answer, Request, ask};
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;

/// `paraph agent …`.
#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// Add an agent; prints its token, once
    #[command(after_help = "\
Examples:
  paraph agent add support-bot --server demo
  TOKEN=$(paraph agent add support-bot --owner ann@example.org --expires 90d)

The token goes into the client's configuration: Authorization: Bearer TOKEN, at /mcp/SERVER.")]
    Add {
        /// Letters, digits, dots, dashes and underscores
        name: String,
        /// A server it may use; may be given several times [default: every server]
        #[arg(long = "server", value_name = "S")]
        servers: Vec<String>,
        /// Whose agent it is; the owner never decides on its calls where a rule asks for two
        #[arg(long, value_name = "EMAIL", value_parser = mail_address)]
        owner: Option<String>,
        /// How long one request stays open while a person decides [default: hold.keep_open]
        #[arg(long, value_name = "TIME", value_parser = time)]
        keep_open: Option<Duration>,
        /// How long the token counts [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires: Option<Duration>,
    },
    /// List agents
    #[command(after_help = "Examples:\n  paraph agent list\n  paraph agent list --json")]
    List {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// End an agent's token and sessions, and withdraw its held calls
    #[command(after_help = "Examples:\n  paraph agent revoke support-bot")]
    Revoke {
        /// The agent's name
        name: String,
    },
    #[command(hide = true)]
    Rotate(super::later::Rest),
}

impl Agent {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let (request, json) = match self {
            Agent::Add { name, servers, owner, keep_open, expires } => {
                let (keep_open_ms, expires_in_ms) = (keep_open.map(millis), expires.map(millis));
                (Request::AddAgent { name, servers, owner, keep_open_ms, expires_in_ms }, false)
            }
            Agent::List { json } => (Request::Agents {}, json),
            Agent::Revoke { name } => (Request::RevokeAgent { name }, false),
            Agent::Rotate(_) => return Err(Fault::usage("`paraph agent rotate` is not in this version; add another agent and revoke this one")),
        };
        let response = Box::pin(ask(&place.store()?, request)).await?;
        response.notes.iter().for_each(|line| terminal::note(&terminal::visible(line)));
        match response.answer {
            Answer::Secret(token) => {
                terminal::say(&token);
                terminal::note("This token is shown once. The agent connects to /mcp/SERVER with Authorization: Bearer TOKEN.");
            }
            Answer::Agents(agents) if json => terminal::say(&terminal::json(&serde_json::json!({ "agents": agents }), true)),
            Answer::Agents(agents) if agents.is_empty() => terminal::note("There is no agent yet: paraph agent add NAME"),
            Answer::Agents(agents) => terminal::say(&terminal::table(&rows(&agents))),
            Answer::Done(withdrawn) => terminal::note(&format!("Revoked. Held calls withdrawn: {withdrawn}.")),
            _ => return Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(agents: &[AgentView]) -> Vec<Vec<String>> {
    let mut rows = vec![["NAME", "SERVERS", "OWNER", "EXPIRES", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(agents.iter().map(|agent| {
        let servers = if agent.servers.is_empty() { "every".to_owned() } else { agent.servers.join(",") };
        let expires = agent.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let owner = agent.owner.clone().unwrap_or_else(|| "-".to_owned());
        vec![terminal::visible(&agent.name), terminal::visible(&servers), terminal::visible(&owner), expires, terminal::state(&agent.state)]
    }));
    rows
}
