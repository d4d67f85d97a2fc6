//! A session and its waiting request outlive the gateway: the real program, killed while an agent waits, started
//! again on the same port and data.

use super::Method;
use crate::world::{Gateway, World, http};
use serde_json::{Value, json};
use std::time::Duration;

const ANN: &str = "ann@example.org";

struct Client {
    url: String,
    token: String,
    session: String,
}

impl Client {
    async fn connect(gateway: &Gateway, token: &str) -> Client {
        Client::speaking("2025-11-25", gateway, token).await
    }

    async fn speaking(revision: &str, gateway: &Gateway, token: &str) -> Client {
        let mut client = Client { url: gateway.mcp("demo"), token: token.to_owned(), session: String::new() };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let answer = client.request(Method::POST).body(hello.to_string()).send().await.unwrap();
        client.session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        client
    }

    /// Over a connection of its own: nothing is pooled across the kill.
    fn request(&self, method: Method) -> reqwest::RequestBuilder {
        let request = http().request(method, &self.url).bearer_auth(&self.token).header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream");
        if self.session.is_empty() { request } else { request.header("mcp-session-id", &self.session) }
    }

    fn dm(&self, text: &str) -> reqwest::RequestBuilder {
        let params = json!({"name": "send_dm", "arguments": {"to": "@bob", "text": text}});
        self.request(Method::POST).body(json!({"jsonrpc": "2.0", "id": "dm-1", "method": "tools/call", "params": params}).to_string())
    }
}

/// Reads until the part is there.
async fn read_until(stream: &mut reqwest::Response, part: &str) -> String {
    let mut text = String::new();
    while !text.contains(part) {
        let chunk = tokio::time::timeout(Duration::from_secs(40), stream.chunk()).await.expect("the rest comes").unwrap();
        text += std::str::from_utf8(&chunk.unwrap_or_else(|| panic!("it ended without {part:?}: {text}"))).unwrap();
    }
    text
}

#[tokio::test]
async fn a_request_that_a_kill_broke_is_resumed_in_its_session_and_sent_once() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let client = Client::connect(&gateway, &token).await;
    let ended = Client::connect(&gateway, &token).await;
    let mut stream = client.dm("over a restart").send().await.unwrap();
    let opening = read_until(&mut stream, "\n\n").await;
    let last = opening.lines().next().and_then(|line| line.strip_prefix("id: ")).expect("an event id").to_owned();
    let held = gateway.desk(&ann).held("over a restart").await;
    assert_eq!(last, format!("{}.0.ImRtLTEi", held["id"].as_str().unwrap()));
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    gateway.kill().await;
    let mut broken = String::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        broken += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(!broken.contains("data: {"), "a killed gateway answered: {broken}");

    let gateway = world.serve_at(&address).await;
    let desk = gateway.desk(&ann);
    let mut resumed = client.request(Method::GET).header("last-event-id", &last).send().await.unwrap();
    assert_eq!(resumed.status().as_u16(), 200);
    read_until(&mut resumed, &format!("id: {last}\n")).await;
    let shown = desk.call(held["id"].as_str().unwrap()).await;
    assert_eq!((&shown["state"], &shown["agent_waiting"]), (&json!("held"), &json!(true)));
    desk.approve(&shown).await;
    let text = read_until(&mut resumed, "data: {").await;
    let text = format!("{text}{}", resumed.text().await.unwrap());
    let answer: Value = serde_json::from_str(text.split_once("data: {").map(|(_, rest)| format!("{{{}", rest.trim())).unwrap().as_str()).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!("dm-1"), &json!("Sent to @bob.")));
    assert_eq!(answer["result"]["content"].as_array().map(Vec::len), Some(1), "no words for an earlier call: {answer}");
    assert_eq!(world.sent(), [("over a restart".to_owned(), 1)].into());

    // The session goes on in every other way, too; one that is ended stays ended, and a made-up one is none.
    let ping = |client: &Client| client.request(Method::POST).body(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).send();
    assert_eq!(ping(&client).await.unwrap().status().as_u16(), 200);
    assert_eq!(ended.request(Method::DELETE).send().await.unwrap().status().as_u16(), 204);
    assert_eq!(ping(&ended).await.unwrap().status().as_u16(), 404);
    let made_up = Client { session: "ms_AAAAAAAA".to_owned(), ..client };
    assert_eq!(ping(&made_up).await.unwrap().status().as_u16(), 404);
    world.audit_is_whole().await;
}

#[tokio::test]
async fn a_session_of_2025_03_26_takes_its_batch_again_after_a_kill() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let client = Client::speaking("2025-03-26", &gateway, &token).await;
    let dm = |id: u32, text: &str| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "send_dm", "arguments": {"to": "@bob", "text": text}}});
    let both = || client.request(Method::POST).body(json!([dm(1, "first"), dm(2, "second")]).to_string()).send();
    let before = both().await.unwrap();
    let desk = gateway.desk(&ann);
    let (first, second) = (desk.held("first").await, desk.held("second").await);
    let address = gateway.url.strip_prefix("http://").unwrap().to_owned();
    gateway.kill().await;
    drop(before);

    let gateway = world.serve_at(&address).await;
    let mut again = both().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    // Each is the held call it was.
    let desk = gateway.desk(&ann);
    for (id, call) in [(2, &second), (1, &first)] {
        desk.approve(&desk.call(call["id"].as_str().unwrap()).await).await;
        read_until(&mut again, &format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":")).await;
    }
    again.text().await.unwrap();
    assert_eq!(world.sent(), [("first".to_owned(), 1), ("second".to_owned(), 1)].into());
    world.audit_is_whole().await;
}
