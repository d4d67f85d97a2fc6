//! `paraph calls`: the desk in a terminal, as a named reviewer over the HTTP API. Nothing is decided that was not
//! read: `approve` shows the whole call first, or names the digest of a text that was shown. Called by `cli`.

pub(super) mod api;
mod decide;
mod list;
mod reopen;
mod resolve;
mod show;
mod watch;

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use api::Api;
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  export PARAPH_TOKEN=$(paraph reviewer token ann@example.org)
  paraph calls                                    what waits for a person
  paraph calls --state answered --json
  paraph calls show c_…                           the whole call
  paraph calls approve c_…                        shows it and asks
  paraph calls approve c_… --digest sha256:…      for scripts: approves exactly this text
  paraph calls approve c_… --digest sha256:… --arguments mended.json
  paraph calls reject c_… --reason \"Wrong person.\"
  paraph calls changes c_… --reason \"Shorter, and without the link.\"
  paraph calls undo c_…                           takes an approval back before the call left
  paraph calls resolve c_… --sent                 it was left unknown whether it was sent: it was
  paraph calls lift c_…                           three refusals closed the way: opens it again
  paraph calls watch

Without --state: what waits for a person, that is held calls and those of which nobody knows whether they were sent.
The gateway is PARAPH_URL or --url, else the one in the configuration; the token is PARAPH_TOKEN or in --token-file.";

/// `paraph calls`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub(super) struct Calls {
    #[command(flatten)]
    gateway: api::Gateway,
    /// Only calls in this state [default: held and unconfirmed]
    #[arg(long, value_name = "STATE", value_parser = list::STATES)]
    state: Option<String>,
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Print one call, whole
    #[command(after_help = "Examples:\n  paraph calls show c_…\n  paraph calls show c_… --json")]
    Show {
        /// The call's id
        id: String,
    },
    /// Show a call, ask, and approve it
    #[command(after_help = APPROVE_EXAMPLES)]
    Approve {
        /// The call's id
        id: String,
        /// The digest of the text you read; needed without a terminal
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
        /// For the record
        #[arg(long)]
        reason: Option<String>,
        /// Send these arguments instead: a file with a JSON object
        #[arg(long, value_name = "FILE")]
        arguments: Option<PathBuf>,
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
    /// Print a line for each held call, then for everything that happens, until Ctrl-C
    #[command(after_help = "Examples:\n  paraph calls watch\n  paraph calls watch --json | while read -r event; do …; done")]
    Watch,
    /// Ask the agent for another text; it is told the reason
    #[command(after_help = "Examples:\n  paraph calls changes c_… --reason \"Shorter, and without the link.\"")]
    Changes {
        /// The call's id
        id: String,
        /// What the agent is told to change
        #[arg(long)]
        reason: String,
        /// Only for this text
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// Take an approval back before the call left
    #[command(after_help = "\
Examples:
  paraph calls --state approved
  paraph calls undo c_…

The call is held again, for ten minutes at least. Exit code 1 when it is too late.")]
    Undo {
        /// The call's id
        id: String,
    },
    /// Say what became of a call of which nobody knows whether it was sent
    #[command(group = ArgGroup::new("found").required(true), after_help = RESOLVE_EXAMPLES)]
    Resolve {
        /// The call's id
        id: String,
        /// It was sent
        #[arg(long, group = "found")]
        sent: bool,
        /// It was not sent
        #[arg(long, group = "found")]
        not_sent: bool,
        /// Told to the agent too
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Do not ask; needed without a terminal
        #[arg(long)]
        yes: bool,
    },
    /// Let an agent write to a recipient again, after three refusals had closed the way
    #[command(after_help = "\
Examples:
  paraph calls --state rejected
  paraph calls lift c_…

The id is that of any refused call to this recipient. Exit code 1 when the way was open.")]
    Lift {
        /// The call's id
        id: String,
    },
}

const APPROVE_EXAMPLES: &str = "\
Examples:
  paraph calls approve c_…
  paraph calls approve c_… --digest sha256:…
  paraph calls show c_… --json                    its arguments, to be edited
  paraph calls approve c_… --digest sha256:… --arguments mended.json

--digest names the text that was shown, also with --arguments. Edited arguments are judged like the agent's own and must
fit the tool's inputSchema. The agent is told what was really sent; both versions stay on record.";

const RESOLVE_EXAMPLES: &str = "\
Examples:
  paraph calls --state unconfirmed
  paraph calls resolve c_… --sent
  paraph calls resolve c_… --not-sent --note \"It is not in the sent folder.\" --yes

Look at the recipient's side first: in the sent folder, in the other system. Until somebody says what happened, the
identical call is told that it is unknown, and is not sent. After that the agent is told once what you found, and the
same call may be made anew: saying --not-sent of a message that was sent can send it twice.";

impl Calls {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let (api, json) = (Api::open(&self.gateway, place)?, self.json);
        match self.command {
            None => list::run(&api, self.state.as_deref(), self.agent.as_deref(), self.server.as_deref(), json).await,
            Some(Command::Show { id }) => {
                let call = api.call(&id).await?;
                terminal::say(&if json { terminal::json(&call, true) } else { show::text(&call) });
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Approve { id, digest, reason, arguments }) => {
                let approval = decide::Approval { digest, reason, arguments };
                decide::approve(&api, &id, approval, json).await
            }
            Some(Command::Reject { id, reason, digest }) => decide::refuse(&api, &id, "reject", digest, &reason, json).await,
            Some(Command::Changes { id, reason, digest }) => decide::refuse(&api, &id, "request_changes", digest, &reason, json).await,
            Some(Command::Undo { id }) => reopen::undo(&api, &id, json).await,
            // The group lets through exactly one of the two.
            Some(Command::Resolve { id, sent, not_sent: _, note, yes }) => resolve::run(&api, &id, resolve::Found { sent, note }, yes, json).await,
            Some(Command::Lift { id }) => reopen::lift(&api, &id, json).await,
            Some(Command::Watch) => watch::run(&api, json).await,
        }
    }
}
