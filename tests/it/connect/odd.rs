//! A gateway that breaks off, forgets and prints as no gateway of ours does: what the front makes of it, and above all
//! what it does not do twice.

use super::REVISION;
use crate::world::{Front, text_of, until};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// What a request is answered with, on a connection of its own.
enum Act {
    /// The connection breaks.
    Break,
    /// Status line, headers but for the length, body.
    Answer(&'static str, &'static str, String),
    /// Nothing comes.
    Wait,
    /// The connection breaks after this, when told.
    Until(&'static str, Arc<Notify>),
    /// The connection ends after this.
    Half(&'static str),
}

#[derive(Clone, Debug)]
struct Seen {
    method: String,
    session: Option<String>,
    last_event: Option<String>,
    body: String,
}

impl Seen {
    fn is(&self, method: &str) -> bool {
        self.body.contains(&format!("\"{method}\""))
    }
}

struct Odd {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Odd {
    /// `act` gets the request and how often one like it (verb and body) came before. `initialize` is answered by itself,
    /// with a session named after its count.
    async fn start(act: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Odd {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, act) = (Arc::new(Mutex::new(Vec::new())), Arc::new(act));
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (act, seen) = (act.clone(), kept.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let Some(one) = read(&mut stream).await else { return };
                    let before = {
                        let mut seen: std::sync::MutexGuard<'_, Vec<Seen>> = seen.lock().unwrap();
                        let before = seen.iter().filter(|other| other.method == one.method && other.body == one.body).count();
                        seen.push(one.clone());
                        before
                    };
                    let answer = if one.is("initialize") {
                        let result = json!({"protocolVersion": REVISION, "capabilities": {}, "serverInfo": {"name": "odd", "version": "1"}});
                        let headers = if before == 0 { "mcp-session-id: s0\r\n" } else { "mcp-session-id: s1\r\n" };
                        Act::Answer("200 OK", headers, json!({"jsonrpc": "2.0", "id": "hello", "result": result}).to_string())
                    } else {
                        act(&one, before)
                    };
                    let text = match answer {
                        Act::Break => return,
                        Act::Wait => return std::future::pending().await,
                        Act::Until(text, broken) => {
                            let _ = stream.write_all(text.as_bytes()).await;
                            return broken.notified().await;
                        }
                        Act::Half(text) => text.to_owned(),
                        Act::Answer(status, headers, body) => {
                            let kind = if headers.contains("content-type") { "" } else { "content-type: application/json\r\n" };
                            format!("HTTP/1.1 {status}\r\n{kind}{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                        }
                    };
                    let _ = stream.write_all(text.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Odd { url, seen }
    }

    /// The same over TLS, with a certificate of its own that is written to a file.
    async fn start_with_tls(file: &std::path::Path, act: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Odd {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(file, made.cert.pem()).unwrap();
        let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let plain = Odd::start(act).await;
        let (inside, listener) = (plain.url.strip_prefix("http://").unwrap().to_owned(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, inside) = (acceptor.clone(), inside.clone());
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(stream).await else { return };
                    let mut inner = tokio::net::TcpStream::connect(inside).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Odd { url, ..plain }
    }

    async fn front(&self) -> Front {
        let (front, _) = Front::connect(&self.url, "token", REVISION, &["--patience", "5s"]).await;
        until("initialized arrives", || async { (self.count("notifications/initialized") == 1).then_some(()) }).await;
        front
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|one| one.is(method)).count()
    }
}

async fn read(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<Seen> {
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line).await.ok()? > 2 {
        head.push(std::mem::take(&mut line));
    }
    let header = |name: &str| {
        head.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()))
    };
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen {
        method: head.first()?.split(' ').next()?.to_owned(),
        session: header("mcp-session-id"),
        last_event: header("last-event-id"),
        body: String::from_utf8(body).ok()?,
    })
}

fn taken() -> Act {
    Act::Answer("202 Accepted", "", String::new())
}

fn no_stream() -> Act {
    Act::Answer("405 Method Not Allowed", "", String::new())
}

fn result(body: &str, result: &Value) -> Act {
    let asked: Value = serde_json::from_str(body).unwrap();
    Act::Answer("200 OK", "", json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}).to_string())
}

/// The rest of every story: notifications are taken, and there is no GET stream.
fn otherwise(one: &Seen) -> Act {
    if one.method == "GET" { no_stream() } else { taken() }
}

#[tokio::test]
async fn a_call_whose_connection_broke_is_never_made_twice_and_a_question_is() {
    let odd = Odd::start(|one, before| match () {
        () if one.is("tools/call") => Act::Break,
        () if one.is("tools/list") && before < 2 => Act::Break,
        () if one.is("tools/list") => result(&one.body, &json!({"tools": []})),
        () if one.is("vendor/spend") => Act::Half("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"jsonrpc\""),
        () => otherwise(one),
    })
    .await;
    let mut front = odd.front().await;
    front.dm(1, "once").await;
    let told = front.answer_to(1).await;
    assert!(text_of(&told["result"]).starts_with("UNKNOWN whether this was done."), "{told}");
    front.ask(2, "vendor/spend", json!({})).await;
    assert!(front.answer_to(2).await["error"]["message"].as_str().unwrap().contains("broke"));
    front.ask(3, "tools/list", json!({})).await;
    assert_eq!(front.answer_to(3).await["result"], json!({"tools": []}));
    assert_eq!((odd.count("tools/call"), odd.count("vendor/spend"), odd.count("tools/list")), (1, 1, 3));
}

#[tokio::test]
async fn what_was_refused_for_want_of_a_session_is_made_once_more_in_a_new_one() {
    let odd = Odd::start(|one, _| match one.session.as_deref() {
        Some("s0") if one.is("tools/call") => {
            Act::Answer("404 Not Found", "", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no session"}}"#.into())
        }
        _ if one.is("tools/call") => result(&one.body, &json!({"content": []})),
        _ if one.is("vendor/unknown") => Act::Answer("404 Not Found", "", r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no method"}}"#.into()),
        _ => otherwise(one),
    })
    .await;
    let mut front = odd.front().await;
    front.dm(1, "again, in another session").await;
    assert_eq!(front.answer_to(1).await["result"], json!({"content": []}));
    front.ask(2, "vendor/unknown", json!({})).await;
    assert_eq!(front.answer_to(2).await["error"]["code"], -32601);
    let seen = odd.seen();
    let hellos: Vec<&Seen> = seen.iter().filter(|one| one.is("initialize")).collect();
    assert_eq!((hellos.len(), &hellos[0].body), (2, &hellos[1].body), "the client's own bytes");
    assert_eq!((odd.count("notifications/initialized"), odd.count("tools/call"), odd.count("vendor/unknown")), (2, 2, 1));
}

#[tokio::test]
async fn a_gateway_that_forgets_every_session_at_once_is_given_up() {
    let odd = Odd::start(|one, _| if one.is("tools/list") { Act::Answer("404 Not Found", "", String::new()) } else { otherwise(one) }).await;
    let mut front = odd.front().await;
    front.ask(1, "tools/list", json!({})).await;
    assert!(front.answer_to(1).await["error"]["message"].as_str().unwrap().contains("no such server"));
    assert_eq!((odd.count("initialize"), odd.count("tools/list")), (4, 4));
}

#[tokio::test]
async fn an_answer_over_many_lines_is_one_line_of_the_same_tokens() {
    let printed =
        "{\r\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\n  \"result\": {\n    \"a\": 1.10,\n    \"a\": 12345678901234567890123,\n    \"t\": \"x\\n y\"\n  }\n}\n";
    let events = "id: e1\ndata: {\"jsonrpc\":\"2.0\",\ndata:  \"method\":\"notifications/message\",\ndata:  \"params\":{\"n\":1.0}}\n\n\
                  data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"roots/list\"}\n\ndata: noise\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";
    let odd = Odd::start(move |one, _| match () {
        () if one.is("tools/list") => Act::Answer("200 OK", "", printed.to_owned()),
        () if one.is("tools/call") => Act::Answer("200 OK", "content-type: text/event-stream\r\n", events.to_owned()),
        () => otherwise(one),
    })
    .await;
    let mut front = odd.front().await;
    front.ask(1, "tools/list", json!({})).await;
    assert_eq!(front.line().await, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":1.10,\"a\":12345678901234567890123,\"t\":\"x\\n y\"}}");
    front.dm(2, "x").await;
    assert_eq!(front.line().await, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"n\":1.0}}");
    assert_eq!(front.line().await, r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#);
    front.answer_to(2).await;
    front.says("is no JSON").await;
    // The client's answer goes back as it is, in the session.
    let answer = r#"{"jsonrpc":"2.0", "id":"q","result":{"roots":[ ],"n":1e2}}"#;
    front.write(format!("{answer}\n").as_bytes()).await;
    until("the answer arrives", || async { odd.seen().iter().any(|one| one.body == answer && one.session.as_deref() == Some("s0")).then_some(()) }).await;
}

#[tokio::test]
async fn what_stands_before_a_gateway_is_no_gateway() {
    let odd = Odd::start(|one, _| match () {
        () if one.is("tools/call") => Act::Answer("502 Bad Gateway", "content-type: text/html\r\n", "<h1>Bad Gateway</h1>".into()),
        () if one.is("prompts/list") => Act::Answer("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", String::new()),
        () if one.is("resources/list") => {
            Act::Answer("503 Service Unavailable", "", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"Not now."}}"#.into())
        }
        () => otherwise(one),
    })
    .await;
    let mut front = odd.front().await;
    front.dm(1, "x").await;
    assert!(text_of(&front.answer_to(1).await["result"]).starts_with("UNKNOWN"));
    front.ask(2, "prompts/list", json!({})).await;
    assert_eq!(front.answer_to(2).await["error"]["message"], "The gateway answered HTTP 307.");
    front.ask(3, "resources/list", json!({})).await;
    assert_eq!(front.answer_to(3).await["error"]["message"], "Not now.");
    assert_eq!(odd.count("tools/call"), 1);
}

#[tokio::test]
async fn the_servers_own_stream_is_opened_again_where_it_broke() {
    let odd = Odd::start(|one, before| match (one.method.as_str(), before) {
        ("GET", 0) => {
            let event = "id: e7\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
            Act::Answer("200 OK", "content-type: text/event-stream\r\n", event.to_owned())
        }
        ("GET", _) => no_stream(),
        _ => taken(),
    })
    .await;
    let mut front = odd.front().await;
    assert_eq!(front.line().await, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    until("the stream is asked for again", || async {
        let seen = odd.seen();
        let asked: Vec<Option<&str>> = seen.iter().filter(|one| one.method == "GET").map(|one| one.last_event.as_deref()).collect();
        (asked == [None, Some("e7")]).then_some(())
    })
    .await;
    front.close();
    front.ended().await;
    assert_eq!(odd.seen().last().map(|one| (one.method.clone(), one.session.clone())), Some(("DELETE".to_owned(), Some("s0".to_owned()))));
}

#[tokio::test]
async fn a_gateway_behind_tls_is_spoken_to_when_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    let odd = Odd::start_with_tls(&certificate, |one, _| if one.is("ping") { result(&one.body, &json!({})) } else { otherwise(one) }).await;
    let start = |trust: bool| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_paraph"));
        command.args(["connect", "demo", "--wait", "300ms", "--url", &odd.url]).env("PARAPH_AGENT_TOKEN", "token");
        if trust {
            command.env("SSL_CERT_FILE", &certificate);
        }
        Front::of(command)
    };
    let mut front = start(true);
    front.hello(REVISION).await;
    front.ask(1, "ping", json!({})).await;
    front.answer_to(1).await;
    let before = odd.seen().len();
    let mut front = start(false);
    front.ask(0, "initialize", json!({})).await;
    assert!(front.answer_to(0).await.get("error").is_some());
    front.says("nobody who is trusted here signed its certificate").await;
    assert_eq!(front.ended().await.0, Some(3));
    assert_eq!(odd.seen().iter().skip(before).filter(|one| one.method == "POST").count(), 0, "the token went to somebody unknown");
}

#[tokio::test]
async fn a_token_that_would_travel_unencrypted_is_warned_of() {
    let mut front = Front::start("http://paraph.invalid", "token", &["--wait", "100ms"]);
    front.says("unencrypted").await;
    front.ask(0, "initialize", json!({})).await;
    assert!(front.answer_to(0).await.get("error").is_some());
    assert_eq!(front.ended().await.0, Some(3));
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_leaving_cancels_none() {
    let odd = Odd::start(|one, _| if one.is("vendor/slow") { Act::Wait } else { otherwise(one) }).await;
    let mut front = odd.front().await;
    for id in 1..=257 {
        front.ask(id, "vendor/slow", json!({})).await;
    }
    assert!(front.answer_to(257).await["error"]["message"].as_str().unwrap().starts_with("Too many requests"));
    front.ask(7, "vendor/slow", json!({})).await;
    assert!(front.answer_to(7).await["error"]["message"].as_str().unwrap().contains("one of this id"));
    until("all of them are asked", || async { (odd.count("vendor/slow") == 256).then_some(()) }).await;
    front.close();
    assert_eq!(front.ended().await, (Some(0), Vec::new()));
    assert_eq!((odd.count("vendor/slow"), odd.count("notifications/cancelled")), (256, 0), "leaving is no cancelling");
}

#[tokio::test]
async fn a_cancel_that_died_with_the_gateway_is_told_to_the_next_one_after_the_stream_is_open_again() {
    let dies = Arc::new(Notify::new());
    let odd = Odd::start(move |one, before| match () {
        () if one.is("tools/call") => {
            let opening = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n10\r\nid: e1\ndata: \n\n\n\r\n";
            Act::Until(opening, dies.clone())
        }
        () if one.is("notifications/cancelled") && before == 0 => {
            dies.notify_one();
            Act::Break
        }
        () if one.last_event.is_some() => Act::Answer("200 OK", "content-type: text/event-stream\r\n", ": alive\n\n".to_owned()),
        () => otherwise(one),
    })
    .await;
    let mut front = odd.front().await;
    front.dm(1, "x").await;
    until("the call is there", || async { (odd.count("tools/call") == 1).then_some(()) }).await;
    front.cancel(1).await;
    until("it is told again", || async { (odd.count("notifications/cancelled") == 2).then_some(()) }).await;
    let seen = odd.seen();
    let resumed = seen.iter().position(|one| one.last_event.as_deref() == Some("e1")).expect("the stream is resumed");
    assert!(seen.iter().rposition(|one| one.is("notifications/cancelled")) > Some(resumed), "{seen:?}");
    front.is_silent_for(std::time::Duration::from_millis(200)).await;
    assert_eq!(odd.count("tools/call"), 1);
}
