//! A desk to test at: a real gate over the in-memory engine, a real listener on a free port, people with
//! sessions and tokens, and an upstream that answers everything with "sent".

use super::counting::Counting;
use crate::fakes::ManualClock;
use async_trait::async_trait;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use paraph::config::Standing;
use paraph::domain::call::{CallId, Verdict};
use paraph::domain::client::Client;
use paraph::domain::door::Door;
use paraph::domain::json::strict;
use paraph::domain::people::{Agent, Role};
use paraph::domain::policy::{Action, LimitSpec, Policy, PolicySpec, RuleSpec};
use paraph::domain::schema::{Schema, Unusable};
use paraph::gate::review::Decide;
use paraph::gate::upstream::{InputSchema, Sent, ServerState, ServerStatus, Ticket, ToolInfo};
use paraph::gate::{Admission, Ask, Clock, Gate, HoldSettings, Reviewer, Seat, ServerSettings, Settings, SystemClock, Upstream};
use paraph::store::in_memory::InMemory;
use paraph::web::{WebSettings, WebState, routes};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers every call.
#[derive(Default)]
pub struct Obliging {
    /// Which instance runs.
    pub instance: Mutex<Option<String>>,
    /// The schema of `send_dm`, when it is listed.
    pub schema: Mutex<Option<Arc<Schema>>>,
    /// The server that is down is not any more.
    pub repaired: AtomicBool,
}

#[async_trait]
impl Upstream for Obliging {
    async fn send(&self, ticket: Ticket) -> Sent {
        let outgoing = ticket.spend();
        if outgoing.tool == "send_lost" {
            return Sent::Unknown("the connection was cut before the server answered".into());
        }
        Sent::Result(RawValue::from_string(r#"{"content":[{"type":"text","text":"sent <b>now</b>"}]}"#.into()).unwrap())
    }

    async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
        self.instance.lock().unwrap().clone()
    }

    async fn input_schema(&self, _server: &str, tool: &str, _ask_for: Option<&str>) -> InputSchema {
        let schema = self.schema.lock().unwrap().clone().filter(|_| tool == "send_dm");
        schema.map_or(InputSchema::NotListed, InputSchema::Known)
    }

    async fn close_agent(&self, _agent: &str) {}

    async fn servers(&self) -> Vec<ServerStatus> {
        let tool = |name: &str, text: &str| ToolInfo {
            name: name.into(),
            description: Some(text.into()),
            unusable: (name == "delete_all").then_some(Unusable("is no object")),
        };
        let tools =
            Some(vec![tool("send_dm", "Sends a direct message."), tool("read_dms", "Reads <i>messages</i>."), tool("delete_all", "Deletes everything.")]);
        let why = "its program ended with code 1 before it answered initialize; run it by hand to see why".to_owned();
        let down = ServerState::Down { why, stderr: vec!["Traceback:".into(), "ImportError: no module <b>named</b> mcp".into()] };
        vec![
            ServerStatus { name: "demo".into(), transport: "stdio", state: ServerState::Up { instances: 1 }, tools },
            ServerStatus {
                name: "broken".into(),
                transport: "stdio",
                state: if self.repaired.load(Ordering::SeqCst) { ServerState::Idle } else { down },
                tools: None,
            },
        ]
    }
}

/// Everything a test touches.
pub struct Desk {
    pub gate: Gate,
    pub url: String,
    pub http: reqwest::Client,
    pub store: Arc<InMemory>,
    /// Records that were read for the gate.
    pub read: Arc<AtomicUsize>,
    pub upstream: Arc<Obliging>,
    /// How the configuration stands.
    pub standing: Standing,
    agent: Agent,
}

fn rule(name: &str, tools: &[&str], action: Action, reviewers: &[&str], approvals: Option<u32>) -> RuleSpec {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    RuleSpec {
        name: name.into(),
        tools: owned(tools),
        agents: vec!["*".into()],
        conditions: Vec::new(),
        action,
        reason: (action == Action::RequireApproval).then(|| "Direct messages are read by a person first.".to_owned()),
        reviewers: owned(reviewers),
        approvals,
        expires_in: None,
        ..RuleSpec::default()
    }
}

impl Desk {
    pub async fn open() -> Desk {
        Desk::with(HoldSettings::default(), "", 500).await
    }

    /// `public_url` empty: the bound address.
    pub async fn with(hold: HoldSettings, public_url: &str, live_pages: usize) -> Desk {
        Desk::built(Settings { hold, ..Settings::default() }, public_url, live_pages).await
    }

    /// Texts are erased as soon as `forget_old` looks.
    pub async fn forgetful() -> Desk {
        Desk::built(Settings { keep_text: Duration::ZERO, ..Settings::default() }, "", 5).await
    }

