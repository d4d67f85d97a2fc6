//! After a crash: what was being sent is unknown until a person says what happened, what was approved runs its
//! undo window again, what was held is held on; and what is over loses its texts with time.

use super::{DM, Desk, HOUR, approve, notice, read_and_decide, reject, settings};
use crate::fakes::Mood;
use paraph::domain::call::{Call, CallId, State};
use paraph::domain::people::Role;
use paraph::gate::resolve::Resolution;
use paraph::gate::review::ReviewError;
use paraph::gate::{Clock as _, Gate, Reviewer, ServerSettings, Settings};
use paraph::store::in_memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

async fn unconfirmed(desk: &Desk, ann: &Reviewer) -> Call {
    *desk.upstream.mood.lock().unwrap() = Mood::Vanishes;
    let id = desk.seat("send_dm", DM).await.call().clone();
    read_and_decide(ann, &id, approve).await.unwrap();
    let call = desk.until(&id, "unconfirmed").await;
    *desk.upstream.mood.lock().unwrap() = Mood::Answers;
    call
}

fn found(call: &Call, sent: bool) -> Resolution {
    Resolution { sent, version: call.version, note: Some("I looked into the chat.".into()) }
}

async fn said_to_the_identical_call(desk: &Desk, id: &CallId) -> String {
    let mut seat = desk.seat("send_dm", DM).await;
    assert_eq!(seat.call(), id);
    let said = notice(seat.settled().await.unwrap()).text;
    seat.delivered().await.unwrap();
    said
}

#[tokio::test]
async fn while_unresolved_the_identical_call_gets_unconfirmed_every_time_and_never_a_new_call() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let call = unconfirmed(&desk, &ann).await;
    for _ in 0..3 {
        desk.later(HOUR * 30).await;
        let said = said_to_the_identical_call(&desk, &call.id).await;
        assert_eq!(said, "UNKNOWN whether it was sent. Do not send it again; a person is checking.");
    }
    assert_eq!(desk.upstream.count(DM), 1);
}

#[tokio::test]
async fn a_resolved_call_is_told_once_and_then_the_way_is_free() {
    for (sent, begins) in [(true, "SENT. A person checked: it was sent: "), (false, "NOT SENT. A person checked: it was not sent: ")] {
        let desk = Desk::new().await;
        let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
        let call = unconfirmed(&desk, &ann).await;
        let resolved = ann.resolve(&call.id, found(&call, sent)).await.unwrap().to_json();
        assert_eq!((resolved["state"].as_str(), resolved["outcome"]["kind"].as_str()), (Some("answered"), Some("told")));
        assert_eq!(resolved["outcome"]["result"]["sent"], sent);
        assert!(matches!(ann.resolve(&call.id, found(&call, sent)).await, Err(ReviewError::Settled(_))), "the second one learns who was first");
        // However late the agent asks: it must not send again because nobody told it.
        desk.later(HOUR * 30).await;
        let said = said_to_the_identical_call(&desk, &call.id).await;
        assert!(said.starts_with(begins) && said.contains("I looked into the chat"), "{said}");
        let next = desk.seat("send_dm", DM).await;
        assert_ne!(next.call(), &call.id);
        assert_eq!(desk.call(next.call()).await.last_sent.is_some(), sent);
    }
}

#[tokio::test]
async fn a_resolution_names_the_version_that_was_shown_and_comes_from_somebody_entitled() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let (auditor, held) = (desk.reviewer("aud@example.org", Role::Auditor, &[]).await, desk.seat("send_dm", r#"{"to":"@c","text":"x"}"#).await);
    let call = unconfirmed(&desk, &ann).await;
    let stale = Resolution { version: call.version - 1, ..found(&call, true) };
    assert!(matches!(ann.resolve(&call.id, stale).await, Err(ReviewError::Stale(_))));
    assert!(matches!(auditor.resolve(&call.id, found(&call, true)).await, Err(ReviewError::NotEntitled(_))));
    let long = Resolution { note: Some("x".repeat(4_001)), ..found(&call, true) };
    assert!(matches!(ann.resolve(&call.id, long).await, Err(ReviewError::Incomplete(_))));
    let open = desk.call(held.call()).await;
    assert!(matches!(ann.resolve(held.call(), found(&open, true)).await, Err(ReviewError::Settled(_))), "nothing is unknown about it");
    assert!(matches!(ann.resolve(&CallId("c_none".into()), found(&call, true)).await, Err(ReviewError::NotFound)));
}

fn with_undo() -> Settings {
    let mut settings = settings();
    settings.hold.undo = Duration::from_secs(10);
    settings
}

/// The same store as another process finds it.
async fn restarted(desk: &Desk, settings: Settings) -> Gate {
    desk.gate.close(Duration::from_secs(5)).await;
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), settings);
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    gate
}

#[tokio::test]
async fn after_a_restart_the_undo_window_runs_again_in_full() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let id = desk.seat("send_dm", DM).await.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.clock.advance(Duration::from_secs(9));
    let gate = restarted(&desk, with_undo()).await;
    let State::Approved { release_at, send_by, .. } = desk.call(&id).await.state else { panic!("not approved") };
    assert_eq!(release_at, desk.clock.now() + Duration::from_secs(10));
    assert!(send_by > release_at);
    desk.clock.advance(Duration::from_secs(9));
    gate.add_person("tick@example.org", None, Vec::new(), Role::Auditor).await.unwrap();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(desk.upstream.count(DM), 0, "somebody may still undo it");
    desk.clock.advance(Duration::from_secs(1));
    gate.add_person("tock@example.org", None, Vec::new(), Role::Auditor).await.unwrap();
    desk.until(&id, "answered").await;
}

