//! Limits through the real gate (semantics.md 25 and 26): two ledgers, two doors, nothing refunded but what never
//! left, and no window that holds more than it may, also over a restart and with two gates on one store.

use super::{Desk, HOUR, approve, read_and_decide, rule};
use crate::fakes::Mood;
use paraph::domain::call::{CallId, State};
use paraph::domain::people::Role;
use paraph::domain::policy::{Action, LimitSpec, Policy, PolicySpec, ScopeSpec};
use paraph::gate::{Admission, Clock as _, Gate, Notice, ServerSettings, Settings};
use paraph::store::in_memory::InMemory;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn limit(counter: &str, max: u64, scope: ScopeSpec) -> LimitSpec {
    LimitSpec { counter: counter.into(), window: MINUTE, max, scope, increment_from: None, on_deny: None }
}

/// `write_*` is allowed, `send_*` is held, `read_*` only reads; all of them count.
pub fn limited(max: u64) -> Settings {
    limited_by(vec![limit("rate", max, ScopeSpec::Grant)])
}

pub fn limited_by(limits: Vec<LimitSpec>) -> Settings {
    let spec = PolicySpec {
        server: "demo".into(),
        reads: vec!["read_*".into()],
        rules: vec![rule("notes", &["write_*", "read_*"], Action::Allow), rule("dms", &["send_*"], Action::RequireApproval)],
        limits,
        ..PolicySpec::default()
    };
    let policy = Policy::build(spec).expect("the limits are in order");
    Settings {
        servers: [("demo".to_owned(), ServerSettings { policy, messages: Default::default() })].into(),
        in_flight_per_server: 10_000,
        ..super::settings()
    }
}

async fn desk(max: u64) -> Desk {
    Desk::over(Arc::new(InMemory::default()), limited(max)).await
}

pub(super) fn text(number: usize) -> String {
    json!({ "to": format!("@bob{number}"), "text": "hi" }).to_string()
}

pub(super) async fn refused(desk: &Desk, tool: &str, arguments: &str) -> Notice {
    match desk.admit(tool, arguments).await {
        Admission::Refused(notice) => notice,
        Admission::Allowed(_) | Admission::Unknown | Admission::Waiting(_) => panic!("the call was not refused"),
    }
}

pub(super) async fn sent(desk: &Desk, tool: &str, arguments: &str) {
    let Admission::Allowed(pass) = desk.admit(tool, arguments).await else { panic!("not allowed") };
    pass.send(None, Default::default()).await;
}

async fn approved(desk: &Desk, number: usize) -> CallId {
    let ann = desk.gate.people().await.unwrap().into_iter().any(|person| person.email == "ann@example.org");
    if !ann {
        desk.gate.add_person("ann@example.org", None, Vec::new(), Role::Operator).await.unwrap();
    }
    let token = desk.gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
    let ann = desk.gate.by_api_token(&token).await.unwrap().unwrap();
    let id = desk.seat("send_dm", &text(number)).await.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    id
}

