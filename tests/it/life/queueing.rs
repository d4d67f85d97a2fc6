//! Approved calls that wait for a limit: each has a place, nobody overtakes them, and a place that is not needed any
//! more is free again (semantics.md 9, 10 and 25). And what a clock that was wrong or a slow disk may not do.

use super::limited::{limit, limited, limited_by, refused, sent, text};
use super::{Desk, HOUR, approve, read_and_decide};
use crate::faulty::store::{FaultyStore, HoldBack, OnCommit};
use paraph::domain::call::{CallId, State};
use paraph::domain::people::Role;
use paraph::domain::policy::{LimitSpec, ScopeSpec};
use paraph::gate::{Clock as _, Gate, Settings, TimeIsUp};
use paraph::store::in_memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a place of a minute's window stays taken.
const TAKEN: Duration = Duration::from_millis(60_100);

async fn desk_of(settings: Settings) -> Desk {
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    desk.reviewer("ann@example.org", Role::Operator, &[]).await;
    desk
}

/// So many calls, asked at the limit's pace.
async fn held(desk: &Desk, count: usize) -> Vec<CallId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(desk.seat("send_dm", &text(number)).await.call().clone());
        desk.later(TAKEN).await;
    }
    ids
}

async fn decide(desk: &Desk, id: &CallId) {
    let token = desk.gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
    let ann = desk.gate.by_api_token(&token).await.unwrap().unwrap();
    read_and_decide(&ann, id, approve).await.unwrap();
}

/// The place of an approved call, as soon as it has one.
async fn place(desk: &Desk, id: &CallId) -> jiff::Timestamp {
    let mut hints = desk.gate.watch();
    loop {
        let call = desk.call(id).await;
        match call.state {
            State::Approved { release_at, .. } if call.waits_for.is_some() && release_at > desk.clock.now() => return release_at,
            _ => drop(hints.recv().await),
        }
    }
}

/// What the agent is told that asks for the same again and waits as long as it may.
async fn pending(desk: &Desk, number: usize) -> String {
    match desk.seat("send_dm", &text(number)).await.time_is_up().await.unwrap() {
        TimeIsUp::Pending(notice) => notice.text,
        TimeIsUp::Settled(_) => panic!("it is settled"),
    }
}

