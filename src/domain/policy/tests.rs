//! The policy as tables: every operator and path of the shared case list, the order of rules, what hides and
//! what `/servers` shows, and two properties over arbitrary JSON.

mod indexed;
mod judging;

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn rule(name: &str, tools: &[&str], action: Action) -> RuleSpec {
    RuleSpec {
        name: name.into(),
        tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        agents: vec!["*".into()],
        conditions: Vec::new(),
        action,
        reason: None,
        reviewers: Vec::new(),
        approvals: None,
        expires_in: None,
        ..RuleSpec::default()
    }
}

fn operator(name: &str) -> Operator {
    Operator::NAMES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn condition(path: &str, op: &str, value: Value) -> ConditionSpec {
    ConditionSpec { path: path.into(), op: operator(op), value }
}

fn policy(default: Action, rules: Vec<RuleSpec>) -> Policy {
    Policy::build(PolicySpec { default, rules, ..PolicySpec::default() }).unwrap()
}

fn mistakes(rules: Vec<RuleSpec>) -> Vec<SpecMistake> {
    Policy::build(PolicySpec { rules, ..PolicySpec::default() }).unwrap_err()
}

fn says(policy: &Policy, agent: &str, tool: &str, arguments: &Value) -> (Action, String) {
    let judgement = policy.judge(&Asked { agent, tool, arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH });
    (judgement.action, judgement.rule)
}

/// Whether the condition matches in a rule of this action.
fn matches(action: Action, condition: ConditionSpec, arguments: &Value) -> bool {
    let spec = RuleSpec { conditions: vec![condition], ..rule("r", &["t"], action) };
    let default = if action == Action::Allow { Action::Deny } else { Action::Allow };
    says(&policy(default, vec![spec]), "a", "t", arguments).1 == "r"
}

#[test]
fn every_operator_answers_as_the_shared_cases_say() {
    for (op, actual, value, expected) in [
        ("eq", json!("hello"), json!("hello"), true),
        ("eq", json!(50_000), json!(50_000.0), true),
        ("eq", json!(true), json!(false), false),
        ("eq", json!("5"), json!(5), false),
        ("neq", json!("a"), json!("b"), true),
        ("in", json!("uk"), json!(["us", "uk", "de"]), true),
        ("not_in", json!("fr"), json!(["us", "uk"]), true),
        ("lt", json!(5), json!(10), true),
        ("lte", json!(10), json!(10), true),
        ("gt", json!(15), json!(10), true),
        ("gte", json!(10), json!(10), true),
        ("lt", json!(1.5), json!(2.5), true),
        ("regex", json!("user@example.com"), json!(r"^[^@]+@[^@]+\.[^@]+$"), true),
        ("regex", json!(42), json!(r"\d+"), false),
        ("contains", json!("hello world"), json!("world"), true),
        ("contains", json!(["a", "b", "c"]), json!("b"), true),
        ("contains", json!(42), json!("4"), false),
        // The other answer of each, and numbers that doubles cannot tell apart.
        ("neq", json!(5), json!(5.0), false),
        ("in", json!("fr"), json!(["us", "uk"]), false),
        ("not_in", json!("us"), json!(["us", "uk"]), false),
        ("lt", json!(10), json!(10), false),
        ("lte", json!(11), json!(10), false),
        ("gt", json!(10), json!(10), false),
        ("gte", json!(9), json!(10), false),
        ("regex", json!("nobody"), json!("@"), false),
        ("contains", json!("hello"), json!("world"), false),
        ("contains", json!(["a"]), json!("b"), false),
        ("eq", json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false),
        ("eq", json!({"a": [1, 2.0]}), json!({"a": [1.0, 2]}), true),
        ("gt", json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), true),
    ] {
        let arguments = json!({ "x": actual });
        assert_eq!(matches(Action::Allow, condition("args.x", op, value.clone()), &arguments), expected, "{actual} {op} {value}");
    }
}

