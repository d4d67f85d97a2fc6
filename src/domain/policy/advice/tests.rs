//! Advice as a table: what is said of which rules, and what nothing is said of, because a warning that is not meant
//! teaches an operator to read none.

use super::super::{ConditionSpec, Operator, PolicySpec, RuleSpec};
use super::*;
use serde_json::{Value, json};

fn rule(name: &str, tools: &[&str], action: Action) -> RuleSpec {
    let tools = tools.iter().map(|&tool| tool.to_owned()).collect();
    RuleSpec { name: name.into(), tools, agents: vec!["*".into()], action, ..RuleSpec::default() }
}

fn policy(rules: Vec<RuleSpec>) -> Policy {
    Policy::build(PolicySpec { server: "demo".into(), rules, ..PolicySpec::default() }).unwrap()
}

fn said(rules: Vec<RuleSpec>) -> Vec<(String, String)> {
    policy(rules).advice().into_iter().map(|advice| (advice.at, format!("{}. {}", advice.problem, advice.mend))).collect()
}

fn conditions(action: Action, conditions: &[(&str, &str, Value)]) -> Vec<RuleSpec> {
    let condition = |(path, op, value): &(&str, &str, Value)| {
        let op = Operator::NAMES.iter().find(|(name, _)| name == op).unwrap().1;
        ConditionSpec { path: (*path).to_owned(), op, value: value.clone() }
    };
    vec![RuleSpec { conditions: conditions.iter().map(condition).collect(), ..rule("r", &["t"], action) }]
}

#[test]
fn a_rule_whose_calls_are_all_taken_before_it_is_named_with_the_rule_that_takes_them() {
    use Action::{Allow, Deny, Hide, RequireApproval};
    for (first, second) in [
        (&["*"][..], &["send_dm"][..]),
        (&["*"], &["*"]),
        (&["send_*"], &["send_dm"]),
        (&["send_*"], &["send_dm*"]),
        (&["send_*"], &["send_{dm,mail}", "send_*_now"]),
        (&["a", "b"], &["b"]),
        (&["{a,b}"], &["a", "b"]),
        (&["get_?"], &["get_?"]),
        (&["get_?"], &["get_x"]),
        (&["*"], &["get_?"]),
    ] {
        let found = said(vec![rule("first", first, Allow), rule("second", second, Deny)]);
        assert_eq!(found.len(), 1, "{first:?} {second:?} {found:?}");
        assert_eq!(found[0].0, "rules[1]");
        assert!(found[0].1.contains("rule \"second\" is never reached: \"first\" before it takes every call that it names"), "{}", found[0].1);
    }
    for (first, second) in [(&["send_dm"][..], &["send_*"][..]), (&["a"], &["a", "b"]), (&["get_?"], &["get_*"]), (&["a?"], &["abc"]), (&["a\\*"], &["ab"])] {
        assert_eq!(said(vec![rule("first", first, Allow), rule("second", second, Deny)]), [], "{first:?} {second:?}");
    }
    let together = said(vec![rule("a", &["a"], Allow), rule("b", &["b"], Hide), rule("both", &["a", "b"], RequireApproval)]);
    assert!(together[0].1.contains("\"a\", \"b\" before it"), "{together:?}");
}

#[test]
fn a_rule_that_lets_some_calls_by_takes_nothing_from_later_ones() {
    let later = || rule("second", &["send_dm"], Action::Deny);
    let first = || rule("first", &["*"], Action::Allow);
    let condition = ConditionSpec { path: "args.x".into(), op: Operator::Exists, value: json!(true) };
    for first in [
        RuleSpec { conditions: vec![condition], ..first() },
        RuleSpec { when: Some("args.x == 1".into()), ..first() },
        RuleSpec { agents: vec!["bot".into()], ..first() },
        RuleSpec { shadow: true, ..first() },
    ] {
        assert_eq!(said(vec![first, later()]), []);
    }
    let bots = |rule: RuleSpec| RuleSpec { agents: vec!["b".into(), "a".into()], ..rule };
    assert_eq!(said(vec![bots(first()), RuleSpec { agents: vec!["a".into(), "b".into()], ..later() }]).len(), 1, "the same agents in another order");
    assert_eq!(said(vec![first(), bots(later())]).len(), 1, "every agent is more than some");
    assert_eq!(said(vec![first(), RuleSpec { shadow: true, ..later() }]).len(), 1, "a shadow rule that is never reached records nothing");
}

