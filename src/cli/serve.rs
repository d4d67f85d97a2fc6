//! `paraph serve`: the gateway in the foreground until it is told to stop. Prints one line on standard output
//! when it is ready; the log is on standard error. Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::observe::{self, LogFormat};
use crate::serve;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph serve                                    ./config.toml
  paraph serve --config /etc/paraph/config.toml --data /var/lib/paraph
  paraph serve --listen 127.0.0.1:0               a free port; the line on standard output names it

Prints `listening on http://ADDRESS` when ready, https with [listen] tls. A changed configuration is read by itself, and at SIGHUP. SIGTERM or Ctrl-C stops it: waiting agents are answered, sends
finish. PARAPH_LOG filters the log on standard error (`debug`, `paraph=debug`, …).";

/// `paraph serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    /// Listen here, instead of [listen] address
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text", env = "PARAPH_LOG_FORMAT")]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A bare `paraph`: serves when there is a configuration, otherwise says how to begin.
pub(super) async fn bare(place: &Where) -> Result<ExitCode, Fault> {
    if !place.is_there() {
        let begin = "there is no config.toml here.\n`paraph demo` shows the gateway with nothing to set up.\n`paraph init NAME -- COMMAND…` or `paraph init NAME --url URL` writes one for your MCP server.\nWith a configuration elsewhere: `paraph serve --config FILE`.";
        return Err(Fault::usage(begin));
    }
    Serve { listen: None, log_format: Format::Text }.run(place).await
}

impl Serve {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let (mut config, origin, warnings) = place.config_and_warnings()?;
        if let Some(address) = self.listen {
            config.listen.listen_on(&address).map_err(Fault::usage)?;
        }
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        observe::log_to_stderr(std::env::var("PARAPH_LOG").ok().as_deref(), format);
        for warning in &warnings {
            beside(format, &format!("warning: {}", terminal::visible(&warning.to_string())));
        }
        let signals = serve::Signals::take()?;
        let running = Box::pin(serve::start(config, own_program()?, Some(origin))).await?;
        terminal::say(&format!("listening on {}://{}", running.scheme, running.address));
        if running.gate.people().await.is_ok_and(|people| people.is_empty()) {
            tracing::warn!("nobody can sign in yet: `paraph reviewer add YOU@EXAMPLE.ORG --role operator` makes the first operator and prints a link");
        }
        Ok(Box::pin(running.until_signal(signals)).await)
    }
}

/// A line for the person who starts it; who collects JSON takes nothing else.
fn beside(format: LogFormat, line: &str) {
    match format {
        LogFormat::Text => terminal::note(line),
        LogFormat::Json => tracing::warn!("{line}"),
    }
}

/// This executable: guards of stdio servers are started from it.
pub(super) fn own_program() -> Result<PathBuf, Fault> {
    std::env::current_exe().map_err(|error| Fault::new(1, format!("this program's own file was not found: {error}")))
}