#[test]
fn exists_asks_whether_the_argument_is_there() {
    for (arguments, value, expected) in
        [(json!({}), true, false), (json!({"name": "alice"}), false, false), (json!({}), false, true), (json!({"name": null}), true, true)]
    {
        for action in [Action::Allow, Action::Deny] {
            assert_eq!(matches(action, condition("args.name", "exists", json!(value)), &arguments), expected, "{arguments} {value}");
        }
    }
}

#[test]
fn a_path_reaches_into_objects_and_a_pointer_reaches_keys_with_dots() {
    let deep = json!({"recipient": {"email": "user@example.com"}});
    assert!(matches(Action::Allow, condition("args.recipient.email", "eq", json!("user@example.com")), &deep));
    // A recipient that is no map is refused by an allow rule and by a deny rule alike.
    let flat = json!({"recipient": "not-a-map"});
    assert!(!matches(Action::Allow, condition("args.recipient.email", "eq", json!("user@example.com")), &flat));
    assert!(matches(Action::Deny, condition("args.recipient.email", "eq", json!("user@example.com")), &flat));
    let dotted = json!({"a.b": 1});
    assert!(!matches(Action::Allow, condition("args.a.b", "eq", json!(1)), &dotted));
    assert!(matches(Action::Allow, condition("/a.b", "eq", json!(1)), &dotted));
}

#[test]
fn a_missing_argument_makes_every_condition_false_whatever_the_action() {
    for (op, value) in [
        ("eq", json!(1)),
        ("neq", json!(1)),
        ("in", json!([1])),
        ("not_in", json!([1])),
        ("lt", json!(1)),
        ("lte", json!(1)),
        ("gt", json!(1)),
        ("gte", json!(1)),
        ("regex", json!(".")),
        ("contains", json!("a")),
        ("exists", json!(true)),
    ] {
        for action in [Action::Allow, Action::Deny, Action::RequireApproval] {
            assert!(!matches(action, condition("args.x", op, value.clone()), &json!({"y": 1})), "{op} {action:?}");
        }
    }
}

#[test]
fn a_wrong_type_never_opens_and_always_closes() {
    for (op, actual, value) in [
        ("eq", json!("5"), json!(5)),
        ("neq", json!("5"), json!(5)),
        ("in", json!(5), json!(["5"])),
        ("not_in", json!(5), json!(["5"])),
        ("lt", json!("1"), json!(10)),
        ("lte", json!(null), json!(10)),
        ("gt", json!(["100"]), json!(10)),
        ("gte", json!(true), json!(10)),
        ("regex", json!(["a"]), json!("a")),
        ("contains", json!({"a": 1}), json!("a")),
        ("contains", json!([["a"]]), json!("a")),
    ] {
        let arguments = json!({ "x": actual });
        for (action, expected) in [(Action::Allow, false), (Action::Deny, true), (Action::RequireApproval, true)] {
            assert_eq!(matches(action, condition("args.x", op, value.clone()), &arguments), expected, "{actual} {op} {value} {action:?}");
        }
    }
}

#[test]
fn the_first_matching_rule_decides_and_all_its_conditions_must_hold() {
    let policy = policy(
        Action::Deny,
        vec![
            RuleSpec {
                conditions: vec![condition("args.to", "eq", json!("@ceo")), condition("args.text", "contains", json!("http"))],
                ..rule("no-links-to-the-ceo", &["send_*"], Action::Deny)
            },
            RuleSpec { agents: vec!["intern-*".into()], ..rule("interns-ask", &["send_dm"], Action::RequireApproval) },
            rule("send", &["send_dm"], Action::Allow),
        ],
    );
    let both = json!({"to": "@ceo", "text": "see http://x"});
    let one = json!({"to": "@ceo", "text": "hello"});
    assert_eq!(says(&policy, "intern-1", "send_dm", &both), (Action::Deny, "no-links-to-the-ceo".into()));
    assert_eq!(says(&policy, "intern-1", "send_dm", &one), (Action::RequireApproval, "interns-ask".into()));
    assert_eq!(says(&policy, "support", "send_dm", &one), (Action::Allow, "send".into()));
    assert_eq!(says(&policy, "support", "send_mail", &one), (Action::Deny, "default".into()));
}

