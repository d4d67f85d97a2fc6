//! Many open calls at once: what concerns one agent, one person or one server finds every call that it concerns, however
//! many of others stand between them; and what has to wait costs nothing while it waits.

use super::*;
use crate::faulty::store::{FaultyStore, HoldBack, OnCommit, OnRead};
use paraph::domain::audit::Fact;
use paraph::store::{Change, Row};
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than an engine looks at for one page.
const OTHERS: usize = paraph::store::rules::SCAN_MOST + 50;

fn roomy() -> Settings {
    let mut settings = settings();
    (settings.hold.max_held, settings.hold.max_held_per_agent) = (100_000, 100_000);
    settings.hold.undo = HOUR;
    settings
}

fn dm(number: usize) -> String {
    format!(r#"{{"to":"@bob{number}","text":"Hello"}}"#)
}

/// A desk where the agent `loud` has `OTHERS` calls held, before anybody else has any.
async fn behind_a_crowd() -> (Desk, Agent) {
    let desk = Desk::over(Arc::new(InMemory::default()), roomy()).await;
    let token = desk.gate.add_agent(NewAgent { name: "loud".into(), ..NewAgent::default() }).await.unwrap();
    let loud = desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    for number in 0..OTHERS {
        let ask = Ask { agent: loud.clone(), ..desk.ask_of("send_dm", &dm(number)) };
        assert!(matches!(desk.gate.admit(ask).await.unwrap(), Admission::Waiting(_)));
    }
    desk.clock.advance(Duration::from_secs(1));
    (desk, loud)
}

#[tokio::test]
async fn revoking_an_agent_withdraws_its_calls_behind_any_number_of_others() {
    let (desk, _) = behind_a_crowd().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut own = Vec::new();
    for number in 0..3 {
        own.push(desk.seat("send_dm", &dm(number)).await.call().clone());
    }
    read_and_decide(&ann, &own[2], approve).await.unwrap();
    assert_eq!(desk.gate.revoke_agent("bot").await.unwrap(), 3);
    for id in &own {
        assert_eq!(desk.call(id).await.state.word(), "withdrawn");
    }
    assert_eq!(desk.store.held().await.unwrap(), OTHERS, "and nobody else's");
    assert_eq!(desk.gate.revoke_agent("loud").await.unwrap(), OTHERS);
    assert_eq!(desk.store.held().await.unwrap(), 0);
}

#[tokio::test]
async fn a_call_that_is_held_while_its_agent_is_revoked_is_withdrawn_too() {
    let store = FaultyStore::over(Arc::new(InMemory::default()));
    let desk = Desk::over(store.clone(), roomy()).await;
    let back = Arc::new(HoldBack::default());
    store.next("call.held", OnCommit::Held(back.clone()));
    let (gate, ask) = (desk.gate.clone(), desk.ask_of("send_dm", DM));
    let asking = tokio::spawn(async move { gate.admit(ask).await.unwrap() });
    back.came.notified().await;
    assert_eq!(desk.gate.revoke_agent("bot").await.unwrap(), 0, "it is not there yet");
    back.go.notify_one();
    let Admission::Waiting(mut seat) = asking.await.unwrap() else { panic!("not held") };
    desk.until(seat.call(), "withdrawn").await;
    assert_eq!(notice(seat.settled().await.unwrap()).meta["state"], "withdrawn");
}

#[tokio::test]
async fn a_revocation_that_was_cut_short_by_a_crash_is_ended_at_the_next_start() {
    let desk = Desk::over(Arc::new(InMemory::default()), roomy()).await;
    let id = desk.seat("send_dm", DM).await.call().clone();
    // Only the agent's record was written; then the process died.
    let revoked = Agent { revision: desk.agent.revision + 1, revoked_at: Some(desk.clock.now()), ..desk.agent.clone() };
    let fact = Fact { kind: "agent.revoked", call: None, actor: "operator".into(), data: serde_json::json!({ "agent": "bot" }).into() };
    desk.store.commit(Change::of_row(desk.clock.now(), Row::Agent(revoked), fact)).await.unwrap();
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), roomy());
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    assert_eq!(desk.call(&id).await.state.word(), "withdrawn");
}

