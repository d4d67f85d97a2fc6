//! Resuming the stream of a held call: what its events are called, and what a client that comes back with the last
//! id it saw is given, and what not.

use super::*;
use paraph::domain::call::CallId;

const DM: &str = r#"{ "to":"@bob", "text":"Hello" }"#;
/// base64url of 1 and 7.
const ONE: &str = "MQ";
const SEVEN: &str = "Nw";

async fn patient() -> (World, Reviewer) {
    let world = World::new().await.ready().await;
    let ann = world.operator().await;
    (world, ann)
}

fn first(call: &CallId, request: &str) -> String {
    format!("{call}.0.{request}")
}

async fn resume(world: &World, last: &str) -> reqwest::Response {
    world.request(Method::GET, "demo").header("last-event-id", last).send().await.unwrap()
}

fn opening(call: &CallId, request: &str) -> String {
    format!("id: {call}.0.{request}\nretry: 3000\ndata:\n\n")
}

fn result_event(call: &CallId, request: &str, id: &str) -> String {
    format!("id: {call}.1.{request}\nevent: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{RESULT}}}\n\n")
}

async fn chunk(stream: &mut reqwest::Response) -> String {
    let chunk = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.expect("an event comes").unwrap();
    String::from_utf8(chunk.expect("the stream goes on").to_vec()).unwrap()
}

/// Reads what is written at once, however it is cut: the opening and the first sign of life.
async fn opened(stream: &mut reqwest::Response) -> String {
    let mut text = chunk(stream).await;
    while !text.ends_with(": keep-alive\n\n") {
        text += &chunk(stream).await;
    }
    text
}

