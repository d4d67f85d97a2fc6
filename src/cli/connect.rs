//! `paraph connect`: the stdio front, for clients that can only start a process. Standard output carries the protocol
//! and nothing else. The token comes from a file or the environment, never from the command line, which every user of
//! the computer can read. Called by `cli`.

use super::fault::Fault;
use super::settings::time;
use super::terminal;
use crate::mcp::front::{self, End, Settings};
use clap::Args;
use reqwest::Url;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Where the token is when no file is named.
const TOKEN: &str = "PARAPH_AGENT_TOKEN";
/// Bytes of a token file; a larger one is a mix-up.
const TOKEN_BYTES: u64 = 4096;

const EXAMPLES: &str = "\
Examples:
  (umask 077; paraph agent add desktop --server dm --keep-open 3m > ~/.paraph-desktop.token)
  paraph connect dm --url http://127.0.0.1:8420 --token-file ~/.paraph-desktop.token
  PARAPH_AGENT_TOKEN=… paraph connect dm --url https://paraph.example.org

The URL is the gateway's, or the whole address ending in /mcp/SERVER. A client's configuration names this command with
its arguments; README.md has the entries. What is no protocol goes to standard error.

A gateway that restarts is waited for: messages that never left are sent again, held calls are waited for again. Exit
codes: 0 the client closed its end, 2 the gateway does not let this agent in, 3 it was not there at the start.";

/// `paraph connect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Connect {
    /// Which server behind the gateway
    server: String,
    /// The gateway
    #[arg(long, env = "PARAPH_URL", value_name = "URL")]
    url: String,
    /// A file with the agent's token [default: the environment's PARAPH_AGENT_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long the gateway may take to be there at the start
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    wait: Duration,
    /// How long a request waits for a gateway that went away
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    patience: Duration,
}

impl Connect {
    pub(super) async fn run(self) -> Result<ExitCode, Fault> {
        let url = address(&self.url, &self.server).map_err(Fault::usage)?;
        let token = token(self.token_file.as_deref())?;
        if url.scheme() == "http" && !front::is_this_computer(&url) {
            terminal::note("paraph: warning: the token and every message travel unencrypted to another computer; use https");
        }
        let settings = Settings { url, token, wait: self.wait, patience: self.patience };
        let mut term = signal(SignalKind::terminate()).map_err(|error| Fault::new(1, format!("no signals: {error}")))?;
        let stop = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        let notes = Arc::new(|line: &str| terminal::note(&format!("paraph: {}", terminal::visible(line))));
        match Box::pin(front::run(settings, tokio::io::stdin(), tokio::io::stdout(), stop, notes)).await {
            Ok(End::Left) => Ok(ExitCode::SUCCESS),
            Ok(End::Refused(why)) | Err(why) => Err(Fault::usage(why)),
            Ok(End::Unreachable(why)) => Err(Fault::new(3, why)),
        }
    }
}

/// `…/mcp/SERVER`, whether the URL names the gateway or already the server.
fn address(url: &str, server: &str) -> Result<Url, String> {
    let wrong = || "the gateway's URL must look like http://127.0.0.1:8420, without a name, a password or a query".to_owned();
    let mut url = Url::parse(url).map_err(|_| wrong())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
        return Err(wrong());
    }
    let fits = !server.is_empty() && server.bytes().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.'));
    if !fits || matches!(server, "." | "..") {
        return Err(format!("{server:?} is no name of a server; config.toml has it as [servers.NAME]"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let whole = match path.rsplit_once("/mcp/") {
        Some((_, named)) if named == server => path.clone(),
        Some((_, named)) if !named.contains('/') => return Err(format!("the URL names the server {named}, the command {server}")),
        _ if path.ends_with("/mcp") => format!("{path}/{server}"),
        _ => format!("{path}/mcp/{server}"),
    };
    url.set_path(&whole);
    Ok(url)
}

fn token(file: Option<&Path>) -> Result<String, Fault> {
    let text = match file {
        Some(path) => {
            let metadata = std::fs::metadata(path).map_err(|error| Fault::file(path, &error))?;
            if metadata.permissions().mode() & 0o007 != 0 {
                let path = path.display().to_string();
                terminal::note(&format!("paraph: warning: everybody on this computer can read the token in {0}; chmod 600 {0}", terminal::visible(&path)));
            }
            if metadata.len() > TOKEN_BYTES {
                return Err(Fault::usage(format!("{} is too large for a token", path.display())));
            }
            std::fs::read_to_string(path).map_err(|error| Fault::file(path, &error))?
        }
        None => std::env::var(TOKEN).map_err(|_| Fault::usage(format!("which agent? Give --token-file or set {TOKEN}; `paraph agent add` makes a token")))?,
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::usage("this is no agent's token; `paraph agent add` makes one"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_may_be_the_gateways_or_the_servers() {
        for (url, whole) in [
            ("http://127.0.0.1:8420", "http://127.0.0.1:8420/mcp/dm"),
            ("http://127.0.0.1:8420/", "http://127.0.0.1:8420/mcp/dm"),
            ("http://127.0.0.1:8420/mcp", "http://127.0.0.1:8420/mcp/dm"),
            ("http://127.0.0.1:8420/mcp/dm", "http://127.0.0.1:8420/mcp/dm"),
            ("http://127.0.0.1:8420/mcp/dm/", "http://127.0.0.1:8420/mcp/dm"),
            ("https://example.org/paraph/", "https://example.org/paraph/mcp/dm"),
        ] {
            assert_eq!(address(url, "dm").unwrap().as_str(), whole);
        }
        for url in ["127.0.0.1:8420", "ftp://example.org", "http://ann:secret@example.org", "http://example.org/?a=b", "http://example.org/mcp/other", ""] {
            assert!(address(url, "dm").is_err(), "{url}");
        }
        for server in ["", "..", "a/b", "a b", "a%2fb", "ü"] {
            assert!(address("http://127.0.0.1:8420", server).is_err(), "{server}");
        }
    }
}
