//! One rule, checked and compiled: which calls it is for and what it says of them. A key that means nothing for
//! the rule's action is a mistake, because an operator who wrote it believes that it protects something.
//! Called by `Policy`.

mod explain;

use super::condition::{Condition, contradictions};
use super::limits::{self, Counters, Limit};
use super::names::Names;
use super::spec::{RuleSpec, SpecMistake};
use super::when::{Budget, When};
use super::{Action, Asked, DEFAULT_RULE, Judgement};
use std::time::Duration;

/// Characters of a rule's name.
const NAME_CHARS: usize = 100;
/// Characters of a reason: what an agent is told at most.
const REASON_CHARS: usize = 500;

#[derive(Debug, Clone)]
pub(super) struct Rule {
    name: String,
    tools: Names,
    agents: Names,
    conditions: Vec<Condition>,
    when: Option<When>,
    shadow: bool,
    action: Action,
    reason: Option<String>,
    reviewers: Vec<String>,
    approvals: u32,
    expires_in: Option<Duration>,
    limits: Vec<Limit>,
}

/// Whether a rule is for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    /// Its `when` is neither true nor false; why, in plain words without any value of the call.
    CannotBeJudged(&'static str),
}

impl Rule {
    /// Checks and compiles; what is wrong goes to `mistakes` under `at`.
    pub(super) fn compile(spec: RuleSpec, at: &str, counters: &mut Counters, mistakes: &mut Vec<SpecMistake>) -> Option<Rule> {
        let before = mistakes.len();
        check_texts(&spec, at, mistakes);
        check_keys(&spec, at, mistakes);
        let tools = names(&spec.tools, &format!("{at}.tools"), mistakes);
        let agents = names(&spec.agents, &format!("{at}.agents"), mistakes);
        let conditions: Vec<Condition> = spec
            .conditions
            .into_iter()
            .enumerate()
            .filter_map(|(index, condition)| Condition::compile(condition, &format!("{at}.conditions[{index}]"), mistakes))
            .collect();
        let when = spec.when.as_ref().and_then(|when| When::compile(when, &format!("{at}.when"), mistakes));
        let limits = limits::compile(spec.limits, &format!("{}/", spec.name), &format!("{at}.limits"), counters, mistakes);
        (mistakes.len() == before).then_some(Rule {
            limits,
            name: spec.name,
            tools,
            agents,
            conditions,
            when,
            shadow: spec.shadow,
            action: spec.action,
            reason: spec.reason,
            reviewers: spec.reviewers,
            approvals: spec.approvals.unwrap_or(1),
            expires_in: spec.expires_in,
        })
    }

    /// Whether this rule is for the call. A wrong type counts against the caller: it never opens, it always closes.
    /// The `when` is asked last: it costs the most, and what it cannot judge is denied.
    pub(super) fn matches(&self, asked: &Asked<'_>, server: &str, budget: &Budget) -> Match {
        let wrong_type = self.action != Action::Allow;
        let concerned = self.names_tool(asked.tool) && self.names_agent(asked.agent);
        if !concerned || !self.conditions.iter().all(|condition| condition.holds(asked.arguments, wrong_type)) {
            return Match::No;
        }
        match self.when.as_ref().map(|when| when.holds(asked, server, budget)) {
            None | Some(Ok(true)) => Match::Yes,
            Some(Ok(false)) => Match::No,
            Some(Err(why)) => Match::CannotBeJudged(why),
        }
    }

    pub(super) fn judgement(&self) -> Judgement {
        Judgement {
            action: self.action,
            rule: self.name.clone(),
            reason: self.reason.clone(),
            reviewers: self.reviewers.clone(),
            approvals: self.approvals,
            expires_in: self.expires_in,
            charges: Vec::new(),
            shadows: Vec::new(),
        }
    }

    pub(super) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    pub(super) fn names_tool(&self, tool: &str) -> bool {
        self.tools.has(tool)
    }

    pub(super) fn names_agent(&self, agent: &str) -> bool {
        self.agents.has(agent)
    }

    pub(super) fn is_for_every_agent(&self) -> bool {
        self.agents.has_every_name()
    }

    /// Whether arguments, or the time, may keep it from matching.
    pub(super) fn has_conditions(&self) -> bool {
        !self.conditions.is_empty() || self.when.is_some()
    }

