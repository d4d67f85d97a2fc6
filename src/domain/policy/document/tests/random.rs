//! Properties over random documents and calls: imported rules judge as the document does, an explanation agrees with
//! the verdict, and no text makes the reader panic.

use super::*;
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        Just(json!(1.5)),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[abc]", inner), 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_condition(with_null: bool) -> impl Strategy<Value = Value> {
    let path = prop_oneof![Just("args.a"), Just("args.b"), Just("args.a.b"), Just("/c"), Just("/a/0")];
    (path, prop::sample::select(Operator::NAMES.to_vec()), any_value()).prop_map(move |(path, (name, op), value)| {
        let value = if with_null || !value.to_string().contains("null") { value } else { json!("a") };
        let value = match op {
            Operator::In | Operator::NotIn => json!([value, 1]),
            Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte if !value.is_number() => json!(1),
            Operator::Regex => json!("a+"),
            Operator::Contains if value == json!("") => json!("a"),
            Operator::Exists => json!(value != json!("a")),
            _ => value,
        };
        json!({ "path": path, "op": name, "value": value })
    })
}

fn any_tool() -> impl Strategy<Value = Value> {
    let conditions = || prop::collection::vec(any_condition(false), 0..3);
    let hold = prop_oneof![
        3 => Just(None),
        1 => Just(Some(json!(true))),
        1 => prop::collection::vec(any_condition(false), 1..3).prop_map(|when| Some(json!({ "when": when }))),
    ];
    let limits = prop::collection::vec(prop::sample::select(vec!["one", "two", "three"]), 0..2);
    (conditions(), conditions(), hold, limits, prop::option::weighted(0.1, prop::sample::select(vec!["deny", "hide", "allow", "require_approval"]))).prop_map(
        |(require, deny_if, hold, limits, action)| {
            if let Some(action) = action {
                return json!({ "action": action });
            }
            let mut tool = json!({ "require": require, "deny_if": deny_if, "limits": limits.iter().map(|name| limit(name)).collect::<Vec<_>>() });
            if let Some(hold) = hold {
                tool["require_approval"] = hold;
            }
            tool
        },
    )
}

fn limit(counter: &str) -> Value {
    let window = ["one", "two", "three"].iter().position(|name| *name == counter).unwrap_or(0) + 1;
    json!({ "counter": counter, "window": format!("{window}m"), "max": 5, "scope": "grant" })
}

fn any_document() -> impl Strategy<Value = Value> {
    let names = prop::collection::btree_map(prop::sample::select(vec!["send_dm", "read", "*", "a[b]"]), any_tool(), 0..4);
    let hide = prop::sample::subsequence(vec!["read", "gone"], 0..=1);
    let all = prop::collection::vec(Just(limit("one")), 0..2);
    (prop::sample::select(vec!["allow", "deny"]), hide, all, names)
        .prop_map(|(default, hide, all, tools)| json!({ "version": "1", "default": default, "hide": hide, "all_tools": { "limits": all }, "tools": tools }))
}

const NAMES: [&str; 6] = ["send_dm", "read", "gone", "other", "*", "a[b]"];

/// What a call takes: which counters, how much.
fn taken(judgement: &Judgement) -> Vec<(String, u64)> {
    let mut taken: Vec<_> = judgement.charges.iter().map(|charge| (charge.key.as_str().to_owned(), charge.amount)).collect();
    taken.sort();
    taken
}

proptest! {
    // Every case compiles two policies and their patterns.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn imported_rules_judge_as_the_document_does(value in any_document(), calls in prop::collection::vec(any_value(), 1..6)) {
        let read = Document::read(&value.to_string());
        prop_assume!(read.is_ok());
        let original = policy(&value, Vec::new());
        if let Ok(imported) = read.unwrap().import() {
            let Imported { default, limits, rules } = imported;
            let own = Policy::build(PolicySpec { server: "demo".into(), default, limits, rules, ..PolicySpec::default() }).unwrap();
            for arguments in &calls {
                for tool in NAMES {
                    let (theirs, ours) = (judged(&original, tool, arguments), judged(&own, tool, arguments));
                    prop_assert_eq!(theirs.action, ours.action, "{} {} {:?} {:?}", tool, arguments, &theirs, &ours);
                    prop_assert_eq!(taken(&theirs), taken(&ours));
                    prop_assert_eq!((&theirs.reviewers, theirs.expires_in), (&ours.reviewers, ours.expires_in));
                    prop_assert_eq!(original.hides("bot", tool), own.hides("bot", tool));
                }
            }
        }
    }

    #[test]
    fn an_explanation_agrees_with_the_verdict(value in any_document(), with_document: bool, rules in prop::collection::vec((prop::sample::select(vec!["*", "send_dm"]), 0..4_usize, prop::option::of(any_condition(true)), prop::sample::select(vec![None, Some("args.a == 1"), Some("has(args.b)")]), prop::bool::weighted(0.2)), 0..4), arguments in any_value()) {
        let read = Document::read(&value.to_string());
        prop_assume!(read.is_ok());
        let rules = rules.into_iter().enumerate().map(|(index, (tools, action, condition, when, shadow))| {
            let action = Action::NAMES[action].1;
            let condition = condition.filter(|_| action != Action::Hide);
            let conditions = condition.into_iter().map(|one| ConditionSpec {
                path: one["path"].as_str().unwrap().to_owned(),
                op: Operator::NAMES.iter().find(|(name, _)| one["op"] == *name).unwrap().1,
                value: one["value"].clone(),
            });
            let when = when.filter(|_| action != Action::Hide).map(str::to_owned);
            RuleSpec { conditions: conditions.collect(), when, shadow, ..rule(&format!("r{index}"), &[tools], action) }
        });
        let spec = PolicySpec { document: read.ok().filter(|_| with_document), rules: rules.collect(), ..PolicySpec::default() };
        let policy = Policy::build(spec).unwrap();
        for tool in NAMES {
            let asked = Asked { agent: "bot", tool, arguments: &arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH };
            let told = policy.explain(&asked);
            prop_assert_eq!(&told.judgement, &policy.judge(&asked));
            let of = |wanted: fn(Action) -> bool| told.steps.iter().filter(|step| step.applies && !step.shadow && wanted(step.action)).collect::<Vec<_>>();
            let closing = of(|action| matches!(action, Action::Deny | Action::Hide));
            let holding = of(|action| action == Action::RequireApproval);
            match told.judgement.action {
                Action::Deny | Action::Hide if told.judgement.rule == "default" => prop_assert!(told.steps.iter().all(|step| !step.applies || step.shadow)),
                action @ (Action::Deny | Action::Hide) => {
                    prop_assert_eq!(closing.len(), 1);
                    prop_assert_eq!((closing[0].action, &closing[0].rule), (action, &told.judgement.rule));
                    prop_assert_eq!(told.steps.last(), Some(closing[0]), "it ends where it was decided");
                }
                Action::RequireApproval => {
                    prop_assert!(closing.is_empty());
                    prop_assert!(holding.iter().any(|step| step.rule == told.judgement.rule));
                }
                Action::Allow => prop_assert!(closing.is_empty() && holding.is_empty()),
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\":,0-9a-f versiontoolshide\n]{0,80}", value in any_value()) {
        let _ = Document::read(&text);
        let _ = Document::read(&json!({ "version": "1", "tools": { "t": value } }).to_string());
    }
}
