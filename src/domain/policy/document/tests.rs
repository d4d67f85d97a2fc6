//! A `policy.json` as tables: what is read, every mistake and its place, what it says of calls, and what becomes of
//! that beside rules of our own. `random` holds the properties.

mod import;
mod random;

use super::*;
use crate::domain::policy::{Asked, ConditionSpec, LimitSpec, Operator, Policy, PolicySpec, RuleSpec, ScopeSpec};
use serde_json::json;
use std::time::Duration;

fn document(value: &Value) -> Document {
    let text = serde_json::to_string_pretty(value).unwrap();
    Document::read(&text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn of_tools(tools: &Value) -> Policy {
    policy(&json!({ "version": "1", "tools": tools }), Vec::new())
}

fn policy(value: &Value, rules: Vec<RuleSpec>) -> Policy {
    let spec = PolicySpec { server: "demo".into(), document: Some(document(value)), rules, ..PolicySpec::default() };
    Policy::build(spec).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn judged(policy: &Policy, tool: &str, arguments: &Value) -> Judgement {
    policy.judge(&Asked { agent: "bot", tool, arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH })
}

fn says(policy: &Policy, tool: &str, arguments: &Value) -> (Action, String) {
    let judgement = judged(policy, tool, arguments);
    (judgement.action, judgement.rule)
}

fn rule(name: &str, tools: &[&str], action: Action) -> RuleSpec {
    let tools = tools.iter().map(|&tool| tool.to_owned()).collect();
    RuleSpec { name: name.into(), tools, agents: vec!["*".into()], action, ..RuleSpec::default() }
}

fn mistakes(text: &str) -> Vec<(String, usize)> {
    let found = Document::read(text).expect_err(text);
    assert!(found.iter().all(|mistake| !mistake.problem.is_empty() && !mistake.mend.is_empty()), "{found:?}");
    found.into_iter().map(|mistake| (mistake.pointer, mistake.line)).collect()
}

fn at(pointer: &str, line: usize) -> (String, usize) {
    (pointer.to_owned(), line)
}

#[test]
fn all_mistakes_of_a_file_come_together_each_with_its_pointer_and_line() {
    let text = r#"{
  "version": "2",
  "defualt": "allow",
  "hide": ["a", "", "a", "read_*"],
  "all_tools": { "limits": [], "limit": 1 },
  "tools": {
    "send/dm": {
      "require": [{ "path": "text", "op": "eq", "value": 1 }, { "path": "args.a", "op": "equals", "value": 1 }],
      "deny_if": [
        { "path": "args.a", "op": "regex",
          "value": "(" },
        { "path": "args.b", "op": "lt", "on_dney": "x" }
      ],
      "limits": [{ "counter": "c", "window": "fortnight", "max": 0, "scope": "all" }, { "counter": "c", "window": "minute", "max": 1 }],
      "require_approval": { "when": [], "timeout": "soon", "reviewers": [] },
      "reason": 7
    },
    "": {}
  }
}"#;
    let expected = [
        at("/version", 2),
        at("/defualt", 3),
        at("/hide/1", 4),
        at("/hide/2", 4),
        at("/hide/3", 4),
        at("/all_tools/limit", 5),
        at("/tools/send~1dm/require/0/path", 8),
        at("/tools/send~1dm/require/1/op", 8),
        at("/tools/send~1dm/deny_if/0/value", 11),
        at("/tools/send~1dm/deny_if/1/value", 12),
        at("/tools/send~1dm/deny_if/1/on_dney", 12),
        at("/tools/send~1dm/limits/0/window", 14),
        at("/tools/send~1dm/limits/0/max", 14),
        at("/tools/send~1dm/limits/0/scope", 14),
        at("/tools/send~1dm/limits/1/counter", 14),
        at("/tools/send~1dm/require_approval/when", 15),
        at("/tools/send~1dm/require_approval/timeout", 15),
        at("/tools/send~1dm/require_approval/reviewers", 15),
        at("/tools/send~1dm/reason", 16),
        at("/tools/", 18),
    ];
    let mut found = mistakes(text);
    let mut expected = expected.to_vec();
    found.sort();
    found.dedup();
    expected.sort();
    assert_eq!(found, expected);
    let guess = Document::read(text).unwrap_err().into_iter().find(|mistake| mistake.pointer == "/defualt").unwrap();
    assert!(guess.mend.starts_with("Did you mean \"default\"?"), "{}", guess.mend);
}

#[test]
fn what_is_no_strict_json_is_refused_where_it_stands() {
    let many = format!("{{\"version\": \"1\", \"x\": \"{}\"}}", "a".repeat(LARGEST_DOCUMENT));
    for (text, pointer, line) in [
        ("", "", 1),
        ("{\n \"version\": \"1\",\n}", "", 3),
        ("\u{feff}{\"version\": \"1\"}", "", 1),
        ("// no comments\n{}", "", 1),
        (many.as_str(), "", 1),
        ("[]", "", 1),
        ("{\"version\": \"1\",\n \"x\": 1e400}", "/x", 2),
        ("{\"version\": \"1\",\n \"x\": \"\\ud800\"}", "/x", 2),
        ("{\n\"version\": \"1\",\n\"version\": \"1\"}", "/version", 3),
        ("{\"version\": \"1\", \"tools\": {\"a\": {},\n \"\\u0061\": {}}}", "/tools/a", 2),
        (
            "{\"version\": \"1\",\n \"tools\": {\"a\": {\"require\": [{\"path\": \"args.n\", \"op\": \"eq\", \"value\": 0.10000000000000000001}]}}}",
            "/tools/a/require/0/value",
            2,
        ),
    ] {
        assert_eq!(mistakes(text), [at(pointer, line)], "{}", text.chars().take(60).collect::<String>());
    }
    for depth in [65, 1 << 19] {
        let found = mistakes(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert!(found.iter().any(|(pointer, _)| *pointer == "/0".repeat(64)), "{found:?}");
    }
    // Two duplicates and an unknown key: all at once.
    let both = "{\"version\": \"1\",\n \"tools\": {\"a\": {}, \"a\": {}},\n \"tools\": {},\n \"x\": 1}";
    assert_eq!(mistakes(both), [at("/tools/a", 2), at("/tools", 3), at("/x", 4)]);
}

#[test]
fn a_key_of_the_wrong_kind_is_one_mistake_at_its_place() {
    for (part, pointer) in [
        (json!({"default": "maybe"}), "/default"),
        (json!({"default": "require_approval"}), "/default"),
        (json!({"default": null}), "/default"),
        (json!({"hide": "send_dm"}), "/hide"),
        (json!({"hide": [1]}), "/hide/0"),
        (json!({"all_tools": []}), "/all_tools"),
        (json!({"all_tools": {"require": []}}), "/all_tools/require"),
        (json!({"tools": []}), "/tools"),
        (json!({"tools": {"t": []}}), "/tools/t"),
        (json!({"tools": {"send_*": {}}}), "/tools/send_*"),
        (json!({"tools": {"t": {"require": {}}}}), "/tools/t/require"),
        (json!({"tools": {"t": {"require": [1]}}}), "/tools/t/require/0"),
        (json!({"tools": {"t": {"require": [{"op": "eq", "value": 1}]}}}), "/tools/t/require/0/path"),
        (json!({"tools": {"t": {"require": [{"path": "args.a", "value": 1}]}}}), "/tools/t/require/0/op"),
        (json!({"tools": {"t": {"require": [{"path": "args.a", "op": "eq"}]}}}), "/tools/t/require/0/value"),
        (json!({"tools": {"t": {"require": [{"path": "state.a", "op": "lt", "value": 1}]}}}), "/tools/t/require/0/path"),
        (json!({"tools": {"t": {"on_deny": "x".repeat(501)}}}), "/tools/t/on_deny"),
        (json!({"tools": {"t": {"limits": [{"counter": "c", "window": "minute", "max": 1.5}]}}}), "/tools/t/limits/0/max"),
        (json!({"tools": {"t": {"limits": [{"counter": "c", "window": "minute", "max": 100_001}]}}}), "/tools/t/limits/0/max"),
        (json!({"tools": {"t": {"limits": [{"counter": "c", "window": "minute", "max": 1, "scope": {"args": "/to"}}]}}}), "/tools/t/limits/0/scope/arg"),
        (json!({"tools": {"t": {"rate_limit": {"max": 1}}}}), "/tools/t/rate_limit/window"),
        (json!({"tools": {"t": {"rate_limit": {"max": 1, "window": 0}}}}), "/tools/t/rate_limit/window"),
        (json!({"tools": {"t": {"action": "block"}}}), "/tools/t/action"),
        (json!({"tools": {"t": {"action": "evaluate"}}}), "/tools/t/action"),
        (json!({"tools": {"t": {"action": "deny", "deny_if": [{"path": "args.a", "op": "exists"}]}}}), "/tools/t/deny_if"),
        (json!({"tools": {"t": {"action": "require_approval", "require_approval": true}}}), "/tools/t/action"),
        (json!({"tools": {"t": {"require_approval": "yes"}}}), "/tools/t/require_approval"),
        (json!({"tools": {"t": {"require_approval": {"approvers": ["desk"]}}}}), "/tools/t/require_approval/approvers"),
        (
            json!({"tools": {"t": {"require_approval": {"when": [{"path": "args.a", "op": "exists", "on_deny": "x"}]}}}}),
            "/tools/t/require_approval/when/0/on_deny",
        ),
    ] {
        let mut whole = json!({ "version": "1" });
        whole.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let found = mistakes(&whole.to_string());
        assert_eq!(found.first(), Some(&at(pointer, 1)), "{part}: {found:?}");
    }
    assert_eq!(mistakes("{}"), [at("/version", 1)], "the version must be named");
    // Two definitions of one counter, wherever they stand.
    let limit = |max: u64| json!([{ "counter": "c", "window": "minute", "max": max, "scope": "grant" }]);
    let twice = json!({ "version": "1", "all_tools": { "limits": limit(1) }, "tools": { "a": { "limits": limit(1) }, "b": { "limits": limit(2) } } });
    assert_eq!(mistakes(&twice.to_string()), [at("/tools/b/limits/0/counter", 1)]);
}

#[test]
fn under_default_deny_a_listed_tool_passes_and_nothing_rescues_another() {
    let limits = json!([{ "counter": "all", "window": "minute", "max": 5, "scope": "grant" }]);
    let bare = policy(&json!({ "version": "1", "all_tools": { "limits": limits }, "tools": { "send_dm": {}, "*": { "limits": limits } } }), Vec::new());
    assert_eq!(says(&bare, "send_dm", &json!({})), (Action::Allow, "/tools/send_dm".into()));
    for tool in ["read", "SEND_DM", "send_dm ", "*", ""] {
        assert_eq!(says(&bare, tool, &json!({})), (Action::Deny, "/default".into()), "{tool:?}");
    }
    let open = policy(&json!({ "version": "1", "default": "allow", "tools": { "*": { "deny_if": [{ "path": "args.x", "op": "exists" }] } } }), Vec::new());
    assert_eq!(says(&open, "read", &json!({})), (Action::Allow, "/default".into()));
    assert_eq!(says(&open, "read", &json!({"x": 1})), (Action::Deny, "/tools/*/deny_if/0".into()));
}

#[test]
fn every_requirement_must_hold_and_no_deny_if_may() {
    let policy = of_tools(&json!({ "send_dm": {
        "require": [{ "path": "args.to", "op": "in", "value": ["@ann", "@bob"], "on_deny": "Only friends." }, { "path": "args.n", "op": "lt", "value": 10 }],
        "deny_if": [{ "path": "args.text", "op": "contains", "value": "http" }, { "path": "args.text", "op": "regex", "value": "(?i)secret", "on_deny": "No secrets." }],
        "on_deny": "Not like this."
    }, "a/b~c": { "deny_if": [{ "path": "args.x", "op": "exists" }] } }));
    let told = |arguments: Value| {
        let Judgement { action, rule, reason, .. } = judged(&policy, "send_dm", &arguments);
        (action == Action::Allow, rule, reason.unwrap_or_default())
    };
    let said = |allowed: bool, rule: &str, reason: &str| (allowed, rule.to_owned(), reason.to_owned());
    assert_eq!(told(json!({"to": "@ann", "n": 1, "text": "hi"})), said(true, "/tools/send_dm", ""));
    assert_eq!(told(json!({"to": "@eve", "n": 1})), said(false, "/tools/send_dm/require/0", "Only friends."));
    assert_eq!(told(json!({"to": "@ann", "n": 10})), said(false, "/tools/send_dm/require/1", "Not like this."));
    assert_eq!(told(json!({"to": "@ann"})), said(false, "/tools/send_dm/require/1", "Not like this."), "missing is false");
    assert_eq!(told(json!({"to": "@ann", "n": "1"})), said(false, "/tools/send_dm/require/1", "Not like this."), "a wrong type never opens");
    assert_eq!(told(json!({"to": "@ann", "n": 1, "text": "http://x"})), said(false, "/tools/send_dm/deny_if/0", "Not like this."));
    assert_eq!(told(json!({"to": "@ann", "n": 1, "text": "a Secret"})), said(false, "/tools/send_dm/deny_if/1", "No secrets."));
    assert_eq!(told(json!({"to": "@ann", "n": 1, "text": 7})), said(false, "/tools/send_dm/deny_if/0", "Not like this."), "a wrong type always closes");
    assert_eq!(told(json!({"to": "@ann", "n": 1})), said(true, "/tools/send_dm", ""), "missing is false in deny_if too");
    assert_eq!(says(&policy, "a/b~c", &json!({"x": 1})), (Action::Deny, "/tools/a~1b~0c/deny_if/0".into()));
}

#[test]
fn an_approval_may_have_conditions_and_a_denial_wins_over_it() {
    let policy = of_tools(&json!({
        "send_dm": { "deny_if": [{ "path": "args.text", "op": "contains", "value": "http" }],
                     "require_approval": { "when": [{ "path": "args.n", "op": "gt", "value": 3 }], "timeout": "30m", "reviewers": ["desk"] }, "reason": "People read it." },
        "post": { "require_approval": true },
        "free": { "require_approval": false },
        "old": { "action": "require_approval", "reason": "As before." },
        "*": { "require_approval": { "when": [{ "path": "args.all", "op": "eq", "value": true }], "timeout": "10m" } }
    }));
    let held = judged(&policy, "send_dm", &json!({"n": 4, "text": "hi"}));
    let expected = ("/tools/send_dm/require_approval", Some(Duration::from_secs(1800)), vec!["desk".to_owned()], Some("People read it.".to_owned()));
    assert_eq!(
        (held.action, held.rule.as_str(), held.expires_in, held.reviewers, held.reason),
        (Action::RequireApproval, expected.0, expected.1, expected.2, expected.3)
    );
    assert_eq!(says(&policy, "send_dm", &json!({"n": "4"})).0, Action::RequireApproval, "a wrong type asks a person");
    assert_eq!(says(&policy, "send_dm", &json!({"n": 3})).0, Action::Allow);
    assert_eq!(says(&policy, "send_dm", &json!({"n": 4, "text": "http"})), (Action::Deny, "/tools/send_dm/deny_if/0".into()));
    assert_eq!(says(&policy, "post", &json!({})), (Action::RequireApproval, "/tools/post/require_approval".into()));
    assert_eq!(says(&policy, "free", &json!({})), (Action::Allow, "/tools/free".into()));
    assert_eq!(says(&policy, "free", &json!({"all": true})), (Action::RequireApproval, "/tools/*/require_approval".into()));
    assert_eq!(says(&policy, "old", &json!({})), (Action::RequireApproval, "/tools/old/action".into()));
    let both = judged(&policy, "send_dm", &json!({"n": 4, "all": true}));
    assert_eq!(
        (both.rule.as_str(), both.expires_in, both.reviewers),
        ("/tools/send_dm/require_approval", Some(Duration::from_secs(600)), vec!["desk".to_owned()])
    );
    assert_eq!(policy.holding().len(), 4);
}

#[test]
fn hidden_tools_are_gone_and_the_older_keys_mean_what_they_say() {
    let policy = of_tools(&json!({
        "gone": { "action": "hide" }, "no": { "action": "deny", "reason": "Never." }, "yes": { "action": "allow" },
        "few": { "action": "evaluate", "rate_limit": { "max": 2, "window": 60 } }
    }));
    assert_eq!(says(&policy, "gone", &json!({})), (Action::Hide, "/tools/gone/action".into()));
    assert!(policy.hides("bot", "gone") && !policy.hides("bot", "no"));
    let no = judged(&policy, "no", &json!({}));
    assert_eq!((no.action, no.rule.as_str(), no.reason.as_deref()), (Action::Deny, "/tools/no/action", Some("Never.")));
    assert_eq!(says(&policy, "yes", &json!({})).0, Action::Allow);
    let few = judged(&policy, "few", &json!({}));
    let [charge] = &few.charges[..] else { panic!("{few:?}") };
    assert_eq!(
        (charge.name.as_str(), charge.window, charge.max, charge.label.scope.as_str()),
        ("/tools/few/rate_limit", Duration::from_secs(60), 2_000_000, "grant")
    );
    let all = super::tests::policy(&json!({ "version": "1", "default": "allow", "hide": ["x", "*"], "tools": { "yes": {} } }), Vec::new());
    for tool in ["x", "yes", "other"] {
        assert!(all.hides("bot", tool));
        assert_eq!(says(&all, tool, &json!({})).0, Action::Hide);
    }
    assert_eq!(says(&all, "x", &json!({})).1, "/hide/0");
}

#[test]
fn limits_of_document_server_and_rule_are_all_taken_and_each_counter_once() {
    let limit = |counter: &str| json!({ "counter": counter, "window": "minute", "max": 5, "scope": "grant" });
    let own = |counter: &str| LimitSpec {
        counter: counter.into(),
        window: Duration::from_secs(60),
        max: 5,
        scope: ScopeSpec::Grant,
        increment_from: None,
        on_deny: None,
    };
    let text = json!({ "version": "1", "all_tools": { "limits": [limit("all")] },
        "tools": { "send_dm": { "limits": [limit("a/b"), limit("all")] }, "*": { "limits": [limit("star")] } } });
    let spec = |rule_limit: LimitSpec| PolicySpec {
        server: "demo".into(),
        document: Some(document(&text)),
        limits: vec![own("server")],
        rules: vec![RuleSpec { limits: vec![rule_limit], ..rule("sends", &["send_dm"], Action::Allow) }],
        ..PolicySpec::default()
    };
    let policy = Policy::build(spec(own("all"))).unwrap();
    let names: Vec<String> = judged(&policy, "send_dm", &json!({})).charges.into_iter().map(|charge| charge.name).collect();
    assert_eq!(names, ["/all_tools/limits/all", "/tools/*/limits/star", "/tools/send_dm/limits/a~1b", "/limits/server"]);
    let shown: Vec<String> = policy.limits().into_iter().map(|limit| limit.name).collect();
    assert_eq!(shown.len(), 6, "{shown:?}");
    let other = Policy::build(spec(LimitSpec { max: 6, ..own("all") })).unwrap_err();
    assert_eq!(other.iter().map(|mistake| mistake.at.as_str()).collect::<Vec<_>>(), ["rules[0].limits[0].counter"]);
    assert!(other[0].problem.contains("/all_tools/limits/all of the policy file"), "{}", other[0].problem);
}

#[test]
fn beside_a_document_rules_may_close_and_never_open() {
    let text = json!({ "version": "1", "hide": ["hidden"], "tools": {
        "free": {}, "held": { "require_approval": { "timeout": "10m", "reviewers": ["legal"] }, "reason": "Legal reads it." }, "hidden": {} } });
    let with = |action| policy(&text, vec![rule("ours", &["*"], action)]);
    let alone = policy(&text, Vec::new());
    for (tool, expected) in [
        ("free", [(Action::Allow, "/tools/free"), (Action::Allow, "ours"), (Action::RequireApproval, "ours"), (Action::Deny, "ours"), (Action::Hide, "ours")]),
        (
            "held",
            [
                (Action::RequireApproval, "/tools/held/require_approval"),
                (Action::RequireApproval, "/tools/held/require_approval"),
                (Action::RequireApproval, "ours"),
                (Action::Deny, "ours"),
                (Action::Hide, "ours"),
            ],
        ),
        ("hidden", [(Action::Hide, "/hide/0"); 5]),
        ("other", [(Action::Deny, "/default"); 5]),
    ] {
        let policies = [alone.clone(), with(Action::Allow), with(Action::RequireApproval), with(Action::Deny), with(Action::Hide)];
        for (policy, (action, rule)) in policies.iter().zip(expected) {
            assert_eq!(says(policy, tool, &json!({})), (action, rule.to_owned()), "{tool}");
            let preview = policy.preview(tool);
            assert_eq!((preview.action, preview.rule.as_str(), preview.depends), (action, rule, false), "{tool}");
        }
        // What either of them hides is not listed; what the document denied answers as denied.
        let listed = [true, true, true, true, false].map(|listed| listed && tool != "hidden");
        assert_eq!(policies.map(|policy| !policy.hides("bot", tool)), listed, "{tool}");
    }
    // Both hold: the rule's words; what it leaves open is the document's.
    let terms = RuleSpec { approvals: Some(2), ..rule("ours", &["*"], Action::RequireApproval) };
    let both = judged(&policy(&text, vec![terms]), "held", &json!({}));
    let expected = ("ours", 2, vec!["legal".to_owned()], Some(Duration::from_secs(600)), Some("Legal reads it."));
    assert_eq!((both.rule.as_str(), both.approvals, both.reviewers, both.expires_in, both.reason.as_deref()), expected);
    assert_eq!(alone.holding().len(), 1, "the default is not asked behind a document");
}

#[test]
fn denied_tools_are_listed_unless_the_operator_says_otherwise() {
    let text = json!({ "version": "1", "tools": { "free": {}, "maybe": { "require": [{ "path": "args.a", "op": "exists" }] }, "never": { "action": "deny" }, "ours": {} } });
    let rules = vec![rule("r", &["ours"], Action::Deny), RuleSpec { agents: vec!["intern".into()], ..rule("i", &["free"], Action::Deny) }];
    let listed = |hide_denied| {
        let spec = PolicySpec { document: Some(document(&text)), rules: rules.clone(), hide_denied, ..PolicySpec::default() };
        let policy = Policy::build(spec).unwrap();
        ["free", "maybe", "never", "ours", "other"].map(|tool| !policy.hides("bot", tool))
    };
    assert_eq!(listed(false), [true; 5]);
    assert_eq!(listed(true), [true, true, false, false, false]);
    let condition = ConditionSpec { path: "args.a".into(), op: Operator::Exists, value: json!(true) };
    let native = |action| {
        let some = RuleSpec { conditions: vec![condition.clone()], ..rule("some", &["some"], action) };
        let spec =
            PolicySpec { rules: vec![some, rule("none", &["some", "none"], Action::Deny)], hide_denied: true, default: Action::Allow, ..PolicySpec::default() };
        let policy = Policy::build(spec).unwrap();
        ["some", "none", "other"].map(|tool| !policy.hides("bot", tool))
    };
    assert_eq!(native(Action::Allow), [true, false, true]);
    assert_eq!(native(Action::RequireApproval), [true, false, true]);
    assert_eq!(native(Action::Deny), [false, false, true]);
    let spec = PolicySpec { rules: vec![rule("r", &["free"], Action::Allow)], hide_denied: true, ..PolicySpec::default() };
    let policy = Policy::build(spec).unwrap();
    assert_eq!(says(&policy, "other", &json!({})).0, Action::Deny, "left out of the list it is still a denied tool, not an unknown one");
    assert!(policy.hides("bot", "other") && !policy.hides("bot", "free"));
}

#[test]
fn a_digest_is_of_what_is_said_and_not_of_how() {
    let digest = |text: &str| {
        let spec = PolicySpec { document: Some(Document::read(text).unwrap()), ..PolicySpec::default() };
        spec.digest()
    };
    let one = digest(r#"{"version":"1","tools":{"a":{},"b":{"limits":[{"counter":"c","window":"minute","max":1}]}}}"#);
    assert_eq!(
        digest(
            "{ \"tools\": {\"b\": {\"limits\": [{\"max\": 1, \"window\": \"60s\", \"counter\": \"c\", \"scope\": \"grant\"}]}, \"a\": {}}, \"version\": \"1\"}"
        ),
        one
    );
    assert_ne!(digest(r#"{"version":"1","tools":{"a":{},"b":{"limits":[{"counter":"c","window":"minute","max":2}]}}}"#), one);
    assert_ne!(PolicySpec::default().digest(), digest(r#"{"version":"1"}"#));
}