/// More than the loop looks at in one round.
const APPROVED: usize = 600;

/// Gives what must not happen its chance.
async fn a_while() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

/// A paused desk with calls that were approved since: they leave at the resume.
async fn approved_in_a_pause(store: Arc<dyn Store>, before: &[&str]) -> (Desk, Vec<CallId>, Vec<CallId>) {
    let mut settings = roomy();
    settings.hold.undo = Duration::ZERO;
    let desk = Desk::over(store, settings).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut held = Vec::new();
    for arguments in before {
        held.push(desk.seat("send_dm", arguments).await.call().clone());
    }
    desk.clock.advance(HOUR);
    let mut ids = Vec::new();
    for number in 0..APPROVED {
        ids.push(desk.seat("send_dm", &dm(number)).await.call().clone());
    }
    desk.gate.pause("Stop.", "operator").await.unwrap();
    for id in &ids {
        read_and_decide(&ann, id, approve).await.unwrap();
    }
    (desk, ids, held)
}

#[tokio::test(start_paused = true)]
async fn what_was_approved_in_a_pause_sleeps_until_the_resume_and_asks_nothing_of_its_server() {
    let store = FaultyStore::over(Arc::new(InMemory::default()));
    let (desk, ids, _) = approved_in_a_pause(store.clone(), &[]).await;
    a_while().await;
    assert_eq!(desk.upstream.readied.load(Ordering::SeqCst), 0, "no ping, no start of a child");
    let (rounds, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_due, of_call) = (rounds.clone(), calls.clone());
    store.script_reads(move |name| {
        of_due.fetch_add(usize::from(name == "due"), Ordering::SeqCst);
        of_call.fetch_add(usize::from(name == "call"), Ordering::SeqCst);
        OnRead::Pass
    });
    for _ in 0..12 {
        tokio::time::advance(Duration::from_secs(5)).await;
        a_while().await;
    }
    assert!((1..=4).contains(&rounds.load(Ordering::SeqCst)), "{rounds:?} rounds in a minute");
    assert!(calls.load(Ordering::SeqCst) < APPROVED, "{calls:?} reads of calls, and none of them has changed");
    // Calls change: one look for all of them, a second later.
    rounds.store(0, Ordering::SeqCst);
    for id in &ids[..100] {
        let call = desk.call(id).await.touched();
        let fact = Fact { kind: "call.viewed", call: Some(id.clone()), actor: "paraph".into(), data: serde_json::json!({}).into() };
        desk.store.commit(Change::of_call(desk.clock.now(), call, fact)).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    a_while().await;
    assert!((1..=2).contains(&rounds.load(Ordering::SeqCst)), "{rounds:?} rounds for a hundred changes");
    assert_eq!((desk.upstream.readied.load(Ordering::SeqCst), desk.upstream.sent.lock().unwrap().len()), (0, 0));
    let resumed = tokio::time::Instant::now();
    desk.gate.resume_sending("operator").await.unwrap();
    for id in &ids {
        desk.until(id, "answered").await;
    }
    assert!(resumed.elapsed() < Duration::from_secs(1), "the resume wakes them, not the next look");
    assert!((0..APPROVED).all(|number| desk.upstream.count(&dm(number)) == 1), "each leaves once");
    assert_eq!(desk.upstream.sent.lock().unwrap().len(), APPROVED);
}

#[tokio::test]
async fn time_acts_in_a_pause_behind_any_number_of_approved_calls_and_on_them() {
    let (desk, ids, held) = approved_in_a_pause(Arc::new(InMemory::default()), &[DM]).await;
    // Held an hour before the others were approved.
    desk.later(HOUR * 23 + HOUR / 2).await;
    desk.until(&held[0], "expired").await;
    assert_eq!(desk.call(&ids[0]).await.state.word(), "approved");
    desk.later(HOUR).await;
    for id in &ids {
        desk.until(id, "lapsed").await;
    }
    assert!(desk.upstream.sent.lock().unwrap().is_empty());
}
