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
    /// Give an agent another token; prints it, once. The old one counts for an hour more
    #[command(after_help = "\
Examples:
  paraph agent rotate support-bot
  TOKEN=$(paraph agent rotate support-bot)

Put the new token into the client's configuration within the hour. A second rotation ends the first old token at once.")]
    Rotate {
        /// The agent's name
        name: String,
    },
    /// Change what an agent may use and whose it is; what is not named stays
    #[command(after_help = "\
Examples:
  paraph agent set support-bot --server demo --server crm
  paraph agent set support-bot --every-server --owner ann@example.org
  paraph agent set support-bot --keep-open 4m

Held calls of servers that it may not use any more are withdrawn.")]
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The agent's name
        name: String,
        /// A server it may use, instead of those before; may be given several times
        #[arg(long = "server", value_name = "S", group = "what")]
        servers: Vec<String>,
        /// It may use every server
        #[arg(long, conflicts_with = "servers", group = "what")]
        every_server: bool,
        /// Whose agent it is
        #[arg(long, value_name = "EMAIL", value_parser = mail_address, group = "what")]
        owner: Option<String>,
        /// It is nobody's
        #[arg(long, conflicts_with = "owner", group = "what")]
        no_owner: bool,
        /// How long one request stays open while a person decides
        #[arg(long, value_name = "TIME", value_parser = time, group = "what")]
        keep_open: Option<Duration>,
        /// As long as hold.keep_open says
        #[arg(long, conflicts_with = "keep_open", group = "what")]
        no_keep_open: bool,
    },
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
            Agent::Rotate { name } => (Request::RotateAgent { name }, false),
            Agent::Set { name, servers, every_server, owner, no_owner, keep_open, no_keep_open } => {
                let servers = (every_server || !servers.is_empty()).then_some(servers);
                let owner = if no_owner { Some(String::new()) } else { owner };
                let keep_open_ms = if no_keep_open { Some(0) } else { keep_open.map(millis) };
                (Request::SetAgent { name, servers, owner, keep_open_ms }, false)
            }
        };
        let done = match &request {
            Request::RevokeAgent { .. } => |withdrawn| format!("Revoked. Held calls withdrawn: {withdrawn}."),
            _ => |_| "Changed.".to_owned(),
        };
        let rotated = matches!(request, Request::RotateAgent { .. });
        let response = Box::pin(ask(&place.store()?, request)).await?;
        response.notes.iter().for_each(|line| terminal::note(&terminal::visible(line)));
        match response.answer {
            Answer::Secret(token) => {
                terminal::say(&token);
                if rotated {
                    terminal::note("The old token counts for one hour more.");
                }
                terminal::note("This token is shown once. The agent connects to /mcp/SERVER with Authorization: Bearer TOKEN.");
            }
            Answer::Agents(agents) if json => terminal::say(&terminal::json(&serde_json::json!({ "agents": agents }), true)),
            Answer::Agents(agents) if agents.is_empty() => terminal::note("There is no agent yet: paraph agent add NAME"),
            Answer::Agents(agents) => terminal::say(&terminal::table(&rows(&agents))),
            Answer::Done(withdrawn) => terminal::note(&done(withdrawn)),
            _ => return Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(agents: &[AgentView]) -> Vec<Vec<String>> {
    let mut rows = vec![["NAME", "SERVERS", "OWNER", "LAST USED", "EXPIRES", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(agents.iter().map(|agent| {
        let servers = if agent.servers.is_empty() { "every".to_owned() } else { agent.servers.join(",") };
        let expires = agent.expires_at.map_or_else(|| "never".to_owned(), terminal::minute);
        let owner = agent.owner.clone().unwrap_or_else(|| "-".to_owned());
        let used = agent.used_at.map_or_else(|| "never".to_owned(), terminal::minute);
        vec![terminal::visible(&agent.name), terminal::visible(&servers), terminal::visible(&owner), used, expires, terminal::state(&agent.state)]
    }));
    rows
}