    /// The server has these limits.
    pub async fn limited(limits: Vec<LimitSpec>) -> Desk {
        Desk::built_with(Settings::default(), "", 5, limits, Arc::new(SystemClock)).await
    }

    /// The same, and time passes when the test says so.
    pub async fn limited_at(limits: Vec<LimitSpec>, clock: Arc<ManualClock>) -> Desk {
        Desk::built_with(Settings::default(), "", 5, limits, clock).await
    }

    /// How people sign in is what the test is about.
    pub async fn at_the_door(settings: Settings, clock: Arc<dyn Clock>) -> Desk {
        Desk::built_with(settings, "", 5, Vec::new(), clock).await
    }

    async fn built(settings: Settings, public_url: &str, live_pages: usize) -> Desk {
        Desk::built_with(settings, public_url, live_pages, Vec::new(), Arc::new(SystemClock)).await
    }

    async fn built_with(settings: Settings, public_url: &str, live_pages: usize, limits: Vec<LimitSpec>, clock: Arc<dyn Clock>) -> Desk {
        let rules = vec![
            RuleSpec { shadow: true, when: Some("args.text.contains('tried-out')".into()), ..rule("trial", &["send_dm"], Action::Deny, &[], None) },
            rule("secret-desk", &["send_message"], Action::RequireApproval, &["board"], None),
            rule("two-people", &["pay"], Action::RequireApproval, &[], Some(2)),
            rule("reading-is-fine", &["read_*"], Action::Allow, &[], None),
            rule("dms-need-a-person", &["send_*", "wipe"], Action::RequireApproval, &[], None),
        ];
        let policy = Policy::build(PolicySpec { server: "demo".into(), rules, limits, ..PolicySpec::default() }).unwrap();
        let servers = BTreeMap::from([("demo".to_owned(), ServerSettings { policy, messages: BTreeMap::new() })]);
        let settings = Settings { servers, audit_queue: 100, in_flight_per_server: 8, ..settings };
        let (store, upstream, read) = (Arc::new(InMemory::new()), Arc::new(Obliging::default()), Arc::new(AtomicUsize::new(0)));
        let gate = Gate::open(Arc::new(Counting { inner: store.clone(), read: read.clone() }), upstream.clone(), clock, settings);
        gate.resume_work().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let public_url = if public_url.is_empty() { url.clone() } else { public_url.to_owned() };
        let door = Door::new(port, &public_url, &[]);
        let standing = Standing::default();
        let web = WebSettings { public_url, door, live_pages, body: 1 << 20, insecure_http: false, version: "0.1.0", standing: standing.clone() };
        let app = routes(WebState::new(gate.clone(), web)).layer(from_fn(from_client));
        tokio::spawn(async move { axum::serve(listener, app).await });
        gate.add_person("olga@example.org", Some("Olga Olsen".into()), Vec::new(), Role::Operator).await.unwrap();
        gate.add_person("ann@example.org", Some("Ann Abel".into()), vec!["desk".into()], Role::Reviewer).await.unwrap();
        gate.add_person("ben@example.org", None, vec!["desk".into()], Role::Reviewer).await.unwrap();
        gate.add_person("aud@example.org", None, Vec::new(), Role::Auditor).await.unwrap();
        let new = paraph::gate::people::NewAgent { name: "support-bot".into(), ..Default::default() };
        let token = gate.add_agent(new).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Desk { gate, url, http, store, read, upstream, standing, agent }
    }

    /// The agent asks; it waits as long as the seat is kept.
    pub async fn ask(&self, tool: &str, arguments: &Value) -> Seat {
        match self.admit(tool, arguments).await {
            Admission::Waiting(seat) => seat,
            Admission::Allowed(_) | Admission::Refused(_) | Admission::Unknown => panic!("the call was not held"),
        }
    }

    /// The agent calls, and it goes out at once.
    pub async fn allowed(&self, tool: &str, arguments: &Value) {
        match self.admit(tool, arguments).await {
            Admission::Allowed(pass) => drop(pass.send(None, Default::default()).await),
            Admission::Waiting(_) | Admission::Refused(_) | Admission::Unknown => panic!("the call was not allowed"),
        }
    }

    async fn admit(&self, tool: &str, arguments: &Value) -> Admission {
        let text = arguments.to_string();
        let ask = Ask {
            agent: self.agent.clone(),
            server: "demo".into(),
            tool: tool.into(),
            value: strict(text.as_bytes()).unwrap(),
            arguments: text,
            meta: None,
            trace: Vec::new(),
            session: None,
        };
        self.gate.admit(ask).await.unwrap()
    }

