//! The way out: judged once more, once only, in time or not at all; what a cancel and a revocation can still stop
//! and what not any more (semantics.md 6, 9, 10, 19 and 21).

use super::{DM, Desk, HOUR, approve, notice, read_and_decide, rule, settings};
use crate::fakes::{ManualClock, Mood, RESULT};
use async_trait::async_trait;
use paraph::domain::call::State;
use paraph::domain::people::Role;
use paraph::domain::policy::{Action, Policy, PolicySpec};
use paraph::gate::people::NewAgent;
use paraph::gate::upstream::{InputSchema, Sent, ServerStatus, Ticket, Upstream};
use paraph::gate::{Admission, Clock as _, Delivery, Gate, Settings};
use paraph::store::in_memory::InMemory;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

fn with_undo() -> Settings {
    let mut settings = settings();
    settings.hold.undo = Duration::from_secs(10);
    settings
}

/// The same servers under another policy.
fn judged_by(action: Action) -> Settings {
    let mut settings = with_undo();
    let spec = PolicySpec { server: "demo".into(), rules: vec![rule("changed-our-mind", &["send_*"], action)], ..PolicySpec::default() };
    settings.servers.get_mut("demo").unwrap().policy = Policy::build(spec).expect("the rule is in order");
    settings
}

#[tokio::test]
async fn two_identical_allowed_calls_are_two_calls() {
    let desk = Desk::new().await;
    for _ in 0..2 {
        let Admission::Allowed(pass) = desk.admit("write_note", r#"{"text":"same"}"#).await else { panic!("not allowed") };
        pass.send(None, Default::default()).await;
    }
    assert_eq!(desk.upstream.count(r#"{"text":"same"}"#), 2);
}

#[tokio::test]
async fn before_sending_a_deny_withdraws_with_the_rule_as_reason_and_a_hold_verdict_changes_nothing() {
    for (action, word) in [(Action::Deny, "withdrawn"), (Action::Hide, "withdrawn"), (Action::RequireApproval, "answered"), (Action::Allow, "answered")] {
        let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
        let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
        let id = desk.seat("send_dm", DM).await.call().clone();
        read_and_decide(&ann, &id, approve).await.unwrap();
        let stamped = desk.call(&id).await;
        desk.gate.close(Duration::from_secs(5)).await;
        let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), judged_by(action));
        gate.recover().await.unwrap();
        gate.resume_work().await.unwrap();
        desk.clock.advance(Duration::from_secs(30));
        gate.add_person("tick@example.org", None, Vec::new(), Role::Auditor).await.unwrap();
        let call = desk.until(&id, word).await;
        assert_eq!((&call.rule, &call.reviewers, call.approvals), (&stamped.rule, &stamped.reviewers, stamped.approvals), "stamped when it was held");
        assert_eq!(desk.upstream.count(DM), usize::from(word == "answered"), "{action:?}");
        if let State::Withdrawn { why, .. } = call.state {
            assert_eq!(why, "rule changed-our-mind refuses it now");
        }
    }
}

#[tokio::test]
async fn an_approved_call_that_could_not_leave_by_its_send_by_lapses_and_the_agent_is_told() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    *desk.upstream.mood.lock().unwrap() = Mood::NeverReached;
    let mut seat = desk.seat("send_dm", DM).await;
    read_and_decide(&ann, seat.call(), approve).await.unwrap();
    let approved_at = desk.clock.now();
    let State::Approved { send_by, .. } = desk.until(seat.call(), "approved").await.state else { panic!("not approved") };
    assert_eq!(send_by, approved_at + HOUR * 24, "the approval and the rule's expires_in");
    for _ in 0..30 {
        desk.later(HOUR).await;
        tokio::task::yield_now().await;
    }
    desk.until(seat.call(), "lapsed").await;
    let said = notice(seat.settled().await.unwrap());
    assert_eq!((said.meta["state"].as_str(), desk.upstream.count(DM)), (Some("lapsed"), 0));
    assert!(said.text.starts_with("NOT SENT. "), "{}", said.text);
}