    /// Arguments of which no value lets the rule match.
    pub(super) fn contradictions(&self) -> Vec<String> {
        contradictions(&self.conditions, self.action != Action::Allow)
    }

    /// Whether it has a `when` that is the same for every call.
    pub(super) fn has_constant_when(&self) -> bool {
        self.when.as_ref().is_some_and(When::is_constant)
    }

    pub(super) fn tools(&self) -> &Names {
        &self.tools
    }

    pub(super) fn agents(&self) -> &Names {
        &self.agents
    }

    /// Whether it is only recorded.
    pub(super) fn is_shadow(&self) -> bool {
        self.shadow
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn names(patterns: &[String], at: &str, mistakes: &mut Vec<SpecMistake>) -> Names {
    if patterns.is_empty() {
        mistakes.push(SpecMistake::new(at, "is empty, so the rule could never match", "Name at least one, or write [\"*\"] for every one."));
    }
    Names::compile(patterns, at, mistakes)
}

fn check_texts(spec: &RuleSpec, at: &str, mistakes: &mut Vec<SpecMistake>) {
    let name = &spec.name;
    if name.trim().is_empty() || name.trim() != name || name.chars().count() > NAME_CHARS || name.chars().any(char::is_control) {
        mistakes.push(SpecMistake::new(
            format!("{at}.name"),
            "is not a rule's name",
            "Use 1 to 100 characters without line breaks and without blanks at the ends.",
        ));
    }
    if name == DEFAULT_RULE {
        mistakes.push(SpecMistake::new(format!("{at}.name"), "\"default\" is what verdicts say when no rule matched", "Call the rule something else."));
    }
    if spec.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS) {
        mistakes.push(SpecMistake::new(format!("{at}.reason"), "is longer than 500 characters", "Agents are told 500 characters at most; shorten it."));
    }
    if let Some(index) = spec.reviewers.iter().position(|group| group.trim().is_empty()) {
        mistakes.push(SpecMistake::new(
            format!("{at}.reviewers[{index}]"),
            "is an empty group name",
            "Name a group, or leave reviewers out for every reviewer.",
        ));
    }
}

fn check_keys(spec: &RuleSpec, at: &str, mistakes: &mut Vec<SpecMistake>) {
    if spec.action == Action::Hide && !spec.conditions.is_empty() {
        mistakes.push(SpecMistake::new(
            format!("{at}.conditions"),
            "means nothing with action = \"hide\": tools are listed before there are arguments",
            "Leave the conditions out, or use action = \"deny\".",
        ));
    }
    if spec.action == Action::Hide && spec.when.is_some() {
        mistakes.push(SpecMistake::new(
            format!("{at}.when"),
            "means nothing with action = \"hide\": tools are listed before there are arguments",
            "Leave it out, or use action = \"deny\".",
        ));
    }
    if spec.action == Action::RequireApproval {
        check_hold(spec, at, mistakes);
        return;
    }
    if matches!(spec.action, Action::Deny | Action::Hide) && !spec.limits.is_empty() {
        mistakes.push(SpecMistake::new(
            format!("{at}.limits"),
            format!("mean nothing with action = {:?}: nothing passes that could be counted", spec.action.name()),
            "Leave them out.",
        ));
    }
    let written = [("reviewers", !spec.reviewers.is_empty()), ("approvals", spec.approvals.is_some()), ("expires_in", spec.expires_in.is_some())];
    for (key, _) in written.into_iter().filter(|(_, present)| *present) {
        mistakes.push(SpecMistake::new(
            format!("{at}.{key}"),
            format!("means nothing with action = {:?}: nobody is asked", spec.action.name()),
            "Leave it out, or use action = \"require_approval\".",
        ));
    }
}

fn check_hold(spec: &RuleSpec, at: &str, mistakes: &mut Vec<SpecMistake>) {
    if spec.approvals == Some(0) {
        mistakes.push(SpecMistake::new(format!("{at}.approvals"), "must be at least 1", "Use action = \"allow\" for calls that need nobody."));
    }
    if spec.expires_in == Some(Duration::ZERO) {
        mistakes.push(SpecMistake::new(format!("{at}.expires_in"), "must be longer than zero", "Use action = \"deny\" for calls that nobody should decide."));
    }
}
