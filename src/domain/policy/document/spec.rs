//! A `policy.json` as plain data, before it is checked: what `read` makes of the text, what `compile` checks, what
//! `import` turns into rules of our own, and what the digest of a policy covers.

use crate::domain::policy::{Action, ConditionSpec, LimitSpec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The whole file.
#[derive(Debug, Clone, Serialize)]
pub(in crate::domain::policy) struct DocumentSpec {
    /// Of tools that `tools` does not name: allow or deny.
    pub(in crate::domain::policy) default: Action,
    /// Names of tools, or `*`.
    pub(in crate::domain::policy) hide: Vec<String>,
    /// `all_tools.limits`.
    pub(in crate::domain::policy) limits: Vec<LimitSpec>,
    /// By name; `*` is on top of every other.
    pub(in crate::domain::policy) tools: BTreeMap<String, ToolSpec>,
}

/// What stands under one tool's name.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::domain::policy) struct ToolSpec {
    /// Each must hold.
    pub(in crate::domain::policy) require: Vec<EntrySpec>,
    /// None may hold.
    pub(in crate::domain::policy) deny_if: Vec<EntrySpec>,
    /// Its own limits.
    pub(in crate::domain::policy) limits: Vec<LimitSpec>,
    /// The older way to write one limit.
    pub(in crate::domain::policy) rate_limit: Option<LimitSpec>,
    /// Told to the agent where an entry says nothing of its own.
    pub(in crate::domain::policy) on_deny: Option<String>,
    /// A person must approve.
    pub(in crate::domain::policy) hold: Option<HoldSpec>,
    /// The older way to write a verdict.
    pub(in crate::domain::policy) action: Option<ToolAction>,
    /// The older `on_deny`; shown to the reviewer on hold.
    pub(in crate::domain::policy) reason: Option<String>,
}

/// An entry of `require` or `deny_if`.
#[derive(Debug, Clone, Serialize)]
pub(in crate::domain::policy) struct EntrySpec {
    /// What is asked.
    pub(in crate::domain::policy) condition: ConditionSpec,
    /// Told to the agent when this entry denies.
    pub(in crate::domain::policy) on_deny: Option<String>,
}

/// `require_approval`.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::domain::policy) struct HoldSpec {
    /// All must hold; empty for every call.
    pub(in crate::domain::policy) when: Vec<ConditionSpec>,
    /// Nobody decided for so long: refused.
    pub(in crate::domain::policy) timeout: Option<Duration>,
    /// Groups that may decide; empty for every reviewer.
    pub(in crate::domain::policy) reviewers: Vec<String>,
}

/// The words of `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::domain::policy) enum ToolAction {
    /// The entries decide, as without the key.
    Allow,
    /// The same, and there must be entries to ask.
    Evaluate,
    /// Every call is refused.
    Deny,
    /// There is no such tool for agents.
    Hide,
    /// As `require_approval: true`.
    RequireApproval,
}

impl ToolAction {
    /// All, with their names.
    pub(super) const NAMES: [(&'static str, ToolAction); 5] = [
        ("allow", ToolAction::Allow),
        ("evaluate", ToolAction::Evaluate),
        ("deny", ToolAction::Deny),
        ("hide", ToolAction::Hide),
        ("require_approval", ToolAction::RequireApproval),
    ];
}

impl ToolSpec {
    /// The older and the newer key say the same.
    pub(in crate::domain::policy) fn holds(&self) -> Option<HoldSpec> {
        match self.action {
            Some(ToolAction::RequireApproval) => Some(HoldSpec::default()),
            _ => self.hold.clone(),
        }
    }
}
