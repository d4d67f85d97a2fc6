//! JSON-RPC batches, which revision 2025-03-26 alone has: each message is judged by itself, none waits for another,
//! and each held one has its answer, its cancel and its delivery for itself.

use super::delivered::{raw_post, read_until, until_in_audit};
use super::*;

const BOB: &str = r#"{ "to":"@bob", "n": 1.10 }"#;
const EVE: &str = r#"{ "to":"@eve", "n": 1.10 }"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":"p","result":{}}"#;

async fn with(agent: NewAgent) -> (World, Reviewer) {
    let world = World::with(agent).await;
    assert_eq!(world.hello("2025-03-26").await.status, 200);
    let ann = world.operator().await;
    (world, ann)
}

async fn patient() -> (World, Reviewer) {
    with(NewAgent::default()).await
}

fn batch(messages: &[String]) -> String {
    format!("[{}]", messages.join(",\n"))
}

fn cancel(id: u32) -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}).to_string()
}

/// What was answered, in whichever of the two forms, in the order of the ids.
fn answers(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut all: Vec<Value> = match answer.kind.as_str() {
        "application/json" => serde_json::from_str(&answer.text).unwrap(),
        "text/event-stream" => answer.events().into_iter().map(|event| serde_json::from_str(event).unwrap()).collect(),
        other => panic!("{other}"),
    };
    all.sort_by_key(|message| message["id"].to_string());
    all
}

/// An SSE answer, read as it comes.
struct Events {
    response: reqwest::Response,
    read: String,
}

impl Events {
    async fn open(world: &World, body: String) -> Events {
        let response = tokio::time::timeout(Duration::from_secs(20), world.open(body)).await.expect("the stream is opened before the answers are there");
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        Events { response, read: String::new() }
    }

    /// The next event or comment; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        while !self.read.contains("\n\n") {
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.expect("an event or the end comes").unwrap();
            self.read += std::str::from_utf8(&chunk?).unwrap();
        }
        let (block, rest) = self.read.split_once("\n\n").map(|(block, rest)| (block.to_owned(), rest.to_owned()))?;
        self.read = rest;
        Some(block)
    }

    /// The data of the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            let block = self.block().await?;
            if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                return Some(data.to_owned());
            }
        }
    }

    async fn some(&mut self, events: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..events {
            all.push(self.next().await.expect("the stream goes on"));
        }
        all.sort();
        all
    }
}

/// The open call to this recipient, once somebody waits for it, or nobody, as wanted.
async fn held(world: &World, ann: &Reviewer, arguments: &str, presence: Presence) -> Call {
    crate::world::until(&format!("{arguments} is {presence:?}"), || async {
        let calls = ann.calls(Query { limit: 10, ..Query::default() }).await.unwrap().calls;
        calls.into_iter().find(|call| call.arguments == arguments && call.state.settled_at().is_none() && world.gate.presence(call) == presence)
    })
    .await
}

async fn times(ann: &Reviewer, kind: &str) -> usize {
    ann.entries(1, 1000).await.unwrap().iter().filter(|entry| entry.kind == kind).count()
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{RESULT}}}"#)
}

