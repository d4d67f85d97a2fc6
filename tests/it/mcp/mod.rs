//! MCP towards agents over real HTTP: the real routes and gate over the engine in memory, before a server that
//! notes every byte it gets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod bad_input;
mod batch;
mod delivered;
mod door;
mod holds;
mod passes;
mod restart;
mod resume;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Response};
use axum::response::IntoResponse;
use paraph::config::{Bounds, Server, Transport};
use paraph::domain::call::{Call, Presence, Verdict};
use paraph::domain::door::Door;
use paraph::domain::people::Role;
use paraph::domain::policy::Policy;
use paraph::gate::people::NewAgent;
use paraph::gate::review::Decide;
use paraph::gate::{Gate, Query, Reviewer, SystemClock};
use paraph::mcp::upstream::Upstreams;
use paraph::mcp::{McpSettings, McpState, SessionKey, routes};
use paraph::serve::listen::Listening;
use paraph::store::in_memory::InMemory;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub const HELLO: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"vendor/x":1.10},"serverInfo":{"name":"s","version":"1"},"more":[ ]}"#;
pub const RESULT: &str = r#"{"content":[{"type":"text","text":"Sent."}],  "vendor" : 12345678901234567890123}"#;
pub const TOOLS: &str = r#"{"tools":[{"name":"read_a","x": 1.10},{"name":"hidden_b"}],"nextCursor":"p2"}"#;

/// The server behind the gateway.
#[derive(Default)]
pub struct Behind {
    /// Bodies, in order.
    seen: Mutex<Vec<String>>,
    /// The answer to a request of the server came.
    answered: Notify,
    /// Time for an event outside any request.
    speak: Notify,
    /// Slow calls may end.
    go: Notify,
    /// A session is made only when slow calls may end.
    slow_start: std::sync::atomic::AtomicBool,
}

impl Behind {
    pub fn of(&self, method: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()).filter(|body| body["method"] == method).collect()
    }

    pub fn saw(&self, part: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|body| body.contains(part)).count()
    }
}

fn respond(kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", kind).body(body.into()).unwrap()
}

async fn behind(State(behind): State<Arc<Behind>>, method: Method, body: Bytes) -> Response<Body> {
    if method == Method::GET {
        let event = format!("data: {}\n\n", json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        let events = futures_util::stream::unfold(behind, move |behind| {
            let event = event.clone();
            async move {
                behind.speak.notified().await;
                Some((Ok::<_, std::io::Error>(event), behind))
            }
        });
        return respond("text/event-stream", Body::from_stream(events));
    }
    if method == Method::DELETE {
        return respond("text/plain", "");
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    let message: Value = serde_json::from_str(&text).unwrap();
    behind.seen.lock().unwrap().push(text);
    let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else {
        if message.get("result").is_some() {
            behind.answered.notify_one();
        }
        return axum::http::StatusCode::ACCEPTED.into_response();
    };
    if message["method"] == "initialize" && behind.slow_start.load(std::sync::atomic::Ordering::SeqCst) {
        behind.go.notified().await;
    }
    let answer = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let result = match message["method"].as_str().unwrap() {
        "initialize" => HELLO,
        "tools/list" => TOOLS,
        _ => RESULT,
    };
    match message["params"]["name"].as_str().unwrap_or_default() {
        "read_log" => {
            let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}"#;
            let progress = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#);
            respond("text/event-stream", format!("data: {log}\n\ndata: {progress}\n\ndata: {}\n\n", answer(RESULT)))
        }
        "read_ask" => {
            let ask = r#"{"jsonrpc":"2.0","id":"q1","method":"roots/list"}"#;
            let last = answer(RESULT);
            let events = futures_util::stream::unfold(0, move |step| {
                let (behind, last) = (behind.clone(), last.clone());
                async move {
                    match step {
                        0 => Some((Ok::<_, std::io::Error>(format!("data: {ask}\n\n")), 1)),
                        1 => {
                            behind.answered.notified().await;
                            Some((Ok(format!("data: {last}\n\n")), 2))
                        }
                        _ => None,
                    }
                }
            });
            respond("text/event-stream", Body::from_stream(events))
        }
        "read_slow" => {
            behind.go.notified().await;
            respond("application/json", answer(RESULT))
        }
        "read_500" => Response::builder().status(500).body(Body::empty()).unwrap(),
        "read_error" => respond("application/json", format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-7,"message":"m", "x":[ ]}}}}"#)),
        _ => respond("application/json", answer(result)),
    }
}

/// A gateway, its server and one agent.
pub struct World {
    pub gate: Gate,
    pub upstreams: Arc<Upstreams>,
    pub behind: Arc<Behind>,
    pub state: McpState,
    pub port: u16,
    pub token: String,
    pub client: reqwest::Client,
    session: Mutex<Option<String>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub session: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The data of every event.
    pub fn events(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
    }
}

