//! The kill switch at the gate: what is refused, what goes on, what is taken back, and that a pause and a send
//! never both come first.

use super::{DM, Desk, HOUR, approve, read_and_decide, settings};
use crate::web::counting::Counting;
use paraph::domain::audit::Fact;
use paraph::domain::pause::{Pause, Stopped};
use paraph::domain::people::Role;
use paraph::gate::pause::PauseError;
use paraph::gate::review::Decide;
use paraph::gate::{Admission, Clock as _, Gate, Settings};
use paraph::store::in_memory::InMemory;
use paraph::store::{Change, Row, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn with_undo() -> Settings {
    let mut settings = settings();
    settings.hold.undo = Duration::from_secs(10);
    settings
}

/// Gives what must not happen its chance.
async fn a_while() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pause_denies_every_new_call_but_those_of_reading_tools() {
    let desk = Desk::new().await;
    desk.gate.pause("Something is wrong with the bot.", "operator").await.unwrap();
    for (tool, arguments) in [("send_dm", DM), ("write_note", "{}"), ("hidden_tool", "{}"), ("no_such_tool", "{}")] {
        let Admission::Refused(no) = desk.admit(tool, arguments).await else { panic!("{tool} was not refused") };
        assert_eq!((no.meta["state"].as_str(), no.meta["rule"].as_str()), (Some("denied"), Some("paused")), "{tool}");
        assert!(no.text.contains("Something is wrong with the bot"), "{}", no.text);
    }
    assert!(matches!(desk.admit("read_inbox", "{}").await, Admission::Allowed(_)));
    desk.gate.resume_sending("operator").await.unwrap();
    assert!(matches!(desk.admit("send_dm", DM).await, Admission::Waiting(_)));
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| ["paused", "resumed"].contains(&kind.as_str())).count(), 2);
}

#[tokio::test]
async fn attaching_comes_before_the_pause_and_the_pause_before_the_policy() {
    let desk = Desk::new().await;
    let held = desk.seat("send_dm", DM).await;
    desk.gate.pause("Lunch.", "operator").await.unwrap();
    assert_eq!(desk.seat("send_dm", DM).await.call(), held.call());
    let Admission::Refused(no) = desk.admit("delete_account", "{}").await else { panic!("not refused") };
    assert_eq!(no.meta["rule"], "paused");
}

#[tokio::test]
async fn a_pause_takes_approved_and_permitted_calls_back_to_held_and_voids_their_approvals() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let soon = desk.seat("send_dm", DM).await;
    let permit = desk.seat("send_dm", r#"{"to":"@carol","text":"x"}"#).await;
    let permitted = permit.call().clone();
    permit.cancel().await.unwrap();
    for id in [soon.call(), &permitted] {
        read_and_decide(&ann, id, approve).await.unwrap();
        assert_eq!(desk.call(id).await.state.word(), "approved");
    }
    assert_eq!(desk.gate.pause("Stop.", "operator").await.unwrap(), 2);
    for id in [soon.call(), &permitted] {
        let call = desk.call(id).await;
        assert_eq!(call.state.word(), "held");
        assert_eq!(call.approved_by().count(), 0);
        assert!(call.deadline().unwrap() >= desk.clock.now() + Duration::from_secs(600));
    }
    desk.later(HOUR).await;
    a_while().await;
    desk.gate.resume_sending("operator").await.unwrap();
    desk.later(HOUR).await;
    a_while().await;
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn what_is_approved_during_a_pause_goes_out_when_it_is_resumed() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    desk.gate.pause("Stop.", "operator").await.unwrap();
    read_and_decide(&ann, seat.call(), approve).await.unwrap();
    desk.later(Duration::from_secs(60)).await;
    a_while().await;
    assert_eq!((desk.call(seat.call()).await.state.word(), desk.upstream.count(DM)), ("approved", 0));
    desk.gate.resume_sending("operator").await.unwrap();
    desk.until(seat.call(), "answered").await;
    assert_eq!(desk.upstream.count(DM), 1);
}

