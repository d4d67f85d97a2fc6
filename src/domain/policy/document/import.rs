//! A `policy.json` as rules of our own that judge alike. Rules deny what a condition finds, so a requirement becomes
//! one or two rules that deny its opposite; `regex` and `contains` have none, so they become conditions of the rule
//! that allows. What cannot be said exactly is refused by name: a rule that nearly does the same protects nobody.
//! Called by `paraph policy import`.

use super::Document;
use super::spec::{EntrySpec, ToolAction, ToolSpec};
use crate::domain::json::places::step;
use crate::domain::policy::{Action, ConditionSpec, LimitSpec, Operator, Policy, PolicySpec, RuleSpec};
use serde_json::Value;
use std::collections::HashSet;

/// Characters of a rule's name.
const NAME_CHARS: usize = 100;

/// What goes into `[servers.NAME]`.
#[derive(Debug, Clone)]
pub struct Imported {
    /// `default`.
    pub default: Action,
    /// `limits`.
    pub limits: Vec<LimitSpec>,
    /// `[[servers.NAME.rules]]`, in order.
    pub rules: Vec<RuleSpec>,
}

/// A key that our rules cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotImported {
    /// Where, as a JSON Pointer.
    pub pointer: String,
    /// Why not.
    pub why: &'static str,
}

/// Rules under way.
#[derive(Default)]
struct Rules {
    rules: Vec<RuleSpec>,
    names: HashSet<String>,
    refused: Vec<NotImported>,
}

/// One tool with what of its requirements is left for the rule that allows.
struct Part<'d> {
    pointer: String,
    tools: String,
    spec: &'d ToolSpec,
    rest: Vec<(String, &'d EntrySpec)>,
}

impl Document {
    /// Rules that judge every call as this document does.
    pub fn import(&self) -> Result<Imported, Vec<NotImported>> {
        let mut rules = Rules::default();
        for (index, name) in self.spec.hide.iter().enumerate() {
            rules.push(RuleSpec { action: Action::Hide, ..rule(format!("/hide/{index}"), pattern(name)) });
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        // What every tool has on top comes last: its own words are told first.
        let named = self.spec.tools.iter().filter(|(name, _)| *name != "*");
        for (name, spec) in named.chain(self.spec.tools.get_key_value("*")) {
            parts.push(Part { pointer: format!("/tools{}", step(name)), tools: pattern(name), spec, rest: Vec::new() });
        }
        for part in parts.iter().filter(|part| part.spec.action == Some(ToolAction::Hide)) {
            rules.push(RuleSpec { action: Action::Hide, ..rule(format!("{}/action", part.pointer), part.tools.clone()) });
        }
        for part in &mut parts {
            rules.denials(part);
        }
        let on_top = parts.iter().position(|part| part.tools == "*").map(|index| parts.remove(index));
        for part in &parts {
            rules.passes(part, on_top.as_ref());
        }
        if let Some(on_top) = on_top.as_ref().filter(|_| self.spec.default == Action::Allow) {
            // Its limits are the server's.
            let spec = ToolSpec { limits: Vec::new(), rate_limit: None, ..on_top.spec.clone() };
            rules.passes(&Part { spec: &spec, rest: on_top.rest.clone(), pointer: on_top.pointer.clone(), tools: "*".into() }, None);
        }
        let mut limits: Vec<LimitSpec> = Vec::new();
        let all = self.spec.limits.iter().map(|limit| ("/all_tools/limits", limit));
        let all = all.chain(on_top.iter().flat_map(|part| part.spec.limits.iter().chain(&part.spec.rate_limit)).map(|limit| ("/tools/*/limits", limit)));
        for (at, limit) in all {
            match limits.iter().find(|other| other.counter == limit.counter) {
                None => limits.push(limit.clone()),
                Some(other) if (&other.scope, &other.increment_from) == (&limit.scope, &limit.increment_from) => {}
                Some(_) => rules.refuse(format!("{at}{}", step(&limit.counter)), "a server has each counter once, and this one counts in two ways"),
            }
        }
        let Rules { rules, mut refused, .. } = rules;
        let imported = Imported { default: self.spec.default, limits, rules };
        let spec = PolicySpec { default: imported.default, limits: imported.limits.clone(), rules: imported.rules.clone(), ..PolicySpec::default() };
        if refused.is_empty() && Policy::build(spec).is_err() {
            refused.push(NotImported { pointer: String::new(), why: "a name in it cannot be written as a pattern of a rule" });
        }
        if refused.is_empty() { Ok(imported) } else { Err(refused) }
    }
}

impl Rules {
    /// Everything that denies.
    fn denials<'d>(&mut self, part: &mut Part<'d>) {
        let spec = part.spec;
        let reason = spec.on_deny.clone().or_else(|| spec.reason.clone());
        let deny = |name: String, reason: Option<String>, conditions| RuleSpec { reason, conditions, ..rule(name, part.tools.clone()) };
        if spec.action == Some(ToolAction::Deny) {
            self.push(deny(format!("{}/action", part.pointer), reason.clone(), Vec::new()));
        }
        for (index, entry) in spec.require.iter().enumerate() {
            let at = format!("{}/require/{index}", part.pointer);
            self.sayable(&entry.condition, &at);
            let words = entry.on_deny.clone().or_else(|| reason.clone());
            let Some(opposite) = opposite(&entry.condition) else {
                part.rest.push((at, entry));
                continue;
            };
            if entry.condition.op != Operator::Exists {
                let missing = ConditionSpec { path: entry.condition.path.clone(), op: Operator::Exists, value: Value::Bool(false) };
                self.push(deny(format!("{at} is missing"), words.clone(), vec![missing]));
            }
            self.push(deny(at, words, vec![opposite]));
        }
        for (index, entry) in spec.deny_if.iter().enumerate() {
            let at = format!("{}/deny_if/{index}", part.pointer);
            self.sayable(&entry.condition, &at);
            self.push(deny(at, entry.on_deny.clone().or_else(|| reason.clone()), vec![entry.condition.clone()]));
        }
    }

