//! What a document says of a call, and what becomes of that beside our own rules. Its deny and hide stand. What it
//! lets through goes to the rules; if none matches, it passes. Its `require_approval` holds unless a rule denies or
//! hides: two files that are asked for one call must not open what either of them closes. Called by `Policy::judge`.

use super::{Document, Tool};
use crate::domain::policy::limits::Limit;
use crate::domain::policy::{Action, Asked, DEFAULT_RULE, Judgement, Preview};

/// The name of what a document says of tools that it does not name.
const DEFAULT: &str = "/default";

/// What a document says.
#[derive(Debug)]
pub(in crate::domain::policy) enum Said {
    /// Denied or hidden; nobody else is asked.
    No(Judgement),
    /// A person is needed.
    Hold(Judgement),
    /// It passes, by this name.
    Pass(String),
}

impl Document {
    /// The verdict of the document alone, before anything is counted.
    pub(in crate::domain::policy) fn judge(&self, asked: &Asked<'_>) -> Said {
        if let Some(rule) = self.hidden_by(asked.tool) {
            return Said::No(Judgement { action: Action::Hide, ..Judgement::denied(rule, None) });
        }
        let named = self.named(asked.tool);
        if named.is_none() && self.compiled.default == Action::Deny {
            return Said::No(Judgement::denied(DEFAULT.into(), None));
        }
        let on_top = self.compiled.tools.get("*");
        for tool in named.into_iter().chain(on_top) {
            if let Some(denied) = tool.denies(asked) {
                return Said::No(denied);
            }
        }
        let mut holds = named.into_iter().chain(on_top).filter_map(|tool| tool.holds(asked));
        match (holds.next(), holds.next()) {
            (Some(first), Some(second)) => Said::Hold(joined(first, &second)),
            (Some(hold), None) => Said::Hold(hold),
            (None, _) => Said::Pass(named.map_or_else(|| DEFAULT.into(), |tool| tool.pointer.clone())),
        }
    }

    /// The limits of a call of this tool: of all tools, of `*`, its own.
    pub(in crate::domain::policy) fn limits_of(&self, tool: &str) -> impl Iterator<Item = &Limit> {
        let tools = self.compiled.tools.get("*").into_iter().chain(self.named(tool));
        self.compiled.limits.iter().chain(tools.flat_map(|tool| &tool.limits))
    }

    /// What leaves the tool out of `tools/list`.
    pub(in crate::domain::policy) fn hidden_by(&self, tool: &str) -> Option<String> {
        let listed = self.compiled.hide.iter().position(|name| name == "*" || name == tool).map(|index| format!("/hide/{index}"));
        let marked = || self.named(tool).into_iter().chain(self.compiled.tools.get("*")).find(|tool| tool.hides);
        listed.or_else(|| marked().map(|tool| format!("{}/action", tool.pointer)))
    }

    /// What the tool's calls get, as far as the document can say it without arguments. Its limits stand beside those
    /// of the rules; the policy adds them.
    pub(in crate::domain::policy) fn preview(&self, tool: &str) -> Preview {
        let says = |action, rule, depends| Preview { action, rule, depends, limits: Vec::new() };
        if let Some(rule) = self.hidden_by(tool) {
            return says(Action::Hide, rule, false);
        }
        let named = self.named(tool);
        if named.is_none() && self.compiled.default == Action::Deny {
            return says(Action::Deny, DEFAULT.into(), false);
        }
        let tools = || named.into_iter().chain(self.compiled.tools.get("*"));
        if let Some(denying) = tools().find(|tool| tool.denies) {
            return says(Action::Deny, format!("{}/action", denying.pointer), false);
        }
        let depends = tools().any(|tool| !tool.require.is_empty() || !tool.deny_if.is_empty() || tool.hold.as_ref().is_some_and(|hold| !hold.when.is_empty()));
        match tools().filter_map(|tool| tool.hold.as_ref()).find(|hold| hold.when.is_empty()) {
            Some(hold) => says(Action::RequireApproval, hold.judgement.rule.clone(), depends),
            None => says(Action::Allow, named.map_or_else(|| DEFAULT.into(), |tool| tool.pointer.clone()), depends),
        }
    }

    /// Everything that it holds calls with.
    pub(in crate::domain::policy) fn holding(&self) -> Vec<Judgement> {
        let tools = self.spec.tools.keys().filter_map(|name| self.compiled.tools.get(name));
        tools.filter_map(|tool| tool.hold.as_ref()).map(|hold| hold.judgement.clone()).collect()
    }

    /// A tool that is itself called `*` is one that nobody named.
    pub(super) fn named(&self, tool: &str) -> Option<&Tool> {
        self.compiled.tools.get(tool).filter(|_| tool != "*")
    }
}

impl Tool {
    fn denies(&self, asked: &Asked<'_>) -> Option<Judgement> {
        if self.denies {
            return Some(Judgement::denied(format!("{}/action", self.pointer), self.reason.clone()));
        }
        let failed = self.require.iter().find(|entry| !entry.condition.holds(asked.arguments, false));
        let entry = failed.or_else(|| self.deny_if.iter().find(|entry| entry.condition.holds(asked.arguments, true)))?;
        Some(Judgement::denied(entry.rule.clone(), entry.reason.clone()))
    }

    fn holds(&self, asked: &Asked<'_>) -> Option<Judgement> {
        let hold = self.hold.as_ref()?;
        hold.when.iter().all(|condition| condition.holds(asked.arguments, true)).then(|| hold.judgement.clone())
    }
}

impl Said {
    /// Together with what our own rules say.
    pub(in crate::domain::policy) fn beside(self, rules: Judgement) -> Judgement {
        // No rule may be called so: none matched.
        let matched = rules.rule != DEFAULT_RULE;
        match (self, rules.action) {
            (Said::No(no), _) => no,
            (Said::Pass(rule), _) if !matched => Judgement { action: Action::Allow, rule, reason: None, reviewers: Vec::new(), ..rules },
            (Said::Hold(hold), Action::RequireApproval) if matched => joined(rules, &hold),
            (Said::Hold(hold), action) if !matched || action == Action::Allow => {
                let Judgement { action, rule, reason, reviewers, approvals, expires_in, .. } = hold;
                Judgement { action, rule, reason, reviewers, approvals, expires_in, ..rules }
            }
            (Said::Pass(_) | Said::Hold(_), _) => rules,
        }
    }
}

/// Two that hold the same call: the first one's words, and what it leaves open from the second.
fn joined(first: Judgement, second: &Judgement) -> Judgement {
    let reviewers = if first.reviewers.is_empty() { second.reviewers.clone() } else { first.reviewers };
    let expires_in = match (first.expires_in, second.expires_in) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Judgement { reviewers, expires_in, approvals: first.approvals.max(second.approvals), reason: first.reason.or_else(|| second.reason.clone()), ..first }
}
