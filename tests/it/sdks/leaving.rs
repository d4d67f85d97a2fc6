//! The agent leaves: its own timeout is shorter than the wait, its user presses stop, or its process is killed.

use super::{Scene, dm, every, id_of, pending, presence, sent, sent_earlier};
use crate::world::Sdk;

/// Shorter than any wait here.
const OWN_TIMEOUT: u64 = 1;

async fn own_timeout_then_the_same_call(sdk: Sdk) {
    let scene = Scene::new(sdk, "keep_open = \"2s\"").await;
    let gateway = scene.world.serve().await;
    let desk = gateway.desk(&scene.ann);
    let mut agent = scene.agent(&gateway).await;
    let message = || dm("@bob", "Too slow for me");

    agent.begin_call_for(OWN_TIMEOUT, "send_dm", message()).await;
    let held = desk.held("Too slow for me").await;
    let gave_up = agent.answer().await;
    assert!(gave_up.get("error").is_some(), "{sdk:?} waited longer than it was told to: {gave_up}");
    pending(&agent.call("send_dm", message()).await, id_of(&held));
    assert_eq!(desk.calls("held").await.len(), 1, "the identical call attaches");

    // The last request ended by the pending answer and not by a cancel: approving sends.
    presence(&desk, id_of(&held), "gone").await;
    desk.approve(&held).await;
    desk.settled(id_of(&held), &["answered"]).await;
    assert_eq!(scene.world.sent(), [("Too slow for me".to_owned(), 1)].into());
    sent_earlier(&agent.call("send_dm", message()).await, "@bob");
    assert_eq!(scene.world.sent(), [("Too slow for me".to_owned(), 1)].into());
}

/// An SDK that tells has cancelled, both times: the approval is a permit. One that does not tell has merely gone, when the
/// request it left open has had its pending answer: the approval sends.
async fn approved_after_it_stopped_waiting(sdk: Sdk) {
    let (keep_open, left, on_approval) = if sdk.tells_when_it_stops() { ("50s", "cancelled", "permit") } else { ("2s", "gone", "send") };
    let scene = Scene::new(sdk, &format!("keep_open = {keep_open:?}")).await;
    let gateway = scene.world.serve().await;
    let desk = gateway.desk(&scene.ann);
    let mut agent = scene.agent(&gateway).await;
    let (late, stopped) = (("@bob", "My own time was up"), ("@carol", "My user pressed stop"));

    agent.begin_call_for(OWN_TIMEOUT, "send_dm", dm(late.0, late.1)).await;
    let mut held = vec![desk.held(late.1).await];
    let error = agent.answer().await;
    assert!(error.get("error").is_some(), "{sdk:?}: {error}");
    agent.begin_stoppable_call("send_dm", dm(stopped.0, stopped.1)).await;
    held.push(desk.held(stopped.1).await);
    let error = agent.stop().await;
    assert!(error.get("error").is_some(), "{sdk:?}: {error}");
    for call in &held {
        presence(&desk, id_of(call), left).await;
        let call = desk.call(id_of(call)).await;
        assert_eq!(call["on_approval"], on_approval, "the reviewer is told before the click: {call}");
        desk.approve(&call).await;
    }

    // A call of somebody who waits goes all the way: what must not be sent had its chance.
    agent.begin_call("send_dm", dm("@alice", "Meanwhile")).await;
    let meanwhile = desk.held("Meanwhile").await;
    desk.approve(&meanwhile).await;
    sent(&agent.result().await, "@alice");
    let (state, times) = if sdk.tells_when_it_stops() { ("approved", None) } else { ("answered", Some(1)) };
    for (call, (_, text)) in held.iter().zip([late, stopped]) {
        desk.settled(id_of(call), &[state]).await;
        assert_eq!(scene.world.sent().get(text).copied(), times, "{sdk:?}: {text}");
    }

    for (to, text) in [late, stopped] {
        let outcome = agent.call("send_dm", dm(to, text)).await;
        if sdk.tells_when_it_stops() { sent(&outcome, to) } else { sent_earlier(&outcome, to) }
    }
    assert_eq!(scene.world.sent(), [("Meanwhile".to_owned(), 1), (late.1.to_owned(), 1), (stopped.1.to_owned(), 1)].into());
}

/// No word of goodbye: the call stays, and what a person approves is sent.
async fn killed_while_it_waited(sdk: Sdk) {
    let scene = Scene::new(sdk, "").await;
    let gateway = scene.world.serve().await;
    let desk = gateway.desk(&scene.ann);
    let mut agent = scene.agent(&gateway).await;
    agent.begin_call("send_dm", dm("@bob", "My last words")).await;
    let held = desk.held("My last words").await;
    agent.kill().await;
    presence(&desk, id_of(&held), "gone").await;
    let call = desk.call(id_of(&held)).await;
    assert_eq!(call["on_approval"], "send", "{call}");
    desk.approve(&call).await;
    desk.settled(id_of(&held), &["answered"]).await;
    assert_eq!(scene.world.sent(), [("My last words".to_owned(), 1)].into());

    let mut agent = scene.agent(&gateway).await;
    sent_earlier(&agent.call("send_dm", dm("@bob", "My last words")).await, "@bob");
    assert!(desk.calls("held").await.is_empty(), "the identical call gets the outcome and is no new call");
    assert_eq!(scene.world.sent(), [("My last words".to_owned(), 1)].into());
}

#[tokio::test]
async fn the_user_of_every_sdk_may_call_again_when_its_own_timeout_was_shorter() {
    every(&Sdk::ALL, own_timeout_then_the_same_call).await;
}

#[tokio::test]
async fn what_the_user_of_an_sdk_stopped_is_sent_only_when_asked_again() {
    every(&Sdk::ALL, approved_after_it_stopped_waiting).await;
}

#[tokio::test]
async fn what_a_killed_agent_asked_for_is_sent_once_and_the_next_one_is_told_so() {
    every(&Sdk::ALL, killed_while_it_waited).await;
}
