//! A policy as an operator wrote it, before it is checked: plain data, so that every notation (`config.toml`,
//! `policy.json`) ends in the same check. Made by `config`, consumed by `Policy::build`.

use super::{Action, Document, Operator};
use crate::domain::digest::Digest;
use crate::domain::json::canonical;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The rules of one server, unchecked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PolicySpec {
    /// The server's name: counters are told apart by it.
    pub server: String,
    /// The verdict when no rule matches.
    pub default: Action,
    /// Globs of tools that change nothing.
    pub reads: Vec<String>,
    /// In order.
    pub rules: Vec<RuleSpec>,
    /// For every call of the server.
    pub limits: Vec<LimitSpec>,
    /// A `policy.json` that is asked first, checked already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Whether `tools/list` leaves out what no arguments let through.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hide_denied: bool,
}

/// One rule, unchecked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RuleSpec {
    /// What verdicts and the audit call it; unique in its policy.
    pub name: String,
    /// Globs of tools.
    pub tools: Vec<String>,
    /// Globs of agents; `["*"]` for everybody.
    pub agents: Vec<String>,
    /// All must hold.
    pub conditions: Vec<ConditionSpec>,
    /// A CEL expression that must hold besides; asked last.
    pub when: Option<String>,
    /// What to do.
    pub action: Action,
    /// Told to the agent on deny, shown to the reviewer on hold.
    pub reason: Option<String>,
    /// Groups that may decide; only with `require_approval`.
    pub reviewers: Vec<String>,
    /// Distinct people needed, default 1; only with `require_approval`.
    pub approvals: Option<u32>,
    /// The rule's own deadline; only with `require_approval`.
    pub expires_in: Option<Duration>,
    /// For the calls that this rule decides; not with `deny` and `hide`.
    pub limits: Vec<LimitSpec>,
    /// Say in the audit that it matched, and go on as if it were not there.
    pub shadow: bool,
}

/// One limit, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LimitSpec {
    /// Limits of one server that name the same counter draw on it together; `global` ones of every server do.
    pub counter: String,
    /// Slides.
    pub window: Duration,
    /// At most so much in any window; at most [`LARGEST_MAX`](crate::domain::limit::LARGEST_MAX).
    pub max: u64,
    /// Who has a counter of its own.
    pub scope: ScopeSpec,
    /// Where in the arguments the number stands that a call takes; one call takes 1 without it.
    pub increment_from: Option<String>,
    /// Told to the agent beside the time.
    pub on_deny: Option<String>,
}

/// Who has a counter of its own, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSpec {
    /// Each agent.
    Grant,
    /// Each MCP session; without one, each agent.
    Session,
    /// Each tool.
    Tool,
    /// The server as a whole.
    Server,
    /// All servers together.
    Global,
    /// Each value of an argument, such as the recipient: `args.to` or a JSON Pointer.
    Arg(String),
}

impl ScopeSpec {
    /// The scope of a word; `None` for one that is none. An argument is no word.
    pub fn named(word: &str) -> Option<ScopeSpec> {
        match word {
            "grant" => Some(ScopeSpec::Grant),
            "session" => Some(ScopeSpec::Session),
            "tool" => Some(ScopeSpec::Tool),
            "server" => Some(ScopeSpec::Server),
            "global" => Some(ScopeSpec::Global),
            _ => None,
        }
    }
}

impl PolicySpec {
    /// What the audit calls this policy: a digest of what it says, not of how it was written down.
    pub fn digest(&self) -> Digest {
        // Plain data: it has no map with keys that are not texts.
        Digest::of_bytes(serde_json::to_value(self).map(|value| canonical(&value)).unwrap_or_default().as_bytes())
    }
}

/// One condition, unchecked.
#[derive(Debug, Clone, Serialize)]
pub struct ConditionSpec {
    /// `args.a.b`, or a JSON Pointer into the arguments (RFC 6901) for keys with dots.
    pub path: String,
    /// The comparison.
    pub op: Operator,
    /// What the argument is compared with.
    pub value: Value,
}

/// One mistake in a [`PolicySpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecMistake {
    /// Where, relative to the server: `rules[0].conditions[1].path`, `reads[2]`.
    pub at: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub mend: String,
}

impl SpecMistake {
    pub(super) fn new(at: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> SpecMistake {
        SpecMistake { at: at.into(), problem: problem.into(), mend: mend.into() }
    }
}
