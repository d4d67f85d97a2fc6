//! A policy as an operator wrote it, before it is checked: plain data, so that every notation (`config.toml`
//! now, other formats later) ends in the same check. Made by `config`, consumed by `Policy::build`.

use super::{Action, Operator};
use serde_json::Value;
use std::time::Duration;

/// The rules of one server, unchecked.
#[derive(Debug, Clone)]
pub struct PolicySpec {
    /// The verdict when no rule matches.
    pub default: Action,
    /// Globs of tools that change nothing.
    pub reads: Vec<String>,
    /// In order.
    pub rules: Vec<RuleSpec>,
}

/// One rule, unchecked.
#[derive(Debug, Clone)]
pub struct RuleSpec {
    /// What verdicts and the audit call it; unique in its policy.
    pub name: String,
    /// Globs of tools.
    pub tools: Vec<String>,
    /// Globs of agents; `["*"]` for everybody.
    pub agents: Vec<String>,
    /// All must hold.
    pub conditions: Vec<ConditionSpec>,
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
}

/// One condition, unchecked.
#[derive(Debug, Clone)]
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
