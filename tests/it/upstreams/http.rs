//! Servers behind Streamable HTTP.

use super::*;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response};
use futures_util::stream;
use paraph::gate::upstream::{ServerState, Upstream as _};
use paraph::mcp::upstream::RequestFailure;
use serde_json::json;
use std::sync::Mutex;

/// What the server saw and does.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<(Method, HeaderMap, Value)>>,
    sessions: Mutex<u64>,
    /// Answers 400 instead of 404 to a session it does not know.
    rude: Mutex<bool>,
    /// Knows no ping and says so by 404.
    no_ping: Mutex<bool>,
    /// Answers no ping, for this long.
    deaf: Mutex<Duration>,
}

impl Seen {
    fn posts(&self, method: &str) -> Vec<HeaderMap> {
        self.requests.lock().unwrap().iter().filter(|(_, _, body)| body["method"] == method).map(|(_, headers, _)| headers.clone()).collect()
    }
}

fn respond(status: u16, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// Behaves as the called tool's name says.
async fn answer(State(seen): State<Arc<Seen>>, method: Method, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    seen.requests.lock().unwrap().push((method.clone(), headers.clone(), message.clone()));
    let (id, name) = (&message["id"], message["method"].as_str().unwrap_or_default());
    let result = json!({"jsonrpc": "2.0", "id": id, "result": {"ok": true}});
    if method == Method::DELETE {
        return respond(200, "text/plain", "");
    }
    if method == Method::GET {
        return match headers.get("last-event-id").map(|id| id.to_str().unwrap()) {
            Some(id) => respond(200, "text/event-stream", event(&json!({"jsonrpc": "2.0", "id": id.parse::<u64>().unwrap(), "result": {"resumed": true}}))),
            None => respond(200, "text/event-stream", event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))),
        };
    }
    if name == "initialize" {
        let number = {
            let mut sessions = seen.sessions.lock().unwrap();
            *sessions += 1;
            *sessions
        };
        let body = json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-06-18", "capabilities": {}}});
        let mut response = respond(200, "application/json", body.to_string());
        response.headers_mut().insert("mcp-session-id", format!("s{number}").parse().unwrap());
        return response;
    }
    if headers.get("mcp-session-id").is_none_or(|id| *id != format!("s{}", seen.sessions.lock().unwrap())) {
        return respond(if *seen.rude.lock().unwrap() { 400 } else { 404 }, "text/plain", "no such session");
    }
    if name == "ping" && *seen.no_ping.lock().unwrap() {
        return respond(404, "application/json", json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "m"}}).to_string());
    }
    if name == "ping" {
        let deaf = *seen.deaf.lock().unwrap();
        tokio::time::sleep(deaf).await;
    }
    if name == "vendor/act" {
        *seen.sessions.lock().unwrap() += 10;
        return respond(404, "text/plain", "no such session");
    }
    if name != "tools/call" {
        return respond(202, "text/plain", "");
    }
    match message["params"]["name"].as_str().unwrap_or_default() {
        "json" => respond(200, "application/json", format!("{{\"jsonrpc\":\"2.0\",\"result\":{{ \"n\": 1.10 }},\"id\":{id}}}")),
        "sse" => {
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}});
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "d"}});
            respond(200, "text/event-stream", format!(": hi\n\n{}{}{}", event(&progress), event(&log), event(&result)))
        }
        "resume" => respond(200, "text/event-stream", format!("id: {id}\nretry: 1\ndata:\n\n")),
        "cut" => respond(200, "text/event-stream", "data:\n\n"),
        "huge" => respond(200, "text/event-stream", event(&json!({"jsonrpc": "2.0", "id": id, "result": "x".repeat(2 << 20)}))),
        "huge json" => respond(200, "application/json", json!({"jsonrpc": "2.0", "id": id, "result": "x".repeat(2 << 20)}).to_string()),
        "reset" => {
            let broken = stream::iter([Ok(Bytes::from_static(b"{\"jsonrpc\"")), Err(std::io::Error::other("reset"))]);
            respond(200, "application/json", Body::from_stream(broken))
        }
        "forget" => {
            *seen.sessions.lock().unwrap() += 10;
            respond(200, "application/json", result.to_string())
        }
        "send and forget" => {
            *seen.sessions.lock().unwrap() += 10;
            respond(404, "text/plain", "no such session")
        }
        "500" => respond(500, "application/json", result.to_string()),
        "400 json-rpc" => respond(400, "application/json", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m","x": [ ]}}"#),
        "404" => respond(404, "text/plain", "no such person"),
        "null error" => respond(200, "application/json", format!("{{\"jsonrpc\":\"2.0\",\"result\":{{ \"n\": 1.10 }},\"error\":null,\"id\":{id}}}")),
        "error of text" => respond(200, "application/json", json!({"jsonrpc": "2.0", "id": id, "error": "no"}).to_string()),
        "both" => respond(200, "application/json", json!({"jsonrpc": "2.0", "id": id, "result": {}, "error": {"code": 1, "message": "m"}}).to_string()),
        "400 null" => respond(400, "application/json", r#"{"jsonrpc":"2.0","id":null,"error":null}"#),
        "403" => respond(403, "text/html", "<h1>no</h1>"),
        "202" => respond(202, "text/plain", ""),
        "307" => Response::builder().status(307).header("location", "/elsewhere").body(Body::empty()).unwrap(),
        _ => respond(200, "application/json", "not json"),
    }
}