#[test]
fn a_look_alike_of_a_tools_name_is_another_tool() {
    let policy = policy(Action::Deny, vec![rule("send", &["send_dm"], Action::Allow)]);
    for tool in ["send_dm ", " send_dm", "Send_dm", "SEND_DM", "send_dm\n", "send_dm\0", "send_d\u{43c}", "x/send_dm", ""] {
        assert_eq!(says(&policy, "a", tool, &json!({})).0, Action::Deny, "{tool:?}");
    }
}

#[test]
fn a_star_crosses_every_character_of_a_name() {
    let policy = Policy::build(PolicySpec {
        default: Action::Deny,
        reads: vec!["read_*".into(), "list_?".into(), "\\*".into(), "get_{a,b}".into()],
        rules: vec![rule("all", &["*"], Action::Allow)],
        ..PolicySpec::default()
    })
    .unwrap();
    for tool in ["read_", "read_a/b", "read_a.b", "read_\n", "list_x", "*", "get_b"] {
        assert!(policy.reads(tool), "{tool:?}");
    }
    for tool in ["Read_x", " read_x", "list_xy", "x", "get_c"] {
        assert!(!policy.reads(tool), "{tool:?}");
    }
    for tool in ["", "a/b", ".hidden", "two\nlines"] {
        assert_eq!(says(&policy, "a", tool, &json!({})).0, Action::Allow, "{tool:?}");
    }
}

#[test]
fn a_hold_carries_who_may_decide_and_until_when() {
    let held = RuleSpec {
        reason: Some("People read it first.".into()),
        reviewers: vec!["desk".into()],
        approvals: Some(2),
        expires_in: Some(Duration::from_secs(60)),
        ..rule("hold", &["*"], Action::RequireApproval)
    };
    let judgement =
        policy(Action::Deny, vec![held]).judge(&Asked { agent: "a", tool: "t", arguments: &json!({}), session: None, now: jiff::Timestamp::UNIX_EPOCH });
    let expected = Judgement {
        action: Action::RequireApproval,
        rule: "hold".into(),
        reason: Some("People read it first.".into()),
        reviewers: vec!["desk".into()],
        approvals: 2,
        expires_in: Some(Duration::from_secs(60)),
        charges: Vec::new(),
        shadows: Vec::new(),
    };
    assert_eq!(judgement, expected);
}

#[test]
fn without_rules_everything_is_denied() {
    let empty = Policy::default();
    assert_eq!(says(&empty, "a", "t", &json!({})), (Action::Deny, "default".into()));
    assert_eq!(empty.preview("t"), Preview { action: Action::Deny, rule: "default".into(), depends: false, limits: Vec::new() });
    assert!(!empty.reads("t") && !empty.hides("a", "t"));
}

#[test]
fn a_tool_is_hidden_only_when_no_call_of_it_could_pass() {
    let with_conditions = |name: &str, action| RuleSpec { conditions: vec![condition("args.x", "eq", json!(1))], ..rule(name, &["maybe", "never"], action) };
    let shown = policy(Action::Allow, vec![with_conditions("some", Action::Allow), rule("hide", &["maybe", "gone"], Action::Hide)]);
    assert!(!shown.hides("a", "maybe"));
    assert!(shown.hides("a", "gone"));
    assert!(!shown.hides("a", "other"));
    assert_eq!(says(&shown, "a", "gone", &json!({})).0, Action::Hide);
    let denied = policy(Action::Allow, vec![with_conditions("some", Action::Deny), rule("hide", &["never"], Action::Hide)]);
    assert!(denied.hides("a", "never"));
    let for_one = policy(Action::Allow, vec![RuleSpec { agents: vec!["bot".into()], ..rule("hide", &["gone"], Action::Hide) }]);
    assert!(for_one.hides("bot", "gone") && !for_one.hides("Bot", "gone"));
    let hidden_by_default = policy(Action::Hide, vec![rule("show", &["shown"], Action::RequireApproval)]);
    assert!(hidden_by_default.hides("a", "t") && !hidden_by_default.hides("a", "shown"));
}

