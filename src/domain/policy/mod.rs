//! What a policy says of a call. A policy is the ordered rules of one server plus its default; the first rule
//! whose tools, agents and conditions match decides. Anything that cannot be judged is denied.
//! Built by `config` from what an operator wrote, asked by `gate/admit` and again before sending.

use serde_json::Value;
use std::time::Duration;

/// A call as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The tool's name, compared exactly (case and blanks count).
    pub tool: &'a str,
    /// The strictly parsed arguments.
    pub arguments: &'a Value,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub action: Action,
    /// The rule's name; `default` when no rule matched.
    pub rule: String,
    /// The rule's reason.
    pub reason: Option<String>,
    /// Groups that may decide a held call; empty means every reviewer.
    pub reviewers: Vec<String>,
    /// Distinct people needed.
    pub approvals: u32,
    /// The rule's own deadline.
    pub expires_in: Option<Duration>,
}

/// The actions of a rule and of `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Let it through.
    Allow,
    /// Refuse.
    Deny,
    /// Hold it for a person.
    RequireApproval,
    /// Refuse as if there were no such tool.
    Hide,
}

/// What a tool's calls get before their arguments are known; for `/servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// What happens when no conditional rule matches.
    pub action: Action,
    /// The rule that says so.
    pub rule: String,
    /// True when a rule with conditions stands before it: arguments or agent may change the verdict.
    pub depends: bool,
}

/// The rules of one server.
#[derive(Debug, Clone, Default)]
pub struct Policy {}

impl Policy {
    /// The verdict on one call.
    pub fn judge(&self, asked: &Asked<'_>) -> Judgement {
        let _ = asked;
        Judgement { action: Action::Deny, rule: "default".into(), reason: None, reviewers: Vec::new(), approvals: 1, expires_in: None }
    }

    /// What the tool's calls get, as far as it can be said without arguments.
    pub fn preview(&self, tool: &str) -> Preview {
        let _ = tool;
        Preview { action: Action::Deny, rule: "default".into(), depends: false }
    }

    /// Whether an operator declared that the tool changes nothing.
    pub fn reads(&self, tool: &str) -> bool {
        let _ = tool;
        false
    }

    /// Whether `tools/list` leaves the tool out for this agent.
    pub fn hides(&self, agent: &str, tool: &str) -> bool {
        let _ = (agent, tool);
        false
    }
}
