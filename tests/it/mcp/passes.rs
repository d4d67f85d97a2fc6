//! What passes, and that it passes unchanged: bytes, ids, progress, the server's own requests, cancels, and
//! which tools and methods do not pass.

use super::*;

#[tokio::test]
async fn an_allowed_call_passes_byte_for_byte_both_ways() {
    let world = World::new().await.ready().await;
    let body = r#"{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"arguments":{ "n": 1.10, "t":"\u00e4" },"_meta":{"progressToken":7,"x/y":[ ]},"name":"read_a","task":{}}}"#;
    let answer = world.post(body).await;
    assert_eq!(answer.kind, "application/json");
    assert_eq!(answer.text, format!(r#"{{"jsonrpc":"2.0","id":"\u0061","result":{RESULT}}}"#));
    assert_eq!(world.behind.saw(r#""name":"read_a","arguments":{ "n": 1.10, "t":"\u00e4" },"_meta":{"x/y":[ ],"progressToken":"#), 1);
    assert!(world.behind.of("tools/call")[0]["params"].get("task").is_none());
}

#[tokio::test]
async fn a_call_without_arguments_has_empty_ones() {
    let world = World::new().await.ready().await;
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a"}}"#).await.status, 200);
    assert_eq!(world.behind.of("tools/call")[0]["params"]["arguments"], json!({}));
}

#[tokio::test]
async fn a_stream_is_opened_only_when_the_server_speaks_first() {
    let world = World::new().await.ready().await;
    let body = call(5, "read_log", "{}").replace("\"name\"", "\"_meta\":{\"progressToken\":\"tok\"},\"name\"");
    let answer = world.post(body).await;
    assert_eq!(answer.kind, "text/event-stream");
    let events = answer.events();
    assert_eq!(events[0], r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}"#);
    assert_eq!(serde_json::from_str::<Value>(events[1]).unwrap()["params"], json!({"progressToken": "tok", "progress": 1}));
    assert_eq!(events[2], format!(r#"{{"jsonrpc":"2.0","id":5,"result":{RESULT}}}"#));
}

#[tokio::test]
async fn a_request_of_the_server_is_answered_by_the_agent_that_was_asked() {
    let world = World::new().await.ready().await;
    let mut stream = world.open(call(1, "read_ask", "{}")).await;
    let first = String::from_utf8(stream.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains(r#""id":"q1","method":"roots/list""#), "{first}");
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":"other","result":{}}"#).await.status, 202);
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":"\u00711","result":{ "roots":[] }}"#).await.status, 202);
    assert_eq!(finish(stream).await.events(), [format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#)]);
    assert_eq!((world.behind.saw(r#""id":"q1","result":{ "roots":[] }"#), world.behind.saw("\"other\"")), (1, 0));
}

#[tokio::test]
async fn errors_of_the_server_and_of_the_way_to_it_are_told_apart() {
    let world = World::new().await.ready().await;
    assert_eq!(world.post(call(1, "read_error", "{}")).await.text, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-7,"message":"m", "x":[ ]}}"#);
    let unknown = world.post(call(2, "read_500", "{}")).await.json();
    assert_eq!(unknown["result"]["isError"], true);
    assert!(unknown["result"]["content"][0]["text"].as_str().unwrap().starts_with("UNKNOWN whether it was done."), "{unknown}");
}

#[tokio::test]
async fn hidden_tools_are_not_there_and_denied_ones_say_why() {
    let world = World::new().await.ready().await;
    let list = world.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert_eq!(list.text, r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read_a","x": 1.10}],"nextCursor":"p2"}}"#);
    let hidden = world.post(call(2, "hidden_b", "{}")).await;
    assert_eq!(hidden.text, r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"Unknown tool: hidden_b"}}"#);
    let denied = world.post(call(3, "other", "{}")).await.json();
    assert_eq!(denied["result"]["isError"], true);
    assert_eq!(denied["result"]["_meta"]["paraph/call"]["state"], "denied");
    assert!(world.behind.of("tools/call").is_empty());
}

#[tokio::test]
async fn methods_of_the_revision_and_the_operators_own_pass() {
    let world = World::new().await.ready().await;
    for method in ["prompts/get", "resources/read", "completion/complete", "logging/setLevel", "vendor/thing"] {
        let answer = world.post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{ "x": 1.10 }}}}"#)).await;
        assert_eq!(answer.text, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#), "{method}");
        assert_eq!(world.behind.saw(&format!(r#""method":"{method}","params":{{ "x": 1.10 }}"#)), 1, "{method}");
    }
    for method in ["notifications/roots/list_changed", "notifications/initialized", "notifications/other"] {
        assert_eq!(world.post(format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#)).await.status, 202);
    }
    assert_eq!(world.behind.of("notifications/roots/list_changed").len(), 1);
    assert_eq!(world.behind.of("notifications/initialized").len(), 1, "only our own");
    assert!(world.behind.of("notifications/other").is_empty());
}

/// Waits until the server behind has got a message of this method; one that never comes fails the test.
async fn reached(world: &World, method: &str) {
    let comes = async {
        while world.behind.of(method).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), comes).await.unwrap_or_else(|_| panic!("{method} never reached the server"));
}

#[tokio::test]
async fn a_cancel_of_a_forwarded_call_reaches_the_server_under_its_own_id() {
    let world = World::new().await.ready().await;
    let request = world.request(Method::POST, "demo").body(call(77, "read_slow", "{}"));
    let slow = tokio::spawn(answer(request));
    reached(&world, "tools/call").await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}"#;
    assert_eq!(world.post(cancel).await.status, 202);
    assert_eq!(slow.await.unwrap().status, 202);
    reached(&world, "notifications/cancelled").await;
    assert_eq!(world.behind.of("notifications/cancelled")[0]["params"]["requestId"], world.behind.of("tools/call")[0]["id"]);
    world.behind.go.notify_one();
}

#[tokio::test]
async fn a_client_that_hangs_up_takes_nothing_of_what_the_server_did_along() {
    let world = World::new().await.ready().await;
    let client = reqwest::Client::builder().build().unwrap();
    let request = world.request(Method::POST, "demo").body(call(78, "read_slow", "{}")).build().unwrap();
    let slow = tokio::spawn(async move { client.execute(request).await.map(drop) });
    reached(&world, "tools/call").await;
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    // The gateway answers this after it has seen the other connection close.
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":79,"method":"ping"}"#).await.status, 200);
    world.behind.go.notify_one();
    assert_eq!(end_of_the_call(&world).await, "ok");
    assert_eq!(world.behind.of("tools/call").len(), 1);
}

/// How the only call ended, as soon as it is on record.
async fn end_of_the_call(world: &World) -> Value {
    let ended = async {
        loop {
            let entries = world.gate.audit_entries(1, 100).await.unwrap();
            if let Some(entry) = entries.iter().find(|entry| entry.kind == "call.ended") {
                return entry.data["end"].clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("its end is on record")
}

#[tokio::test]
async fn a_call_whose_client_left_while_the_server_was_starting_is_not_sent_and_the_audit_says_so() {
    let world = World::new().await.ready().await;
    world.upstreams.close_agent("bot").await;
    world.behind.slow_start.store(true, std::sync::atomic::Ordering::SeqCst);
    let client = reqwest::Client::builder().build().unwrap();
    let request = world.request(Method::POST, "demo").body(call(78, "read_a", "{}")).build().unwrap();
    let asking = tokio::spawn(async move { client.execute(request).await.map(drop) });
    let starts = async {
        while world.behind.of("initialize").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), starts).await.expect("the server is asked for a new session");
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    // The gateway answers this after it has seen the other connection close.
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":79,"method":"ping"}"#).await.status, 200);
    world.behind.go.notify_one();
    assert_eq!(end_of_the_call(&world).await, "never_left");
    assert!(world.behind.of("tools/call").is_empty());
}