#[tokio::test]
async fn each_message_of_a_batch_is_judged_by_itself_and_answers_come_as_they_are_ready() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(
        &world,
        batch(&[
            call(1, "send_dm", BOB),
            call(2, "read_a", r#"{ "n": 1.10 }"#),
            call(3, "other", "{}"),
            call(4, "hidden_b", "{}"),
            r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":6,"method":"tasks/get"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{ "uri": "x:y" }}"#.to_owned(),
            "7".to_owned(),
        ]),
    )
    .await;
    let bob = held(&world, &ann, BOB, Presence::Waiting).await;
    let early = stream.some(7).await;
    let of = |id: u32| early.iter().find(|event| event.contains(&format!("\"id\":{id},"))).unwrap_or_else(|| panic!("{id}: {early:?}")).as_str();
    assert_eq!((of(2), of(7)), (result(2).as_str(), result(7).as_str()));
    assert!(of(3).contains(r#""state":"denied""#), "{early:?}");
    assert_eq!(of(4), r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32602,"message":"Unknown tool: hidden_b"}}"#);
    assert_eq!(of(5), r#"{"jsonrpc":"2.0","id":5,"result":{"tools":[{"name":"read_a","x": 1.10}],"nextCursor":"p2"}}"#);
    assert!(of(6).contains("-32601"), "{early:?}");
    assert!(early.iter().any(|event| event.contains(r#""id":null,"error":{"code":-32600"#) && event.contains(r#""pointer":"/8""#)), "{early:?}");
    crate::world::until("the notification arrives", || async { (world.behind.of("notifications/roots/list_changed").len() == 1).then_some(()) }).await;
    assert_eq!(world.behind.saw(r#""name":"read_a","arguments":{ "n": 1.10 }"#), 1);
    assert_eq!(world.behind.of("tools/call").len(), 1, "only what a rule allows is sent");

    decide(&ann, &bob, Verdict::Approve, None).await;
    assert_eq!(stream.next().await.unwrap(), result(1));
    assert_eq!(stream.next().await, None, "the stream ends with the last answer");
    assert_eq!(world.behind.saw(&format!(r#""arguments":{BOB}"#)), 1);
    // Of a tool that only reads, the entry may follow.
    until_in_audit(&ann, "call.allowed").await;
    for (kind, count) in [("call.held", 1), ("call.delivered", 1), ("call.denied", 2), ("call.allowed", 1)] {
        assert_eq!(times(&ann, kind).await, count, "{kind}");
    }
}

#[tokio::test]
async fn of_two_held_calls_each_is_answered_and_delivered_when_its_own_person_decides() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE)])).await;
    let (bob, eve) = (held(&world, &ann, BOB, Presence::Waiting).await, held(&world, &ann, EVE, Presence::Waiting).await);
    decide(&ann, &eve, Verdict::Approve, None).await;
    assert_eq!(stream.next().await.unwrap(), result(2));
    until_in_audit(&ann, "call.delivered").await;
    assert_eq!(held(&world, &ann, BOB, Presence::Waiting).await.id, bob.id, "the other one waits on");
    assert_eq!(times(&ann, "call.delivered").await, 1);
    decide(&ann, &bob, Verdict::Reject, Some("Wrong person.")).await;
    let told: Value = serde_json::from_str(&stream.next().await.unwrap()).unwrap();
    assert_eq!((told["id"].as_i64(), &told["result"]["_meta"]["paraph/call"]["state"]), (Some(1), &json!("rejected")));
    assert_eq!(stream.next().await, None);
    assert_eq!(times(&ann, "call.delivered").await, 2);
    // Both are delivered: what was sent may be asked for anew.
    let again = Events::open(&world, batch(&[call(3, "send_dm", EVE)])).await;
    assert_ne!(held(&world, &ann, EVE, Presence::Waiting).await.id, eve.id);
    drop(again);
}

#[tokio::test]
async fn identical_calls_of_a_batch_are_one_held_call_and_both_get_its_outcome() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(2, "send_dm", BOB)])).await;
    let bob = held(&world, &ann, BOB, Presence::Waiting).await;
    for _ in 0..2 {
        assert_eq!(stream.block().await.unwrap(), ": keep-alive", "both wait");
    }
    decide(&ann, &bob, Verdict::Approve, None).await;
    assert_eq!(stream.some(2).await, [result(1), result(2)]);
    assert_eq!(stream.next().await, None);
    assert_eq!((world.behind.of("tools/call").len(), times(&ann, "call.delivered").await), (1, 1));
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_batch_collects_what_it_did_not_read_and_the_rest_waits_on() {
    let (world, ann) = patient().await;
    let mut stream = raw_post(&world, &batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE)]), "").await;
    let (bob, eve) = (held(&world, &ann, BOB, Presence::Waiting).await, held(&world, &ann, EVE, Presence::Waiting).await);
    decide(&ann, &bob, Verdict::Approve, None).await;
    read_until(&mut stream, "\"id\":1,\"result\"").await;
    until_in_audit(&ann, "call.delivered").await;
    drop(stream);
    until_in_audit(&ann, "call.not_delivered").await;
    assert_eq!(held(&world, &ann, EVE, Presence::Gone).await.id, eve.id);
    let mut again = Events::open(&world, batch(&[call(3, "send_dm", BOB), call(4, "send_dm", EVE)])).await;
    let told: Value = serde_json::from_str(&again.next().await.unwrap()).unwrap();
    assert_eq!(told["id"], 3);
    assert!(told["result"]["content"][1]["text"].as_str().unwrap().ends_with(" for your earlier call; nothing was done now."), "{told}");
    assert_eq!(held(&world, &ann, EVE, Presence::Waiting).await.id, eve.id);
    assert_eq!((world.behind.of("tools/call").len(), times(&ann, "call.held").await), (1, 2));
}