#[tokio::test]
async fn a_call_that_waits_for_one_limit_keeps_no_place_of_another() {
    let per_recipient = LimitSpec { window: 10 * MINUTE, ..limit("per_recipient", 1, ScopeSpec::Arg("/to".into())) };
    let desk = desk_of(limited_by(vec![limit("all", 1, ScopeSpec::Server), per_recipient])).await;
    let dm = |to: &str, text: &str| format!(r#"{{"to":"{to}","text":"{text}"}}"#);
    let first = desk.seat("send_dm", &dm("@a", "1")).await.call().clone();
    desk.later(11 * MINUTE).await;
    let second = desk.seat("send_dm", &dm("@a", "2")).await.call().clone();
    desk.later(TAKEN).await;
    let other = desk.seat("send_dm", &dm("@b", "3")).await.call().clone();
    desk.later(TAKEN).await;
    let begun = desk.clock.now();
    decide(&desk, &first).await;
    desk.until(&first, "answered").await;
    decide(&desk, &second).await;
    assert_eq!(place(&desk, &second).await, begun + 10 * MINUTE + Duration::from_millis(100));
    decide(&desk, &other).await;
    assert_eq!(place(&desk, &other).await, begun + TAKEN, "the other recipient's turn is not ten minutes off");
}

#[tokio::test]
async fn allowed_calls_do_not_overtake_an_approved_one_that_waits() {
    let desk = desk_of(limited(1)).await;
    let id = held(&desk, 1).await.remove(0);
    sent(&desk, "write_note", "{}").await;
    decide(&desk, &id).await;
    let turn = place(&desk, &id).await;
    // Nobody has told the gate yet that its time has come.
    desk.clock.advance(TAKEN);
    assert_eq!(desk.clock.now(), turn);
    assert_eq!(refused(&desk, "write_note", "{}").await.meta["state"], "limited");
    desk.later(Duration::ZERO).await;
    desk.until(&id, "answered").await;
}

#[tokio::test]
async fn a_later_approval_does_not_overtake_an_earlier_one() {
    let desk = desk_of(limited(1)).await;
    let ids = held(&desk, 3).await;
    decide(&desk, &ids[0]).await;
    desk.until(&ids[0], "answered").await;
    decide(&desk, &ids[1]).await;
    let turn = place(&desk, &ids[1]).await;
    desk.clock.advance(TAKEN);
    decide(&desk, &ids[2]).await;
    desk.until(&ids[1], "answered").await;
    assert_eq!(place(&desk, &ids[2]).await, turn + TAKEN);
}

#[tokio::test]
async fn a_call_that_was_taken_back_gives_its_place_to_the_next_one() {
    for way in ["undo", "cancel", "pause"] {
        let desk = desk_of(limited(1)).await;
        let mut seats = Vec::new();
        for number in 0..3 {
            seats.push(desk.seat("send_dm", &text(number)).await);
            desk.later(TAKEN).await;
        }
        let ids: Vec<CallId> = seats.iter().map(|seat| seat.call().clone()).collect();
        let begun = desk.clock.now();
        decide(&desk, &ids[0]).await;
        desk.until(&ids[0], "answered").await;
        decide(&desk, &ids[1]).await;
        assert_eq!(place(&desk, &ids[1]).await, begun + TAKEN);
        match way {
            "undo" => {
                let token = desk.gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
                desk.gate.by_api_token(&token).await.unwrap().unwrap().undo(&ids[1]).await.unwrap();
            }
            "cancel" => seats.remove(1).cancel().await.unwrap(),
            _ => {
                desk.gate.pause("look first", "operator").await.unwrap();
                desk.gate.resume_sending("operator").await.unwrap();
            }
        }
        decide(&desk, &ids[2]).await;
        assert_eq!(place(&desk, &ids[2]).await, begun + TAKEN, "{way}");
    }
}

#[tokio::test]
async fn a_permit_passes_the_send_door_and_waits_there_if_the_limit_is_full() {
    let desk = desk_of(limited(1)).await;
    let seat = desk.seat("send_dm", &text(1)).await;
    let id = seat.call().clone();
    desk.later(TAKEN).await;
    seat.cancel().await.unwrap();
    decide(&desk, &id).await;
    sent(&desk, "write_note", "{}").await;
    let again = desk.seat("send_dm", &text(1)).await;
    assert_eq!(again.call(), &id);
    let turn = place(&desk, &id).await;
    assert_eq!((turn, desk.upstream.count(&text(1))), (desk.clock.now() + TAKEN, 0));
    assert_eq!(pending(&desk, 1).await, format!("APPROVED, not sent yet; it goes out by itself at {turn}. Do not send it again."));
    desk.later(TAKEN).await;
    desk.until(&id, "answered").await;
    assert_eq!(desk.upstream.count(&text(1)), 1);
}

#[tokio::test]
async fn what_a_full_limit_keeps_beyond_its_send_by_lapses() {
    let long = LimitSpec { window: 48 * HOUR, ..limit("rate", 1, ScopeSpec::Grant) };
    let desk = desk_of(limited_by(vec![long])).await;
    let id = desk.seat("send_dm", &text(1)).await.call().clone();
    // Asked before the window of the send began: a clock does that.
    desk.later(Duration::from_secs(23 * 3600)).await;
    let other =
        Desk { gate: Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), limited_by(vec![limit("rate", 9, ScopeSpec::Grant)])), ..desk };
    sent(&other, "write_note", "{}").await;
    let desk = Desk { gate: Gate::open(other.store.clone(), other.upstream.clone(), other.clock.clone(), other.settings.clone()), ..other };
    desk.gate.resume_work().await.unwrap();
    decide(&desk, &id).await;
    assert!(place(&desk, &id).await > desk.clock.now() + 24 * HOUR);
    let said = pending(&desk, 1).await;
    assert!(said.starts_with("APPROVED, not sent yet; a limit is full until its approval ends at "), "{said}");
    desk.later(24 * HOUR).await;
    desk.until(&id, "lapsed").await;
    assert_eq!(desk.upstream.count(&text(1)), 0);
}

