//! What a hostile agent or a hostile server can put on the wire, before servers that note every byte they get: what
//! is executed was judged, what cannot be judged is refused. Tables of bytes, over every transport and revision.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod heads;
mod lines;
mod lists;
mod results;
mod wire;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response};
use paraph::config::{Bounds, Server, Transport};
use paraph::domain::door::Door;
use paraph::domain::policy::{Action, Policy, PolicySpec, RuleSpec};
use paraph::gate::people::NewAgent;
use paraph::gate::{Gate, ServerSettings, Settings, SystemClock};
use paraph::mcp::upstream::Upstreams;
use paraph::mcp::{McpSettings, McpState, SessionKey};
use paraph::serve::listen::Listening;
use paraph::store::in_memory::InMemory;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The revisions with sessions, and whether a body may be a batch.
pub const REVISIONS: [(&str, bool); 3] = [("2025-03-26", true), ("2025-06-18", false), ("2025-11-25", false)];

/// Notes what it reads, byte for byte, and answers as a careless reader would.
const RECORDER: &str = r#"
import json, sys
kept = open(sys.argv[1], "ab", buffering=0)
for line in sys.stdin.buffer:
    kept.write(line)
    message = json.loads(line)
    if "id" not in message or "method" not in message: continue
    result = {"protocolVersion": "2025-11-25", "capabilities": {}} if message["method"] == "initialize" else {"content": []}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()
"#;

/// What one HTTP server got.
#[derive(Default)]
pub struct Record(Mutex<Vec<(HeaderMap, Vec<u8>)>>);

/// A gateway before four servers: over HTTP and stdio, each with a policy that allows and one that denies by default.
pub struct Site {
    pub port: u16,
    pub token: String,
    pub upstreams: Arc<Upstreams>,
    records: BTreeMap<&'static str, Arc<Record>>,
    folder: TempDir,
    _state: McpState,
}

/// A response as it came.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Raw {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn error(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }

    /// The state of the call that the gateway answered itself.
    pub fn state(&self) -> Option<String> {
        self.json()["result"]["_meta"]["paraph/call"]["state"].as_str().map(str::to_owned)
    }
}

pub fn rule(name: &str, tool: &str, action: Action) -> RuleSpec {
    RuleSpec { name: name.into(), tools: vec![tool.to_owned()], agents: vec!["*".into()], action, ..RuleSpec::default() }
}

pub fn policy(default: Action) -> Policy {
    let rules = vec![rule("accounts-stay", "delete_account", Action::Deny), rule("secret", "hidden_*", Action::Hide), rule("reading", "read_*", Action::Allow)];
    Policy::build(PolicySpec { default, rules, ..PolicySpec::default() }).unwrap()
}