#[tokio::test]
async fn a_pause_survives_a_restart_and_holds_for_another_gate_on_the_same_store() {
    let desk = Desk::new().await;
    let other = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone());
    desk.gate.pause("Stop.", "operator").await.unwrap();
    assert!(matches!(other.admit(desk.ask_of("send_dm", DM)).await.unwrap(), Admission::Refused(_)));
    desk.gate.close(Duration::from_secs(5)).await;
    other.close(Duration::from_secs(5)).await;
    let after = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone());
    after.recover().await.unwrap();
    after.resume_work().await.unwrap();
    let stopped = after.pause_record().await.unwrap().stopped.unwrap();
    assert_eq!((stopped.by.as_str(), stopped.reason.as_str()), ("operator", "Stop."));
    assert!(matches!(after.admit(desk.ask_of("send_dm", DM)).await.unwrap(), Admission::Refused(_)));
}

#[tokio::test]
async fn a_pause_needs_a_reason_and_is_told_when_there_is_one_already() {
    let desk = Desk::new().await;
    assert!(matches!(desk.gate.pause("  ", "operator").await, Err(PauseError::Incomplete(_))));
    assert!(matches!(desk.gate.pause(&"x".repeat(501), "operator").await, Err(PauseError::Incomplete(_))));
    assert!(matches!(desk.gate.resume_sending("operator").await, Err(PauseError::Already(_))));
    desk.gate.pause("Stop.", "operator").await.unwrap();
    assert!(matches!(desk.gate.pause("Again.", "operator").await, Err(PauseError::Already(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_pause_and_a_send_at_the_same_moment_exactly_one_is_first() {
    let desk = Desk::over(Arc::new(InMemory::default()) as Arc<dyn Store>, settings()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    for round in 0..60 {
        let text = format!(r#"{{"to":"@bob{round}","text":"x"}}"#);
        let seat = desk.seat("send_dm", &text).await;
        let shown = ann.read(seat.call()).await.unwrap();
        let (gate, reviewer, id) = (desk.gate.clone(), ann.clone(), seat.call().clone());
        let deciding = tokio::spawn(async move { reviewer.decide(&id, approve(&shown.call)).await.map(drop) });
        let pausing = tokio::spawn(async move { gate.pause("Stop.", "operator").await.map(drop) });
        deciding.await.unwrap().unwrap();
        pausing.await.unwrap().unwrap();
        // Whatever left did so before the pause: its entry stands before the pause's.
        let entries = desk.store.entries(1, 100_000).await.unwrap();
        let paused = entries.iter().rposition(|entry| entry.kind == "paused").unwrap();
        let sending = entries.iter().position(|entry| entry.kind == "call.sending" && entry.call.as_ref() == Some(seat.call()));
        a_while().await;
        let left = desk.upstream.count(&text);
        assert!(sending.is_none_or(|at| at < paused), "round {round}: sent during the pause");
        assert!(left == 0 || sending.is_some(), "round {round}: left after the pause");
        desk.gate.resume_sending("operator").await.unwrap();
        if desk.call(seat.call()).await.state.word() == "held" {
            assert_eq!(desk.upstream.count(&text), 0, "round {round}");
        } else {
            desk.until(seat.call(), "answered").await;
            assert_eq!(desk.upstream.count(&text), 1, "round {round}");
        }
    }
    desk.verified_kinds().await;
}

#[tokio::test]
async fn a_pause_that_was_cut_short_by_a_crash_takes_back_at_the_next_start_what_was_approved_before_it() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let before = desk.seat("send_dm", DM).await.call().clone();
    read_and_decide(&ann, &before, approve).await.unwrap();
    desk.clock.advance(Duration::from_secs(1));
    only_the_switch_is_written(&desk).await;
    desk.clock.advance(Duration::from_secs(1));
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), with_undo());
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    assert_eq!(desk.call(&before).await.state.word(), "held");
    assert_eq!(desk.upstream.count(DM), 0);
}

/// As if the process died then.
async fn only_the_switch_is_written(desk: &Desk) {
    let revision = desk.gate.pause_record().await.unwrap().revision + 1;
    let stopped = Stopped { at: desk.clock.now(), by: "operator".into(), reason: "Stop.".into() };
    let fact = Fact { kind: "paused", call: None, actor: "operator".into(), data: serde_json::json!({}).into() };
    desk.store.commit(Change::of_row(desk.clock.now(), Row::Pause(Pause { revision, stopped: Some(stopped) }), fact)).await.unwrap();
}

/// Another process on the same store, with nothing of this one's memory.
async fn started_again(desk: &Desk) -> Gate {
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone());
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    gate
}

#[tokio::test]
async fn what_came_before_a_pause_and_what_during_it_is_known_whatever_the_clock_does() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    // An earlier pause, through which somebody decided.
    desk.gate.pause("Once.", "operator").await.unwrap();
    let [before, during] = [DM, r#"{"to":"@carol","text":"x"}"#].map(|text| desk.ask_of("send_dm", text));
    desk.gate.resume_sending("operator").await.unwrap();
    let mut ids = Vec::new();
    for ask in [before, during] {
        let Admission::Waiting(seat) = desk.gate.admit(ask).await.unwrap() else { panic!("not held") };
        ids.push(seat.call().clone());
    }
    // The clock is an hour ahead, is put right, and then goes back further: times say the contrary of what was.
    desk.clock.set(3_600);
    read_and_decide(&ann, &ids[0], approve).await.unwrap();
    desk.clock.set(0);
    only_the_switch_is_written(&desk).await;
    desk.clock.set(-60);
    read_and_decide(&ann, &ids[1], approve).await.unwrap();
    for id in &ids {
        assert_eq!(desk.call(id).await.state.word(), "approved");
    }
    let gate = started_again(&desk).await;
    assert_eq!((desk.call(&ids[0]).await.state.word(), desk.call(&ids[1]).await.state.word()), ("held", "approved"));
    gate.resume_sending("operator").await.unwrap();
    assert_eq!((desk.call(&ids[0]).await.state.word(), desk.call(&ids[1]).await.state.word()), ("held", "approved"), "a resumption takes back no more");
}

#[tokio::test]
async fn the_last_of_two_approvals_and_an_editors_count_as_given_in_a_pause() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    desk.upstream.lists("send_dm", r#"{"type":"object"}"#);
    let (ann, ben) = (desk.reviewer("ann@example.org", Role::Reviewer, &[]).await, desk.reviewer("ben@example.org", Role::Reviewer, &[]).await);
    let [pair, both, edited] =
        [("send_pair", "{}"), ("send_pair", r#"{"n":2}"#), ("send_dm", DM)].map(async |(tool, text)| desk.seat(tool, text).await.call().clone());
    let (pair, both, edited) = (pair.await, both.await, edited.await);
    for (who, id) in [(&ann, &pair), (&ann, &both), (&ben, &both)] {
        read_and_decide(who, id, approve).await.unwrap();
    }
    only_the_switch_is_written(&desk).await;
    read_and_decide(&ben, &pair, approve).await.unwrap();
    let shown = ann.read(&edited).await.unwrap().call;
    let arguments = Some(r#"{"to":"@bob","text":"edited"}"#.to_owned());
    ann.decide(&edited, Decide { arguments, ..approve(&shown) }).await.unwrap();
    let gate = started_again(&desk).await;
    gate.resume_sending("operator").await.unwrap();
    let words = [&pair, &both, &edited].map(async |id| desk.call(id).await.state.word());
    let [pair, both, edited] = words;
    assert_eq!((pair.await, both.await, edited.await), ("approved", "held", "approved"));
}

#[tokio::test]
async fn a_start_in_a_pause_and_a_resumption_do_not_read_the_audit_since() {
    let read = Arc::new(AtomicUsize::new(0));
    let desk = Desk::over(Arc::new(Counting { inner: Arc::new(InMemory::default()), read: read.clone() }), settings()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    desk.gate.pause("Stop.", "operator").await.unwrap();
    read_and_decide(&ann, seat.call(), approve).await.unwrap();
    let fact = Fact { kind: "call.allowed", call: None, actor: "agent:bot".into(), data: serde_json::json!({}).into() };
    for _ in 0..20 {
        desk.store.commit(Change::of_facts(desk.clock.now(), vec![fact.clone(); 100])).await.unwrap();
    }
    read.store(0, Ordering::Relaxed);
    let gate = started_again(&desk).await;
    let at_the_start = read.swap(0, Ordering::Relaxed);
    assert_eq!(desk.call(seat.call()).await.state.word(), "approved");
    gate.resume_sending("operator").await.unwrap();
    let to_resume = read.load(Ordering::Relaxed);
    assert!(at_the_start < 200 && to_resume < 200, "{at_the_start} records read at the start, {to_resume} to resume");
    desk.until(seat.call(), "answered").await;
    assert_eq!(desk.upstream.count(DM), 1);
}