async fn start(seen: &Arc<Seen>) -> Upstreams {
    start_with(seen, Duration::from_secs(20)).await
}

async fn start_with(seen: &Arc<Seen>, timeout: Duration) -> Upstreams {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp?key=in-the-url", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(seen));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    at(url, timeout)
}

fn at(url: String, timeout: Duration) -> Upstreams {
    let headers = [("Authorization".to_owned(), "Bearer own".to_owned().into())].into();
    upstreams(Server { timeout, ..server(Transport::Http { url, headers }) }, &Bounds { result: 1 << 20, ..Bounds::default() })
}

#[tokio::test]
async fn json_and_event_answers_pass_as_bytes_with_own_credentials_and_none_other() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    let (to, mut messages) = relay(Some("\"mine\""));
    assert_eq!(text(call(&peer, "sse", Some(to)).await.unwrap()), r#"{"ok":true}"#);
    assert_eq!(next(&mut messages).await["params"]["progressToken"], "mine");
    assert_eq!(next(&mut messages).await["method"], "notifications/message");
    assert!(messages.recv().await.is_none());
    all.shutdown().await;
    let requests = seen.requests.lock().unwrap();
    for (method, headers, body) in requests.iter() {
        assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer own"]);
        let first = body["method"] == "initialize";
        assert_eq!(headers.get("mcp-protocol-version").is_none(), first, "{method} {body}");
        assert_eq!(headers.get("mcp-session-id").is_none(), first);
        assert!(first || headers["mcp-protocol-version"] == "2025-06-18");
        let allowed =
            ["authorization", "accept", "content-type", "content-length", "host", "user-agent", "mcp-protocol-version", "mcp-session-id", "last-event-id"];
        assert!(headers.keys().all(|name| allowed.contains(&name.as_str())), "{headers:?}");
    }
    assert_eq!(requests.last().unwrap().0, Method::DELETE);
}

#[tokio::test]
async fn every_failure_says_whether_the_call_may_have_been_executed() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    for tool in ["500", "202", "307", "reset", "cut", "huge", "huge json", "not json"] {
        let end = call(&peer, tool, None).await;
        let Err(RequestFailure::Unknown(why)) = end else { panic!("{tool}: {end:?}") };
        assert!(!why.contains("in-the-url"), "{why}");
    }
    assert_eq!(text(call(&peer, "400 json-rpc", None).await.unwrap()), r#"{"code":-1,"message":"m","x": [ ]}"#);
    let Ok(Reply::Error(refused)) = call(&peer, "403", None).await else { panic!("a 4xx is an answer") };
    assert!(refused.get().contains("403") && refused.get().contains("credentials") && !refused.get().contains("h1"), "{refused}");
    assert_eq!(seen.posts("tools/call").len(), 10, "nothing is sent twice");
    all.shutdown().await;
}