#[tokio::test]
async fn places_survive_a_restart() {
    let desk = desk_of(limited(1)).await;
    let ids = held(&desk, 3).await;
    let begun = desk.clock.now();
    decide(&desk, &ids[0]).await;
    desk.until(&ids[0], "answered").await;
    decide(&desk, &ids[1]).await;
    assert_eq!(place(&desk, &ids[1]).await, begun + TAKEN);
    desk.gate.close(Duration::from_secs(5)).await;
    let desk = Desk { gate: Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone()), ..desk };
    desk.gate.recover().await.unwrap();
    desk.gate.resume_work().await.unwrap();
    decide(&desk, &ids[2]).await;
    assert_eq!(place(&desk, &ids[2]).await, begun + 2 * TAKEN);
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_for_a_moment_keeps_nothing_shut_for_years() {
    let desk = desk_of(limited(1)).await;
    let years = Duration::from_secs(10 * 365 * 24 * 3600);
    desk.clock.advance(years);
    sent(&desk, "write_note", "{}").await;
    desk.clock.set(0);
    assert_eq!(refused(&desk, "write_note", "{}").await.meta["state"], "limited");
    desk.gate.forget_old().await.unwrap();
    desk.clock.advance(Duration::from_secs(59));
    assert_eq!(refused(&desk, "write_note", "{}").await.meta["state"], "limited", "it counts for one window from now on");
    desk.clock.advance(Duration::from_secs(2));
    sent(&desk, "write_note", "{}").await;
}

/// The commit that counts takes half a minute: what leaves after it counts from then.
#[tokio::test]
async fn a_slow_disk_does_not_let_two_sends_into_one_window() {
    for (tool, kind) in [("write_note", "call.allowed"), ("send_dm", "call.sending")] {
        let store = FaultyStore::over(Arc::new(InMemory::new()));
        let desk = Desk::over(store.clone(), limited(1)).await;
        let held = if tool == "send_dm" { Some(desk.seat("send_dm", &text(1)).await.call().clone()) } else { None };
        desk.later(TAKEN).await;
        let back = Arc::new(HoldBack::default());
        store.next(kind, OnCommit::Held(back.clone()));
        let leave = async {
            match &held {
                Some(id) => {
                    let ann = desk.reviewer("ann@example.org", Role::Operator, &[]).await;
                    read_and_decide(&ann, id, approve).await.unwrap();
                    desk.until(id, "answered").await;
                }
                None => sent(&desk, "write_note", "{}").await,
            }
        };
        let stall = async {
            back.came.notified().await;
            desk.clock.advance(MINUTE / 2);
            back.go.notify_one();
        };
        tokio::join!(leave, stall);
        desk.clock.advance(MINUTE - Duration::from_secs(1));
        assert_eq!(refused(&desk, "write_note", "{}").await.meta["state"], "limited", "{kind}");
        desk.clock.advance(Duration::from_millis(1100));
        sent(&desk, "write_note", "{}").await;
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_sends_nothing_uncounted_and_counts_nothing_twice() {
    for lost in [OnCommit::WriteAndLose, OnCommit::DropAndLose] {
        let store = FaultyStore::over(Arc::new(InMemory::new()));
        let desk = Desk::over(store.clone(), limited(2)).await;
        store.next("call.allowed", lost.clone());
        assert!(desk.gate.admit(desk.ask_of("write_note", "{}")).await.is_err(), "never taken for a yes");
        store.next("call.held", lost.clone());
        let seat = desk.seat("send_dm", &text(1)).await;
        let asked = if matches!(lost, OnCommit::WriteAndLose) { 2 } else { 1 };
        let ann = desk.reviewer("ann@example.org", Role::Operator, &[]).await;
        let usage = ann.usage(None, None, 10).await.unwrap().counters;
        assert_eq!(usage[0].asked / 1_000_000, asked, "{lost:?}");
        assert_eq!(desk.call(seat.call()).await.state.word(), "held");
        assert!(desk.upstream.sent.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_full_limit_is_not_told_to_whom_would_have_been_refused_anyway() {
    let desk = desk_of(limited(1)).await;
    sent(&desk, "write_note", "{}").await;
    assert_eq!(refused(&desk, "drop_table", "{}").await.meta["state"], "denied");
    desk.gate.pause("look first", "operator").await.unwrap();
    assert_eq!(refused(&desk, "write_note", "{}").await.meta["rule"], "paused");
}
