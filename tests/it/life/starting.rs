//! While a server is being started nothing of a call has left: what is decided in that time counts, and a limit counts
//! when the call leaves and not when it began to wait (semantics.md 19, 21, 25).

use super::limited::limited_by;
use super::{DM, Desk, HOUR, approve, read_and_decide};
use crate::faulty::store::{FaultyStore, HoldBack, OnCommit};
use paraph::domain::call::State;
use paraph::domain::people::Role;
use paraph::domain::policy::{LimitSpec, ScopeSpec};
use paraph::gate::Admission;
use paraph::gate::upstream::Sent;
use paraph::store::in_memory::InMemory;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);

/// Both kinds of call may pass twice a minute; the server is not there yet.
async fn stopped() -> Desk {
    let rate = LimitSpec { counter: "rate".into(), window: WINDOW, max: 2, scope: ScopeSpec::Grant, increment_from: None, on_deny: None };
    let desk = Desk::over(Arc::new(InMemory::default()), limited_by(vec![rate])).await;
    desk.upstream.started.send_replace(false);
    desk
}

async fn waiting(desk: &Desk, calls: usize) {
    let mut starting = desk.upstream.starting.subscribe();
    let reached = starting.wait_for(|waiting| *waiting >= calls);
    drop(tokio::time::timeout(HOUR / 60, reached).await.expect("the calls wait for the server"));
}

#[tokio::test]
async fn a_pause_an_undo_and_a_revocation_are_in_time_while_the_server_is_being_started() {
    for what in ["pause", "undo", "revoke"] {
        let desk = stopped().await;
        let ann = desk.reviewer("ann@example.org", Role::Operator, &[]).await;
        let id = desk.seat("send_dm", DM).await.call().clone();
        read_and_decide(&ann, &id, approve).await.unwrap();
        waiting(&desk, 1).await;
        let (gate, ask) = (desk.gate.clone(), desk.ask_of("write_note", "{}"));
        let allowed = tokio::spawn(async move { gate.admit(ask).await.unwrap() });
        waiting(&desk, 2).await;
        match what {
            "pause" => drop(desk.gate.pause("look first", "operator").await.unwrap()),
            "undo" => drop(ann.undo(&id).await.unwrap()),
            _ => drop(desk.gate.revoke_agent("bot").await.unwrap()),
        }
        desk.upstream.started.send_replace(true);
        let admission = allowed.await.unwrap();
        if let Admission::Allowed(pass) = admission {
            assert_eq!(what, "undo", "an undo concerns the other call alone");
            pass.send(None, Default::default()).await;
        } else {
            assert!(matches!(admission, Admission::Refused(notice) if notice.meta["state"] == "denied"), "{what}");
        }
        // Time goes on: what would leave later leaves now.
        desk.later(WINDOW * 2).await;
        let word = desk.call(&id).await.state.word();
        assert_eq!(word, if what == "revoke" { "withdrawn" } else { "held" }, "{what}");
        assert_eq!(desk.upstream.count(DM), 0, "{what}");
        assert_eq!(desk.upstream.count("{}"), usize::from(what == "undo"), "{what}");
    }
}

#[tokio::test]
async fn calls_of_several_windows_that_wait_for_a_server_do_not_leave_together() {
    let desk = stopped().await;
    let mut waiters = Vec::new();
    for window in 0..3 {
        for _ in 0..2 {
            let (gate, ask) = (desk.gate.clone(), desk.ask_of("write_note", "{}"));
            waiters.push(tokio::spawn(async move { gate.admit(ask).await.unwrap() }));
        }
        waiting(&desk, 2 * (window + 1)).await;
        desk.clock.advance(WINDOW * 2);
    }
    desk.upstream.started.send_replace(true);
    let mut passed = 0;
    for waiter in waiters {
        match waiter.await.unwrap() {
            Admission::Allowed(pass) => {
                pass.send(None, Default::default()).await;
                passed += 1;
            }
            Admission::Refused(notice) => assert_eq!(notice.meta["state"], "limited"),
            Admission::Unknown | Admission::Waiting(_) => panic!("neither sent nor limited"),
        }
    }
    assert_eq!((passed, desk.upstream.count("{}")), (2, 2));
}

