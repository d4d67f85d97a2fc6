//! The index over the rules makes nothing but the cost another: a policy whose index leaves nothing out is the plain
//! walk over all rules, and both say the same of every call.

use super::super::matcher::Matcher;
use super::*;

/// The same policy, asking every rule.
fn walking(policy: &Policy) -> Policy {
    let every = Matcher::compile("*").unwrap();
    let index = Index::of((0..policy.rules.len()).map(|number| (number, &every)));
    assert!(index.candidates("any").eq(0..policy.rules.len()));
    Policy { index: Arc::new(index), ..policy.clone() }
}

fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "ab", "\u{e9}", "/", "_", "*", "*", "**", "{a,b*}", "{,_}", "{*a,b}", "[ab]", "?", "\\*", ","]);
    let pattern = prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat());
    prop_oneof![1 => Just("*".to_owned()), 9 => pattern.prop_filter("a pattern", |pattern| Matcher::compile(pattern).is_ok())]
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    // Above sixteen a list of names has an index of its own.
    prop_oneof![6 => prop::collection::vec(pattern(), 1..3), 1 => prop::collection::vec(pattern().prop_filter("not every", |one| one != "*"), 17..24)]
}

fn rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let action = prop::sample::select(Action::NAMES.map(|(_, action)| action).to_vec());
    let condition = prop::option::weighted(0.5, 0..3_u32);
    let when = prop::option::weighted(0.3, prop::sample::select(vec!["args.n > 1", "args.missing == 1", "tool == 'a'"]));
    let agents = prop_oneof![3 => Just(vec!["*".to_owned()]), 1 => patterns()];
    let rule = (patterns(), agents, action, condition, when, prop::bool::weighted(0.2), any::<bool>());
    let rule = rule.prop_map(|(tools, agents, action, condition, when, shadow, limited)| {
        let (hides, passes) = (action == Action::Hide, matches!(action, Action::Allow | Action::RequireApproval));
        let limit = LimitSpec { counter: "c".into(), window: Duration::from_secs(60), max: 9, scope: ScopeSpec::Tool, increment_from: None, on_deny: None };
        RuleSpec {
            tools,
            agents,
            action,
            shadow,
            conditions: condition.filter(|_| !hides).map(|n| self::condition("args.n", "eq", json!(n))).into_iter().collect(),
            when: when.filter(|_| !hides).map(str::to_owned),
            limits: if limited && passes { vec![limit] } else { Vec::new() },
            ..RuleSpec::default()
        }
    });
    let named = |rules: Vec<RuleSpec>| rules.into_iter().enumerate().map(|(number, rule)| RuleSpec { name: format!("r{number}"), ..rule }).collect();
    prop::collection::vec(rule, 0..12).prop_map(named)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_index_says_of_every_call_what_a_walk_over_all_rules_says(
        rules in rules(),
        reads in patterns(),
        default in prop::sample::select(Action::NAMES.map(|(_, action)| action).to_vec()),
        hide_denied in any::<bool>(),
        tools in prop::collection::vec("[ab\u{e9}/_*,]{0,5}", 1..12),
        n in 0..4_u32,
    ) {
        let shadowed: Vec<bool> = rules.iter().map(|rule| rule.shadow).collect();
        let policy = Policy::build(PolicySpec { rules, reads, default, hide_denied, ..PolicySpec::default() }).unwrap();
        let walk = walking(&policy);
        let arguments = json!({ "n": n });
        for tool in &tools {
            for agent in ["a", "ab", "\u{e9}"] {
                let asked = Asked { agent, tool, arguments: &arguments, session: None, now: Timestamp::UNIX_EPOCH };
                let judged = policy.judge(&asked);
                prop_assert_eq!(&judged, &walk.judge(&asked), "{}", tool);
                // The explanation walks over all rules by itself.
                let decided = policy.explain(&asked).steps.into_iter().find(|step| step.applies && !step.shadow);
                prop_assert_eq!(&judged.rule, &decided.map_or(DEFAULT_RULE.to_owned(), |step| step.rule));
                prop_assert_eq!(policy.hides(agent, tool), walk.hides(agent, tool), "{}", tool);
            }
            prop_assert_eq!(policy.preview(tool), walk.preview(tool), "{}", tool);
            prop_assert_eq!(policy.reads(tool), policy.reads.globs().iter().any(|glob| glob.has(tool)), "{}", tool);
            let named: Vec<usize> = (0..policy.rules.len()).filter(|number| policy.rules[*number].tools().globs().iter().any(|glob| glob.has(tool))).collect();
            let enforced: Vec<&str> = named.iter().filter(|number| !shadowed[**number]).map(|number| policy.rules[*number].name()).collect();
            prop_assert_eq!(policy.enforced_on(tool).map(Rule::name).collect::<Vec<_>>(), enforced, "{}", tool);
        }
    }
}

#[test]
fn rules_for_other_tools_are_not_even_asked() {
    let other = |number: usize| if number.is_multiple_of(2) { format!("x_{number}*") } else { format!("y_{number}") };
    let of_others = (0..1_000).map(|number| rule(&format!("r{number}"), &[other(number).as_str()], Action::Deny));
    let mine = [rule("start", &["send_*"], Action::Deny), rule("end", &["*_dm"], Action::Deny), rule("whole", &["send_dm"], Action::Deny)];
    let policy = policy(Action::Deny, of_others.chain(mine).chain([rule("every", &["*"], Action::Deny)]).collect());
    assert_eq!(policy.candidates("send_dm").map(Rule::name).collect::<Vec<_>>(), ["start", "end", "whole", "every"]);
    assert_eq!(policy.candidates("").count(), 1);
    assert!(policy.candidates("\u{e9}\u{1f600}").map(Rule::name).eq(["every"]));
}