#[test]
fn conditions_that_no_value_meets_are_told_with_their_argument() {
    let (allow, deny) = (Action::Allow, Action::Deny);
    for (action, list) in [
        (allow, vec![("args.a", "eq", json!("x")), ("args.a", "eq", json!("y"))]),
        (deny, vec![("args.a", "eq", json!("x")), ("/a", "eq", json!("y"))]),
        (allow, vec![("args.a", "lt", json!(3)), ("args.a", "gt", json!(5))]),
        (allow, vec![("args.a", "lt", json!(3)), ("args.a", "gte", json!(3))]),
        (allow, vec![("args.a", "in", json!(["x", "y"])), ("args.a", "not_in", json!(["y", "x"]))]),
        (allow, vec![("args.a", "eq", json!("x")), ("args.a", "neq", json!("x"))]),
        (allow, vec![("args.a", "eq", json!(5)), ("args.a", "lt", json!(5))]),
        (allow, vec![("args.a", "eq", json!("x")), ("args.a", "regex", json!("^y"))]),
        (allow, vec![("args.a", "exists", json!(false)), ("args.a", "contains", json!("y"))]),
        (allow, vec![("args.a", "eq", json!("5")), ("args.a", "eq", json!(5))]),
    ] {
        let found = said(conditions(action, &list));
        assert_eq!(found.len(), 1, "{list:?}");
        let problem = if action == allow { "no value of args.a meets all" } else { "no value of the right type of args.a meets all" };
        assert!(found[0].0 == "rules[0].conditions" && found[0].1.starts_with(problem), "{found:?}");
    }
    for (action, list) in [
        (allow, vec![("args.a", "gt", json!(3)), ("args.a", "lt", json!(5))]),
        (allow, vec![("args.a", "gte", json!(3)), ("args.a", "lte", json!(3))]),
        (allow, vec![("args.a", "gt", json!(3)), ("args.a", "gt", json!(5)), ("args.a", "neq", json!(6))]),
        (allow, vec![("args.a", "eq", json!("x")), ("args.b", "eq", json!("y"))]),
        (allow, vec![("args.a", "contains", json!("x")), ("args.a", "contains", json!("y"))]),
        (allow, vec![("args.a", "regex", json!("^x")), ("args.a", "regex", json!("^y"))]),
        (allow, vec![("args.a", "exists", json!(true)), ("args.a", "in", json!(["x"]))]),
        (allow, vec![("args.a", "gt", json!(1e308)), ("args.a", "lt", json!(1.5e308))]),
        // A value of the wrong type meets the other of these.
        (deny, vec![("args.a", "eq", json!("5")), ("args.a", "eq", json!(5))]),
    ] {
        assert_eq!(said(conditions(action, &list)), [], "{list:?}");
    }
}

#[test]
fn patterns_that_cross_are_told_once_for_two_rules_and_nested_ones_never() {
    let crossing = said(vec![rule("notes", &["*_note", "*_memo"], Action::Allow), rule("sends", &["send_*", "mail_*"], Action::RequireApproval)]);
    assert_eq!(crossing.len(), 1);
    assert_eq!(crossing[0].0, "rules[1].tools[0]");
    for part in ["\"send_*\" of rule \"sends\" (require_approval)", "\"*_note\" of rule \"notes\" (allow)", "\"notes\" stands first"] {
        assert!(crossing[0].1.contains(part), "{}", crossing[0].1);
    }
    for (first, second) in [("send_dm", "send_*"), ("send_*", "read_*"), ("*_note", "*"), ("delete_*", "*")] {
        assert_eq!(said(vec![rule("a", &[first], Action::Deny), rule("b", &[second], Action::Allow)]), [], "{first} {second}");
    }
    assert_eq!(said(vec![rule("a", &["*_note"], Action::Deny), rule("b", &["send_*"], Action::Deny)]), [], "the same is done in either order");
}

