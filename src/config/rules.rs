//! `default`, `reads` and `[[servers.NAME.rules]]`: from TOML to a `PolicySpec`, whose own check follows at once.
//! A value that cannot be read gets a harmless stand-in, so that the mistakes behind it show too; the policy is
//! thrown away then. Called by the reader of `[servers]`.

use super::document;
use super::limits;
use super::read::{Node, Section};
use super::source::Source;
use crate::domain::policy::{Action, ConditionSpec, Operator, Policy, PolicySpec, RuleSpec};
use serde_json::{Map, Number, Value};
use std::time::Duration;
use toml::de::DeValue;

const TEXTS: &str = "Write a list of texts, such as [\"send_*\"].";

/// Reads and compiles the policy of one server.
pub(super) fn policy(server: &str, section: &mut Section<'_>, source: &mut Source<'_>) -> Policy {
    let document = document::document(section, source);
    let hide_denied = section.take(source, "hide_denied").and_then(|node| node.flag(source)).unwrap_or(false);
    let default = section.take(source, "default");
    if let (Some(node), true) = (&default, document.is_some()) {
        source.warn(&node.key, "is not asked: policy names a policy.json, whose own default counts", "Leave it out, or leave policy out.");
    }
    let default = default.and_then(|node| node.choice(source, "an action", &Action::NAMES, &[])).unwrap_or(Action::Deny);
    let reads = section.take(source, "reads").and_then(|node| node.texts(source, TEXTS)).unwrap_or_default();
    let limits = limits::limits(section, source);
    const RULES: &str = "Write each rule as [[servers.NAME.rules]].";
    let rules = section.take(source, "rules").and_then(|node| node.list(source, RULES)).unwrap_or_default();
    let rules = rules.iter().enumerate().map(|(index, node)| rule(index, node.section(source, RULES), source)).collect();
    let built = Policy::build(PolicySpec { server: server.to_owned(), default, reads, rules, limits, document, hide_denied });
    for advice in built.as_ref().map(Policy::advice).unwrap_or_default() {
        source.warn(&format!("{}.{}", section.key, advice.at), advice.problem, advice.mend);
    }
    built.unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            source.mistake(&format!("{}.{}", section.key, mistake.at), mistake.problem, mistake.mend);
        }
        Policy::default()
    })
}

fn rule(index: usize, section: Option<Section<'_>>, source: &mut Source<'_>) -> RuleSpec {
    let mut spec = RuleSpec {
        name: format!("rule {index}"),
        tools: vec!["*".into()],
        agents: vec!["*".into()],
        conditions: Vec::new(),
        action: Action::RequireApproval,
        reason: None,
        reviewers: Vec::new(),
        approvals: None,
        expires_in: None,
        limits: Vec::new(),
        when: None,
        shadow: false,
    };
    let Some(mut section) = section else { return spec };
    if let Some(name) = section.need(source, "name", "Give the rule a name; verdicts and the audit say it.").and_then(|node| node.text(source, "Write a text."))
    {
        spec.name = name.to_owned();
    }
    if let Some(tools) = section.need(source, "tools", "Name the tools, such as tools = [\"send_*\"].").and_then(|node| node.texts(source, TEXTS)) {
        spec.tools = tools;
    }
    let action = section.need(source, "action", "One of: allow, deny, require_approval, hide.");
    if let Some(action) = action.and_then(|node| node.choice(source, "an action", &Action::NAMES, &[])) {
        spec.action = action;
    }
    if let Some(agents) = section.take(source, "agents").and_then(|node| node.texts(source, TEXTS)) {
        spec.agents = agents;
    }
    const CONDITIONS: &str = "Write conditions = [{ path = \"args.text\", op = \"contains\", value = \"http\" }].";
    let conditions = section.take(source, "conditions").and_then(|node| node.list(source, CONDITIONS)).unwrap_or_default();
    spec.conditions = conditions.iter().map(|node| condition(node.section(source, CONDITIONS), source)).collect();
    spec.reason = section.take(source, "reason").and_then(|node| node.text(source, "Write a text.")).map(str::to_owned);
    spec.reviewers = section.take(source, "reviewers").and_then(|node| node.texts(source, "Write a list of groups, such as [\"desk\"].")).unwrap_or_default();
    // Zero and "0s" are left to the policy's own check, which says what to do instead.
    let approvals = section.take(source, "approvals").and_then(|node| node.count(source, 0, 100));
    spec.approvals = approvals.and_then(|count| u32::try_from(count).ok());
    spec.expires_in = section.take(source, "expires_in").and_then(|node| node.time(source, Duration::ZERO, super::sections::LONGEST));
    const WHEN: &str = "Write a CEL expression in single quotes, such as when = 'size(args.text) > 500'.";
    spec.when = section.take(source, "when").and_then(|node| node.text(source, WHEN)).map(str::to_owned);
    spec.limits = limits::limits(&mut section, source);
    spec.shadow = section.take(source, "shadow").and_then(|node| node.flag(source)).unwrap_or(false);
    section.finish(source);
    spec
}

fn condition(section: Option<Section<'_>>, source: &mut Source<'_>) -> ConditionSpec {
    let mut spec = ConditionSpec { path: "/".into(), op: Operator::Exists, value: Value::Bool(true) };
    let Some(mut section) = section else { return spec };
    if let Some(path) = section.need(source, "path", "Write path = \"args.KEY\".").and_then(|node| node.text(source, "Write a text such as \"args.text\".")) {
        spec.path = path.to_owned();
    }
    let op = section
        .need(source, "op", "One of: eq, neq, in, not_in, lt, lte, gt, gte, regex, contains, exists.")
        .and_then(|node| node.choice(source, "an operator", &Operator::NAMES, &[]));
    match (op, section.take(source, "value")) {
        (Some(op), Some(node)) => {
            if let Some(value) = json(&node, source) {
                (spec.op, spec.value) = (op, value);
            }
        }
        (Some(Operator::Exists) | None, None) => {}
        (Some(_), None) => source.mistake(&format!("{}.value", section.key), "is missing", "Write what the argument is compared with."),
        (None, Some(node)) => {
            json(&node, source);
        }
    }
    section.finish(source);
    spec
}

/// A TOML value as the JSON that an argument can equal.
fn json(node: &Node<'_>, source: &mut Source<'_>) -> Option<Value> {
    let value = to_json(node.value());
    if value.is_none() {
        node.mistake(
            source,
            "holds something that JSON cannot say: a date, nan, inf or a number beyond 64 bits",
            "Write dates as texts and large numbers within 64 bits.",
        );
    }
    value
}

fn to_json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(flag) => Some(Value::from(*flag)),
        DeValue::Integer(number) => {
            let signed = i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from);
            signed.or_else(|| u64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from))
        }
        DeValue::Float(number) => number.as_str().parse().ok().and_then(Number::from_f64).map(Value::Number),
        DeValue::Datetime(_) => None,
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(members) => {
            let members = members.iter().map(|(key, value)| Some((key.get_ref().to_string(), to_json(value.get_ref())?)));
            members.collect::<Option<Map<String, Value>>>().map(Value::Object)
        }
    }
}
