//! The gateway goes while the agent waits: asked to stop, or killed. It comes back on the same address, so that an SDK that
//! resumes by itself can; what must hold does so for one that resumes and for one that has to connect anew.

use super::{Case, all, cases, dm, id_of, pending, presence, sent, servers_result};
use crate::world::{Address, Gateway, Sdk, SdkAgent, until};
use serde_json::{Value, json};
use std::sync::Arc;

/// One that waits while its gateway goes.
struct Waiting {
    case: Case,
    agent: SdkAgent,
    calls: Vec<Asked>,
}

/// A call and what the reviewer saw of it before the gateway went.
struct Asked {
    to: &'static str,
    text: String,
    held: Value,
}

/// Every SDK makes a call for each of these timeouts of its own, in seconds; it is still at the last one when this returns.
async fn waiting(cases: Vec<Case>, gateway: &Arc<Gateway>, own_timeouts: &'static [u64]) -> Vec<Waiting> {
    let begin = |case: Case, gateway: Arc<Gateway>| async move {
        let mut agent = case.connect(&gateway).await;
        let mut calls: Vec<Asked> = Vec::new();
        for (seconds, to) in own_timeouts.iter().zip(["@bob", "@carol"]) {
            if !calls.is_empty() {
                let answer = agent.answer().await;
                assert!(answer.get("error").is_some(), "{answer}");
            }
            let text = case.text(&format!("Through thick and thin, {to}"));
            agent.begin_call_for(*seconds, "send_dm", dm(to, &text)).await;
            let held = case.desk(&gateway).held(&text).await;
            calls.push(Asked { to, text, held });
        }
        Waiting { case, agent, calls }
    };
    all(cases.into_iter().map(|case| (case.sdk, begin(case, gateway.clone())))).await
}

/// A new connection makes the identical calls: they attach, and are sent once when they are approved.
async fn attach_anew(case: &Case, agent: &mut SdkAgent, calls: &[Asked], gateway: &Gateway) {
    let desk = case.desk(gateway);
    agent.fine(json!({"do": "connect anew"})).await;
    agent.tools().await;
    for Asked { to, text, held } in calls {
        let before = case.held(&desk).await;
        until("nobody waits", || async { (desk.call(id_of(held)).await["agent_waiting"] == false).then_some(()) }).await;
        agent.begin_call("send_dm", dm(to, text)).await;
        presence(&desk, id_of(held), "waiting").await;
        assert_eq!(case.held(&desk).await, before, "the identical call attaches");
        assert_eq!(case.sent(text), 0, "it was sent before anybody approved it");
        desk.approve(&desk.call(id_of(held)).await).await;
        sent(&agent.result().await, to);
        assert_eq!(case.sent(text), 1);
    }
}

async fn after_a_stop(waited: Waiting, gateway: Arc<Gateway>) {
    let Waiting { case, mut agent, calls } = waited;
    pending(&agent.result().await, id_of(&calls[0].held));
    attach_anew(&case, &mut agent, &calls, &gateway).await;
}

/// The first call was given up before the kill. At the second one the SDK's user sees a request that comes to nothing, at the
/// latest when the SDK's own time is up; or the SDK resumes, and its user sees nothing of all this.
async fn after_a_kill(waited: Waiting, gateway: Arc<Gateway>) {
    let Waiting { case, mut agent, calls } = waited;
    let (desk, [_, last]) = (case.desk(&gateway), &calls[..]) else { panic!("two calls") };
    let resumed = tokio::select! {
        () = presence(&desk, id_of(&last.held), "waiting") => true,
        answer = agent.answer() => {
            assert!(answer.get("error").is_some(), "{:?} has an answer that nobody gave: {answer}", case.sdk);
            false
        }
    };
    if resumed {
        desk.approve(&desk.call(id_of(&last.held)).await).await;
        servers_result(&agent.result().await, last.to);
        assert_eq!(case.sent(&last.text), 1);
    }
    let left = if resumed { &calls[..1] } else { &calls[..] };
    attach_anew(&case, &mut agent, left, &gateway).await;
}

#[tokio::test]
async fn a_gateway_that_is_stopped_tells_every_sdk_that_its_call_is_still_held() {
    let (address, (world, cases)) = (Address::keep(), cases(&Sdk::ALL, |_| "50s").await);
    let gateway = Arc::new(world.serve_at(&address.name).await);
    let waited = waiting(cases, &gateway, &[60]).await;
    assert!(Arc::into_inner(gateway).expect("nobody else has it").stop().await, "the gateway did not end well");
    let gateway = Arc::new(world.serve_at(&address.name).await);
    all(waited.into_iter().map(|one| (one.case.sdk, after_a_stop(one, gateway.clone())))).await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_keeps_the_call_of_every_sdk_for_the_next_connection() {
    let (address, (world, cases)) = (Address::keep(), cases(&Sdk::ALL, |_| "50s").await);
    let gateway = Arc::new(world.serve_at(&address.name).await);
    let waited = waiting(cases, &gateway, &[1, 10]).await;
    Arc::into_inner(gateway).expect("nobody else has it").kill().await;
    let gateway = Arc::new(world.serve_at(&address.name).await);
    all(waited.into_iter().map(|one| (one.case.sdk, after_a_kill(one, gateway.clone())))).await;
}