impl World {
    pub async fn new() -> World {
        World::with(NewAgent::default()).await
    }

    pub async fn with(agent: NewAgent) -> World {
        let behind_ = Arc::new(Behind::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(behind).with_state(behind_.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        World::before(url, behind_, agent).await
    }

    pub async fn before(url: String, behind: Arc<Behind>, agent: NewAgent) -> World {
        let at = |url: String| Server {
            transport: Transport::Http { url, headers: BTreeMap::new() },
            methods: Vec::new(),
            timeout: Duration::from_secs(20),
            start_timeout: Duration::from_secs(20),
            policy: Policy::default(),
            messages: BTreeMap::new(),
        };
        let servers = [("demo".to_owned(), at(url)), ("dead".to_owned(), at("http://127.0.0.1:1/mcp".to_owned()))].into();
        let upstreams = Arc::new(Upstreams::new(servers, &Bounds::default(), std::path::PathBuf::new()));
        let mut settings = crate::life::settings();
        settings.servers.insert("dead".to_owned(), settings.servers["demo"].clone());
        let gate = Gate::open(Arc::new(InMemory::default()), upstreams.clone(), Arc::new(SystemClock), settings);
        gate.resume_work().await.unwrap();
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..agent }).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = McpSettings {
            servers: [("demo".to_owned(), vec!["vendor/*".to_owned(), "[tT]ools/[cC]all".to_owned()]), ("dead".to_owned(), Vec::new())].into(),
            body: 64 * 1024,
            arguments: 32 * 1024,
            sessions_per_agent: 3,
            session_key: SessionKey([7; 32]),
            door: Door::new(address.port(), "", &[]),
        };
        let state = McpState::new(gate.clone(), upstreams.clone(), settings);
        let listening = Listening::new(listener, &Bounds::default());
        tokio::spawn(listening.serve(routes(state.clone()), CancellationToken::new()));
        let client = reqwest::Client::builder().build().unwrap();
        World { gate, upstreams, behind, state, port: address.port(), token, client, session: Mutex::default() }
    }

    /// A request with everything right, to be spoiled.
    pub fn request(&self, method: Method, server: &str) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .request(method, format!("http://127.0.0.1:{}/mcp/{server}", self.port))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = self.session.lock().unwrap().as_ref() {
            request = request.header("mcp-session-id", session);
        }
        request
    }

    pub async fn post(&self, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.request(Method::POST, "demo").body(body)).await
    }

    /// Begins a session that the next requests are in.
    pub async fn hello(&self, revision: &str) -> Answer {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": revision, "capabilities": {"roots": {}}, "clientInfo": {"name": "t", "version": "1"}}});
        let answer = self.post(body.to_string()).await;
        self.session.lock().unwrap().clone_from(&answer.session);
        answer
    }

    pub async fn ready(self) -> World {
        assert_eq!(self.hello("2025-11-25").await.status, 200);
        self
    }

    /// Sends without waiting for the end of the answer.
    pub async fn open(&self, body: String) -> reqwest::Response {
        self.request(Method::POST, "demo").body(body).send().await.unwrap()
    }

    pub async fn operator(&self) -> Reviewer {
        self.gate.add_person("ann@example.org", None, Vec::new(), Role::Operator).await.unwrap();
        let token = self.gate.make_api_token("ann@example.org", "test", Duration::from_secs(3600)).await.unwrap();
        self.gate.by_api_token(&token).await.unwrap().unwrap()
    }

    /// Until the only held call has this presence.
    pub async fn until(&self, reviewer: &Reviewer, presence: Presence) -> Call {
        for _ in 0..500 {
            let calls = reviewer.calls(Query { limit: 10, ..Query::default() }).await.unwrap().calls;
            if let Some(call) = calls.into_iter().find(|call| call.state.settled_at().is_none() && self.gate.presence(call) == presence) {
                return call;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no open call ever was {presence:?}");
    }
}

pub async fn decide(reviewer: &Reviewer, call: &Call, verdict: Verdict, reason: Option<&str>) {
    let shown = reviewer.read(&call.id).await.unwrap().call;
    let decide = Decide { verdict, digest: shown.digest, version: shown.version, reason: reason.map(str::to_owned), arguments: None };
    reviewer.decide(&call.id, decide).await.unwrap();
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    finish(request.send().await.unwrap()).await
}

pub async fn finish(response: reqwest::Response) -> Answer {
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, kind, session) = (response.status().as_u16(), header("content-type").unwrap_or_default(), header("mcp-session-id"));
    let text = tokio::time::timeout(Duration::from_secs(20), response.text()).await.unwrap().unwrap();
    Answer { status, kind, session, text }
}

pub fn call(id: u32, tool: &str, arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#)
}
