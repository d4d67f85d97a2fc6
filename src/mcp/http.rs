//! `POST GET DELETE /mcp/{server}`: Streamable HTTP towards agents (MCP, transports). The order at the door is
//! fixed: name and page, token, server, grant, size, then the message, read once. Nothing reaches a server that
//! is not in the agreed revision, and no `tools/call` that the gate has not judged. Asked by `serve`.

use super::connection::Connection;
use super::error::{Refusal, json};
use super::message::{self, Id, Message};
use super::revisions::Revision;
use super::session::{Session, Sessions};
use super::session_id::SessionKey;
use super::upstream::Upstreams;
use super::{batch, door, hello, listen, result};
use crate::config::Bounds;
use crate::domain::door::Door;
use crate::domain::people::Agent;
use crate::gate::Gate;
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// The revision without sessions, which such a client tries first.
const MODERN: &str = "2026-07-28";
const MODERN_META: &str = "io.modelcontextprotocol/protocolVersion";

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Of a body that is too large, this many times the bound is read and thrown away: a client that still writes
/// when the connection closes sees a broken pipe instead of the answer.
const READ_PAST: usize = 8;
/// Bytes set aside for a body because it says that it has them; more when they have come.
const AT_FIRST: usize = 32 << 10;
/// How long requests to a server that was taken out of the configuration may take to be answered, and how often it
/// is asked whether they were.
const LAST_ANSWERS: Duration = Duration::from_secs(25);
const LAST_ANSWERS_STEP: Duration = Duration::from_millis(50);

/// What the operator wrote, as far as this edge needs it.
#[derive(Debug, Clone)]
pub struct McpSettings {
    /// Every server with its further methods, as globs.
    pub servers: BTreeMap<String, Vec<String>>,
    /// Bytes of a request body.
    pub body: usize,
    /// Bytes of `arguments`.
    pub arguments: usize,
    /// Sessions of one agent.
    pub sessions_per_agent: usize,
    /// What session ids are signed with.
    pub session_key: SessionKey,
    /// Who may come in.
    pub door: Door,
}

/// A handle; clones share everything.
#[derive(Clone)]
pub struct McpState(Arc<Inner>);

pub(super) struct Inner {
    pub gate: Gate,
    pub tasks: TaskTracker,
    pub upstreams: Arc<Upstreams>,
    sessions: Sessions,
    /// What a reload replaces.
    now: ArcSwap<Now>,
    settings: McpSettings,
}

/// What a request finds when it comes in; it keeps to it.
pub(super) struct Now {
    /// Every server with its further methods.
    pub servers: BTreeMap<String, GlobSet>,
    /// Bytes of a request body.
    body: usize,
    /// Bytes of `arguments`.
    pub arguments: usize,
}

/// One authenticated request.
pub(super) struct Caller {
    pub state: Arc<Inner>,
    pub now: Arc<Now>,
    pub agent: Agent,
    pub server: String,
    pub headers: HeaderMap,
    /// Fires when the client closes the connection of this request.
    pub closed: Option<CancellationToken>,
}

impl McpState {
    /// Joins the parts.
    pub fn new(gate: Gate, upstreams: Arc<Upstreams>, settings: McpSettings) -> McpState {
        let now = ArcSwap::from_pointee(Now::of(&settings.servers, settings.body, settings.arguments));
        let sessions = Sessions::new(settings.sessions_per_agent, settings.session_key.clone(), gate.clock().now());
        McpState(Arc::new(Inner { gate, tasks: TaskTracker::new(), upstreams, sessions, now, settings }))
    }

    /// Takes what a reload changes, for the requests that come from now on. Call it when the gate has its settings.
    pub fn replace(&self, servers: &BTreeMap<String, Vec<String>>, bounds: &Bounds) {
        self.0.sessions.bound(bounds.sessions_per_agent);
        self.0.now.store(Arc::new(Now::of(servers, bounds.body, bounds.arguments)));
    }

    /// Ends the sessions of servers that are gone. Call it when their calls were withdrawn: whoever waits for one is told.
    pub fn end_homeless(&self) {
        let now = self.0.now.load_full();
        let waiting = self.0.sessions.end_without(|server| now.servers.contains_key(server));
        if waiting.is_empty() {
            return;
        }
        self.0.tasks.spawn(async move {
            let deadline = tokio::time::Instant::now() + LAST_ANSWERS;
            while tokio::time::Instant::now() < deadline && waiting.iter().any(|session| session.is_asking()) {
                tokio::time::sleep(LAST_ANSWERS_STEP).await;
            }
            waiting.iter().for_each(|session| session.ended.cancel());
        });
    }