#[tokio::test]
async fn a_request_that_was_taken_back_before_it_left_is_not_sent() {
    let desk = stopped().await;
    desk.upstream.started.send_replace(true);
    let Admission::Allowed(pass) = desk.admit("write_note", "{}").await else { panic!("not allowed") };
    let cancel = tokio_util::sync::CancellationToken::new();
    cancel.cancel();
    pass.send(None, cancel).await;
    assert_eq!(desk.upstream.count("{}"), 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_server_that_starts_and_what_was_allowed_before_has_its_end_on_record() {
    let desk = stopped().await;
    let (gate, ask) = (desk.gate.clone(), desk.ask_of("read_note", "{}"));
    let asking = tokio::spawn(async move { gate.admit(ask).await.map(drop) });
    waiting(&desk, 1).await;
    desk.upstream.started.send_replace(true);
    asking.await.unwrap().unwrap();
    let Admission::Allowed(under_way) = desk.admit("read_note", "{}").await else { panic!("not allowed") };
    desk.upstream.started.send_replace(false);
    let (gate, ask) = (desk.gate.clone(), desk.ask_of("write_note", "{}"));
    let late = tokio::spawn(async move { gate.admit(ask).await.map(drop) });
    waiting(&desk, 2).await;
    // The call under way outlasts the stop; nothing is written behind any more.
    desk.gate.drain(Duration::ZERO).await;
    assert!(late.await.unwrap().is_err(), "it is neither sent nor on record");
    under_way.send(None, Default::default()).await;
    let kinds = desk.verified_kinds().await;
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!((count("call.allowed"), count("call.ended")), (2, 1), "{kinds:?}");
}

#[tokio::test]
async fn a_revocation_is_in_time_until_an_allowed_call_is_on_record() {
    let (store, back) = (FaultyStore::over(Arc::new(InMemory::default())), Arc::new(HoldBack::default()));
    let desk = Desk::over(store.clone(), limited_by(Vec::new())).await;
    store.next("call.allowed", OnCommit::Held(back.clone()));
    let (gate, ask) = (desk.gate.clone(), desk.ask_of("write_note", DM));
    let allowed = tokio::spawn(async move { gate.admit(ask).await.unwrap() });
    back.came.notified().await;
    desk.gate.revoke_agent("bot").await.unwrap();
    back.go.notify_one();
    let Admission::Refused(notice) = allowed.await.unwrap() else { panic!("it goes out behind its agent's revocation") };
    assert_eq!((&notice.meta["state"], &notice.meta["rule"]), (&json!("denied"), &json!("agent-revoked")));
}

#[tokio::test]
async fn what_found_its_server_absent_is_not_handed_over_and_a_pause_takes_it_back() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited_by(Vec::new())).await;
    *desk.upstream.absent.lock().unwrap() = true;
    let ann = desk.reviewer("ann@example.org", Role::Operator, &[]).await;
    let id = desk.seat("send_dm", DM).await.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    let mut hints = desk.gate.watch();
    while !matches!(desk.call(&id).await.state, State::Approved { tries: 1.., .. }) {
        drop(hints.recv().await);
    }
    let Admission::Allowed(pass) = desk.admit("write_note", "{}").await else { panic!("not allowed") };
    let Sent::NeverLeft(why) = pass.send(None, Default::default()).await else { panic!("it left") };
    assert_eq!(why, "Server demo refuses connections.");
    // The server is back, and the pause was there before.
    desk.gate.pause("look first", "operator").await.unwrap();
    *desk.upstream.absent.lock().unwrap() = false;
    desk.later(HOUR).await;
    assert_eq!(desk.call(&id).await.state.word(), "held");
    assert_eq!((desk.upstream.count(DM), desk.upstream.count("{}")), (0, 0));
}