    /// The server lists `send_dm`, which takes two texts and a number.
    pub fn list_dm(&self) {
        let schema = r#"{"type":"object","properties":{"to":{"type":"string"},"text":{"type":"string"},"n":{"type":"integer"}},"required":["to","text"],"additionalProperties":false}"#;
        *self.upstream.schema.lock().unwrap() = Some(Arc::new(Schema::compile(schema).unwrap()));
    }

    /// A direct message is held.
    pub async fn hold(&self, text: &str) -> CallId {
        self.ask("send_dm", &json!({ "to": "@bob", "text": text })).await.call().clone()
    }

    /// A message that was approved and of which nobody knows whether it left.
    pub async fn lose(&self, text: &str) -> CallId {
        let id = self.ask("send_lost", &json!({ "to": "@bob", "text": text })).await.call().clone();
        self.approve(&id).await;
        self.settled(&id, "unconfirmed").await;
        id
    }

    /// Three refusals close the way to Bob; the last refused call.
    pub async fn close_way(&self) -> CallId {
        let mut last = self.hold("first").await;
        self.decide(&last, Verdict::Reject, Some("no")).await;
        for text in ["second", "third"] {
            last = self.hold(text).await;
            self.decide(&last, Verdict::Reject, Some("no")).await;
        }
        last
    }

    /// Olga approves.
    pub async fn approve(&self, id: &CallId) {
        self.decide(id, Verdict::Approve, None).await;
    }

    /// Olga decides.
    pub async fn decide(&self, id: &CallId, verdict: Verdict, reason: Option<&str>) {
        let olga = self.reviewer("olga@example.org").await;
        let call = olga.read(id).await.unwrap().call;
        let decide = Decide { verdict, digest: call.digest, version: call.version, reason: reason.map(str::to_owned), arguments: None };
        olga.decide(id, decide).await.unwrap();
    }

    /// A person at the gate itself.
    pub async fn reviewer(&self, email: &str) -> Reviewer {
        self.gate.by_api_token(&self.token(email).await).await.unwrap().unwrap()
    }

    /// Waits until the call is in this state.
    pub async fn settled(&self, id: &CallId, state: &str) {
        let olga = self.reviewer("olga@example.org").await;
        crate::world::until(state, || async { (olga.visible(id).await.unwrap().state.word() == state).then_some(()) }).await;
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Signs in the way a browser does.
    pub async fn sign_in(&self, email: &str) -> Browser<'_> {
        let link = self.gate.make_link(email).await.unwrap();
        let answer = self.request(Method::POST, &format!("/sign-in/{link}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Browser { desk: self, cookie }
    }

    pub async fn token(&self, email: &str) -> String {
        self.gate.make_api_token(email, "test", Duration::from_secs(3600)).await.unwrap()
    }

    pub async fn api(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.request(method, path).bearer_auth(token);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        request.send().await.unwrap()
    }
}

/// Stands for the listener: the header says where a request comes from.
async fn from_client(mut request: Request, next: Next) -> axum::response::Response {
    let address = request.headers().get("x-from").and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(address) = address {
        request.extensions_mut().insert(Client { address });
    }
    next.run(request).await
}

/// A signed-in browser without a script.
pub struct Browser<'a> {
    desk: &'a Desk,
    pub cookie: String,
}

impl Browser<'_> {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.desk.request(method, path).header("cookie", &self.cookie)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let answer = self.request(Method::POST, path).header("origin", &self.desk.url).body(form(fields)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Opens the call's page and gives back the form's hidden fields.
    pub async fn open(&self, id: &CallId) -> [(&'static str, String); 3] {
        let (status, page) = self.get(&format!("/calls/{id}")).await;
        assert_eq!(status, StatusCode::OK);
        ["csrf", "digest", "version"].map(|name| (name, hidden(&page, name)))
    }

    /// Reads the page, then decides as its form would.
    pub async fn decide(&self, id: &CallId, shown: &[(&'static str, String); 3], verdict: &str, reason: &str) -> (StatusCode, String) {
        let mut fields: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fields.extend([("verdict", verdict), ("reason", reason)]);
        self.post(&format!("/calls/{id}/decision"), &fields).await
    }
}

/// The value of the form's hidden field.
pub fn hidden(page: &str, name: &str) -> String {
    let form = page.rsplit_once("<form class=\"decide\"").or_else(|| page.rsplit_once("<form class=\"resolve\"")).map_or(page, |(_, form)| form);
    let start = form.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
    start.split_once('"').unwrap().0.to_owned()
}

pub fn form(fields: &[(&str, &str)]) -> String {
    let encoded =
        |text: &str| text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect::<String>();
    fields.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect::<Vec<_>>().join("&")
}
