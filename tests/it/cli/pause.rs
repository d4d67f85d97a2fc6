//! `paraph pause` and `paraph resume`: the kill switch, with and without a gateway.

use super::Place;
use crate::world::{Agent, World, text_of};
use serde_json::{Value, json};

const WHY: &str = "The account sends nonsense.";

#[test]
fn a_store_that_nobody_serves_is_paused_once_and_resumed_once() {
    once_and_once(&Place::new());
}

#[test]
fn a_running_gateway_is_paused_once_and_resumed_once() {
    let place = Place::new();
    let gateway = place.serve();
    once_and_once(&place);
    gateway.stop();
    let audit = place.run(&["audit", "export"]).out;
    assert!(audit.contains("\"paused\"") && audit.contains("\"resumed\"") && !audit.contains(WHY), "{audit}");
}

fn once_and_once(place: &Place) {
    let asked = place.run(&["pause", "--show"]);
    assert_eq!((asked.code, asked.out.as_str()), (1, "Not paused.\n"));
    let resumed = place.run(&["resume"]);
    assert_eq!((resumed.code, resumed.out.as_str()), (1, ""));
    assert!(resumed.err.contains("not paused"), "{}", resumed.err);

    let paused = place.run(&["pause", "--reason", WHY]);
    assert_eq!((paused.code, paused.out.as_str()), (0, ""));
    assert!(paused.err.contains("taken back to held: 0"), "{}", paused.err);
    let shown = place.run(&["pause", "--show", "--json"]).json();
    assert_eq!((&shown["paused"], &shown["by"], &shown["reason"]), (&json!(true), &json!("operator"), &json!(WHY)));
    let since = shown["since"].as_str().unwrap();
    assert_eq!(place.run(&["pause", "--show"]).line(), format!("Paused since {since} by operator: {WHY}"));
    let again = place.run(&["pause", "--reason", "Another matter."]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.err.contains(&format!("paused already, since {since} by operator: {WHY}")), "{}", again.err);

    assert_eq!(place.run(&["resume"]).code, 0);
    let free = place.run(&["pause", "--show", "--json"]);
    assert_eq!((free.code, serde_json::from_str::<Value>(&free.out).unwrap()), (1, json!({"paused": false, "since": null, "by": null, "reason": null})));
}

/// A new call to a person, which must be refused at once because of the pause.
async fn is_refused(agent: &Agent, text: &str) {
    let answer = agent.request("tools/call", json!({"name": "send_dm", "arguments": {"to": "@bob", "text": text}})).await.unwrap();
    let call = &answer["result"]["_meta"]["paraph/call"];
    assert_eq!((&call["state"], &call["rule"]), (&json!("denied"), &json!("paused")), "{answer}");
    assert!(text_of(&answer["result"]).contains("The account sends nonsense"), "{answer}");
}

async fn reads(agent: &Agent) {
    let answer = agent.request("tools/call", json!({"name": "read_inbox", "arguments": {}})).await.unwrap();
    assert!(text_of(&answer["result"]).contains("@bob"), "{answer}");
}

#[tokio::test]
async fn a_pause_takes_back_what_has_not_left_and_outlives_a_kill() {
    let world = World::with_demo_server("[hold]\nundo = \"0s\"\n");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let _waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "leaves at once"}));
    let at_once = id_of(&gateway.desk(&ann).held("leaves at once").await);
    assert!(gateway.stop().await);

    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config.replace("undo = \"0s\"", "undo = \"10m\"")).unwrap();
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let _waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "approved too early"}));
    let desk = gateway.desk(&ann);
    let early = desk.held("approved too early").await;
    desk.approve(&early).await;
    let early = id_of(&early);
    assert_eq!(desk.call(&early).await["state"], "approved", "it is in its undo window");

    let paused = world.run(&["pause", "--reason", WHY]).await;
    let told = String::from_utf8(paused.stderr).unwrap();
    assert!(paused.status.success() && told.contains("taken back to held: 1"), "{told}");
    assert_eq!(desk.call(&early).await["state"], "held");
    is_refused(&agent, "during the pause").await;
    reads(&agent).await;
    gateway.kill().await;

    let gateway = world.serve().await;
    let (agent, desk) = (Agent::connect(&gateway.mcp("demo"), &token).await, gateway.desk(&ann));
    assert!(world.told(&["pause", "--show"]).await.ends_with(&format!("by operator: {WHY}")));
    assert_eq!(desk.call(&early).await["state"], "held");
    is_refused(&agent, "after the kill").await;
    reads(&agent).await;
    // It has no undo window: nothing but the pause keeps it here.
    desk.approve(&desk.call(&at_once).await).await;
    is_refused(&agent, "after an approval").await;
    assert_eq!(desk.call(&at_once).await["state"], "approved");
    assert!(world.sent().is_empty(), "something was sent during the pause");

    world.told(&["resume"]).await;
    desk.settled(&at_once, &["answered"]).await;
    let _waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "afterwards"}));
    desk.held("afterwards").await;
    assert_eq!(desk.call(&early).await["state"], "held", "what was taken back waits for a new decision");
    assert_eq!(world.sent(), [("leaves at once".to_owned(), 1)].into());
    world.audit_is_whole().await;
}

#[tokio::test]
async fn a_command_on_a_store_that_nobody_serves_sends_nothing_and_takes_nothing_back() {
    let world = World::with_demo_server("[hold]\nundo = \"1s\"\n");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let _waiting = Agent::connect(&gateway.mcp("demo"), &token).await.begin("send_dm", json!({"to": "@bob", "text": "due"}));
    let desk = gateway.desk(&ann);
    let held = desk.held("due").await;
    desk.approve(&held).await;
    gateway.kill().await;
    // Due for the whole of what follows; a command without the configuration knows no server at all.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let (empty, data) = (tempfile::tempdir().unwrap(), world.path("data").display().to_string());
    for _ in 0..3 {
        let list = tokio::process::Command::new(super::PROGRAM).args(["agent", "list", "--data", &data]).current_dir(empty.path()).output().await.unwrap();
        assert!(list.status.success());
        world.told(&["agent", "list"]).await;
    }
    assert!(world.sent().is_empty());
    let gateway = world.serve().await;
    gateway.desk(&ann).settled(&id_of(&held), &["answered"]).await;
    assert_eq!(world.sent(), [("due".to_owned(), 1)].into());
    assert!(!world.audit_is_whole().await.contains("call.never_left"), "a command tried to send");
}

fn id_of(call: &Value) -> String {
    call["id"].as_str().unwrap().to_owned()
}
