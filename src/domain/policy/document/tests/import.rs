//! What is imported, rule by rule, and what is refused by name.
//! That the rules judge alike is a property in `random`.

use super::*;

/// The names of the imported rules with their actions.
fn imported(value: &Value) -> Vec<(String, &'static str)> {
    let rules = document(value).import().unwrap_or_else(|refused| panic!("{refused:?}")).rules;
    rules.into_iter().map(|rule| (rule.name, rule.action.name())).collect()
}

fn refused(tools: &Value) -> Vec<String> {
    let refused = document(&json!({ "version": "1", "tools": tools })).import().expect_err("a refusal");
    refused.into_iter().map(|refused| refused.pointer).collect()
}

#[test]
fn a_requirement_becomes_rules_that_deny_its_opposite_and_a_pattern_a_condition_of_what_allows() {
    let text = json!({ "version": "1", "hide": ["gone"], "tools": {
        "send_dm": { "require": [{ "path": "args.to", "op": "eq", "value": "@ann" }, { "path": "args.text", "op": "regex", "value": "^Dear", "on_deny": "Be polite." }],
                     "deny_if": [{ "path": "args.text", "op": "contains", "value": "http" }] },
        "post": { "require": [{ "path": "args.to", "op": "exists" }], "require_approval": true },
        "no": { "action": "deny" } } });
    let expected = [
        ("/hide/0", "hide"),
        ("/tools/no/action", "deny"),
        ("/tools/post/require/0", "deny"),
        ("/tools/send_dm/require/0 is missing", "deny"),
        ("/tools/send_dm/require/0", "deny"),
        ("/tools/send_dm/deny_if/0", "deny"),
        ("/tools/post/require_approval", "require_approval"),
        ("/tools/send_dm", "allow"),
        ("/tools/send_dm otherwise", "deny"),
    ];
    assert_eq!(imported(&text), expected.map(|(name, action)| (name.to_owned(), action)));
    let reason = document(&text).import().unwrap().rules.pop().unwrap().reason;
    assert_eq!(reason.as_deref(), Some("Be polite."));
}

#[test]
fn the_limits_of_every_tool_are_the_servers_and_names_are_no_patterns() {
    let limit = |counter: &str| json!({ "counter": counter, "window": "minute", "max": 5, "scope": "grant" });
    let text = json!({ "version": "1", "all_tools": { "limits": [limit("all")] }, "tools": { "*": { "limits": [limit("all"), limit("star")] }, "a[b]": { "rate_limit": { "max": 1, "window": 60 } } } });
    let imported = document(&text).import().unwrap();
    let counters = |limits: &[LimitSpec]| limits.iter().map(|limit| limit.counter.clone()).collect::<Vec<_>>();
    assert_eq!(counters(&imported.limits), ["all", "star"]);
    assert_eq!(
        (counters(&imported.rules[0].limits), imported.rules[0].tools.clone()),
        (vec!["/tools/a[b]/rate_limit".to_owned()], vec!["a\\[b\\]".to_owned()])
    );
}

#[test]
fn what_rules_cannot_say_exactly_is_refused_by_name() {
    let pattern = json!([{ "path": "args.to", "op": "regex", "value": "^@" }]);
    assert_eq!(refused(&json!({ "a": { "require": pattern, "require_approval": true } })), ["/tools/a/require/0"]);
    assert_eq!(refused(&json!({ "a": { "require_approval": true }, "*": { "require": pattern } })), ["/tools/*/require/0"]);
    assert_eq!(refused(&json!({ "a": { "deny_if": [{ "path": "args.to", "op": "eq", "value": { "x": [null] } }] } })), ["/tools/a/deny_if/0/value"]);
    let who = |group: &str| json!({ "require_approval": { "reviewers": [group] } });
    assert_eq!(refused(&json!({ "a": who("desk"), "*": who("legal") })), ["/tools/*/require_approval"]);
    assert_eq!(refused(&json!({ "x".repeat(201): {} })), [""], "a name longer than a pattern may be");
    let limit = |scope: &str| json!([{ "counter": "c", "window": "minute", "max": 5, "scope": scope }]);
    let twice = json!({ "version": "1", "all_tools": { "limits": limit("grant") }, "tools": { "*": { "limits": limit("tool") } } });
    assert_eq!(document(&twice).import().unwrap_err()[0].pointer, "/tools/*/limits/c");
}