#[test]
fn a_tool_that_reads_and_is_refused_or_held_is_told() {
    let reads = |action: Action, tools: &[&str]| {
        let spec = PolicySpec { reads: vec!["get_*".into()], rules: vec![rule("r", tools, action)], ..PolicySpec::default() };
        Policy::build(spec).unwrap().advice()
    };
    for (action, tool) in [(Action::Deny, "get_secret"), (Action::RequireApproval, "*_secret")] {
        let found = reads(action, &[tool]);
        assert_eq!((found.len(), found[0].at.as_str()), (1, "reads[0]"));
        assert!(found[0].problem.contains(tool) && found[0].problem.contains("rule \"r\""), "{found:?}");
    }
    for (action, tool) in [(Action::Allow, "get_x"), (Action::Deny, "*"), (Action::Deny, "send_*"), (Action::Hide, "get_secret")] {
        assert_eq!(reads(action, &[tool]), [], "{tool}");
    }
}

#[test]
fn a_when_that_is_always_the_same_and_letters_nobody_sees_are_told() {
    let constant = said(vec![RuleSpec { when: Some("1 < 2".into()), ..rule("r", &["t"], Action::Deny) }]);
    assert!(constant[0].0 == "rules[0].when" && constant[0].1.contains("is the same for every call"), "{constant:?}");
    for (tool, part) in [("send_dm ", "has a blank at an end"), ("s\u{435}nd_dm", "Cyrillic letter that looks like Latin e"), ("send\u{200b}_dm", "U+200B")] {
        let found = said(vec![rule("r", &[tool], Action::Deny)]);
        assert!(found[0].0 == "rules[0].tools[0]" && found[0].1.contains(part), "{found:?}");
    }
}

#[test]
fn names_that_no_listed_tool_or_known_agent_has_are_told_with_the_closest() {
    let listed = ["send_dm", "read_inbox", "delete"].map(str::to_owned);
    let rules =
        vec![rule("a", &["Send_DM", "send-dm", "s\u{435}nd_dm", "send_d"], Action::Deny), rule("b", &["send_*", "*", "read_inbox", "remove_*"], Action::Deny)];
    let spec = PolicySpec { reads: vec!["list_*".into()], rules, ..PolicySpec::default() };
    let found = Policy::build(spec).unwrap().advice_on_tools(&listed);
    let at: Vec<&str> = found.iter().map(|advice| advice.at.as_str()).collect();
    assert_eq!(at, ["reads[0]", "rules[0].tools[0]", "rules[0].tools[1]", "rules[0].tools[2]", "rules[0].tools[3]", "rules[1].tools[3]"]);
    for advice in &found[1..5] {
        assert!(advice.mend.starts_with("Did you mean \"send_dm\"?"), "{advice:?}");
    }
    assert!(found[5].problem.ends_with("matches no tool that the server listed last") && found[5].mend.starts_with("Check the spelling"), "{:?}", found[5]);
    let agents = policy(vec![RuleSpec { agents: vec!["Bot".into(), "b*".into()], ..rule("r", &["t"], Action::Deny) }]).advice_on_agents(&["bot".to_owned()]);
    assert_eq!((agents.len(), agents[0].at.as_str()), (1, "rules[0].agents[0]"));
    assert!(agents[0].mend.contains("\"bot\""));
}

#[test]
fn many_patterns_that_cross_are_told_so_often_and_no_further() {
    let before = (0..25).map(|number| rule(&format!("before {number}"), &[&format!("p{number}_*")], Action::Allow));
    let after = (0..25).map(|number| rule(&format!("after {number}"), &[&format!("*_s{number}")], Action::Deny));
    assert_eq!(said(before.chain(after).collect()).len(), OVERLAPS);
}