    /// What becomes of a call that nothing denied.
    fn passes(&mut self, part: &Part<'_>, on_top: Option<&Part<'_>>) {
        if matches!(part.spec.action, Some(ToolAction::Deny | ToolAction::Hide)) {
            return;
        }
        let limits: Vec<LimitSpec> = part.spec.limits.iter().chain(&part.spec.rate_limit).cloned().collect();
        let rest: Vec<&(String, &EntrySpec)> = part.rest.iter().chain(on_top.iter().flat_map(|part| &part.rest)).collect();
        let own = part.spec.holds().map(|hold| (&part.pointer, part.spec, hold));
        let tops = on_top.and_then(|part| part.spec.holds().map(|hold| (&part.pointer, part.spec, hold)));
        if let (Some((_, _, own)), Some((at, _, top))) = (&own, &tops)
            && (&own.reviewers, own.timeout) != (&top.reviewers, top.timeout)
        {
            self.refuse(format!("{at}/require_approval"), "two rules cannot share who decides and until when");
        }
        let mut holds_always = false;
        for (at, spec, hold) in own.into_iter().chain(tops) {
            if holds_always {
                break;
            }
            holds_always = hold.when.is_empty();
            for (at, _) in &rest {
                self.refuse(at.clone(), "its calls may need a person, and a rule that holds cannot require a pattern");
            }
            for (index, condition) in hold.when.iter().enumerate() {
                self.sayable(condition, &format!("{at}/require_approval/when/{index}"));
            }
            let name = if *at == part.pointer { format!("{at}/require_approval") } else { format!("{} {at}/require_approval", part.pointer) };
            self.push(RuleSpec {
                action: Action::RequireApproval,
                conditions: hold.when,
                reason: spec.reason.clone(),
                reviewers: hold.reviewers,
                expires_in: hold.timeout,
                limits: limits.clone(),
                ..rule(name, part.tools.clone())
            });
        }
        if holds_always {
            return;
        }
        let conditions = rest.iter().map(|(_, entry)| entry.condition.clone()).collect();
        self.push(RuleSpec { action: Action::Allow, conditions, limits, ..rule(part.pointer.clone(), part.tools.clone()) });
        if !rest.is_empty() {
            let mut words: Vec<&String> = Vec::new();
            for word in rest.iter().filter_map(|(_, entry)| entry.on_deny.as_ref()).chain(&part.spec.on_deny) {
                if !words.contains(&word) && words.iter().map(|word| word.chars().count() + 1).sum::<usize>() + word.chars().count() <= super::REASON_CHARS {
                    words.push(word);
                }
            }
            let reason = (!words.is_empty()).then(|| words.into_iter().cloned().collect::<Vec<_>>().join(" "));
            self.push(RuleSpec { reason, ..rule(format!("{} otherwise", part.pointer), part.tools.clone()) });
        }
    }

    /// TOML has no null.
    fn sayable(&mut self, condition: &ConditionSpec, at: &str) {
        if has_null(&condition.value) {
            self.refuse(format!("{at}/value"), "it holds null, which config.toml cannot say");
        }
    }

    fn refuse(&mut self, pointer: String, why: &'static str) {
        let refused = NotImported { pointer, why };
        if !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }

    fn push(&mut self, rule: RuleSpec) {
        let plain = rule.name.chars().count() <= NAME_CHARS && !rule.name.chars().any(char::is_control) && rule.name.trim() == rule.name;
        let name = if plain && !self.names.contains(&rule.name) { rule.name } else { format!("imported {}", self.rules.len() + 1) };
        self.names.insert(name.clone());
        self.rules.push(RuleSpec { name, ..rule });
    }
}

fn rule(name: String, tools: String) -> RuleSpec {
    RuleSpec { name, tools: vec![tools], agents: vec!["*".into()], action: Action::Deny, ..RuleSpec::default() }
}

/// The pattern that matches this name alone; `*` stays what it is.
fn pattern(name: &str) -> String {
    if name == "*" {
        return name.to_owned();
    }
    let escaped = name.chars().flat_map(|letter| matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\').then_some('\\').into_iter().chain([letter]));
    escaped.collect()
}

/// What is found where the condition is not, of an argument that is there and of its type.
fn opposite(condition: &ConditionSpec) -> Option<ConditionSpec> {
    let (op, value) = match (condition.op, &condition.value) {
        (Operator::Eq, value) => (Operator::Neq, value.clone()),
        (Operator::Neq, value) => (Operator::Eq, value.clone()),
        (Operator::In, value) => (Operator::NotIn, value.clone()),
        (Operator::NotIn, value) => (Operator::In, value.clone()),
        (Operator::Lt, value) => (Operator::Gte, value.clone()),
        (Operator::Lte, value) => (Operator::Gt, value.clone()),
        (Operator::Gt, value) => (Operator::Lte, value.clone()),
        (Operator::Gte, value) => (Operator::Lt, value.clone()),
        (Operator::Exists, value) => (Operator::Exists, Value::Bool(*value == Value::Bool(false))),
        (Operator::Regex | Operator::Contains, _) => return None,
    };
    Some(ConditionSpec { path: condition.path.clone(), op, value })
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