#[test]
fn a_preview_says_when_agent_or_arguments_may_change_it() {
    let policy = policy(
        Action::Deny,
        vec![
            RuleSpec { conditions: vec![condition("args.x", "eq", json!(1))], ..rule("sometimes", &["a"], Action::Deny) },
            RuleSpec { agents: vec!["bot".into()], ..rule("bot-only", &["b", "c"], Action::Allow) },
            rule("hold", &["a", "b"], Action::RequireApproval),
            rule("plain", &["d"], Action::Allow),
        ],
    );
    let preview = |tool: &str| (policy.preview(tool).action, policy.preview(tool).rule, policy.preview(tool).depends);
    assert_eq!(preview("a"), (Action::RequireApproval, "hold".into(), true));
    assert_eq!(preview("b"), (Action::RequireApproval, "hold".into(), true));
    assert_eq!(preview("c"), (Action::Deny, "default".into(), true));
    assert_eq!(preview("d"), (Action::Allow, "plain".into(), false));
    assert_eq!(preview("e"), (Action::Deny, "default".into(), false));
}

#[test]
fn every_mistake_in_a_policy_is_found_and_placed() {
    let conditional = |path: &str, op: &str, value| RuleSpec { conditions: vec![condition(path, op, value)], ..rule("r", &["t"], Action::Deny) };
    let allow = || rule("r", &["t"], Action::Allow);
    for (spec, at) in [
        (rule("", &["t"], Action::Deny), "rules[0].name"),
        (rule(" r", &["t"], Action::Deny), "rules[0].name"),
        (rule("two\nlines", &["t"], Action::Deny), "rules[0].name"),
        (rule("default", &["t"], Action::Deny), "rules[0].name"),
        (rule("r", &[], Action::Deny), "rules[0].tools"),
        (rule("r", &["t", ""], Action::Deny), "rules[0].tools[1]"),
        (rule("r", &["["], Action::Deny), "rules[0].tools[0]"),
        (RuleSpec { agents: Vec::new(), ..allow() }, "rules[0].agents"),
        (RuleSpec { agents: vec!["{a".into()], ..allow() }, "rules[0].agents[0]"),
        (RuleSpec { reason: Some("x".repeat(501)), ..allow() }, "rules[0].reason"),
        (RuleSpec { reviewers: vec!["desk".into()], ..allow() }, "rules[0].reviewers"),
        (RuleSpec { approvals: Some(2), ..allow() }, "rules[0].approvals"),
        (RuleSpec { expires_in: Some(Duration::from_secs(1)), ..allow() }, "rules[0].expires_in"),
        (RuleSpec { reviewers: vec![" ".into()], ..rule("r", &["t"], Action::RequireApproval) }, "rules[0].reviewers[0]"),
        (RuleSpec { approvals: Some(0), ..rule("r", &["t"], Action::RequireApproval) }, "rules[0].approvals"),
        (RuleSpec { expires_in: Some(Duration::ZERO), ..rule("r", &["t"], Action::RequireApproval) }, "rules[0].expires_in"),
        (RuleSpec { conditions: vec![condition("args.x", "eq", json!(1))], ..rule("r", &["t"], Action::Hide) }, "rules[0].conditions"),
        (conditional("x", "eq", json!(1)), "rules[0].conditions[0].path"),
        (conditional("args.x", "lt", json!("1")), "rules[0].conditions[0].value"),
        (conditional("args.x", "in", json!("1")), "rules[0].conditions[0].value"),
        (conditional("args.x", "not_in", json!([])), "rules[0].conditions[0].value"),
        (conditional("args.x", "regex", json!("(")), "rules[0].conditions[0].value"),
        (conditional("args.x", "regex", json!("(a{1000}){1000}")), "rules[0].conditions[0].value"),
        (conditional("args.x", "regex", json!(1)), "rules[0].conditions[0].value"),
        (conditional("args.x", "contains", json!("")), "rules[0].conditions[0].value"),
        (conditional("args.x", "exists", json!("yes")), "rules[0].conditions[0].value"),
    ] {
        let found = mistakes(vec![spec]);
        assert_eq!(found.iter().map(|mistake| mistake.at.as_str()).collect::<Vec<_>>(), [at], "{found:?}");
    }
}

