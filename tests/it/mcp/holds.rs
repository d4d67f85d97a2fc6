//! Waiting for a person as it looks on the wire: approved, refused, pending, cancelled, left behind, and what
//! a gateway that stops tells those who wait.

use super::*;

const DM: &str = r#"{ "to":"@bob", "n": 1.10 }"#;

async fn patient() -> World {
    World::new().await.ready().await
}

async fn hasty() -> World {
    World::with(NewAgent { keep_open: Some(Duration::from_millis(100)), ..NewAgent::default() }).await.ready().await
}

#[tokio::test]
async fn an_approved_call_answers_the_waiting_request_with_the_servers_bytes() {
    let world = patient().await;
    let ann = world.operator().await;
    let mut stream = world.open(call(1, "send_dm", DM).replace("\"name\"", "\"_meta\":{\"progressToken\":\"t\"},\"name\"")).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-cache, no-transform");
    let held = world.until(&ann, Presence::Waiting).await;
    let mut progress = String::new();
    while !progress.contains("progressToken") {
        progress += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    let expected = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":1,"message":"Waiting for a person to approve send_dm ({})"}}}}"#,
        held.id
    );
    assert!(progress.ends_with(&format!("\n\nevent: message\ndata: {expected}\n\n")), "{progress}");
    assert!(world.behind.of("tools/call").is_empty());
    decide(&ann, &held, Verdict::Approve, None).await;
    assert_eq!(finish(stream).await.events(), [format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#)]);
    assert_eq!(world.behind.saw(&format!(r#""arguments":{DM}"#)), 1);
    // It was delivered: the same text again is a new call.
    let again = world.open(call(2, "send_dm", DM)).await;
    assert_ne!(world.until(&ann, Presence::Waiting).await.id, held.id);
    drop(again);
}

#[tokio::test]
async fn a_refusal_reaches_the_model_as_a_tool_result_and_comes_again() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(1, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    decide(&ann, &held, Verdict::Reject, Some("Wrong person.")).await;
    for answer in [finish(stream).await, world.post(call(2, "send_dm", DM)).await] {
        let result: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
        let result = &result["result"];
        assert_eq!(result["isError"], true);
        assert!(result["content"][0]["text"].as_str().unwrap().contains("A person refused: \u{201c}Wrong person\u{201d}."), "{result}");
        assert_eq!(result["_meta"]["paraph/call"]["id"], json!(held.id));
        assert_eq!(result["_meta"]["paraph/call"]["state"], "rejected");
    }
    assert!(world.behind.of("tools/call").is_empty());
}

#[tokio::test]
async fn a_pending_answer_comes_in_time_and_the_identical_call_collects_what_was_sent_meanwhile() {
    let world = hasty().await;
    let ann = world.operator().await;
    let pending = world.post(call(1, "send_dm", DM)).await;
    let told: Value = serde_json::from_str(pending.events().last().unwrap()).unwrap();
    assert_eq!((told["id"].as_i64(), &told["result"]["isError"]), (Some(1), &json!(true)));
    assert_eq!(told["result"]["_meta"]["paraph/call"]["state"], "held");
    let held = world.until(&ann, Presence::Gone).await;
    decide(&ann, &held, Verdict::Approve, None).await;
    while world.behind.of("tools/call").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Until the outcome is on record the identical call is told that it is approved.
    let collected = loop {
        let answer = world.post(call(2, "send_dm", r#"{"n":1.1,"to":"@bob"}"#)).await;
        let text = answer.events().last().unwrap().to_string();
        if !text.contains("paraph/call") {
            break text;
        }
    };
    assert!(collected.starts_with(r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"Sent."}"#), "{collected}");
    assert!(collected.contains(r#""vendor":12345678901234567890123"#), "{collected}");
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_cancelled_call_is_not_sent_until_the_agent_asks_again() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(7, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#).await.status, 202);
    assert!(finish(stream).await.events().is_empty());
    let held = world.until(&ann, Presence::Cancelled).await;
    decide(&ann, &held, Verdict::Approve, None).await;
    assert!(world.behind.of("tools/call").is_empty());
    let answer = world.post(call(8, "send_dm", DM)).await;
    assert_eq!(answer.events(), [format!(r#"{{"jsonrpc":"2.0","id":8,"result":{RESULT}}}"#)]);
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_cancel_counts_also_when_the_connection_closed_first() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(7, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    drop(stream);
    world.until(&ann, Presence::Gone).await;
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#).await.status, 202);
    world.until(&ann, Presence::Cancelled).await;
}

#[tokio::test]
async fn a_gateway_that_stops_tells_waiting_requests_that_they_are_held() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(1, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    world.gate.close(Duration::from_secs(5)).await;
    let told: Value = serde_json::from_str(finish(stream).await.events().last().unwrap()).unwrap();
    assert_eq!(told["result"]["_meta"]["paraph/call"]["state"], "held");
    world.state.finish().await;
}

#[tokio::test]
async fn a_gateway_that_stops_waits_for_an_allowed_call_and_writes_its_end() {
    let world = patient().await;
    let ann = world.operator().await;
    let slow = tokio::spawn(answer(world.request(Method::POST, "demo").body(call(1, "read_slow", "{}"))));
    while world.behind.of("tools/call").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stopping = tokio::spawn({
        let gate = world.gate.clone();
        async move { gate.close(Duration::from_secs(10)).await }
    });
    world.gate.draining().cancelled().await;
    world.behind.go.notify_one();
    assert_eq!(slow.await.unwrap().text, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#));
    stopping.await.unwrap();
    let entries = ann.entries(1, 100).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == "call.ended").count(), 1);
}

#[tokio::test]
async fn a_session_that_ends_leaves_its_held_calls_behind() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(1, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    assert_eq!(answer(world.request(Method::DELETE, "demo")).await.status, 204);
    assert!(finish(stream).await.events().is_empty());
    world.until(&ann, Presence::Gone).await;
}

#[tokio::test]
async fn a_revoked_agents_waiting_request_is_told_that_its_call_was_taken_back() {
    let world = patient().await;
    let ann = world.operator().await;
    let stream = world.open(call(1, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    world.gate.revoke_agent("bot").await.unwrap();
    let told: Value = serde_json::from_str(finish(stream).await.events().last().unwrap()).unwrap();
    assert_eq!(told["result"]["_meta"]["paraph/call"]["state"], "withdrawn");
}
