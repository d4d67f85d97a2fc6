//! Commands of the contract that come with a later version: known by name, so that nobody takes the answer for
//! a slip of the pen. Called by `cli`.

use super::fault::Fault;
use clap::{Args, Subcommand};

/// Whatever else was written.
#[derive(Debug, Args)]
pub(super) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Later {
    #[command(hide = true)]
    Mail(Rest),
}

impl Later {
    /// Which and why not.
    pub(super) fn refuse(&self) -> Fault {
        let (name, rest) = match self {
            Later::Mail(rest) => ("mail", rest),
        };
        tracing::debug!(command = name, words = rest.rest.len(), "a command of a later version");
        Fault::usage(format!("`paraph {name}` is not in this version"))
    }
}