#[tokio::test]
async fn each_held_call_of_a_batch_gets_its_pending_answer_in_time() {
    let (world, ann) = with(NewAgent { keep_open: Some(Duration::from_millis(100)), ..NewAgent::default() }).await;
    let answer = world.post(batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE), PING.to_owned()])).await;
    assert_eq!(answer.kind, "text/event-stream");
    let told = answers(&answer);
    assert_eq!(told.iter().map(|told| told["id"].to_string()).collect::<Vec<_>>(), ["\"p\"", "1", "2"]);
    assert!(told[1..].iter().all(|told| told["result"]["isError"] == true && told["result"]["_meta"]["paraph/call"]["state"] == "held"), "{told:?}");
    held(&world, &ann, BOB, Presence::Gone).await;
    held(&world, &ann, EVE, Presence::Gone).await;
}

#[tokio::test]
async fn a_cancel_ends_only_its_own_waiter() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE)])).await;
    let (bob, _) = (held(&world, &ann, BOB, Presence::Waiting).await, held(&world, &ann, EVE, Presence::Waiting).await);
    assert_eq!(world.post(batch(&[cancel(2)])).await.status, 202);
    held(&world, &ann, EVE, Presence::Cancelled).await;
    assert_eq!(held(&world, &ann, BOB, Presence::Waiting).await.id, bob.id);
    decide(&ann, &bob, Verdict::Approve, None).await;
    assert_eq!(stream.next().await.unwrap(), result(1));
    assert_eq!(stream.next().await, None, "a request that was taken back has no answer");
}

#[tokio::test]
async fn a_cancel_beside_its_request_takes_it_back() {
    let (world, ann) = patient().await;
    let answer = world.post(batch(&[call(1, "send_dm", BOB), cancel(1), PING.to_owned()])).await;
    assert_eq!(answers(&answer), [serde_json::from_str::<Value>(PONG).unwrap()]);
    let bob = held(&world, &ann, BOB, Presence::Cancelled).await;
    decide(&ann, &bob, Verdict::Approve, None).await;
    assert!(world.behind.of("tools/call").is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_call_of_its_batch_along() {
    let (world, ann) = patient().await;
    let stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE)])).await;
    held(&world, &ann, BOB, Presence::Waiting).await;
    held(&world, &ann, EVE, Presence::Waiting).await;
    drop(stream);
    held(&world, &ann, EVE, Presence::Gone).await;
    let bob = held(&world, &ann, BOB, Presence::Gone).await;
    // Left is not taken back: only the one that is cancelled now needs to be asked for again.
    assert_eq!(world.post(cancel(2)).await.status, 202);
    held(&world, &ann, EVE, Presence::Cancelled).await;
    decide(&ann, &bob, Verdict::Approve, None).await;
    crate::world::until("it is sent", || async { (world.behind.of("tools/call").len() == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_gateway_that_stops_tells_every_waiting_call_of_a_batch_that_it_is_held() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(2, "send_dm", EVE)])).await;
    held(&world, &ann, BOB, Presence::Waiting).await;
    held(&world, &ann, EVE, Presence::Waiting).await;
    world.gate.close(Duration::from_secs(5)).await;
    for (id, told) in [1, 2].into_iter().zip(stream.some(2).await) {
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((told["id"].as_i64(), &told["result"]["_meta"]["paraph/call"]["state"]), (Some(id), &json!("held")));
    }
    assert_eq!(stream.next().await, None);
    world.state.finish().await;
}