#[tokio::test]
async fn a_full_limit_refuses_with_the_contracts_sentence_and_says_when_to_come_back() {
    let desk = desk(2).await;
    let begun = desk.clock.now();
    for _ in 0..2 {
        sent(&desk, "write_note", r#"{"text":"same"}"#).await;
    }
    desk.clock.advance(Duration::from_secs(20));
    let told = refused(&desk, "write_note", r#"{"text":"same"}"#).await;
    let free = begun + MINUTE + Duration::from_millis(100);
    assert_eq!(told.text, format!("NOT DONE. Limit reached. Not before {free}."));
    assert_eq!((told.meta["state"].as_str(), told.meta["retryAfterMs"].as_u64()), (Some("limited"), Some(40_100)));
    assert_eq!((told.meta["rule"].as_str(), told.meta["reason"].as_str()), (Some("/limits/rate"), Some("limit /limits/rate is full")));
    desk.clock.advance(Duration::from_millis(40_100));
    sent(&desk, "write_note", r#"{"text":"same"}"#).await;
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "call.limited").count(), 1);
    assert_eq!(desk.upstream.count(r#"{"text":"same"}"#), 3);
}

#[tokio::test]
async fn a_tool_that_only_reads_counts_too() {
    let desk = desk(1).await;
    sent(&desk, "read_inbox", "{}").await;
    assert_eq!(refused(&desk, "read_inbox", "{}").await.meta["state"], "limited");
}

#[tokio::test]
async fn a_held_call_counts_as_asked_and_only_its_send_as_sent() {
    let desk = desk(2).await;
    let first = desk.seat("send_dm", &text(1)).await;
    let _second = desk.seat("send_dm", &text(2)).await;
    assert_eq!(refused(&desk, "send_dm", &text(3)).await.meta["state"], "limited");
    // Attaching counts against no limit.
    assert_eq!(desk.seat("send_dm", &text(1)).await.call(), first.call());
    // Asked long ago: what is sent now counts now.
    desk.later(10 * MINUTE).await;
    let third = approved(&desk, 3).await;
    desk.until(&third, "answered").await;
    let fourth = approved(&desk, 4).await;
    desk.until(&fourth, "answered").await;
    desk.later(MINUTE + Duration::from_millis(100)).await;
    assert_eq!(desk.upstream.count(&text(3)) + desk.upstream.count(&text(4)), 2);
}

#[tokio::test]
async fn a_burst_of_approvals_leaves_at_the_limits_pace_and_each_knows_its_time() {
    let desk = desk(2).await;
    let mut ids = Vec::new();
    for round in 0..3 {
        // Asked at the limit's pace, over three windows; decided all at once.
        for number in 0..2 {
            ids.push(desk.seat("send_dm", &text(10 * round + number)).await.call().clone());
        }
        desk.later(MINUTE + Duration::from_millis(100)).await;
    }
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let begun = desk.clock.now();
    for id in &ids {
        read_and_decide(&ann, id, approve).await.unwrap();
    }
    let window = MINUTE + Duration::from_millis(100);
    let mut waiting = Vec::new();
    for id in &ids {
        let mut hints = desk.gate.watch();
        loop {
            let call = desk.call(id).await;
            match &call.state {
                State::Answered { .. } => break,
                State::Approved { release_at, .. } if call.waits_for.is_some() => {
                    assert_eq!(call.waits_for.as_deref(), Some("/limits/rate"));
                    waiting.push(*release_at);
                    break;
                }
                _ => drop(hints.recv().await),
            }
        }
    }
    waiting.sort();
    assert_eq!(waiting, [begun + window, begun + window, begun + 2 * window, begun + 2 * window]);
    for left in [2, 0] {
        desk.later(window).await;
        let mut hints = desk.gate.watch();
        loop {
            let mut open = 0;
            for id in &ids {
                open += usize::from(desk.call(id).await.state.word() != "answered");
            }
            if open <= left {
                assert_eq!(open, left, "no faster than the limit");
                break;
            }
            drop(hints.recv().await);
        }
    }
}

#[tokio::test]
async fn what_provably_never_left_is_given_back_and_what_failed_at_the_server_is_not() {
    let desk = desk(3).await;
    *desk.upstream.mood.lock().unwrap() = Mood::NeverReached;
    let id = approved(&desk, 1).await;
    let mut hints = desk.gate.watch();
    while !matches!(desk.call(&id).await.state, State::Approved { tries: 1.., .. }) {
        drop(hints.recv().await);
    }
    let usage = |desk: &Desk| {
        let gate = desk.gate.clone();
        async move {
            let token = gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
            let ann = gate.by_api_token(&token).await.unwrap().unwrap();
            ann.usage(None, None, 10).await.unwrap().counters.iter().map(|usage| (usage.asked / 1_000_000, usage.sent / 1_000_000)).collect::<Vec<_>>()
        }
    };
    assert_eq!(usage(&desk).await, [(1, 0)]);
    let Admission::Allowed(pass) = desk.admit("write_note", "{}").await else { panic!("not allowed") };
    pass.send(None, Default::default()).await;
    assert_eq!(usage(&desk).await, [(2, 0)]);
    *desk.upstream.mood.lock().unwrap() = Mood::Answers;
    desk.later(MINUTE * 2).await;
    desk.until(&id, "answered").await;
    assert_eq!(usage(&desk).await, [(0, 1)]);
}

#[tokio::test]
async fn a_server_with_as_many_calls_under_way_as_it_may_have_is_a_limit_with_a_time_to_ask_again() {
    let settings = Settings { in_flight_per_server: 4, ..limited(100) };
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let mut under_way = Vec::new();
    for number in 0..4 {
        let Admission::Allowed(pass) = desk.admit("write_note", &text(number)).await else { panic!("not allowed") };
        under_way.push(pass);
    }
    for tool in ["write_note", "read_note"] {
        let notice = refused(&desk, tool, &text(9)).await;
        assert_eq!((&notice.meta["state"], &notice.meta["rule"]), (&json!("limited"), &json!("in_flight_per_server")), "{notice:?}");
        assert_eq!(notice.meta["retryAfterMs"], 1_000);
        assert!(notice.text.starts_with("NOT DONE. Limit reached. Not before "), "{}", notice.text);
    }
    under_way.pop().unwrap().send(None, Default::default()).await;
    sent(&desk, "read_note", &text(9)).await;
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "call.limited").count(), 2);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_when_it_is_allowed_takes_nothing_and_has_an_end_on_record() {
    let desk = desk(2).await;
    for _ in 0..5 {
        let Admission::Allowed(pass) = desk.admit("write_note", &text(1)).await else { panic!("not allowed") };
        pass.abandon().await;
        desk.later(MINUTE / 2 + Duration::from_secs(1)).await;
    }
    assert_eq!(desk.upstream.count(&text(1)), 0);
    desk.gate.close(Duration::from_secs(5)).await;
    let kinds = desk.verified_kinds().await;
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!((count("call.allowed"), count("call.ended")), (5, 5), "{kinds:?}");
}

#[tokio::test]
async fn counters_survive_a_restart_and_two_gates_on_one_store_share_them() {
    let desk = desk(2).await;
    let other = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), limited(2));
    sent(&desk, "write_note", "{}").await;
    let Admission::Allowed(_) = other.admit(desk.ask_of("write_note", "{}")).await.unwrap() else { panic!("not allowed") };
    assert_eq!(refused(&desk, "write_note", "{}").await.meta["state"], "limited");
    desk.gate.close(Duration::from_secs(5)).await;
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), limited(2));
    gate.recover().await.unwrap();
    assert!(matches!(gate.admit(desk.ask_of("write_note", "{}")).await.unwrap(), Admission::Refused(_)));
    desk.clock.advance(MINUTE + Duration::from_millis(100));
    assert!(matches!(gate.admit(desk.ask_of("write_note", "{}")).await.unwrap(), Admission::Allowed(_)));
}