    /// Answers one request, which came on this connection.
    pub fn answer(&self, request: Request<Body>, connection: Connection) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let (state, (parts, body)) = (Arc::clone(&self.0), request.into_parts());
        Box::pin(async move { serve(state, parts, body, connection).await.unwrap_or_else(IntoResponse::into_response) })
    }

    /// Waits until every stream and every request under way has ended; call it after the gate drains.
    pub async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Now {
    fn of(servers: &BTreeMap<String, Vec<String>>, body: usize, arguments: usize) -> Now {
        Now { servers: servers.iter().map(|(name, methods)| (name.clone(), globs(name, methods))).collect(), body, arguments }
    }
}

/// `config` refuses what is no glob; one that slips through lets nothing pass.
fn globs(server: &str, methods: &[String]) -> GlobSet {
    let mut globs = GlobSetBuilder::new();
    for method in methods {
        match Glob::new(method) {
            Ok(glob) => drop(globs.add(glob)),
            Err(error) => tracing::error!(server, %error, "a method in the config is no glob"),
        }
    }
    globs.build().unwrap_or_else(|_| GlobSet::empty())
}

/// Whether a request with this path is for this edge: `/mcp/{server}`, also with no server named or one that is none.
pub fn is_for_agents(path: &str) -> bool {
    path.strip_prefix("/mcp").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

async fn serve(state: Arc<Inner>, parts: Parts, body: Body, connection: Connection) -> Result<Response, Refusal> {
    let refuse = |status, why: &str| Refusal::new(status, -32600, why);
    if !door::lets_in(&state.settings.door, &parts) {
        return Err(refuse(StatusCode::FORBIDDEN, "This Host or Origin is not one of ours; an operator can add it to listen.hosts."));
    }
    let unauthorized = || refuse(StatusCode::UNAUTHORIZED, "A valid bearer token is needed.");
    let token = bearer(&parts.headers).ok_or_else(unauthorized)?;
    let agent = state.gate.agent_by_token(token).await.map_err(|failure| Refusal { status: StatusCode::SERVICE_UNAVAILABLE, ..Refusal::from(failure) })?;
    let agent = agent.ok_or_else(unauthorized)?;
    let server = parts.uri.path().strip_prefix("/mcp/").unwrap_or_default().to_owned();
    let now = state.now.load_full();
    if !now.servers.contains_key(&server) {
        return Err(refuse(StatusCode::NOT_FOUND, "There is no server of this name."));
    }
    if !agent.may_use(&server) {
        return Err(refuse(StatusCode::FORBIDDEN, "This agent has no grant for this server."));
    }
    let closed = connection.closed_by_client(&parts);
    let caller = Caller { state, now, agent, server, headers: parts.headers, closed };
    match parts.method {
        Method::POST => caller.post(body).await,
        Method::GET => caller.get().await,
        Method::DELETE => {
            let session = caller.session()?;
            caller.state.sessions.end(&session);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "Only POST, GET and DELETE are answered here.")),
    }
}

