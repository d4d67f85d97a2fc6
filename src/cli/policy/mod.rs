//! `paraph policy`: what the rules say, without serving: explain one call, test a file of cases, and turn a
//! policy.json into rules. The verdict is `Policy::judge`'s, the very function that the gateway asks. Called by `cli`.

mod cases;
mod explain;
mod import;
mod room;
mod subject;
pub(in crate::cli) mod toml;

use super::fault::Fault;
use super::settings::Where;
use clap::Subcommand;
use std::process::ExitCode;

/// `paraph policy`.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say what the rules make of one call, and why
    Explain(explain::Explain),
    /// Judge a file of calls and compare with what is expected
    Test(cases::Test),
    /// Print a PolicyLayer policy.json as rules for config.toml
    Import(import::Import),
}

impl Policy {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        match self {
            Policy::Explain(explain) => Box::pin(explain.run(place)).await,
            Policy::Test(test) => test.run(place),
            Policy::Import(import) => import.run(),
        }
    }
}
