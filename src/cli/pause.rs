//! `paraph pause` and `paraph resume`: the kill switch from a terminal. It works beside a running gateway and on a
//! store that nobody serves, because the moment somebody needs it is no moment to ask which of the two it is.
//! Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::control::{Answer, Request, ask};
use crate::domain::pause::Stopped;
use crate::gate::pause::MAX_REASON;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

const PAUSE_EXAMPLES: &str = "\
Examples:
  paraph pause --reason \"The account sends nonsense.\"
  paraph pause --show                             is it paused, since when, by whom, why
  paraph pause --show --json

While the gateway is paused nothing is sent. New calls are refused with the reason, except those of tools marked
`reads`. Approvals that have not left are taken back: the calls are held again and a person decides again after
`paraph resume`. A pause outlives restarts. Exit code of --show: 0 paused, 1 not paused.";

const RESUME_EXAMPLES: &str = "\
Examples:
  paraph pause --show                             who paused it, and why
  paraph resume

What was taken back by the pause stays held until a person approves it again.";

/// `paraph pause`.
#[derive(Debug, Args)]
#[command(after_help = PAUSE_EXAMPLES, arg_required_else_help = true)]
pub(super) struct Pause {
    /// Why; agents and reviewers are told it
    #[arg(long, value_name = "TEXT", required_unless_present = "show")]
    reason: Option<String>,
    /// Only say whether the gateway is paused
    #[arg(long, conflicts_with = "reason")]
    show: bool,
    /// One JSON object
    #[arg(long, conflicts_with = "reason")]
    json: bool,
}

/// `paraph resume`.
#[derive(Debug, Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub(super) struct Resume {}

impl Pause {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let request = match self.reason {
            // Looked at before the store is: an empty reason must not make a data folder.
            Some(reason) if reason.trim().is_empty() => return Err(Fault::usage("--reason is empty: agents and reviewers are told it")),
            Some(reason) if reason.chars().count() > MAX_REASON => {
                return Err(Fault::usage(format!("--reason is longer than {MAX_REASON} characters: it is shown on every page")));
            }
            Some(reason) => Request::Pause { reason },
            None => Request::Paused {},
        };
        match Box::pin(ask(&place.store()?, request)).await?.answer {
            Answer::Done(taken_back) => {
                terminal::note(&format!("Paused: nothing is sent until `paraph resume`. Approvals taken back to held: {taken_back}."));
                Ok(ExitCode::SUCCESS)
            }
            Answer::Paused(stopped) => {
                terminal::say(&if self.json { terminal::json(&view(stopped.as_ref()), true) } else { sentence(stopped.as_ref()) });
                Ok(if stopped.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            _ => Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it")),
        }
    }
}

impl Resume {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        match Box::pin(ask(&place.store()?, Request::Resume {})).await?.answer {
            Answer::Done(_) => {
                terminal::note("Resumed. What the pause took back stays held until a person approves it again.");
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it")),
        }
    }
}

fn sentence(stopped: Option<&Stopped>) -> String {
    match stopped {
        Some(Stopped { at, by, reason }) => format!("Paused since {at} by {}: {}", terminal::visible(by), terminal::visible(reason)),
        None => "Not paused.".to_owned(),
    }
}

fn view(stopped: Option<&Stopped>) -> Value {
    json!({
        "paused": stopped.is_some(),
        "since": stopped.map(|stopped| stopped.at),
        "by": stopped.map(|stopped| &stopped.by),
        "reason": stopped.map(|stopped| &stopped.reason),
    })
}
