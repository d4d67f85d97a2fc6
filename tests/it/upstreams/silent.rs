//! The whole way, before the real program: an approved call and a server that answers no ping for a while.

use crate::world::{Agent, World, until};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Default)]
struct Server {
    deaf: AtomicBool,
    calls: AtomicUsize,
}

async fn answer(State(server): State<Arc<Server>>, method: Method, body: Bytes) -> Response<Body> {
    let respond = |status: u16, text: String| {
        Response::builder().status(status).header("content-type", "application/json").header("mcp-session-id", "s").body(Body::from(text)).unwrap()
    };
    if method != Method::POST {
        return respond(405, String::new());
    }
    let message: Value = serde_json::from_slice(&body).unwrap();
    let Some(id) = message.get("id") else { return respond(202, String::new()) };
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}),
        "ping" => {
            if server.deaf.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_secs(8)).await;
            }
            json!({})
        }
        "tools/call" => {
            server.calls.fetch_add(1, Ordering::Relaxed);
            json!({"content": [{"type": "text", "text": "Done."}]})
        }
        _ => json!({"tools": []}),
    };
    respond(200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
}

#[tokio::test]
async fn an_approved_call_waits_for_a_server_that_answers_no_ping_and_is_sent_once_when_it_does() {
    let server = Arc::new(Server::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let world = World::new(&format!("[servers.it]\nurl = {url:?}\ntimeout = \"1s\"\ndefault = \"require_approval\"\n"));
    let (token, ann) = (world.agent("bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let (desk, agent) = (gateway.desk(&ann), Agent::connect(&gateway.mcp("it"), &token).await);
    let waiting = agent.begin("act", json!({"n": 1}));
    let held = desk.held("1").await;
    let id = held["id"].as_str().unwrap().to_owned();

    server.deaf.store(true, Ordering::Relaxed);
    desk.approve(&held).await;
    until("the call was kept back", || async { world.told(&["audit", "export"]).await.contains("call.never_left").then_some(()) }).await;
    assert!(["approved", "sending"].contains(&desk.call(&id).await["state"].as_str().unwrap()));
    assert_eq!(server.calls.load(Ordering::Relaxed), 0);

    server.deaf.store(false, Ordering::Relaxed);
    assert_eq!(desk.settled(&id, &["answered", "unconfirmed", "lapsed"]).await["state"], "answered");
    assert_eq!(waiting.await.unwrap().unwrap()["result"]["content"][0]["text"], "Done.");
    assert_eq!(server.calls.load(Ordering::Relaxed), 1);
    assert!(gateway.stop().await);
}