impl Caller {
    async fn post(self, body: Body) -> Result<Response, Refusal> {
        let bytes = self.body(body).await?;
        let refuse = |status, why: &str| Refusal::new(status, -32600, why);
        let mime = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !mime.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json."));
        }
        if !(accepts(&self.headers, "application", "json") && accepts(&self.headers, "text", "event-stream")) {
            return Err(refuse(StatusCode::NOT_ACCEPTABLE, "Accept must name application/json and text/event-stream."));
        }
        match message::read(&bytes)? {
            message::Body::One(read) => self.one(read).await,
            message::Body::Batch(elements) => {
                if !self.headers.contains_key(SESSION) {
                    return Err(refuse(StatusCode::BAD_REQUEST, "Only a session of revision 2025-03-26 takes a batch; begin with initialize, sent by itself."));
                }
                let session = self.session()?;
                batch::answer(self, session, elements).await
            }
        }
    }

    async fn one(self, read: message::Read<'_>) -> Result<Response, Refusal> {
        if let Message::Request { id, method, params } = &read.message {
            self.speaks(id, method, &read.value)?;
            if method == "initialize" {
                return self.initialize(id, *params).await;
            }
        }
        let session = self.session()?;
        let work = self.take_up(&session, read)?;
        Ok(self.carry_out(&session, work).await?.alone(&self.state.tasks))
    }

    async fn body(&self, body: Body) -> Result<Bytes, Refusal> {
        let bound = self.now.body;
        let most = bound.saturating_mul(READ_PAST);
        let large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, -32600, format!("The body has more than {bound} bytes."));
        let told = self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        // Who waits for leave to send the body hears the refusal anyway.
        if told.is_some_and(|length| length > most || (length > bound && self.headers.contains_key(header::EXPECT))) {
            return Err(large());
        }
        let mut chunks = body.into_data_stream();
        let reading = async {
            let (mut whole, mut seen) = (Vec::with_capacity(told.unwrap_or_default().min(bound).min(AT_FIRST)), 0usize);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, -32700, "The body broke off."))?;
                seen = seen.saturating_add(chunk.len());
                if seen > most {
                    break;
                }
                if seen > bound {
                    whole = Vec::new();
                } else {
                    whole.extend_from_slice(&chunk);
                }
            }
            if seen > bound { Err(large()) } else { Ok(Bytes::from(whole)) }
        };
        let read = tokio::time::timeout(BODY_PATIENCE, reading).await;
        read.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, -32700, "The body did not come within 30 s."))?
    }

    /// Refuses what only the revision without sessions knows, with no code of that revision: such a client then begins
    /// with `initialize`.
    pub(super) fn speaks(&self, id: &Id, method: &str, message: &Value) -> Result<(), Refusal> {
        let meta = || message.get("params")?.get("_meta")?.get(MODERN_META);
        if self.headers.get(VERSION).is_some_and(|version| version == MODERN) || method == "server/discover" || meta().is_some() {
            let why = "This server speaks revisions 2025-03-26, 2025-06-18 and 2025-11-25; begin with initialize.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, -32600, why).of(Some(id)));
        }
        Ok(())
    }

    /// The session that the request names: 400 without a name, 404 when it is not this agent's here.
    fn session(&self) -> Result<Arc<Session>, Refusal> {
        let refuse = |status, why: &str| Refusal::new(status, -32600, why);
        let Some(id) = self.headers.get(SESSION) else {
            return Err(refuse(StatusCode::BAD_REQUEST, "The header Mcp-Session-Id is missing; begin with initialize."));
        };
        let now = self.state.gate.clock().now();
        let found = id.to_str().ok().and_then(|id| self.state.sessions.find(now, id, &self.agent.name, &self.server));
        let session = found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, "There is no such session (any more); begin with initialize."))?;
        let known = |version: &HeaderValue| version.to_str().is_ok_and(|version| Revision::named(version).is_some());
        if !self.headers.get(VERSION).is_none_or(known) {
            return Err(refuse(StatusCode::BAD_REQUEST, "The header MCP-Protocol-Version names a revision that is not spoken here."));
        }
        Ok(session)
    }

    async fn initialize(&self, id: &Id, params: Option<&RawValue>) -> Result<Response, Refusal> {
        let asked = hello::read(id, params)?;
        let (state, agent) = (&self.state, &self.agent.name);
        let peer = state.upstreams.peer(&self.server, agent, Some(asked.client)).await.map_err(|error| self.unreachable(&error.sentence).of(Some(id)))?;
        let Some(session) = state.sessions.make(&*state.gate.clock(), agent, &self.server, asked.revision) else {
            return Err(Refusal::call(-32603, "This agent has as many sessions in use as bounds.sessions_per_agent allows.").of(Some(id)));
        };
        let mut response = json(StatusCode::OK, result::response(id, &hello::answer(&peer.hello(), session.revision)));
        if let Ok(value) = HeaderValue::from_str(&session.id) {
            response.headers_mut().insert(SESSION, value);
        }
        Ok(response)
    }

    /// The agent gets our sentence; what the server wrote on its way down is for the operator's page.
    pub(super) fn unreachable(&self, sentence: &str) -> Refusal {
        let reference = self.state.gate.reference();
        tracing::warn!(reference, server = self.server, agent = self.agent.name, why = sentence, "an agent's server cannot be reached");
        Refusal::call(-32603, format!("{sentence} Reference {reference}."))
    }

    async fn get(self) -> Result<Response, Refusal> {
        let named = self.headers.get(header::ACCEPT).is_some() && accepts(&self.headers, "text", "event-stream");
        if !named {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, -32600, "GET answers with text/event-stream only."));
        }
        let session = self.session()?;
        if let Some(from) = self.resumes_from(&session) {
            return self.resume(&session, from).await;
        }
        let ear = session.listen().ok_or_else(|| Refusal::new(StatusCode::CONFLICT, -32600, "This session has its GET stream already."))?;
        let state = &self.state;
        let peer = state
            .upstreams
            .peer(&self.server, &self.agent.name, None)
            .await
            .map_err(|error| Refusal { status: StatusCode::BAD_GATEWAY, ..self.unreachable(&error.sentence) })?;
        let token = bearer(&self.headers).unwrap_or_default().to_owned();
        let listener = listen::Listener { gate: state.gate.clone(), session, ear, token, events: peer.events() };
        Ok(listen::answer(listener, &state.tasks))
    }
}

/// RFC 6750, 2.1; the scheme's case does not count.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = one.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether `Accept` takes this type; absent means everything (RFC 9110, 12.5.1).
fn accepts(headers: &HeaderMap, kind: &str, sub: &str) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            let Some((its_kind, its_sub)) = range.split_once('/') else { return false };
            (its_kind, its_sub) == ("*", "*") || (its_kind.eq_ignore_ascii_case(kind) && (its_sub == "*" || its_sub.eq_ignore_ascii_case(sub)))
        })
}
