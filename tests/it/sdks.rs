//! The official SDKs as agents, before the real program: what the SDK's user sees of every verdict.

use crate::world::{Sdk, SdkAgent, World, text_of};
use serde_json::{Value, json};

const ANN: &str = "ann@example.org";

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

/// What the SDK's user sees of a refusal: an error result that names the call, not an exception.
fn verdict(result: &Value) -> &Value {
    assert_eq!(result["isError"], true, "{result}");
    assert!(result.get("structuredContent").is_none(), "{result}");
    &result["_meta"]["paraph/call"]
}

async fn sees_every_verdict(sdk: Sdk) {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    let mut agent = SdkAgent::connect(sdk, &gateway.mcp("demo"), Some(&token)).await;
    assert_eq!(agent.ready["server"]["name"], "paraph-demo-server", "the upstream's name comes through");
    agent.fine(json!({"do": "ping"})).await;

    // Hidden: absent from the list, unknown when called.
    let tools = agent.tools().await;
    assert!(tools.contains(&"send_dm".to_owned()) && tools.contains(&"read_inbox".to_owned()), "{tools:?}");
    assert!(!tools.contains(&"list_contacts".to_owned()), "{tools:?}");
    let hidden = agent.step(json!({"do": "call", "name": "list_contacts", "arguments": {}})).await;
    assert_eq!(hidden["error"]["code"], -32602, "{hidden}");
    assert!(hidden["error"]["message"].as_str().is_some_and(|said| said.ends_with("Unknown tool: list_contacts")), "{hidden}");

    // Allowed: the upstream's own result.
    let inbox = agent.call("read_inbox", json!({"limit": 1})).await;
    assert_eq!(text_of(&inbox), "@bob: Are we still on for Friday?");
    assert_eq!(inbox["structuredContent"]["messages"][0]["from"], "@bob");

    // Denied: a result, a sentence, the rule's reason.
    let denied = agent.call("delete_account", json!({})).await;
    assert_eq!(verdict(&denied)["state"], "denied");
    assert_eq!(verdict(&denied)["rule"], "accounts-stay");
    assert!(text_of(&denied).contains("Accounts are never deleted by an agent"), "{denied}");

    // Held, approved meanwhile: the request that waited gets the upstream's result, structured content and all.
    agent.begin_call("send_dm", dm("Friday works")).await;
    let held = desk.held("Friday works").await;
    assert_eq!(held["agent_waiting"], true, "{held}");
    desk.approve(&held).await;
    let sent = agent.result().await;
    assert_eq!(text_of(&sent), "Sent to @bob.");
    assert_eq!(sent["structuredContent"]["to"], "@bob");

    // Held, rejected: send_dm has an outputSchema, and the SDK must not raise.
    agent.begin_call("send_dm", dm("You owe me")).await;
    let held = desk.held("You owe me").await;
    desk.reject(&held, "Too sharp in tone.").await;
    let refused = agent.result().await;
    assert_eq!(verdict(&refused)["state"], "rejected");
    assert!(text_of(&refused).starts_with("NOT SENT.") && text_of(&refused).contains("Too sharp in tone"), "{refused}");
    assert_eq!(world.sent(), [("Friday works".to_owned(), 1)].into());
}

/// A keep_open shorter than the reviewer: the pending answer, then the identical call.
async fn waits_by_calling_again(sdk: Sdk) {
    let world = World::with_demo_server("[hold]\nkeep_open = \"1s\"\n");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    let mut agent = SdkAgent::connect(sdk, &gateway.mcp("demo"), Some(&token)).await;

    let pending = agent.call("send_dm", dm("See you there")).await;
    assert_eq!(verdict(&pending)["state"], "held");
    assert!(text_of(&pending).starts_with("NOT SENT YET."), "{pending}");
    let again = agent.call("send_dm", dm("See you there")).await;
    assert_eq!(verdict(&again)["id"], verdict(&pending)["id"], "the identical call attaches");
    assert_eq!(desk.calls("held").await.len(), 1);

    let held = desk.held("See you there").await;
    desk.approve(&held).await;
    desk.settled(held["id"].as_str().unwrap(), &["answered"]).await;
    let outcome = agent.call("send_dm", dm("See you there")).await;
    assert_eq!(text_of(&outcome), "Sent to @bob.", "the identical call gets the outcome");
    assert_eq!(world.sent(), [("See you there".to_owned(), 1)].into());
}

#[tokio::test]
async fn the_typescript_sdk_sees_every_verdict_as_a_result() {
    sees_every_verdict(Sdk::TypeScript).await;
}

#[tokio::test]
async fn the_python_sdk_sees_every_verdict_as_a_result() {
    sees_every_verdict(Sdk::Python).await;
}

#[tokio::test]
async fn the_typescript_sdk_waits_by_calling_again() {
    waits_by_calling_again(Sdk::TypeScript).await;
}

#[tokio::test]
async fn the_python_sdk_waits_by_calling_again() {
    waits_by_calling_again(Sdk::Python).await;
}

/// The TypeScript SDK's own cancel: the approval that comes later is a permit and sends nothing by itself.
#[tokio::test]
async fn a_call_the_typescript_user_stops_is_sent_only_when_asked_again() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    let mut agent = SdkAgent::connect(Sdk::TypeScript, &gateway.mcp("demo"), Some(&token)).await;

    agent.begin(&json!({"do": "cancelled call", "name": "send_dm", "arguments": dm("On second thoughts")})).await;
    let held = desk.held("On second thoughts").await;
    let id = held["id"].as_str().unwrap();
    agent.begin(&json!("stop")).await;
    let stopped = agent.answer().await;
    assert!(stopped.get("error").is_some(), "{stopped}");
    crate::world::until("the call counts as cancelled", || async { (desk.call(id).await["presence"] == "cancelled").then_some(()) }).await;
    desk.approve(&desk.call(id).await).await;
    assert_eq!(desk.call(id).await["state"], "approved");
    assert!(world.sent().is_empty(), "an approval sent what the agent had cancelled");

    let sent = agent.call("send_dm", dm("On second thoughts")).await;
    assert_eq!(text_of(&sent), "Sent to @bob.");
    assert_eq!(world.sent(), [("On second thoughts".to_owned(), 1)].into());
}

/// The SDK reconnects by itself with the last event id it saw; its user notices nothing.
#[tokio::test]
async fn a_call_that_the_typescript_sdk_waits_for_survives_a_kill_of_the_gateway() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let mut agent = SdkAgent::connect(Sdk::TypeScript, &gateway.mcp("demo"), Some(&token)).await;
    agent.begin_call("send_dm", dm("Still there?")).await;
    let held = gateway.desk(&ann).held("Still there?").await;
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    gateway.kill().await;

    let gateway = world.serve_at(&address).await;
    let desk = gateway.desk(&ann);
    let id = held["id"].as_str().unwrap();
    crate::world::until("the SDK resumes the stream", || async { (desk.call(id).await["agent_waiting"] == true).then_some(()) }).await;
    desk.approve(&desk.call(id).await).await;
    let sent = agent.result().await;
    assert_eq!(text_of(&sent), "Sent to @bob.");
    assert_eq!(sent["content"].as_array().map(Vec::len), Some(1), "{sent}");
    assert_eq!(world.sent(), [("Still there?".to_owned(), 1)].into());
}