#[tokio::test]
async fn an_error_that_is_none_hides_no_result_and_an_answer_that_says_both_says_nothing() {
    let seen = Arc::new(Seen::default());
    let upstreams = start(&seen).await;
    let peer = peer(&upstreams).await;
    // Some servers write every member of a response.
    let Reply::Result(result) = call(&peer, "null error", None).await.unwrap() else { panic!("no result") };
    assert_eq!(result.get(), r#"{ "n": 1.10 }"#);
    let Reply::Error(error) = call(&peer, "400 null", None).await.unwrap() else { panic!("no error") };
    assert!(error.get().contains(r#""httpStatus":400"#), "{error}");
    for answer in ["error of text", "both"] {
        assert!(matches!(call(&peer, answer, None).await, Err(RequestFailure::Unknown(_))), "{answer}");
    }
}

#[tokio::test]
async fn a_refused_connection_never_left_and_the_sentence_keeps_the_url_to_itself() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp?key=in-the-url", listener.local_addr().unwrap());
    drop(listener);
    let all = at(url, Duration::from_secs(20));
    let error = all.peer("it", "agent", None).await.unwrap_err();
    assert!(error.sentence.contains("cannot be reached") && !error.sentence.contains("in-the-url"), "{}", error.sentence);
}

#[tokio::test]
async fn a_server_that_went_away_between_two_calls_never_got_the_second() {
    let seen = Arc::new(Seen::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = listener.into_std().unwrap();
    runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap() });
    let all = at(url, Duration::from_secs(20));
    let peer = peer(&all).await;
    call(&peer, "json", None).await.unwrap();
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
    // Until the client has noticed that its idle connection is closed, a request ends as unknown.
    while let Err(RequestFailure::Unknown(_)) = peer.request("ping", None, None, CancellationToken::new()).await {}
    let Err(RequestFailure::NeverLeft(why)) = call(&peer, "json", None).await else { panic!("it cannot have arrived") };
    assert!(matches!(all.servers().await[0].state, ServerState::Down { .. }));
    assert!(why.contains("cannot be reached"), "{why}");
}

#[tokio::test]
async fn a_forgotten_session_is_made_anew_once_and_the_request_arrives_once() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    call(&peer, "forget", None).await.unwrap();
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    assert_eq!(seen.posts("initialize").len(), 2);
    all.shutdown().await;
}

