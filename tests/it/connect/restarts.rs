//! The gateway goes and comes back while a client is there that knows nothing of it.

use super::REVISION;
use crate::world::{Address, Desk, Front, Gateway, World, text_of, until};
use serde_json::json;
use std::time::Duration;

/// A world whose gateway can be killed and started again at the same address.
struct Shaky {
    address: Address,
    world: World,
    token: String,
    ann: String,
}

impl Shaky {
    async fn new() -> Shaky {
        let (address, world) = (Address::keep(), World::with_demo_server(""));
        let (token, ann) = (world.agent("desktop").await, world.reviewer("ann@example.org").await);
        Shaky { address, world, token, ann }
    }

    async fn serve(&self) -> (Gateway, Desk) {
        let gateway = self.world.serve_at(&self.address.name).await;
        let desk = gateway.desk(&self.ann);
        (gateway, desk)
    }

    async fn front(&self, revision: &str) -> Front {
        Front::connect(&format!("http://{}", self.address.name), &self.token, revision, &[]).await.0
    }
}

async fn presence(desk: &Desk, id: &str, word: &str) {
    until(&format!("{id} is {word}"), || async { (desk.call(id).await["presence"] == word).then_some(()) }).await;
}

#[tokio::test]
async fn a_held_call_is_waited_for_through_a_kill_and_sent_once() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let mut front = shaky.front(REVISION).await;
    front.dm(1, "through a kill").await;
    let held = desk.held("through a kill").await;
    let id = held["id"].as_str().unwrap();
    gateway.kill().await;
    // Asked while nobody is there.
    front.ask(2, "tools/list", json!({})).await;
    front.dm(3, "into the void").await;
    front.says("does not answer").await;
    let (_gateway, desk) = shaky.serve().await;
    assert_eq!(front.answer_to(2).await["result"]["tools"].as_array().map(Vec::len), Some(3));
    presence(&desk, id, "waiting").await;
    desk.approve(&desk.held("into the void").await).await;
    assert_eq!(text_of(&front.answer_to(3).await["result"]), "Sent to @bob.");
    desk.approve(&desk.call(id).await).await;
    let answer = front.answer_to(1).await;
    assert_eq!((text_of(&answer["result"]), answer["result"]["content"].as_array().map(Vec::len)), ("Sent to @bob.", Some(1)));
    assert_eq!(shaky.world.sent(), [("into the void".to_owned(), 1), ("through a kill".to_owned(), 1)].into());
    front.says("answers again").await;
    shaky.world.audit_is_whole().await;
}

#[tokio::test]
async fn a_cancel_while_the_gateway_is_away_takes_the_held_call_back_when_it_is_there_again() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let mut front = shaky.front(REVISION).await;
    front.dm(1, "held before").await;
    let held = desk.held("held before").await;
    gateway.kill().await;
    front.dm(2, "never left").await;
    front.says("does not answer").await;
    front.cancel(1).await;
    front.cancel(2).await;
    let (_gateway, desk) = shaky.serve().await;
    presence(&desk, held["id"].as_str().unwrap(), "cancelled").await;
    front.ask(3, "ping", json!({})).await;
    front.answer_to(3).await;
    assert_eq!(desk.calls("held").await.len(), 1, "what was taken back before it left, left");
}

#[tokio::test]
async fn a_client_without_event_ids_is_told_that_nobody_knows_and_may_ask_again() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let mut front = shaky.front("2025-06-18").await;
    front.dm(1, "no ids").await;
    let held = desk.held("no ids").await;
    gateway.kill().await;
    let told = front.answer_to(1).await;
    assert_eq!(told["result"]["isError"], true, "{told}");
    assert!(text_of(&told["result"]).starts_with("UNKNOWN whether this was done."), "{told}");
    let (_gateway, desk) = shaky.serve().await;
    front.dm(2, "no ids").await;
    presence(&desk, held["id"].as_str().unwrap(), "waiting").await;
    desk.approve(&desk.call(held["id"].as_str().unwrap()).await).await;
    assert_eq!(text_of(&front.answer_to(2).await["result"]), "Sent to @bob.");
    assert_eq!(shaky.world.sent(), [("no ids".to_owned(), 1)].into());
}

