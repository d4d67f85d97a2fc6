//! A call that a file describes: `{"agent", "server", "tool", "arguments", "now"}`, read as strictly as an agent's own.
//! What is left out comes from options, which for a single call also win over its file; a server that is the only one
//! need not be named. Used by `explain` and `test`.

use crate::cli::fault::Fault;
use crate::config::Config;
use crate::domain::json;
use crate::domain::policy::{Action, Asked, Policy};
use crate::gate::{Clock as _, SystemClock};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// Bytes of a file.
const LARGEST: u64 = 16 << 20;

/// One call as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    agent: Option<String>,
    server: Option<String>,
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    /// For a `when` that looks at the time; the clock's without it.
    now: Option<Timestamp>,
}

/// What options say of a call.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) agent: Option<String>,
    pub(super) server: Option<String>,
}

/// One call, complete.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) agent: String,
    pub(super) server: String,
    pub(super) tool: String,
    arguments: Value,
    now: Timestamp,
}

impl Subject {
    /// The call as the policy sees it.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { agent: &self.agent, tool: &self.tool, arguments: &self.arguments, session: None, now: self.now }
    }

    /// The policy that judges it.
    pub(super) fn policy<'c>(&self, config: &'c Config) -> Result<&'c Policy, String> {
        let found = config.servers.get(&self.server).map(|server| &server.policy);
        found.ok_or_else(|| format!("the configuration has no server called {:?}; it has {}", self.server, names(config)))
    }
}

impl Written {
    /// The call with options that win over what it says.
    pub(super) fn overridden(self, options: &Options) -> Written {
        Written { agent: options.agent.clone().or(self.agent), server: options.server.clone().or(self.server), ..self }
    }

    /// The call with options for what it leaves out; the error is a sentence.
    pub(super) fn complete(self, options: &Options, config: &Config) -> Result<Subject, String> {
        let only = || if config.servers.len() == 1 { config.servers.keys().next().cloned() } else { None };
        let server = self.server.or_else(|| options.server.clone()).or_else(only);
        let server = server.ok_or_else(|| format!("the call names no server; write \"server\" or --server: {}", names(config)))?;
        let agent = self.agent.or_else(|| options.agent.clone()).ok_or("the call names no agent; write \"agent\" or --agent")?;
        Ok(Subject { agent, server, tool: self.tool, arguments: Value::Object(self.arguments), now: self.now.unwrap_or_else(|| SystemClock.now()) })
    }
}

fn names(config: &Config) -> String {
    config.servers.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// The JSON in a file, refused when two readers could understand it differently.
pub(super) fn read<T: for<'d> Deserialize<'d>>(path: &Path, shape: &str) -> Result<T, Fault> {
    let size = std::fs::metadata(path).map_err(|error| Fault::file(path, &error))?.len();
    if size > LARGEST {
        return Err(Fault::usage(format!("{}: the file is larger than 16 MiB", path.display())));
    }
    let bytes = std::fs::read(path).map_err(|error| Fault::file(path, &error))?;
    let value = json::strict(&bytes).map_err(|why| Fault::usage(format!("{}: {why}", path.display())))?;
    serde_json::from_value(value).map_err(|error| {
        // Its words for a wrong shape are the program's, not the file's.
        let said = error.to_string();
        let why = if said.starts_with("invalid") { "is not of this form".to_owned() } else { said };
        Fault::usage(format!("{}: {why}. Write {shape}", path.display()))
    })
}

/// The verdict in the word that files and answers use.
pub(super) fn verdict(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::RequireApproval => "hold",
        Action::Hide => "hide",
    }
}
