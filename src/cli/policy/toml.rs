//! Rules as an operator would write them in config.toml: one key on a line, lists of conditions and limits one entry on
//! a line. Read back they are the same rules; a test compares the digests. Called by `import`; `init` and `scan` write
//! their texts with it.

use crate::domain::policy::{ConditionSpec, Imported, LimitSpec, RuleSpec, ScopeSpec};
use crate::domain::quantity::write_time;
use serde_json::Value;
use std::fmt::Write as _;

/// `[servers.NAME]` with its rules.
pub(super) fn write(server: &str, imported: &Imported) -> String {
    let mut out = format!("[servers.{server}]\ndefault = {}\n", text(imported.default.name()));
    list(&mut out, "limits", imported.limits.iter().map(limit));
    for rule in &imported.rules {
        let _ = write!(out, "\n[[servers.{server}.rules]]\n{}", self::rule(rule));
    }
    out
}

fn rule(rule: &RuleSpec) -> String {
    let mut out = format!("name = {}\ntools = {}\n", text(&rule.name), texts(&rule.tools));
    list(&mut out, "conditions", rule.conditions.iter().map(condition));
    let _ = writeln!(out, "action = {}", text(rule.action.name()));
    if let Some(reason) = &rule.reason {
        let _ = writeln!(out, "reason = {}", text(reason));
    }
    if !rule.reviewers.is_empty() {
        let _ = writeln!(out, "reviewers = {}", texts(&rule.reviewers));
    }
    if let Some(time) = rule.expires_in {
        let _ = writeln!(out, "expires_in = {}", text(&write_time(time)));
    }
    list(&mut out, "limits", rule.limits.iter().map(limit));
    out
}

fn list(out: &mut String, key: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    if !entries.is_empty() {
        let _ = writeln!(out, "{key} = [\n  {},\n]", entries.join(",\n  "));
    }
}

fn condition(condition: &ConditionSpec) -> String {
    format!("{{ path = {}, op = {}, value = {} }}", text(&condition.path), text(condition.op.name()), value(&condition.value))
}

fn limit(limit: &LimitSpec) -> String {
    let scope = match &limit.scope {
        ScopeSpec::Grant => text("grant"),
        ScopeSpec::Session => text("session"),
        ScopeSpec::Tool => text("tool"),
        ScopeSpec::Server => text("server"),
        ScopeSpec::Global => text("global"),
        ScopeSpec::Arg(path) => format!("{{ arg = {} }}", text(path)),
    };
    let window = text(&write_time(limit.window));
    let mut out = format!("{{ counter = {}, window = {window}, max = {}, scope = {scope}", text(&limit.counter), limit.max);
    for (key, more) in [("increment_from", &limit.increment_from), ("on_deny", &limit.on_deny)] {
        if let Some(more) = more {
            let _ = write!(out, ", {key} = {}", text(more));
        }
    }
    out + " }"
}

/// TOML has no null; whoever calls has refused it.
fn value(json: &Value) -> String {
    match json {
        Value::String(string) => text(string),
        Value::Array(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, member)| format!("{} = {}", text(key), value(member)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => json.to_string(),
    }
}

pub(in crate::cli) fn texts(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|one| text(one)).collect::<Vec<_>>().join(", "))
}

/// JSON's escapes are TOML's, but TOML also wants the delete character escaped.
pub(in crate::cli) fn text(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::domain::policy::{Document, Policy, PolicySpec};
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            Just(json!(1e300)),
            Just(json!(-0.0)),
            "\\PC{0,6}|[\u{0}-\u{20}\"'\\\\\u{7f}#=]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec(("[a .\"]{0,3}", inner), 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_printed_is_read_back_as_the_same_rules(values in prop::collection::vec(any_value(), 1..4), reason in "\\PC{0,20}", to in "[a-z~. ]{1,5}") {
            let entries: Vec<Value> = values.iter().map(|value| json!({ "path": "args.a", "op": "eq", "value": value, "on_deny": reason })).collect();
            let path = format!("/{}", to.replace('~', "~0"));
            let limits = json!([{ "counter": "c", "window": "90s", "max": 7, "scope": { "arg": path }, "increment_from": "args.n", "on_deny": reason }]);
            let document = json!({ "version": "1", "default": "allow", "hide": ["gone"], "all_tools": { "limits": limits }, "tools": {
                "a[b]": { "require": entries, "rate_limit": { "max": 3, "window": 60 } },
                "b": { "deny_if": entries, "require_approval": { "timeout": "30m", "reviewers": ["desk", "a \"b\""] }, "reason": reason } } });
            let imported = Document::read(&document.to_string()).unwrap().import().unwrap();
            let printed = write("demo", &imported).replacen('\n', "\ncommand = [\"x\"]\n", 1);
            let loaded = Config::parse(&printed, "config.toml", Path::new(""), &|_| None);
            let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{printed}"));
            let Imported { default, limits, rules } = imported;
            let own = Policy::build(PolicySpec { server: "demo".into(), default, limits, rules, ..PolicySpec::default() }).unwrap();
            prop_assert_eq!(loaded.config.servers["demo"].policy.digest(), own.digest(), "{}", printed);
        }
    }
}