async fn note(State(record): State<Arc<Record>>, method: Method, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let answer = |status: u16, text: String| Response::builder().status(status).header("content-type", "application/json").body(Body::from(text)).unwrap();
    if method != Method::POST {
        return answer(405, String::new());
    }
    record.0.lock().unwrap().push((headers, body.to_vec()));
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else { return answer(202, String::new()) };
    let result = if message["method"] == "initialize" { json!({"protocolVersion": "2025-11-25", "capabilities": {}}) } else { json!({"content": []}) };
    answer(200, json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
}

/// A server at a free port; its address.
pub async fn at_a_port(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

pub fn child(script: &str, argument: &str) -> Transport {
    Transport::Process { command: ["python3", "-c", script, argument].map(str::to_owned).into(), env: BTreeMap::new(), cwd: None, env_clear: false }
}

pub fn at_url(url: String) -> Transport {
    Transport::Http { url, headers: [("Authorization".to_owned(), "Bearer own".to_owned().into())].into() }
}

impl Site {
    pub const SERVERS: [&str; 4] = ["open-http", "open-stdio", "closed-http", "closed-stdio"];

    pub async fn new() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let (mut records, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for name in Site::SERVERS {
            let transport = if name.ends_with("http") {
                let record = Arc::new(Record::default());
                records.insert(name, record.clone());
                at_url(at_a_port(axum::Router::new().fallback(note).with_state(record)).await)
            } else {
                child(RECORDER, &folder.path().join(name).display().to_string())
            };
            servers.insert(name.to_owned(), (transport, policy(if name.starts_with("open") { Action::Allow } else { Action::Deny })));
        }
        Site::before(servers, records, folder).await
    }

    /// A gateway before servers of the test's own.
    pub async fn before(servers: BTreeMap<String, (Transport, Policy)>, records: BTreeMap<&'static str, Arc<Record>>, folder: TempDir) -> Site {
        let known = servers.iter().map(|(name, (_, policy))| (name.clone(), ServerSettings { policy: policy.clone(), messages: BTreeMap::new() }));
        let settings = Settings { servers: known.collect(), audit_queue: 1_000, in_flight_per_server: 8, ..Settings::default() };
        // What an operator who is careless with globs could let pass.
        let methods = servers.keys().map(|name| (name.clone(), vec!["vendor/*".to_owned(), "[tT]*ools/[cC]all*".to_owned()])).collect();
        let of = |(name, (transport, policy)): (String, (Transport, Policy))| {
            let (timeout, start_timeout) = (Duration::from_secs(20), Duration::from_secs(20));
            (name, Server { transport, methods: Vec::new(), timeout, start_timeout, policy, messages: BTreeMap::new() })
        };
        let upstreams = Arc::new(Upstreams::new(servers.into_iter().map(of).collect(), &Bounds::default(), PathBuf::from(env!("CARGO_BIN_EXE_paraph"))));
        let gate = Gate::open(Arc::new(InMemory::default()), upstreams.clone(), Arc::new(SystemClock), settings);
        gate.resume_work().await.unwrap();
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = McpSettings {
            servers: methods,
            body: 4 << 20,
            arguments: 1 << 20,
            sessions_per_agent: 100,
            session_key: SessionKey([7; 32]),
            door: Door::new(port, "", &[]),
        };
        let state = McpState::new(gate, upstreams.clone(), settings);
        let listening = Listening::new(listener, &Bounds::default());
        tokio::spawn(listening.serve(state.clone(), CancellationToken::new()));
        Site { port, token, upstreams, records, folder, _state: state }
    }

    /// Everything one request needs before its own headers.
    pub fn head(&self, server: &str) -> String {
        format!("POST /mcp/{server} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\naccept: */*\r\n", self.port, self.token)
    }

    /// Writes these bytes and reads one response, however it is framed.
    pub async fn exchange(&self, bytes: &[u8]) -> Raw {
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        line.write_all(bytes).await.unwrap();
        read(&mut line).await
    }

    /// The id of a new session.
    pub async fn session(&self, server: &str, revision: &str) -> String {
        let hello = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}).to_string();
        let raw = self.exchange(&request(&self.head(server), "", body.as_bytes())).await;
        assert_eq!(raw.json()["result"]["protocolVersion"], revision, "{raw:?}");
        raw.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned()
    }

    /// One POST in a session, with everything right but the body.
    pub async fn post(&self, server: &str, session: &str, body: &[u8]) -> Raw {
        self.exchange(&request(&self.head(server), &format!("mcp-session-id: {session}\r\n"), body)).await
    }

    /// What the server got so far, byte for byte: bodies, or lines with their ends.
    pub fn got(&self, server: &str) -> Vec<Vec<u8>> {
        match self.records.get(server) {
            Some(record) => record.0.lock().unwrap().iter().map(|(_, body)| body.clone()).collect(),
            None => {
                let all = std::fs::read(self.folder.path().join(server)).unwrap_or_default();
                all.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
            }
        }
    }

    /// The headers that an HTTP server got.
    pub fn headers(&self, server: &str) -> Vec<HeaderMap> {
        self.records[server].0.lock().unwrap().iter().map(|(headers, _)| headers.clone()).collect()
    }

    /// The `row` argument of every call the server got, in order. Fails when what it got is not ours to the letter: one
    /// JSON-RPC message each, on one line, and nothing that names a tool which may not be called.
    pub fn executed(&self, server: &str) -> Vec<String> {
        let mut rows = Vec::new();
        for bytes in self.got(server) {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let line = text.trim_end_matches('\n');
            assert!(server.ends_with("http") || (text.len() == line.len() + 1 && !line.contains(['\n', '\r'])), "not one line: {text:?}");
            let message = paraph::domain::json::strict_within(line.as_bytes(), 2).unwrap_or_else(|why| panic!("{why}: {line}"));
            for name in ["delete", "hidden"] {
                assert!(!message["params"]["name"].to_string().to_lowercase().contains(name), "reached {server}: {line}");
                assert!(!message["method"].to_string().contains(name), "reached {server}: {line}");
            }
            let ours = ["initialize", "notifications/initialized", "ping", "tools/call"];
            let method = message["method"].as_str().unwrap();
            assert!(ours.contains(&method), "reached {server}: {line}");
            if method == "tools/call" {
                rows.push(message["params"]["arguments"]["row"].as_str().unwrap_or_default().to_owned());
            }
        }
        rows
    }
}

/// A whole request: the head, more headers, the body.
pub fn request(head: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let kind = if more.to_lowercase().contains("content-type:") { "" } else { "content-type: application/json\r\n" };
    [format!("{head}{kind}{more}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// One response; the rest of the connection is left alone.
pub async fn read(line: &mut TcpStream) -> Raw {
    tokio::time::timeout(Duration::from_secs(20), read_one(line)).await.expect("an answer in time")
}

async fn read_one(line: &mut TcpStream) -> Raw {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match line.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => break,
        }
    }
    let head = String::from_utf8(read).unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let of = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let mut body = Vec::new();
    if let Some(length) = of("content-length: ") {
        body.resize(length.parse().unwrap(), 0);
        line.read_exact(&mut body).await.unwrap();
    } else if of("transfer-encoding: ").is_some() {
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.push(line.read_u8().await.unwrap());
            }
            let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            line.read_exact(&mut chunk).await.unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    Raw { status, head, body: String::from_utf8(body).unwrap() }
}
