//! `paraph scan`: what the tools of a server probably do, and a policy to begin with. Nothing is written and no data
//! folder is needed; the policy is on standard output, the table beside it on standard error. Called by `cli`.

use super::fault::Fault;
use super::reach::Reach;
use super::settings::{Where, told};
use super::{listing, starter, terminal};
use crate::config::{Bounds, Config, Server};
use clap::Args;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph scan dm                                  a server of the configuration
  paraph scan dm -- insta-mcp                     one that is not in it yet
  paraph scan dm --url https://mcp.example.org/mcp --header 'Authorization={env:MCP_AUTH}'
  paraph scan dm --json

Starts the server, lists its tools and ends it. On standard output: a starter policy for config.toml. Names and
arguments of the tools decide; what a server says of its own tools can only make them stricter. Exit code 1 when the
server does not start or lists nothing.";

/// `paraph scan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Scan {
    /// The server's name in the configuration, or the name it shall have
    #[arg(value_name = "SERVER")]
    server: String,
    #[command(flatten)]
    reach: Reach,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Scan {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let name = &self.server;
        let (server, bounds, reach) = self.server(place)?;
        let tools = Box::pin(listing::of(name, &server, &bounds)).await?;
        let policy = starter::write(name, &reach, &tools);
        if self.json {
            let view = json!({ "server": name, "tools": listing::view(&tools), "policy": policy });
            terminal::say(&terminal::json(&view, true));
        } else {
            terminal::note(&listing::table(&tools));
            terminal::note(&format!("{}.\n", listing::summary(&tools)));
            terminal::say(policy.trim_end());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn server(&self, place: &Where) -> Result<(Server, Bounds, String), Fault> {
        let name = &self.server;
        if self.reach.is_given() {
            let reach = self.reach.keys(Path::new(""));
            let mut config = bare(name, &reach)?;
            let server = config.servers.remove(name).ok_or_else(|| Fault::usage(format!("{name} is not a server's name")))?;
            return Ok((server, Bounds::default(), reach));
        }
        let mut config = place.load().map_err(|mistakes| told(&mistakes))?.config;
        let known = config.servers.keys().cloned().collect::<Vec<_>>().join(", ");
        let server = config.servers.remove(name);
        let server = server.ok_or_else(|| {
            Fault::usage(format!("the configuration has no server called {name:?}; it has {known}. For another: paraph scan {name} -- COMMAND"))
        })?;
        Ok((server, config.bounds, "# command or url, as it stands in the configuration\n".to_owned()))
    }
}

/// A configuration that holds this server alone.
fn bare(name: &str, reach: &str) -> Result<Config, Fault> {
    let text = format!("[servers.{}]\n{reach}", super::reach::key_of(name));
    let loaded = Config::parse(&text, "the command line", Path::new(""), &|name| std::env::var(name).ok());
    loaded.map(|loaded| loaded.config).map_err(|mistakes| Fault::usage(super::reach::in_words(&mistakes, name)))
}