#[tokio::test]
async fn calls_of_a_server_that_left_the_config_are_withdrawn_at_the_next_start() {
    let desk = Desk::new().await;
    let id = desk.seat("send_dm", DM).await.call().clone();
    let mut settings = settings();
    settings.servers = [("other".to_owned(), ServerSettings::default())].into();
    restarted(&desk, settings).await;
    let State::Withdrawn { why, .. } = desk.call(&id).await.state else { panic!("not withdrawn") };
    assert_eq!(why, "the server is not in the config any more");
}

#[tokio::test]
async fn disabling_a_reviewer_takes_their_unsent_approvals_back_to_held() {
    let desk = Desk::over(Arc::new(InMemory::default()), with_undo()).await;
    let (ann, dan) = (desk.reviewer("ann@example.org", Role::Reviewer, &[]).await, desk.reviewer("dan@example.org", Role::Reviewer, &[]).await);
    let (soon, pair, dans) = (
        desk.seat("send_dm", DM).await,
        desk.seat("send_pair", r#"{"to":"@bob","text":"both"}"#).await,
        desk.seat("send_dm", r#"{"to":"@bob","text":"dan's"}"#).await,
    );
    for (who, seat) in [(&ann, &soon), (&ann, &pair), (&dan, &dans)] {
        read_and_decide(who, seat.call(), approve).await.unwrap();
    }
    let shown = ann.read(dans.call()).await;
    assert!(shown.is_ok());
    desk.gate.disable_person("ann@example.org").await.unwrap();
    for (seat, word) in [(&soon, "held"), (&pair, "held"), (&dans, "approved")] {
        assert_eq!(desk.call(seat.call()).await.state.word(), word);
    }
    assert_eq!(desk.call(pair.call()).await.approved_by().count(), 0);
    read_and_decide(&dan, pair.call(), approve).await.unwrap();
    assert_eq!(desk.call(pair.call()).await.state.word(), "held", "one of two is not enough");
    // A handle that was made before is worth nothing now.
    assert!(matches!(ann.decide(soon.call(), approve(&desk.call(soon.call()).await)).await, Err(ReviewError::NotEntitled(_))));
}

#[tokio::test]
async fn a_permit_can_be_undone_until_it_is_used() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    seat.cancel().await.unwrap();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.later(Duration::from_secs(3_000)).await;
    let undone = ann.undo(&id).await.unwrap();
    assert_eq!(undone.call.state.word(), "held");
    let expires = undone.call.deadline().unwrap();
    assert!(expires >= desk.clock.now() + Duration::from_secs(600), "at least ten minutes to decide again");
    let again = desk.seat("send_dm", DM).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!((again.call(), desk.call(&id).await.state.word(), desk.upstream.count(DM)), (&id, "held", 0));
}

#[tokio::test]
async fn texts_are_forgotten_after_their_time_and_the_chain_still_verifies() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let refused = desk.seat("send_dm", r#"{"to":"@carol","text":"secret plan"}"#).await.call().clone();
    read_and_decide(&ann, &refused, reject).await.unwrap();
    let lost = unconfirmed(&desk, &ann).await;
    let day = HOUR * 24;
    desk.later(day * 90 - Duration::from_secs(1)).await;
    assert_eq!(desk.gate.forget_old().await.unwrap(), 0);
    desk.later(Duration::from_secs(2)).await;
    let held = desk.seat("send_dm", r#"{"to":"@dora","text":"still waits"}"#).await.call().clone();
    assert_eq!(desk.gate.forget_old().await.unwrap(), 1);
    assert_eq!(desk.gate.forget_old().await.unwrap(), 0);

    let call = desk.call(&refused).await;
    let kept = serde_json::to_string(&call).unwrap();
    for gone in ["secret plan", "@carol", "Not like this"] {
        assert!(!kept.contains(gone), "{gone:?} is still in {kept}");
    }
    assert!(call.erased_at.is_some());
    assert_eq!((call.state.word(), call.decisions.len()), ("rejected", 1));
    assert_eq!(desk.call(&lost.id).await.erased_at, None, "somebody must still find out about it");
    assert_eq!(desk.call(&held).await.erased_at, None);
    ann.resolve(&lost.id, found(&lost, false)).await.unwrap();
    desk.later(day * 91).await;
    desk.gate.forget_old().await.unwrap();
    assert!(!serde_json::to_string(&desk.call(&lost.id).await).unwrap().contains("Hello Bob"));
    assert_eq!(desk.verified_kinds().await.iter().filter(|kind| *kind == "call.erased").count(), 2);
}

#[tokio::test]
async fn secrets_that_nobody_can_use_any_more_leave_the_store() {
    let desk = Desk::new().await;
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    desk.gate.make_link("ann@example.org").await.unwrap();
    let count = || async { desk.store.rows(paraph::store::Kind::Credential, None, 100).await.unwrap().len() };
    let before = count().await;
    desk.later(HOUR * 20).await;
    desk.gate.forget_old().await.unwrap();
    assert_eq!(count().await, before, "an expired link is told apart from an unknown one for a day");
    desk.later(HOUR * 6).await;
    desk.gate.forget_old().await.unwrap();
    assert_eq!(count().await, 1, "the agent's token stays");
    desk.verified_kinds().await;
}