#[tokio::test]
async fn a_404_in_a_session_that_lives_is_the_answer_and_the_request_is_not_sent_again() {
    let seen = Arc::new(Seen::default());
    let upstreams = start(&seen).await;
    let peer = peer(&upstreams).await;
    let Reply::Error(error) = call(&peer, "404", None).await.unwrap() else { panic!("no error") };
    assert!(error.get().contains(r#""httpStatus":404"#), "{error}");
    assert_eq!((seen.posts("tools/call").len(), seen.posts("initialize").len()), (1, 1));
}

#[tokio::test]
async fn a_session_that_ends_while_a_call_is_carried_out_does_not_let_it_leave_twice() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    let Reply::Error(error) = call(&peer, "send and forget", None).await.unwrap() else { panic!("no error") };
    assert!(error.get().contains(r#""httpStatus":404"#), "{error}");
    assert_eq!(seen.posts("tools/call").len(), 1, "the server may have done it before it forgot the session");
    let Ok(Reply::Error(_)) = peer.request("vendor/act", None, None, CancellationToken::new()).await else { panic!("no error") };
    assert_eq!(seen.posts("vendor/act").len(), 1);
    // The next one has a session again.
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    assert_eq!(seen.posts("tools/call").len(), 2);
    all.shutdown().await;
}

#[tokio::test]
async fn an_agents_call_costs_no_further_question_while_the_session_answers_and_an_approved_one_does() {
    let seen = Arc::default();
    let all = start(&seen).await;
    let peer = peer(&all).await;
    for _ in 0..3 {
        call(&peer, "json", Some(relay(None).0)).await.unwrap();
    }
    assert_eq!((seen.posts("tools/call").len(), seen.posts("ping").len()), (3, 0));
    call(&peer, "json", None).await.unwrap();
    assert_eq!((seen.posts("tools/call").len(), seen.posts("ping").len()), (4, 1));
    all.shutdown().await;
}

#[tokio::test]
async fn a_server_without_ping_keeps_its_session() {
    let seen = Arc::new(Seen::default());
    *seen.no_ping.lock().unwrap() = true;
    let all = start(&seen).await;
    let peer = peer(&all).await;
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    assert!(matches!(call(&peer, "404", None).await, Ok(Reply::Error(_))));
    assert_eq!((seen.posts("tools/call").len(), seen.posts("initialize").len()), (2, 1));
    all.shutdown().await;
}

#[tokio::test]
async fn an_approved_call_does_not_leave_before_its_session_is_known_to_live() {
    let seen = Arc::new(Seen::default());
    *seen.deaf.lock().unwrap() = Duration::from_secs(8);
    let all = start_with(&seen, Duration::from_secs(2)).await;
    let peer = peer(&all).await;
    let begun = tokio::time::Instant::now();
    let end = call(&peer, "json", None).await;
    let Err(RequestFailure::NeverLeft(why)) = end else { panic!("{end:?} after {:?}", begun.elapsed()) };
    assert!(why.contains("did not answer a ping within 2 s; nothing was sent"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert!(seen.posts("tools/call").is_empty());
    *seen.deaf.lock().unwrap() = Duration::ZERO;
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    assert_eq!(seen.posts("tools/call").len(), 1);
    all.shutdown().await;
}

#[tokio::test]
async fn a_session_forgotten_without_saying_so_is_made_anew_for_the_next_request() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    call(&peer, "forget", None).await.unwrap();
    *seen.rude.lock().unwrap() = true;
    assert!(text(call(&peer, "json", None).await.unwrap()).contains("400"));
    assert_eq!(seen.posts("tools/call").len(), 2, "what was answered is not sent again");
    assert_eq!(text(call(&peer, "json", None).await.unwrap()), r#"{ "n": 1.10 }"#);
    all.shutdown().await;
}

#[tokio::test]
async fn a_stream_with_event_ids_is_resumed_without_sending_the_call_again() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let peer = peer(&all).await;
    assert_eq!(text(call(&peer, "resume", None).await.unwrap()), r#"{"resumed":true}"#);
    assert_eq!(seen.posts("tools/call").len(), 1);
    all.shutdown().await;
}

#[tokio::test]
async fn the_get_stream_brings_messages_outside_any_request() {
    let seen = Arc::new(Seen::default());
    let all = start(&seen).await;
    let mut events = peer(&all).await.events();
    assert!(events.recv().await.unwrap().get().contains("list_changed"));
    all.shutdown().await;
}

#[tokio::test]
async fn a_server_that_refuses_the_credentials_is_told_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let app = Router::new().fallback(|| async { respond(401, "text/plain", "who?") });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let error = at(url, Duration::from_secs(20)).peer("it", "agent", None).await.unwrap_err();
    assert!(error.sentence.contains("HTTP 401; check the credentials"), "{}", error.sentence);
}

/// Answers what begins a session, each on a connection of its own, and then takes no connection any more.
async fn closes_its_door(listener: &tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let initialized = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
    for answer in
        [format!("200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", initialized.len()), "202 Accepted\r\ncontent-length: 0\r\n".to_owned()]
    {
        let (mut line, _) = listener.accept().await.unwrap();
        let mut read = [0; 4096];
        while !String::from_utf8_lossy(&read).contains("\"method\"") {
            let _ = line.read(&mut read).await.unwrap();
        }
        let body = if answer.starts_with("200") { initialized } else { "" };
        line.write_all(format!("HTTP/1.1 {answer}connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_whose_time_is_up_while_it_still_connects_never_left() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let all = at(format!("http://{address}/mcp"), Duration::from_secs(2));
    let (peer, ()) = tokio::join!(peer(&all), closes_its_door(&listener));
    // Until the system lets no further connection wait.
    let mut waiting = Vec::new();
    while let Ok(line) = tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(address)).await {
        waiting.push(line.unwrap());
    }
    let end = call(&peer, "json", None).await;
    let Err(RequestFailure::NeverLeft(why)) = end else { panic!("{end:?}") };
    assert!(why.contains("nothing was sent"), "{why}");
}