#[tokio::test]
async fn a_slow_call_does_not_keep_the_answers_beside_it() {
    let (world, _) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "read_slow", "{}"), PING.to_owned()])).await;
    assert_eq!(stream.next().await.unwrap(), PONG);
    world.behind.go.notify_one();
    assert_eq!(stream.next().await.unwrap(), result(1));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn what_the_server_says_during_a_call_comes_on_the_stream_of_its_batch() {
    let (world, ann) = patient().await;
    let token = |call: String, token: &str| call.replace("\"name\"", &format!("\"_meta\":{{\"progressToken\":\"{token}\"}},\"name\""));
    let body = batch(&[token(call(1, "read_log", "{}"), "log"), token(call(2, "send_dm", BOB), "dm")]);
    let mut stream = Events::open(&world, body).await;
    let bob = held(&world, &ann, BOB, Presence::Waiting).await;
    let early: Vec<Value> = stream.some(4).await.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let progress = |token: &str| early.iter().filter(|event| event["params"]["progressToken"] == token).count();
    assert_eq!((progress("log"), progress("dm")), (1, 1), "{early:?}");
    assert_eq!(early.iter().filter(|event| event["method"] == "notifications/message" || event["id"] == 1).count(), 2, "{early:?}");
    decide(&ann, &bob, Verdict::Approve, None).await;
    assert_eq!(stream.next().await.unwrap(), result(2));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn answers_that_are_there_at_once_are_one_array() {
    let (world, _) = patient().await;
    // A machine that is busy with something else for a quarter of a second gets a stream; not every time.
    for _ in 0..20 {
        let answer = world.post(batch(&[PING.to_owned(), "[]".to_owned()])).await;
        let told = answers(&answer);
        assert_eq!((&told[0], &told[1]["error"]["code"]), (&serde_json::from_str(PONG).unwrap(), &json!(-32600)));
        if answer.kind == "application/json" {
            return;
        }
    }
    panic!("a stream every time");
}

#[tokio::test]
async fn a_batch_that_asks_for_nothing_has_no_body_and_each_part_of_it_counts() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "read_ask", "{}")])).await;
    assert!(stream.next().await.unwrap().contains(r#""id":"q1","method":"roots/list""#));
    let nothing = world
        .post(batch(&[
            r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":"q1","result":{ "roots":[] }}"#.to_owned(),
            call(9, "read_a", "{}").replace("\"id\":9,", ""),
        ]))
        .await;
    assert_eq!((nothing.status, nothing.text.as_str()), (202, ""));
    assert_eq!((world.behind.of("notifications/roots/list_changed").len(), world.behind.saw(r#""id":"q1","result":{ "roots":[] }"#)), (1, 1));
    assert_eq!(times(&ann, "call.dropped").await, 1);
    assert_eq!(stream.next().await.unwrap(), result(1));
    assert_eq!(stream.next().await, None);
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_message_that_is_none_gets_its_own_error_and_the_others_are_judged() {
    let (world, _) = patient().await;
    let with = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(33 * 1024));
    let rows: Vec<(String, Value, i64, &str)> = vec![
        ("7".into(), Value::Null, -32600, "/0"),
        ("null".into(), Value::Null, -32600, "/0"),
        ("\"ping\"".into(), Value::Null, -32600, "/0"),
        ("{}".into(), Value::Null, -32600, "/0"),
        (format!("[{}]", call(1, "read_a", "{}")), Value::Null, -32600, "/0"),
        (call(1, "read_a", "{}").replace("2.0", "1.0"), json!(1), -32600, "/0"),
        (call(1, "read_a", "{}").replace("\"id\":1", "\"id\":null"), Value::Null, -32600, "/0"),
        (call(1, "read_a", "{}").replace("\"id\":1", "\"id\":1.5"), Value::Null, -32600, "/0"),
        (call(1, "read_a", "{}").replace("\"id\"", "\"ID\":2,\"id\""), json!(1), -32600, "/0"),
        (with("[]"), json!(1), -32602, "/0/params"),
        (with(r#"{"name":"read_a","Arguments":{}}"#), json!(1), -32602, "/0/params"),
        (with(r#"{"name":7}"#), json!(1), -32602, "/0/params/name"),
        (call(1, "read_a", "null"), json!(1), -32602, "/0/params/arguments"),
        (call(1, "read_a", &long), json!(1), -32602, "/0/params/arguments"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#.into(), json!(1), -32600, "/0"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#.into(), json!(1), -32600, "/0"),
    ];
    for (element, id, code, pointer) in rows {
        let shown = element[..element.len().min(200)].to_owned();
        let answer = world.post(batch(&[element, PING.to_owned()])).await;
        assert_eq!(answer.session, None, "{shown}");
        let mut told = answers(&answer);
        let at = told.iter().position(|told| told["id"] == "p").unwrap_or_else(|| panic!("{shown}: {told:?}"));
        assert_eq!(told.remove(at), serde_json::from_str::<Value>(PONG).unwrap());
        let error = &told[0]["error"];
        assert_eq!((told.len(), &told[0]["id"], &error["code"], &error["data"]["pointer"]), (1, &id, &json!(code), &json!(pointer)), "{shown}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(world.behind.saw("read_a"), 0);
}

#[tokio::test]
async fn a_batch_that_is_not_strict_or_not_wanted_is_refused_as_a_whole() {
    let (world, _) = patient().await;
    let nested = |levels: usize| call(1, "read_a", &format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)));
    let beside = |element: String| batch(&[call(2, "read_a", "{}"), element]);
    let many = |count: u32| batch(&(0..count).map(|id| call(id, "other", "{}")).collect::<Vec<_>>());
    for (body, code) in [
        ("[]".to_owned(), -32600),
        (" [ ] ".to_owned(), -32600),
        (many(51), -32600),
        (beside(call(1, "read_a", r#"{"a":1,"\u0061":2}"#)), -32600),
        (beside(call(1, "read_a", "{}").replace("\"id\"", "\"id\":7,\"id\"")), -32600),
        (beside(call(1, "read_a", r#"{"n":12345678901234567890123}"#)), -32600),
        (beside(nested(65)), -32600),
        (format!("[{},]", call(2, "read_a", "{}")), -32700),
        (format!("[{}", call(2, "read_a", "{}")), -32700),
    ] {
        let answer = world.post(body.clone()).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_i64(), &answer.json()["id"]), (400, Some(code), &Value::Null), "{}", &body[..body.len().min(200)]);
    }
    assert_eq!(world.post(beside(call(1, "read_a", r#"{"t":"\ud800"}"#))).await.status, 400);
    assert!(world.behind.of("tools/call").is_empty());
    assert_eq!(answers(&world.post(many(50)).await).len(), 50);
    assert_eq!(answers(&world.post(beside(nested(64))).await).len(), 2);
    assert_eq!(world.behind.of("tools/call").len(), 2);
}

#[tokio::test]
async fn only_a_session_of_2025_03_26_takes_a_batch() {
    let world = World::new().await;
    let body = || batch(&[call(1, "read_a", "{}")]);
    let hello = r#"[{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}]"#;
    let refused = |answer: Answer| assert_eq!((answer.status, answer.json()["error"]["code"].as_i64(), answer.session), (400, Some(-32600), None));
    refused(world.post(hello).await);
    for revision in ["2025-06-18", "2025-11-25"] {
        world.hello(revision).await;
        refused(world.post(body()).await);
        // The session decides, whatever the header says.
        refused(answer(world.request(Method::POST, "demo").header("mcp-protocol-version", "2025-03-26").body(body())).await);
    }
    assert!(world.behind.of("tools/call").is_empty());
    world.hello("2025-03-26").await;
    for _ in 0..2 {
        assert_eq!(answers(&world.post(body()).await), [serde_json::from_str::<Value>(&result(1)).unwrap()]);
    }
    let unknown = answer(world.request(Method::POST, "demo").header("mcp-protocol-version", "2024-01-01").body(body())).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn an_id_that_is_used_twice_is_refused_the_second_time() {
    let (world, ann) = patient().await;
    let mut stream = Events::open(&world, batch(&[call(1, "send_dm", BOB), call(1, "read_a", "{}")])).await;
    let second: Value = serde_json::from_str(&stream.next().await.unwrap()).unwrap();
    assert_eq!((&second["id"], &second["error"]["code"], &second["error"]["data"]["pointer"]), (&json!(1), &json!(-32600), &json!("/1")));
    let bob = held(&world, &ann, BOB, Presence::Waiting).await;
    // With one of an earlier request that is under way, and with one that was refused.
    let told = answers(&world.post(batch(&[call(1, "read_a", "{}"), call(2, "read_a", "[]"), call(2, "read_a", "{}"), PING.to_owned()])).await);
    assert_eq!(told.iter().map(|told| told["error"]["code"].as_i64()).collect::<Vec<_>>(), [None, Some(-32600), Some(-32602), Some(-32600)]);
    assert!(world.behind.of("tools/call").is_empty());
    decide(&ann, &bob, Verdict::Approve, None).await;
    assert_eq!(stream.next().await.unwrap(), result(1));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn no_mutation_of_a_batch_reaches_the_server_unjudged() {
    // The tool is denied, and no single byte makes its name one that is allowed.
    let (world, _) = patient().await;
    let valid = batch(&[PING.to_owned(), call(1, "deny_me", r#"{"to":"@bob"}"#)]).into_bytes();
    for at in 0..valid.len() {
        for byte in [b'"', b']', b',', b'\\', 0xff] {
            let mut body = valid.clone();
            body[at] = byte;
            let answer = world.post(body).await;
            assert!([200, 202, 400].contains(&answer.status), "{answer:?}");
        }
    }
    assert!(world.behind.of("tools/call").is_empty());
    assert_eq!(world.behind.saw("deny"), 0);
}