#[tokio::test]
async fn a_permit_counts_from_the_approval_whichever_came_first() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let (early, late) = (desk.seat("send_dm", DM).await, desk.seat("send_dm", r#"{"to":"@c","text":"x"}"#).await);
    let (early_id, late_id) = (early.call().clone(), late.call().clone());
    early.cancel().await.unwrap();
    for id in [&early_id, &late_id] {
        read_and_decide(&ann, id, approve).await.unwrap();
    }
    let approved_at = desk.clock.now();
    desk.clock.advance(Duration::from_secs(5));
    late.cancel().await.unwrap();
    for id in [&early_id, &late_id] {
        let State::Approved { send_by, .. } = desk.call(id).await.state else { panic!("not approved") };
        assert_eq!(send_by, approved_at + HOUR, "{id}");
    }
}

#[tokio::test]
async fn revoking_the_agent_withdraws_its_held_approved_and_permitted_calls() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let dm = |text: &str| format!(r#"{{"to":"@bob","text":"{text}"}}"#);
    let (held, soon, permit) = (desk.seat("send_dm", &dm("1")).await, desk.seat("send_dm", &dm("2")).await, desk.seat("send_dm", &dm("3")).await);
    let ids = [held.call().clone(), soon.call().clone(), permit.call().clone()];
    permit.cancel().await.unwrap();
    for id in &ids[1..] {
        read_and_decide(&ann, id, approve).await.unwrap();
    }
    assert_eq!(desk.gate.revoke_agent("bot").await.unwrap(), 3);
    desk.later(HOUR).await;
    for id in &ids {
        assert_eq!(desk.call(id).await.state.word(), "withdrawn");
    }
    assert!(desk.upstream.sent.lock().unwrap().is_empty());
}

/// Answers when it is told to, and notes whether it heard of a cancel.
#[derive(Default)]
struct Patient {
    asked: Notify,
    go: Notify,
    cancelled: AtomicBool,
    sends: AtomicUsize,
}

#[async_trait]
impl Upstream for Patient {
    async fn send(&self, ticket: Ticket) -> Sent {
        let outgoing = ticket.spend();
        self.sends.fetch_add(1, Ordering::SeqCst);
        self.asked.notify_one();
        self.go.notified().await;
        self.cancelled.store(outgoing.cancel.is_cancelled(), Ordering::SeqCst);
        Sent::Result(RawValue::from_string(RESULT.to_owned()).unwrap())
    }

    async fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }

    async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
        None
    }

    async fn input_schema(&self, _server: &str, _tool: &str, _ask_for: Option<&str>) -> InputSchema {
        InputSchema::NotListed
    }

    async fn close_agent(&self, _agent: &str) {}
}

#[tokio::test]
async fn once_it_is_being_sent_a_cancel_an_undo_and_a_pause_are_too_late_and_the_call_runs_on() {
    let (store, clock, upstream) = (Arc::new(InMemory::default()), Arc::new(ManualClock::default()), Arc::new(Patient::default()));
    let gate = Gate::open(store.clone(), upstream.clone(), clock.clone(), settings());
    gate.resume_work().await.unwrap();
    let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
    let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
    gate.add_person("ann@example.org", None, Vec::new(), Role::Reviewer).await.unwrap();
    let ann = gate.by_api_token(&gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap()).await.unwrap().unwrap();
    let ask = paraph::gate::Ask {
        agent,
        server: "demo".into(),
        tool: "send_dm".into(),
        arguments: DM.into(),
        value: serde_json::from_str(DM).unwrap(),
        meta: None,
        session: None,
        trace: Vec::new(),
    };
    let Admission::Waiting(seat) = gate.admit(ask.clone()).await.unwrap() else { panic!("not held") };
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    upstream.asked.notified().await;
    seat.cancel().await.unwrap();
    assert!(ann.undo(&id).await.is_err(), "the undo learns that it is too late");
    assert_eq!(gate.pause("Stop.", "operator").await.unwrap(), 0, "nothing is left to take back");
    let Admission::Waiting(mut again) = gate.admit(ask).await.unwrap() else { panic!("not attached") };
    assert_eq!(again.call(), &id);
    upstream.go.notify_one();
    let Delivery::Result { body, .. } = again.settled().await.unwrap() else { panic!("no result") };
    assert_eq!((body.as_str(), upstream.sends.load(Ordering::SeqCst)), (RESULT, 1));
    assert!(upstream.cancelled.load(Ordering::SeqCst), "the server was told that the agent took it back");
}

#[tokio::test]
async fn a_permit_outlives_its_undo_window_however_short_it_is() {
    let mut settings = with_undo();
    settings.hold.permit_for = Duration::from_secs(2);
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.clock.advance(Duration::from_secs(1));
    seat.cancel().await.unwrap();
    desk.later(Duration::from_secs(4)).await;
    let mut again = desk.seat("send_dm", DM).await;
    assert_eq!((again.call(), desk.call(&id).await.state.word()), (&id, "approved"));
    desk.later(Duration::from_secs(6)).await;
    assert!(matches!(again.settled().await.unwrap(), Delivery::Result { earlier: None, .. }));
    assert_eq!(desk.upstream.count(DM), 1);
}
