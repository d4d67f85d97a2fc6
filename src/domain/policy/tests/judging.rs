//! `when` and shadow rules within a policy: what is asked when, what cannot be judged, and what a shadow rule
//! leaves untouched.

use super::*;

const AT: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

fn judged(policy: &Policy, arguments: &Value) -> Judgement {
    policy.judge(&Asked { agent: "a", tool: "t", arguments, session: None, now: AT })
}

#[test]
fn a_when_is_asked_last_and_what_it_cannot_judge_is_denied_whatever_the_rule_would_do() {
    let condition = || vec![condition("args.kind", "eq", json!("dm"))];
    for action in [Action::Allow, Action::RequireApproval, Action::Deny] {
        let spec = RuleSpec { when: Some("args.n > 5".into()), conditions: condition(), ..rule("big", &["t"], action) };
        let policy = policy(Action::Allow, vec![spec, rule("rest", &["*"], Action::Allow)]);
        assert_eq!(says(&policy, "a", "t", &json!({"kind": "dm", "n": 6})), (action, "big".into()));
        assert_eq!(says(&policy, "a", "t", &json!({"kind": "dm", "n": 5})), (Action::Allow, "rest".into()));
        for arguments in [json!({"kind": "dm"}), json!({"kind": "dm", "n": "6"}), json!({"kind": "dm", "n": null})] {
            let denied = judged(&policy, &arguments);
            assert_eq!((denied.action, denied.rule.as_str()), (Action::Deny, "big"), "{action:?} {arguments}");
            assert!(denied.reason.unwrap().starts_with("The condition of this rule could not be judged: "));
        }
        // Where tool, agent or conditions do not match, the expression is not asked.
        assert_eq!(says(&policy, "a", "other", &json!({})), (Action::Allow, "rest".into()));
        assert_eq!(says(&policy, "a", "t", &json!({"kind": "mail"})), (Action::Allow, "rest".into()));
    }
}

#[test]
fn a_when_makes_a_verdict_depend_on_the_call_and_keeps_its_tool_listed() {
    let policy = policy(Action::Hide, vec![RuleSpec { when: Some("args.n > 5".into()), ..rule("big", &["t"], Action::Deny) }]);
    assert_eq!(policy.preview("t"), Preview { action: Action::Hide, rule: "default".into(), depends: true, limits: Vec::new() });
    assert!(policy.hides("a", "t"));
    let allowed = self::policy(Action::Hide, vec![RuleSpec { when: Some("args.n > 5".into()), ..rule("big", &["t"], Action::Allow) }]);
    assert!(!allowed.hides("a", "t"), "some arguments let it through");
    let wrong = mistakes(vec![RuleSpec { when: Some("args.n > 5".into()), ..rule("big", &["t"], Action::Hide) }]);
    assert_eq!((wrong.len(), wrong[0].at.as_str()), (1, "rules[0].when"));
}

#[test]
fn the_digest_of_a_policy_tells_whens_and_shadows_apart() {
    let digest = |when: Option<&str>, shadow: bool| {
        policy(Action::Deny, vec![RuleSpec { when: when.map(str::to_owned), shadow, ..rule("r", &["t"], Action::Allow) }]).digest().clone()
    };
    let all = [digest(None, false), digest(Some("true"), false), digest(Some("1 == 1"), false), digest(None, true)];
    assert!((0..4).all(|one| (0..one).all(|other| all[one] != all[other])));
}

#[test]
fn a_shadow_rule_is_recorded_and_matching_goes_on_as_if_it_were_not_there() {
    let shadow = |name: &str, action, when: Option<&str>| RuleSpec { shadow: true, when: when.map(str::to_owned), ..rule(name, &["t"], action) };
    let limit = LimitSpec { counter: "c".into(), window: Duration::from_secs(60), max: 1, scope: ScopeSpec::Grant, increment_from: None, on_deny: None };
    for real in [Action::Allow, Action::Deny, Action::RequireApproval, Action::Hide] {
        let rules = vec![
            shadow("would-hide", Action::Hide, None),
            shadow("would-hold", Action::RequireApproval, Some("args.n > 5")),
            shadow("not-this-one", Action::Deny, Some("args.n > 6")),
            shadow("cannot-say", Action::Allow, Some("args.missing == 1")),
            RuleSpec { limits: vec![limit.clone()], ..shadow("would-count", Action::Allow, None) },
            rule("real", &["t"], real),
            shadow("too-late", Action::Deny, None),
        ];
        let policy = policy(Action::Deny, rules);
        let judgement = judged(&policy, &json!({"n": 6}));
        assert_eq!((judgement.action, judgement.rule.as_str(), judgement.charges.len()), (real, "real", 0));
        let recorded: Vec<(&str, Action)> = judgement.shadows.iter().map(|shadow| (shadow.rule.as_str(), shadow.action)).collect();
        assert_eq!(
            recorded,
            [("would-hide", Action::Hide), ("would-hold", Action::RequireApproval), ("cannot-say", Action::Deny), ("would-count", Action::Allow)]
        );
        assert_eq!(policy.preview("t"), Preview { action: real, rule: "real".into(), depends: false, limits: Vec::new() });
        assert_eq!(policy.hides("a", "t"), real == Action::Hide);
        assert_eq!(policy.holding().len(), usize::from(real == Action::RequireApproval));
        assert_eq!(policy.limits(), []);
    }
}

#[test]
fn what_a_shadow_rule_uses_up_is_not_missing_for_a_rule_that_decides() {
    let many = json!({ "list": vec![1; 200_000], "n": 1 });
    let slow = Some("args.list.all(x, x > 0)".to_owned());
    let policy = policy(
        Action::Deny,
        vec![
            RuleSpec { shadow: true, when: slow, ..rule("slow", &["t"], Action::Deny) },
            RuleSpec { when: Some("args.n == 1".into()), ..rule("real", &["t"], Action::Allow) },
        ],
    );
    let judgement = judged(&policy, &many);
    assert_eq!((judgement.action, judgement.shadows[0].action), (Action::Allow, Action::Deny));
}
