//! The agent leaves: its own timeout is shorter than the wait, its user presses stop, or its process is killed.

use super::{Case, dm, every, id_of, pending, presence, sent, sent_earlier};
use crate::world::{Gateway, Sdk};
use serde_json::json;
use std::sync::Arc;

/// Shorter than any wait here.
const OWN_TIMEOUT: u64 = 1;

/// Before it asks for the outcome it is busy with something else, for longer than the three seconds after which an SDK resumes
/// a stream that ended without an answer: the outcome must not go to the request that was given up, where nobody reads it.
async fn own_timeout_then_the_same_call(case: Case, gateway: Arc<Gateway>) {
    let (sdk, desk) = (case.sdk, case.desk(&gateway));
    let text = case.text("Too slow for me");
    let message = || dm("@bob", &text);
    let mut agent = case.connect(&gateway).await;

    agent.begin_call_for(OWN_TIMEOUT, "send_dm", message()).await;
    let held = desk.held(&text).await;
    let gave_up = agent.answer().await;
    assert!(gave_up.get("error").is_some(), "{sdk:?} waited longer than it was told to: {gave_up}");
    pending(&agent.call("send_dm", message()).await, id_of(&held));
    assert_eq!(case.held(&desk).await, 1, "the identical call attaches");

    // The last request ended by the pending answer and not by a cancel: approving sends.
    presence(&desk, id_of(&held), "gone").await;
    desk.approve(&held).await;
    desk.settled(id_of(&held), &["answered"]).await;
    assert_eq!(case.sent(&text), 1);
    for _ in 0..2 {
        agent.call("send_dm", dm("@carol", &case.text("Something else"))).await;
    }
    sent_earlier(&agent.call("send_dm", message()).await, "@bob");
    assert_eq!(case.sent(&text), 1);
}

/// An SDK that tells has cancelled, both times: the approval is a permit. One that does not tell has merely gone, when the
/// request it left open has had its pending answer: the approval sends.
async fn approved_after_it_stopped_waiting(case: Case, gateway: Arc<Gateway>) {
    let (sdk, desk) = (case.sdk, case.desk(&gateway));
    let tells = sdk.tells_when_it_stops();
    let (left, on_approval, state, times) = if tells { ("cancelled", "permit", "approved", 0) } else { ("gone", "send", "answered", 1) };
    // The SDK, which resumes a stream that ended without an answer, has more than its second or three to do so with the stopped one.
    let own_timeout = if tells { 5 } else { OWN_TIMEOUT };
    let (late, stopped) = (("@bob", case.text("My own time was up")), ("@carol", case.text("My user pressed stop")));
    let mut agent = case.connect(&gateway).await;

    agent.begin_stoppable_call("send_dm", dm(stopped.0, &stopped.1)).await;
    let mut held = vec![desk.held(&stopped.1).await];
    let error = agent.stop().await;
    assert!(error.get("error").is_some(), "{sdk:?}: {error}");
    presence(&desk, id_of(&held[0]), left).await;
    agent.begin_call_for(own_timeout, "send_dm", dm(late.0, &late.1)).await;
    held.push(desk.held(&late.1).await);
    let error = agent.answer().await;
    assert!(error.get("error").is_some(), "{sdk:?}: {error}");
    presence(&desk, id_of(&held[1]), left).await;
    for call in &held {
        let call = desk.call(id_of(call)).await;
        assert_eq!((&call["presence"], &call["on_approval"]), (&json!(left), &json!(on_approval)), "the reviewer is told before the click: {call}");
        desk.approve(&call).await;
    }

    if tells {
        // A call of somebody who waits goes all the way: what must not be sent had its chance.
        let meanwhile = case.text("Meanwhile");
        agent.begin_call("send_dm", dm("@alice", &meanwhile)).await;
        desk.approve(&desk.held(&meanwhile).await).await;
        sent(&agent.result().await, "@alice");
    }
    for (call, (_, text)) in held.iter().zip([&stopped, &late]) {
        desk.settled(id_of(call), &[state]).await;
        assert_eq!(case.sent(text), times, "{text}");
    }

    for (to, text) in [&stopped, &late] {
        let outcome = agent.call("send_dm", dm(to, text)).await;
        if tells {
            sent(&outcome, to);
        } else {
            sent_earlier(&outcome, to);
        }
        assert_eq!(case.sent(text), 1, "{text}");
    }
}

/// No word of goodbye: the call stays, and what a person approves is sent.
async fn killed_while_it_waited(case: Case, gateway: Arc<Gateway>) {
    let desk = case.desk(&gateway);
    let text = case.text("My last words");
    let mut agent = case.connect(&gateway).await;
    agent.begin_call("send_dm", dm("@bob", &text)).await;
    let held = desk.held(&text).await;
    agent.kill().await;
    presence(&desk, id_of(&held), "gone").await;
    let call = desk.call(id_of(&held)).await;
    assert_eq!(call["on_approval"], "send", "{call}");
    desk.approve(&call).await;
    desk.settled(id_of(&held), &["answered"]).await;
    assert_eq!(case.sent(&text), 1);

    let mut agent = case.connect(&gateway).await;
    sent_earlier(&agent.call("send_dm", dm("@bob", &text)).await, "@bob");
    assert_eq!(case.held(&desk).await, 0, "the identical call gets the outcome and is no new call");
    assert_eq!(case.sent(&text), 1);
}

#[tokio::test]
async fn the_user_of_every_sdk_may_call_again_when_its_own_timeout_was_shorter() {
    every(&Sdk::ALL, |_| "2s", own_timeout_then_the_same_call).await;
}

#[tokio::test]
async fn what_the_user_of_an_sdk_stopped_is_sent_only_when_asked_again() {
    every(&Sdk::ALL, |sdk| if sdk.tells_when_it_stops() { "50s" } else { "3s" }, approved_after_it_stopped_waiting).await;
}

#[tokio::test]
async fn what_a_killed_agent_asked_for_is_sent_once_and_the_next_one_is_told_so() {
    every(&Sdk::ALL, |_| "50s", killed_while_it_waited).await;
}