#[tokio::test]
async fn the_stream_of_a_held_call_begins_with_an_id_and_its_answer_has_one() {
    let (world, ann) = patient().await;
    let mut stream = world.open(call(1, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    assert_eq!(opened(&mut stream).await, format!("{}: keep-alive\n\n", opening(&held.id, ONE)));
    decide(&ann, &held, Verdict::Approve, None).await;
    assert_eq!(finish(stream).await.text, result_event(&held.id, ONE, "1"));
}

#[tokio::test]
async fn the_older_revision_knows_no_event_ids() {
    let world = World::with(NewAgent { keep_open: Some(Duration::from_millis(100)), ..NewAgent::default() }).await;
    world.hello("2025-06-18").await;
    let ann = world.operator().await;
    let text = world.post(call(1, "send_dm", DM)).await.text;
    assert!(text.starts_with(": keep-alive\n\nevent: message\ndata: {") && !text.contains("\nid:") && !text.contains("\nretry:"), "{text}");
    let held = world.until(&ann, Presence::Gone).await;
    let mut stream = resume(&world, &first(&held.id, ONE)).await;
    assert_eq!(chunk(&mut stream).await, ": keep-alive\n\n", "the ordinary GET stream");
    assert_eq!(world.gate.presence(&held), Presence::Gone);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_and_ends_with_the_answer_to_the_original_request() {
    let (world, ann) = patient().await;
    let body = call(1, "send_dm", DM).replace("\"id\":1", "\"id\":\"\\u0061\"");
    let stream = world.open(body).await;
    let held = world.until(&ann, Presence::Waiting).await;
    drop(stream);
    world.until(&ann, Presence::Gone).await;
    let request = "Ilx1MDA2MSI";
    let mut stream = resume(&world, &first(&held.id, request)).await;
    assert_eq!((stream.status().as_u16(), &stream.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    assert_eq!(opened(&mut stream).await, format!("{}: keep-alive\n\n", opening(&held.id, request)));
    world.until(&ann, Presence::Waiting).await;
    decide(&ann, &held, Verdict::Approve, None).await;
    assert_eq!(finish(stream).await.text, result_event(&held.id, request, "\"\\u0061\""));
    assert_eq!(world.behind.of("tools/call").len(), 1);
    // It was delivered: the same text again is a new call.
    let again = world.open(call(2, "send_dm", DM)).await;
    assert_ne!(world.until(&ann, Presence::Waiting).await.id, held.id);
    drop(again);
}

#[tokio::test]
async fn a_resumed_request_takes_the_place_of_its_old_connection_and_the_agent_never_leaves() {
    let (world, ann) = patient().await;
    let mut presence = world.gate.watch_presence();
    let old = world.open(call(7, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    assert_eq!(presence.recv().await.unwrap(), held.id);
    let new = resume(&world, &first(&held.id, SEVEN)).await;
    assert!(!finish(old).await.text.contains("data: {"), "the old stream ends without an answer");
    assert!(presence.try_recv().is_err());
    assert_eq!(world.gate.presence(&ann.look(&held.id).await.unwrap().call), Presence::Waiting);
    // Neither left nor cancelled: the request under way is the resumed one.
    decide(&ann, &held, Verdict::Approve, None).await;
    assert!(finish(new).await.text.ends_with(&result_event(&held.id, SEVEN, "7")));
    assert_eq!(world.behind.of("tools/call").len(), 1);
    assert_eq!(presence.recv().await.unwrap(), held.id);
}

#[tokio::test]
async fn a_settled_call_answers_at_once_also_when_it_counted_as_delivered() {
    let (world, ann) = patient().await;
    let stream = world.open(call(7, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    decide(&ann, &held, Verdict::Approve, None).await;
    let seen = finish(stream).await.text;
    assert!(seen.ends_with(&result_event(&held.id, SEVEN, "7")));
    for _ in 0..2 {
        let again = finish(resume(&world, &first(&held.id, SEVEN)).await).await.text;
        assert_eq!(again, format!("{}{}", opening(&held.id, SEVEN), result_event(&held.id, SEVEN, "7")));
    }
    // After the answer there is nothing.
    let nothing = finish(resume(&world, &format!("{}.1.{SEVEN}", held.id)).await).await;
    assert_eq!((nothing.status, nothing.kind.as_str(), nothing.text.as_str()), (200, "text/event-stream", ""));
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

#[tokio::test]
async fn only_the_agents_own_calls_at_this_server_are_resumed_and_of_others_nothing_is_said() {
    let (world, ann) = patient().await;
    let stream = world.open(call(7, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    let eve = world.gate.add_agent(NewAgent { name: "eve".into(), ..NewAgent::default() }).await.unwrap();
    let as_eve = |method| {
        let request = world.client.request(method, format!("http://127.0.0.1:{}/mcp/demo", world.port)).bearer_auth(&eve);
        request.header("content-type", "application/json").header("accept", "application/json, text/event-stream")
    };
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{}}}"#;
    let session = answer(as_eve(Method::POST).body(hello)).await.session.unwrap();
    let mut told = Vec::new();
    let unknown = CallId::from_random([1; 16]);
    for last in [first(&held.id, SEVEN), format!("{}.1.{SEVEN}", held.id), first(&unknown, SEVEN), format!("{unknown}.1.{SEVEN}")] {
        let answer = answer(as_eve(Method::GET).header("mcp-session-id", &session).header("last-event-id", last)).await;
        assert_eq!(answer.status, 404);
        told.push(answer.text);
    }
    assert_eq!(finish(resume(&world, &first(&unknown, SEVEN)).await).await.text, told[0]);
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    // What is not of our form is as good as absent: this is the session's ordinary stream.
    let mut plain = resume(&world, "0123-of-another-server").await;
    assert_eq!(chunk(&mut plain).await, ": keep-alive\n\n");
    drop(stream);
}

#[tokio::test]
async fn any_session_of_the_agent_resumes_and_an_id_in_use_is_not_taken_over() {
    let (world, ann) = patient().await;
    let first_session = world.open(call(7, "send_dm", DM)).await;
    let held = world.until(&ann, Presence::Waiting).await;
    *world.session.lock().unwrap() = None;
    world.hello("2025-11-25").await;
    let slow = tokio::spawn(answer(world.request(Method::POST, "demo").body(call(7, "read_slow", "{}"))));
    while world.behind.of("tools/call").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(resume(&world, &first(&held.id, SEVEN)).await.status().as_u16(), 409);
    world.behind.go.notify_one();
    assert_eq!(slow.await.unwrap().status, 200);
    let second = resume(&world, &first(&held.id, SEVEN)).await;
    assert_eq!(second.status().as_u16(), 200);
    decide(&ann, &held, Verdict::Reject, Some("No.")).await;
    for stream in [first_session, second] {
        assert!(finish(stream).await.text.contains("A person refused"));
    }
}

#[tokio::test]
async fn a_resumed_request_is_cancelled_by_its_original_id() {
    let (world, ann) = patient().await;
    drop(world.open(call(7, "send_dm", DM)).await);
    let held = world.until(&ann, Presence::Gone).await;
    let stream = resume(&world, &first(&held.id, SEVEN)).await;
    world.until(&ann, Presence::Waiting).await;
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#).await.status, 202);
    assert!(!finish(stream).await.text.contains("data: {"));
    world.until(&ann, Presence::Cancelled).await;
}

#[tokio::test]
async fn resuming_what_was_taken_back_listens_and_asks_for_nothing() {
    let (world, ann) = patient().await;
    let mut stream = world.open(call(7, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    opened(&mut stream).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    world.post(cancel).await;
    finish(stream).await;
    let held = world.until(&ann, Presence::Cancelled).await;
    let mut listening = resume(&world, &first(&held.id, SEVEN)).await;
    opened(&mut listening).await;
    assert_eq!(world.gate.presence(&ann.look(&held.id).await.unwrap().call), Presence::Cancelled);
    decide(&ann, &held, Verdict::Approve, None).await;
    assert!(world.behind.of("tools/call").is_empty());
    // The agent asks again: the permit is used, and who listens hears the end too.
    let sent = world.post(call(8, "send_dm", DM)).await;
    assert!(sent.text.ends_with(&result_event(&held.id, "OA", "8")), "{}", sent.text);
    assert!(finish(listening).await.text.ends_with(&result_event(&held.id, SEVEN, "7")));
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

#[tokio::test]
async fn what_only_listens_cannot_take_back_what_was_asked_for_again() {
    let (world, ann) = patient().await;
    let stream = world.open(call(7, "send_dm", DM)).await;
    world.until(&ann, Presence::Waiting).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    world.post(cancel).await;
    finish(stream).await;
    let held = world.until(&ann, Presence::Cancelled).await;
    let listening = resume(&world, &first(&held.id, SEVEN)).await;
    drop(world.open(call(8, "send_dm", DM)).await);
    world.until(&ann, Presence::Gone).await;
    world.post(cancel).await;
    assert!(!finish(listening).await.text.contains("data: {"));
    assert_eq!(world.gate.presence(&ann.look(&held.id).await.unwrap().call), Presence::Gone);
}

#[tokio::test]
async fn a_resumed_request_that_waits_too_long_gets_the_pending_answer() {
    let world = World::with(NewAgent { keep_open: Some(Duration::from_millis(100)), ..NewAgent::default() }).await.ready().await;
    let ann = world.operator().await;
    drop(world.open(call(7, "send_dm", DM)).await);
    let held = world.until(&ann, Presence::Gone).await;
    let text = finish(resume(&world, &first(&held.id, SEVEN)).await).await.text;
    let (_, last) = text.split_once(&format!("id: {}.1.{SEVEN}\nevent: message\ndata: ", held.id)).expect("an answer with its id");
    let told: Value = serde_json::from_str(last.trim()).unwrap();
    assert_eq!((&told["id"], &told["result"]["_meta"]["paraph/call"]["state"]), (&json!(7), &json!("held")));
}