#[test]
fn all_mistakes_of_a_policy_come_together() {
    let found = mistakes(vec![rule("one", &[], Action::Deny), rule("two", &["["], Action::Deny), rule("one", &["t"], Action::Deny)]);
    let places: Vec<&str> = found.iter().map(|mistake| mistake.at.as_str()).collect();
    assert_eq!(places, ["rules[0].tools", "rules[1].tools[0]", "rules[2].name"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[abc]", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_condition() -> impl Strategy<Value = ConditionSpec> {
    let path = prop_oneof![Just("args.a"), Just("args.b"), Just("args.a.b"), Just("/c"), Just("/a/0"), Just("/")];
    (path, prop::sample::select(Operator::NAMES.to_vec()), any_json()).prop_map(|(path, (_, op), value)| {
        let value = match op {
            Operator::In | Operator::NotIn => json!([value, 1]),
            Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte if !value.is_number() => json!(1),
            Operator::Regex => json!("a+"),
            Operator::Contains if value == json!("") => json!("a"),
            Operator::Exists => json!(value != Value::Null),
            _ => value,
        };
        ConditionSpec { path: path.into(), op, value }
    })
}

fn any_rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let actions = prop::sample::select(vec![Action::Allow, Action::Allow, Action::Deny, Action::RequireApproval]);
    let one = (prop::sample::select(vec!["*", "send_*", "read"]), actions, prop::collection::vec(any_condition(), 0..3));
    prop::collection::vec(one, 1..6).prop_map(|rules| {
        let numbered = rules.into_iter().enumerate();
        numbered.map(|(index, (tool, action, conditions))| RuleSpec { conditions, ..rule(&format!("r{index}"), &[tool], action) }).collect()
    })
}

proptest! {
    #[test]
    fn removing_an_allow_rule_under_default_deny_never_allows_more(rules in any_rules(), arguments in any_json()) {
        let whole = policy(Action::Deny, rules.clone());
        for removed in rules.iter().enumerate().filter(|(_, rule)| rule.action == Action::Allow).map(|(index, _)| index) {
            let mut fewer = rules.clone();
            fewer.remove(removed);
            let fewer = policy(Action::Deny, fewer);
            for tool in ["send_dm", "read", "other"] {
                if says(&fewer, "a", tool, &arguments).0 == Action::Allow {
                    prop_assert_eq!(says(&whole, "a", tool, &arguments).0, Action::Allow);
                }
            }
        }
    }

    #[test]
    fn no_arguments_and_no_condition_make_judging_panic(spec in any_condition(), raw in any_json(), arguments in any_json(), tool in ".*", op in 0..11_usize) {
        for action in [Action::Allow, Action::Deny] {
            let built = policy(Action::Deny, vec![RuleSpec { conditions: vec![spec.clone()], ..rule("r", &["*"], action) }]);
            says(&built, "a", &tool, &arguments);
        }
        let wild = ConditionSpec { op: Operator::NAMES[op].1, value: raw, ..spec };
        let _ = Policy::build(PolicySpec { default: Action::Allow, reads: vec![tool.clone()], rules: vec![RuleSpec { conditions: vec![wild], ..rule("r", &["*"], Action::Deny) }], ..PolicySpec::default() });
    }
}
