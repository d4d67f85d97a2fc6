//! From a `DocumentSpec` to what is asked for every call: conditions and limits checked and compiled by the same code
//! as those of our own rules, under the JSON Pointers that answers and the audit name. Called by `Document::read`.

use super::members::Mistakes;
use super::spec::{DocumentSpec, EntrySpec, HoldSpec, ToolAction, ToolSpec};
use super::{Compiled, Entry, Hold, Tool};
use crate::domain::json::places::step;
use crate::domain::policy::condition::Condition;
use crate::domain::policy::limits::{Counters, Limit};
use crate::domain::policy::{Action, ConditionSpec, Judgement, LimitSpec, SpecMistake};
use std::collections::HashMap;

pub(super) fn document(spec: &DocumentSpec, mistakes: &mut Mistakes) -> Compiled {
    let mut counters = Counters::default();
    let limits = limits(&spec.limits, "/all_tools/limits", &mut counters, mistakes);
    let mut tools = HashMap::new();
    for (name, spec) in &spec.tools {
        tools.insert(name.clone(), tool(spec, format!("/tools{}", step(name)), &mut counters, mistakes));
    }
    Compiled { default: spec.default, hide: spec.hide.clone(), limits, tools }
}

fn tool(spec: &ToolSpec, pointer: String, counters: &mut Counters, mistakes: &mut Mistakes) -> Tool {
    let reason = spec.on_deny.clone().or_else(|| spec.reason.clone());
    let require = entries(&spec.require, &format!("{pointer}/require"), reason.as_ref(), mistakes);
    let deny_if = entries(&spec.deny_if, &format!("{pointer}/deny_if"), reason.as_ref(), mistakes);
    let mut all = limits(&spec.limits, &format!("{pointer}/limits"), counters, mistakes);
    if let Some(rate) = &spec.rate_limit {
        let at = format!("{pointer}/rate_limit");
        all.extend(placed(&at, mistakes, |mistakes| Limit::compile(rate.clone(), at.clone(), &at, counters, mistakes)));
    }
    let hold = spec.holds().map(|hold| self::hold(spec, &hold, &pointer, mistakes));
    Tool { hides: spec.action == Some(ToolAction::Hide), denies: spec.action == Some(ToolAction::Deny), reason, require, deny_if, limits: all, hold, pointer }
}

fn hold(tool: &ToolSpec, spec: &HoldSpec, pointer: &str, mistakes: &mut Mistakes) -> Hold {
    let at = format!("{pointer}/require_approval");
    let when = spec.when.iter().enumerate();
    let when = when.filter_map(|(index, one)| condition(one, &format!("{at}/when/{index}"), mistakes)).collect();
    // The older key alone says it: its name is what an operator finds in the file.
    let rule = if tool.hold.is_none() { format!("{pointer}/action") } else { at };
    let (reviewers, expires_in) = (spec.reviewers.clone(), spec.timeout);
    let judgement = Judgement { action: Action::RequireApproval, reviewers, expires_in, ..Judgement::denied(rule, tool.reason.clone()) };
    Hold { when, judgement }
}

fn entries(specs: &[EntrySpec], at: &str, reason: Option<&String>, mistakes: &mut Mistakes) -> Vec<Entry> {
    let compiled = specs.iter().enumerate().filter_map(|(index, spec)| {
        let rule = format!("{at}/{index}");
        let condition = condition(&spec.condition, &rule, mistakes)?;
        Some(Entry { rule, condition, reason: spec.on_deny.as_ref().or(reason).cloned() })
    });
    compiled.collect()
}

fn condition(spec: &ConditionSpec, at: &str, mistakes: &mut Mistakes) -> Option<Condition> {
    placed(at, mistakes, |mistakes| Condition::compile(spec.clone(), at, mistakes))
}

fn limits(specs: &[LimitSpec], at: &str, counters: &mut Counters, mistakes: &mut Mistakes) -> Vec<Limit> {
    let mut compiled = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let place = format!("{at}/{index}");
        if specs[..index].iter().any(|other| other.counter == spec.counter) {
            mistakes.push(SpecMistake::new(format!("{place}/counter"), "stands twice in this list", "Leave one of them out, or give it another counter."));
        }
        let name = format!("{at}{}", step(&spec.counter));
        compiled.extend(placed(&place, mistakes, |mistakes| Limit::compile(spec.clone(), name, &place, counters, mistakes)));
    }
    compiled
}

/// The checks name a key with a dot behind its place; here it is one more step of the pointer.
fn placed<T>(at: &str, mistakes: &mut Mistakes, compile: impl FnOnce(&mut Mistakes) -> T) -> T {
    let before = mistakes.len();
    let compiled = compile(mistakes);
    for mistake in mistakes.iter_mut().skip(before) {
        if let Some(key) = mistake.at.strip_prefix(at).and_then(|rest| rest.strip_prefix('.')) {
            mistake.at = format!("{at}{}", step(key));
        }
    }
    compiled
}
