//! `when` and shadow rules through the real gate (semantics.md 27): what cannot be judged is denied with its rule's
//! name in the audit, also at the second look before the send, and a shadow rule is only written down.

use super::{Desk, HOUR, approve, read_and_decide, rule};
use paraph::domain::policy::{Action, Policy, PolicySpec, RuleSpec};
use paraph::gate::{Admission, ServerSettings, Settings};
use paraph::store::in_memory::InMemory;
use serde_json::{Value, json};
use std::sync::Arc;

fn settings(rules: Vec<RuleSpec>) -> Settings {
    let spec = PolicySpec { server: "demo".into(), reads: vec!["read_*".into()], rules, ..PolicySpec::default() };
    let policy = Policy::build(spec).expect("the rules are in order");
    Settings { servers: [("demo".to_owned(), ServerSettings { policy, messages: Default::default() })].into(), ..super::settings() }
}

async fn desk(rules: Vec<RuleSpec>) -> Desk {
    Desk::over(Arc::new(InMemory::default()), settings(rules)).await
}

fn when(name: &str, action: Action, when: &str) -> RuleSpec {
    RuleSpec { when: Some(when.into()), ..rule(name, &["*"], action) }
}

/// The data of the last entry of this kind.
async fn entry(desk: &Desk, kind: &str) -> Value {
    let entries = desk.store.entries(1, 100_000).await.unwrap();
    let entry = entries.into_iter().rev().find(|entry| entry.kind == kind);
    serde_json::to_value(entry.unwrap_or_else(|| panic!("no {kind}"))).unwrap()["data"].clone()
}

async fn told_no(desk: &Desk, tool: &str, arguments: &str) -> String {
    match desk.admit(tool, arguments).await {
        Admission::Refused(notice) => notice.text,
        Admission::Allowed(_) | Admission::Unknown | Admission::Waiting(_) => panic!("the call was not refused"),
    }
}

#[tokio::test]
async fn a_when_that_is_neither_true_nor_false_denies_and_the_audit_names_its_rule() {
    for action in [Action::Allow, Action::RequireApproval, Action::Deny] {
        let desk = desk(vec![when("only-small", action, "args.amount < 100"), rule("rest", &["*"], Action::Allow)]).await;
        let told = told_no(&desk, "send_money", r#"{"amount":"4711"}"#).await;
        assert!(told.contains("could not be judged") && !told.contains("4711"), "{told}");
        assert_eq!(entry(&desk, "call.denied").await["rule"], "only-small");
        let Admission::Allowed(pass) = desk.admit("send_money", r#"{"amount":100}"#).await else { panic!("the next rule allows it") };
        pass.send(None, Default::default()).await;
    }
}

/// Every element takes steps; there are more elements than steps.
#[tokio::test]
async fn arguments_that_are_too_many_for_an_expression_are_denied_and_keep_nobody_waiting() {
    let desk = desk(vec![when("all-positive", Action::Allow, "args.list.all(x, x > 0)")]).await;
    let list = |count: usize| json!({ "list": vec![1; count] }).to_string();
    let told = told_no(&desk, "send_list", &list(400_000)).await;
    assert!(told.contains("too large or too many"), "{told}");
    assert_eq!(entry(&desk, "call.denied").await["rule"], "all-positive");
    assert!(matches!(desk.admit("send_list", &list(1000)).await, Admission::Allowed(_)));
}

#[tokio::test]
async fn the_time_counts_when_the_call_is_asked_and_again_before_it_is_sent() {
    let desk = desk(vec![when("until-ten", Action::RequireApproval, "now < timestamp('2100-01-01T00:00:00Z')")]).await;
    let ann = desk.reviewer("ann@example.org", paraph::domain::people::Role::Reviewer, &[]).await;
    let id = desk.seat("send_dm", r#"{"to":"@bob","text":"hi"}"#).await.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.until(&id, "answered").await;
    let now = paraph::gate::Clock::now(&*desk.clock);
    let soon = format!("now < timestamp('{}')", now + HOUR);
    let late = self::desk(vec![when("an-hour", Action::RequireApproval, &soon)]).await;
    late.clock.advance(now.duration_since(paraph::gate::Clock::now(&*late.clock)).unsigned_abs());
    let ann = late.reviewer("ann@example.org", paraph::domain::people::Role::Reviewer, &[]).await;
    let id = late.seat("send_dm", r#"{"to":"@bob","text":"hi"}"#).await.call().clone();
    late.later(HOUR).await;
    read_and_decide(&ann, &id, approve).await.unwrap();
    late.until(&id, "withdrawn").await;
    assert_eq!(late.upstream.count(r#"{"to":"@bob","text":"hi"}"#), 0);
}

#[tokio::test]
async fn a_shadow_rule_is_written_beside_the_verdict_and_changes_nothing() {
    let shadow = |name: &str, action, expression: &str| RuleSpec { shadow: true, ..when(name, action, expression) };
    let recorded = json!([{ "rule": "no-links", "action": "deny" }]);
    for (action, kind) in
        [(Action::Allow, "call.allowed"), (Action::Deny, "call.denied"), (Action::RequireApproval, "call.held"), (Action::Hide, "call.denied")]
    {
        let desk = desk(vec![shadow("no-links", Action::Deny, "args.text.contains('http')"), rule("real", &["*"], action)]).await;
        for (text, expected) in [("see http://x", recorded.clone()), ("see you", Value::Null)] {
            let admission = desk.admit("send_dm", &json!({ "to": "@bob", "text": text }).to_string()).await;
            let data = entry(&desk, kind).await;
            assert_eq!((&data["rule"], &data["shadow"]), (&json!("real"), &expected), "{action:?}");
            if let Admission::Waiting(seat) = admission {
                let shadows: Vec<String> = desk.call(seat.call()).await.shadows.into_iter().map(|shadow| shadow.rule).collect();
                assert_eq!(shadows, if text == "see you" { Vec::new() } else { vec!["no-links".to_owned()] });
            }
        }
    }
    let desk = desk(vec![RuleSpec { shadow: true, ..rule("no-reads", &["*"], Action::Hide) }, rule("real", &["*"], Action::Allow)]).await;
    assert!(!desk.gate.hides("demo", "bot", "read_dms"));
    assert!(matches!(desk.admit("read_dms", "{}").await, Admission::Allowed(_)));
}
