//! Who comes in, and which session they are in: the order at the door, what each step answers, and that
//! nothing reaches the server before the last one.

use super::*;

#[tokio::test]
async fn the_door_says_no_in_order_and_nothing_reaches_the_server() {
    let world = World::with(NewAgent { servers: vec!["demo".into()], ..NewAgent::default() }).await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", world.port);
    let bare = |method: Method, path: &str| world.client.request(method, url(path)).bearer_auth(&world.token);
    let rows = [
        (403, bare(Method::POST, "/mcp/demo").header("host", "evil.example")),
        (403, bare(Method::POST, "/mcp/demo").header("origin", "http://evil.example")),
        (403, world.client.post(url("/mcp/demo")).header("origin", "null")),
        (401, world.client.post(url("/mcp/nothing"))),
        (401, world.client.post(url("/mcp/demo")).bearer_auth("pa_wrong")),
        (401, world.client.post(url("/mcp/demo")).header("authorization", format!("Basic {}", world.token))),
        (404, bare(Method::POST, "/mcp/nothing")),
        (404, bare(Method::POST, "/mcp")),
        (404, bare(Method::POST, "/mcp/demo/more")),
        (403, bare(Method::POST, "/mcp/dead")),
        (405, bare(Method::PUT, "/mcp/demo")),
        (413, bare(Method::POST, "/mcp/demo").body("x".repeat(65 * 1024))),
        (415, bare(Method::POST, "/mcp/demo").header("content-type", "text/plain").body("{}")),
        (406, bare(Method::POST, "/mcp/demo").header("content-type", "application/json").header("accept", "application/json").body("{}")),
        (405, bare(Method::GET, "/mcp/demo").header("accept", "application/json")),
        (400, bare(Method::GET, "/mcp/demo").header("accept", "text/event-stream")),
        (400, bare(Method::DELETE, "/mcp/demo")),
    ];
    for (number, (status, request)) in rows.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "row {number}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "row {number}");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "row {number}");
        let text = response.text().await.unwrap();
        assert!(text.starts_with(r#"{"jsonrpc":"2.0","id":null,"error":"#), "row {number}: {text}");
    }
    assert_eq!(world.behind.saw(""), 0);
}

#[tokio::test]
async fn hello_is_the_servers_own_but_for_the_revision() {
    let world = World::new().await;
    let answer = world.hello("2025-06-18").await;
    assert_eq!(answer.text, format!(r#"{{"jsonrpc":"2.0","id":0,"result":{}}}"#, HELLO.replace("2025-11-25", "2025-06-18")));
    assert!(answer.session.unwrap().len() >= 32);
    assert_eq!(world.behind.of("initialize")[0]["params"]["capabilities"], json!({"roots": {}}));
}

#[tokio::test]
async fn a_session_belongs_to_its_agent_and_server_and_ends_on_delete() {
    let world = World::new().await;
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    assert_eq!(world.post(ping).await.status, 400);
    let session = world.hello("2025-11-25").await.session.unwrap();
    assert_eq!(world.post(ping).await.text, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    assert_eq!(answer(world.request(Method::POST, "demo").header("mcp-protocol-version", "2025-06-18").body(ping)).await.status, 200);
    assert_eq!(answer(world.request(Method::POST, "demo").header("mcp-protocol-version", "1999-01-01").body(ping)).await.status, 400);
    assert_eq!(answer(world.request(Method::POST, "dead").body(ping)).await.status, 404);
    let other = world.gate.add_agent(NewAgent { name: "other".into(), ..NewAgent::default() }).await.unwrap();
    let foreign = world.client.post(format!("http://127.0.0.1:{}/mcp/demo", world.port)).bearer_auth(other);
    let foreign = foreign.header("content-type", "application/json").header("mcp-session-id", session).body(ping);
    assert_eq!(answer(foreign).await.status, 404);
    assert_eq!(answer(world.request(Method::DELETE, "demo")).await.status, 204);
    assert_eq!(world.post(ping).await.status, 404);
}

#[tokio::test]
async fn one_session_too_many_ends_the_longest_unused() {
    let world = World::new().await;
    world.hello("2025-11-25").await;
    let first = world.request(Method::POST, "demo").body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    for _ in 0..3 {
        *world.session.lock().unwrap() = None;
        assert_eq!(world.hello("2025-11-25").await.status, 200);
    }
    assert_eq!(answer(first).await.status, 404);
}

#[tokio::test]
async fn one_get_stream_per_session_carries_the_servers_events_until_the_session_ends() {
    let world = World::new().await.ready().await;
    let get = || world.request(Method::GET, "demo").header("accept", "text/event-stream");
    let mut stream = world.client.execute(get().build().unwrap()).await.unwrap();
    assert_eq!(stream.status().as_u16(), 200);
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    assert_eq!(stream.chunk().await.unwrap().unwrap(), ": keep-alive\n\n");
    world.behind.speak.notify_one();
    let event = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    assert_eq!(stream.chunk().await.unwrap().unwrap(), event);
    assert_eq!(answer(get()).await.status, 409);
    assert_eq!(answer(world.request(Method::DELETE, "demo")).await.status, 204);
    assert_eq!(finish(stream).await.text, "");
}

#[tokio::test]
async fn a_revoked_agents_stream_ends_at_once_and_not_at_the_next_keep_alive() {
    let world = World::new().await.ready().await;
    let get = world.request(Method::GET, "demo").header("accept", "text/event-stream");
    let mut stream = world.client.execute(get.build().unwrap()).await.unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), ": keep-alive\n\n");
    // Changes of other people and agents do not end it.
    world.gate.add_agent(NewAgent { name: "other".into(), ..NewAgent::default() }).await.unwrap();
    world.gate.registrar().rotate_agent("bot").await.unwrap();
    world.behind.speak.notify_one();
    assert!(stream.chunk().await.unwrap().unwrap().starts_with(b"event: message"));
    let revoked = tokio::time::Instant::now();
    world.gate.revoke_agent("bot").await.unwrap();
    assert_eq!(finish(stream).await.text, "");
    assert!(revoked.elapsed() < std::time::Duration::from_secs(5), "{:?}", revoked.elapsed());
}

#[tokio::test]
async fn a_revoked_token_counts_no_more() {
    let world = World::new().await.ready().await;
    world.gate.revoke_agent("bot").await.unwrap();
    assert_eq!(world.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.status, 401);
}

#[tokio::test]
async fn a_client_of_the_newest_revision_is_not_told_that_we_speak_it() {
    let world = World::new().await;
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}"#;
    let with_meta = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for request in [
        world.request(Method::POST, "demo").body(discover),
        world.request(Method::POST, "demo").body(with_meta),
        world.request(Method::POST, "demo").header("mcp-protocol-version", "2026-07-28").body(plain),
    ] {
        let answer = answer(request).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_i64()), (400, Some(-32600)));
        assert_eq!(answer.json()["id"], 1);
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_is_told_with_a_reference() {
    let world = World::new().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{}}}"#;
    let answer = answer(world.request(Method::POST, "dead").body(body)).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_i64(), answer.session), (200, Some(-32603), None));
    assert!(error["message"].as_str().unwrap().contains("Reference r_"), "{error}");
}