#[tokio::test]
async fn an_idle_client_notices_nothing_of_a_gateway_that_stopped_and_started() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let mut front = shaky.front(REVISION).await;
    front.dm(1, "told at the stop").await;
    desk.held("told at the stop").await;
    assert!(gateway.stop().await);
    assert!(text_of(&front.answer_to(1).await["result"]).starts_with("NOT SENT YET."));
    let (gateway, _) = shaky.serve().await;
    gateway.kill().await;
    let (_gateway, desk) = shaky.serve().await;
    front.ask(2, "ping", json!({})).await;
    front.answer_to(2).await;
    front.dm(3, "told at the stop").await;
    desk.approve(&desk.held("told at the stop").await).await;
    assert_eq!(text_of(&front.answer_to(3).await["result"]), "Sent to @bob.");
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_and_held_calls_go_on_in_it() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let mut front = shaky.front(REVISION).await;
    front.dm(1, "forget me not").await;
    let held = desk.held("forget me not").await;
    gateway.kill().await;
    // Without the key no id of before counts.
    std::fs::remove_file(shaky.world.path("data/session.key")).unwrap();
    let (_gateway, desk) = shaky.serve().await;
    for id in 2..10 {
        front.ask(id, "tools/list", json!({})).await;
    }
    let mut answered: Vec<u64> = Vec::new();
    for _ in 2..10 {
        let answer = front.answer().await;
        assert!(answer["result"]["tools"].is_array(), "{answer}");
        answered.push(answer["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (2..10).collect::<Vec<_>>());
    presence(&desk, held["id"].as_str().unwrap(), "waiting").await;
    desk.approve(&desk.call(held["id"].as_str().unwrap()).await).await;
    assert_eq!(text_of(&front.answer_to(1).await["result"]), "Sent to @bob.");
    assert_eq!(front.said().matches("a new one was made").count(), 1, "{}", front.said());
    assert_eq!(shaky.world.sent(), [("forget me not".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_gateway_that_stays_away_is_given_up_request_by_request() {
    let shaky = Shaky::new().await;
    let (gateway, desk) = shaky.serve().await;
    let url = format!("http://{}", shaky.address.name);
    let (mut front, _) = Front::connect(&url, &shaky.token, REVISION, &["--patience", "1s"]).await;
    front.dm(1, "held for long").await;
    desk.held("held for long").await;
    gateway.kill().await;
    front.says("does not answer").await;
    front.dm(2, "too late").await;
    front.ask(3, "tools/list", json!({})).await;
    for _ in 0..3 {
        let told = front.answer().await;
        match told["id"].as_u64() {
            Some(1) => assert!(text_of(&told["result"]).starts_with("NOT KNOWN YET."), "{told}"),
            Some(2) => assert!(text_of(&told["result"]).starts_with("NOT DONE."), "{told}"),
            _ => assert_eq!((&told["id"], &told["error"]["message"]), (&json!(3), &json!("The gateway could not be reached."))),
        }
    }
    // It is there all the same when the gateway is.
    let (_gateway, desk) = shaky.serve().await;
    front.dm(4, "held for long").await;
    desk.approve(&desk.held("held for long").await).await;
    assert_eq!(text_of(&front.answer_to(4).await["result"]), "Sent to @bob.");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_at_the_start_is_waited_for_and_then_given_up_with_3() {
    let shaky = Shaky::new().await;
    let url = format!("http://{}", shaky.address.name);
    let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let mut front = Front::start(&url, &shaky.token, &["--wait", "500ms"]);
    front.ask(0, "initialize", hello).await;
    let told = front.answer_to(0).await;
    assert!(told["error"]["message"].as_str().unwrap().contains("could not be reached"), "{told}");
    assert_eq!(front.ended().await, (Some(3), Vec::new()));

    let mut front = Front::start(&url, &shaky.token, &[]);
    let (serving, ()) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            shaky.serve().await
        },
        async { drop(front.hello(REVISION).await) }
    );
    front.ask(1, "ping", json!({})).await;
    front.answer_to(1).await;
    assert!(serving.0.stop().await);
}

/// Approves whatever is held, until the gateway is gone.
async fn approving(desk: Desk) {
    loop {
        for call in desk.calls("held").await {
            let call = desk.call(call["id"].as_str().unwrap()).await;
            desk.decide(&call, "approve", None).await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn however_often_the_gateway_is_killed_nothing_is_sent_twice_and_everybody_is_answered() {
    let shaky = Shaky::new().await;
    let (mut gateway, desk) = shaky.serve().await;
    let mut front = shaky.front(REVISION).await;
    let mut approver = tokio::spawn(approving(desk));
    let (mut id, mut open, mut done) = (0u64, std::collections::HashMap::new(), 0);
    for round in 0..6u64 {
        for number in 0..6 {
            id += 1;
            let text = format!("round {round}, number {number}");
            front.dm(id, &text).await;
            open.insert(id, text);
        }
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        gateway.kill().await;
        approver.abort();
        let served = shaky.serve().await;
        gateway = served.0;
        approver = tokio::spawn(approving(served.1));
    }
    let mut said = Vec::new();
    while !open.is_empty() {
        let answer = front.answer().await;
        let answered = answer["id"].as_u64().unwrap();
        let text = open.remove(&answered).unwrap_or_else(|| panic!("answered twice: {answer}"));
        let told = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        // Every word of ours that allows it is taken at it.
        if ["NOT SENT YET.", "NOT KNOWN YET.", "UNKNOWN whether this was done."].iter().any(|begin| told.starts_with(begin)) {
            id += 1;
            front.dm(id, &text).await;
            open.insert(id, text);
        } else {
            assert!(told == "Sent to @bob." || told.starts_with("UNKNOWN whether it was sent."), "{told}");
            done += 1;
        }
        said.push(told);
    }
    assert_eq!(done, 36);
    let sent = shaky.world.sent();
    assert!(sent.values().all(|times| *times == 1), "{sent:?}");
    let known = said.iter().filter(|told| *told == "Sent to @bob.").count();
    assert!(sent.len() >= known && known > 18, "{known} of {}: {said:?}", sent.len());
    approver.abort();
    shaky.world.audit_is_whole().await;
}