#[tokio::test]
async fn after_a_restore_every_window_counts_as_full_once() {
    let desk = desk(5).await;
    let head = desk.gate.audit_head().await.unwrap();
    desk.gate.after_restore(desk.clock.now(), &head).await.unwrap();
    desk.gate.close(Duration::from_secs(5)).await;
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), limited(5));
    gate.recover().await.unwrap();
    let Admission::Refused(told) = gate.admit(desk.ask_of("write_note", "{}")).await.unwrap() else { panic!("not refused") };
    assert_eq!((told.meta["state"].as_str(), told.meta["retryAfterMs"].as_u64()), (Some("limited"), Some(60_000)));
    assert!(matches!(gate.admit(desk.ask_of("send_dm", &text(1))).await.unwrap(), Admission::Refused(_)));
    desk.clock.advance(MINUTE);
    assert!(matches!(gate.admit(desk.ask_of("write_note", "{}")).await.unwrap(), Admission::Allowed(_)));
}

#[tokio::test]
async fn several_limits_are_taken_from_all_or_from_none() {
    let per_recipient = limit("per_recipient", 1, ScopeSpec::Arg("/to".into()));
    let desk = Desk::over(Arc::new(InMemory::default()), limited_by(vec![limit("all", 2, ScopeSpec::Server), per_recipient])).await;
    sent(&desk, "write_note", &text(1)).await;
    let spelled_otherwise = json!({ "to": " @BOB1", "text": "hi" }).to_string();
    for _ in 0..3 {
        let told = refused(&desk, "write_note", &spelled_otherwise).await;
        assert_eq!(told.meta["rule"], "/limits/per_recipient");
    }
    // Nothing of the refused calls was taken from the other counter.
    sent(&desk, "write_note", &text(2)).await;
    assert_eq!(refused(&desk, "write_note", &text(3)).await.meta["rule"], "/limits/all");
}

#[tokio::test]
async fn a_counter_has_a_bounded_number_of_keys_and_idle_ones_make_room() {
    let mut settings = limited_by(vec![limit("per_recipient", 1, ScopeSpec::Arg("/to".into()))]);
    settings.limit_keys = 2;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    for number in 1..=2 {
        sent(&desk, "write_note", &text(number)).await;
    }
    assert_eq!(refused(&desk, "write_note", &text(3)).await.meta["state"], "limited");
    desk.clock.advance(2 * MINUTE);
    desk.gate.forget_old().await.unwrap();
    sent(&desk, "write_note", &text(3)).await;
}

#[tokio::test]
async fn the_operators_words_for_a_full_limit_reach_the_agent_beside_the_contracts_sentence() {
    let spoken = LimitSpec { on_deny: Some("One note a minute is enough.".into()), ..limit("rate", 1, ScopeSpec::Grant) };
    let desk = Desk::over(Arc::new(InMemory::default()), limited_by(vec![spoken])).await;
    for tool in ["write_note", "send_dm"] {
        let call = if tool == "write_note" { "{}".to_owned() } else { text(1) };
        if tool == "write_note" {
            sent(&desk, tool, &call).await;
        }
        let told = refused(&desk, tool, &call).await;
        assert!(told.text.contains("Limit reached. Not before ") && !told.text.contains("enough"), "{}", told.text);
        assert_eq!((told.meta["rule"].as_str(), told.meta["reason"].as_str()), (Some("/limits/rate"), Some("One note a minute is enough.")));
    }
}
