//! Bad input: each message gets a clear error that says what and where, the gateway goes on, and nothing
//! unjudged reaches a server.

use super::*;

#[tokio::test]
async fn every_bad_message_gets_its_error_and_reaches_nobody() {
    let world = World::new().await.ready().await;
    let deep = call(1, "read_a", &format!("{}1{}", "{\"a\":".repeat(80), "}".repeat(80)));
    let large = call(1, "read_a", &format!(r#"{{"a":"{}"}}"#, "x".repeat(33 * 1024)));
    let with = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
    let rows: Vec<(String, u16, i64, Value)> = vec![
        ("{".into(), 400, -32700, Value::Null),
        (call(1, "read_a", r#"{"n":NaN}"#), 400, -32700, Value::Null),
        (format!("[{}]", call(1, "read_a", "{}")), 400, -32600, Value::Null),
        (call(1, "read_a", r#"{"a":1,"a":2}"#), 400, -32602, json!("/params/arguments/a")),
        (call(1, "read_a", r#"{"n":12345678901234567890123}"#), 400, -32602, json!("/params/arguments/n")),
        (call(1, "read_a", r#"{"n":1e400}"#), 400, -32602, json!("/params/arguments/n")),
        (call(1, "read_a", r#"{"n":["\ud800"]}"#), 400, -32602, json!("/params/arguments/n/0")),
        (deep, 400, -32602, json!(format!("/params/arguments{}", "/a".repeat(64)))),
        (large, 200, -32602, json!("/params/arguments")),
        (call(1, "read_a", "null"), 200, -32602, json!("/params/arguments")),
        (call(1, "read_a", "[]"), 200, -32602, json!("/params/arguments")),
        (call(1, "read_a", "\"{}\""), 200, -32602, json!("/params/arguments")),
        (with(r#"{"name":"read_a","Arguments":{}}"#), 200, -32602, json!("/params")),
        (with(r#"{"NAME":"send_dm","name":"read_a"}"#), 200, -32602, json!("/params")),
        (with(r#"{"name":7}"#), 200, -32602, json!("/params/name")),
        (with(r#"{"name":""}"#), 200, -32602, json!("/params/name")),
        (with("[]"), 400, -32602, json!("/params")),
        (with(r#"{"name":"read_a","_meta":[]}"#), 200, -32602, json!("/params/_meta")),
        (with(r#"{"name":"read_a","_meta":{"progressToken":1.5}}"#), 200, -32602, json!("/params/_meta/progressToken")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#.into(), 200, -32602, json!("/params")),
        (call(1, "read_a", "{}").replace("\"id\"", "\"ID\":2,\"id\""), 400, -32600, Value::Null),
        (call(1, "read_a", "{}").replace("2.0", "1.0"), 400, -32600, Value::Null),
        (call(1, "read_a", "{}").replace("\"id\":1", "\"id\":null"), 400, -32600, Value::Null),
        (call(1, "read_a", "{}").replace("\"id\":1", "\"id\":1.5"), 400, -32600, Value::Null),
        (call(1, "read_a", "{}").replace("tools/call", "tools/Call"), 200, -32601, Value::Null),
        (call(1, "read_a", "{}").replace("tools/call", " tools/call"), 200, -32601, Value::Null),
        (call(1, "read_a", "{}").replace("tools/call", "tasks/get"), 200, -32601, Value::Null),
        (call(1, "read_a", "{}").replace("tools/call", "nothing"), 200, -32601, Value::Null),
    ];
    for (body, status, code, pointer) in rows {
        let answer = world.post(body.clone()).await;
        let shown = &body[..body.len().min(200)];
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_i64(), &error["data"]["pointer"]), (status, Some(code), &pointer), "{shown}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(world.post("\"\u{feff}").await.status, 400);
    assert_eq!(world.post(vec![0xff, 0xfe]).await.status, 400);
    assert_eq!((world.behind.saw("read_a"), world.behind.saw("alls/"), world.behind.saw("tasks/")), (0, 0, 0));
}

#[tokio::test]
async fn a_call_without_an_id_is_dropped_and_audited() {
    let world = World::new().await.ready().await;
    let answer = world.post(call(1, "read_a", "{}").replace("\"id\":1,", "")).await;
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    let entries = world.operator().await.entries(1, 100).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == "call.dropped").count(), 1);
    assert!(world.behind.of("tools/call").is_empty());
}

#[tokio::test]
async fn an_id_under_way_cannot_be_used_twice() {
    let world = World::new().await.ready().await;
    let first = world.open(call(1, "send_dm", "{}")).await;
    let second = world.post(call(1, "read_a", "{}")).await;
    assert_eq!((second.status, second.json()["error"]["code"].as_i64()), (400, Some(-32600)));
    drop(first);
}

#[tokio::test]
async fn no_mutation_of_a_call_reaches_the_server_unjudged() {
    // The tool is denied, and no single byte makes its name one that is allowed.
    let world = World::new().await.ready().await;
    let valid = call(1, "deny_me", r#"{"to":"@bob","n":[1,2.5,"\u0061"]}"#).into_bytes();
    for at in 0..valid.len() {
        for byte in [b'"', b'}', b'\\', b'0', b'A', 0xff] {
            let mut body = valid.clone();
            body[at] = byte;
            let answer = world.post(body).await;
            assert!([200, 202, 400, 404].contains(&answer.status), "{answer:?}");
        }
    }
    assert!(world.behind.of("tools/call").is_empty());
    assert_eq!(world.behind.saw("deny"), 0);
}

#[tokio::test]
async fn a_client_that_writes_a_whole_body_that_is_too_large_hears_so() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await.ready().await;
    let body = vec![b'x'; 400 * 1024];
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    for (before, after) in [(format!("content-length: {}\r\n\r\n", body.len()), ""), (chunked, "\r\n0\r\n\r\n")] {
        let mut line = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
        let head = format!("POST /mcp/demo HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\nconnection: close\r\n", world.port, world.token);
        line.write_all(format!("{head}{before}").as_bytes()).await.unwrap();
        for part in body.chunks(16 * 1024) {
            line.write_all(part).await.unwrap();
            // A slow writer: a server that has hung up is noticed here.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        line.write_all(after.as_bytes()).await.unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn arguments_may_nest_64_levels_whatever_stands_around_them() {
    let world = World::new().await.ready().await;
    let nested = |levels: usize| call(1, "read_a", &format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)));
    assert_eq!(world.post(nested(64)).await.json()["error"], Value::Null);
    let refused = world.post(nested(65)).await.json();
    let place = json!(format!("/params/arguments{}", "/a".repeat(64)));
    assert_eq!((refused["error"]["code"].as_i64(), &refused["error"]["data"]["pointer"]), (Some(-32602), &place));
    assert_eq!(world.behind.of("tools/call").len(), 1);
}
