//! A Streamable HTTP server (MCP transports, Streamable HTTP): one POST per message, answered by JSON or by
//! server-sent events. It carries Paraph's own configured headers and never the agent's token, follows no
//! redirect and repeats no request. Made by `instances`, used by `peer`.

use super::board::{Answer, Board, Heard, Pending};
use super::body::{Outgoing, capped, is_events};
use super::client::{self, CONNECT, Client, USER_AGENT};
use super::leave::Leave;
use super::sse::{Broken, Events};
use super::{Reply, RequestFailure, wire};
use crate::config::Secret;
use ::http::header::{self, ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use reqwest::Url;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// For messages that have no answer of their own.
const POST: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(3);
/// Bytes read of a 4xx body.
const ERROR_BODY: usize = 64 << 10;
/// Between attempts to open or resume a stream.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// However soon the server asks to be asked again.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long after an answer a session is taken for alive.
const FRESH: Duration = Duration::from_secs(5);
/// JSON-RPC: the method does not exist.
const NO_METHOD: i64 = -32601;

#[derive(serde::Deserialize)]
struct Code {
    code: i64,
}

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// The server has forgotten the session (404), with what it answered. Whether it did what was asked before it forgot
/// cannot be told: a session may also end while a request in it is carried out.
#[derive(Debug)]
pub(super) struct Lost(pub(super) Box<serde_json::value::RawValue>);

/// What a ping found out about the session.
pub(super) enum Session {
    /// Known to the server, or none is needed, or the server could not be asked: then the request itself will tell.
    Alive,
    /// Forgotten.
    Lost,
    /// The ping had no answer for so long. What is sent now would most likely only wait.
    Silent(Duration),
}

pub(super) struct HttpLink {
    pub(super) server: String,
    client: Arc<Client>,
    uri: Uri,
    /// What every request begins with; those of the session and of its body come to it.
    headers: HeaderMap,
    pub(super) cap: usize,
    state: Mutex<State>,
    listening: AtomicBool,
    /// The last request with a session was answered 400.
    doubted: AtomicBool,
    pub(super) ended: CancellationToken,
}

#[derive(Default)]
struct State {
    session: Option<HeaderValue>,
    revision: Option<&'static str>,
    /// When the server last answered in the session.
    heard: Option<Instant>,
    /// When the session was last tried before a call.
    tested: Option<Instant>,
}

impl HttpLink {
    /// Connects to nothing yet; the error is a sentence for people.
    pub(super) fn new(server: &str, client: Arc<Client>, url: &str, headers: &BTreeMap<String, Secret>, cap: usize) -> Result<HttpLink, String> {
        let none = |why: String| format!("Server {server} has a url that is none: {why}.");
        let url = Url::parse(url).map_err(|error| none(error.to_string()))?;
        let uri: Uri = url.as_str().parse().map_err(|error: ::http::uri::InvalidUri| none(error.to_string()))?;
        let host = uri.host().ok_or_else(|| none("it names no host".to_owned()))?;
        // Without the port that goes without saying, as the parser has left it.
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut own = HeaderMap::new();
        for (name, value) in headers {
            let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.expose()).ok());
            let Some((header, mut value)) = parsed else {
                return Err(format!("Server {server}: the header {name:?} in its config has a name or value that HTTP does not allow."));
            };
            value.set_sensitive(true);
            own.insert(header, value);
        }
        own.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        own.entry(header::USER_AGENT).or_insert(USER_AGENT);
        own.insert(header::HOST, HeaderValue::try_from(host).map_err(|_| none("its host can stand in no header".to_owned()))?);
        if let Some(credentials) = client.proxy_credentials(&uri) {
            own.entry(header::PROXY_AUTHORIZATION).or_insert(credentials);
        }
        Ok(HttpLink {
            server: server.to_owned(),
            client,
            uri,
            headers: own,
            cap,
            state: Mutex::default(),
            listening: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            ended: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.lock().session.clone()
    }

    /// Whether the server has forgotten the session without saying so by 404: many answer 400 then, to
    /// everything. A ping finds out, and only after a 400.
    pub(super) async fn forgotten(&self) -> bool {
        if !self.doubted.swap(false, Ordering::AcqRel) {
            return false;
        }
        matches!(self.ping().await, Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND))
    }

    /// The session was tried just now, for a call that is about to leave.
    pub(super) fn tested(&self) {
        let mut state = self.lock();
        state.heard = Some(Instant::now());
        state.tested = state.heard;
    }

    /// Whether it was tried so lately that the call need not do it again.
    pub(super) fn was_tested(&self) -> bool {
        self.lock().tested.is_some_and(|tested| tested.elapsed() < FRESH)
    }

    /// What [`HttpLink::state`] says, but alive when the server answered in the session just now: a round trip for each
    /// call would be dear, and a call that meets a session lost in between gets the 404 as its answer.
    pub(super) async fn state_lately(&self, patience: Duration) -> Session {
        let fresh = self.lock().heard.is_some_and(|heard| heard.elapsed() < FRESH);
        if fresh { Session::Alive } else { self.state(patience).await }
    }

    /// Whether the server still knows the session, asked by something harmless. One that has no ping says so and means
    /// no session.
    pub(super) async fn state(&self, patience: Duration) -> Session {
        if self.session().is_none() {
            return Session::Alive;
        }
        let asked = async {
            let Ok(response) = self.client.send(self.posted(Outgoing::of(wire::request(0, "ping", None, false)), false)).await else { return Session::Alive };
            if response.status() != StatusCode::NOT_FOUND {
                return Session::Alive;
            }
            let body = capped(response.into_body(), ERROR_BODY).await.unwrap_or_default();
            let error = std::str::from_utf8(&body).ok().and_then(wire::read).and_then(|message| message.error);
            let no_ping = error.and_then(|error| serde_json::from_str::<Code>(error.get()).ok()).is_some_and(|error| error.code == NO_METHOD);
            if no_ping { Session::Alive } else { Session::Lost }
        };
        let patience = patience.min(CONNECT);
        tokio::time::timeout(patience, asked).await.unwrap_or(Session::Silent(patience))
    }

    /// What the server answers to something harmless in the same session.
    async fn ping(&self) -> Option<StatusCode> {
        let ping = self.client.send(self.posted(Outgoing::of(wire::request(0, "ping", None, false)), false));
        Some(tokio::time::timeout(CONNECT, ping).await.ok()?.ok()?.status())
    }

    pub(super) fn negotiated(&self, revision: &'static str) {
        self.lock().revision = Some(revision);
    }

    /// A request with Paraph's own headers; a new session is asked for without the old one's.
    fn ask(&self, method: Method, body: Outgoing, initialize: bool) -> Request<Outgoing> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if !initialize {
            let state = self.lock();
            if let Some(session) = &state.session {
                headers.insert(SESSION, session.clone());
            }
            if let Some(revision) = state.revision {
                headers.insert(REVISION, HeaderValue::from_static(revision));
            }
        }
        request
    }

    fn posted(&self, body: Outgoing, initialize: bool) -> Request<Outgoing> {
        let mut request = self.ask(Method::POST, body, initialize);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    /// Opens or resumes a stream.
    pub(super) async fn get(&self, last_event: Option<&str>) -> Result<Response<Incoming>, RequestFailure> {
        let mut request = self.ask(Method::GET, Outgoing::none(), false);
        request.headers_mut().append(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert(LAST_EVENT, id);
        }
        self.client.send(request).await.map_err(|error| self.failure(&error, false))
    }

    /// Sends one request once and waits for its answer. No time limit: the caller has one.
    pub(super) async fn exchange(&self, board: &Board, pending: &mut Pending<'_>, text: String, leave: &Arc<Leave>, initialize: bool) -> Result<Answer, Lost> {
        let with_session = !initialize && self.lock().session.is_some();
        let response = match self.client.send(self.posted(Outgoing::with_leave(text, leave), initialize)).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(self.failure(&error, leave.stay()))),
        };
        let status = response.status();
        // A server that answers this way to one request alone may have executed it; then it is the answer.
        if status == StatusCode::NOT_FOUND && with_session && matches!(self.state(CONNECT).await, Session::Lost) {
            return Err(Lost(self.refusal(status, response).await));
        }
        // Of a failed start only numbers are told, and here the status says more than the server's own code.
        if initialize && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(Ok(Reply::Error(self.own_refusal(status))));
        }
        if status.is_client_error() {
            if status == StatusCode::BAD_REQUEST && with_session {
                self.doubted.store(true, Ordering::Release);
            }
            return Ok(Ok(Reply::Error(self.refusal(status, response).await)));
        }
        if !status.is_success() {
            return Ok(Err(self.unknown(status)));
        }
        self.lock().heard = Some(Instant::now());
        // Paraph asks for no coding. What it cannot read it cannot filter either.
        if response.headers().get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Ok(Err(RequestFailure::Unknown(format!(
                "Server {} compressed its answer, which nobody asked it to; whether it did what was asked is not known.",
                self.server
            ))));
        }
        if initialize {
            self.lock().session = response.headers().get(&SESSION).cloned().map(|mut id| {
                id.set_sensitive(true);
                id
            });
        }
        if is_events(response.headers()) {
            return Ok(self.follow(board, pending, Events::new(response.into_body(), self.cap)).await);
        }
        let Some(body) = capped(response.into_body(), self.cap).await else {
            return Ok(Err(RequestFailure::Unknown(format!(
                "The answer of server {} broke off or was larger than bounds.result allows; whether it did what was asked is not known.",
                self.server
            ))));
        };
        if let Ok(text) = std::str::from_utf8(&body) {
            board.hear(text, Some(pending.id)).await;
        }
        Ok(pending.answer.try_recv().unwrap_or_else(|_| {
            Err(RequestFailure::Unknown(format!(
                "Server {} answered HTTP {} without a JSON-RPC response to the request; whether it did what was asked is not known.",
                self.server,
                status.as_u16()
            )))
        }))
    }

    /// Reads events until the answer is there. A stream that ends before, but has given an event id, is resumed
    /// by GET, which executes nothing (2025-11-25, Resumability).
    async fn follow(&self, board: &Board, pending: &mut Pending<'_>, mut events: Events) -> Answer {
        let (mut last_event, mut pause) = (None::<String>, PAUSE.0);
        loop {
            let event = tokio::select! {
                biased;
                answer = &mut pending.answer => return answer.unwrap_or_else(|_| Err(RequestFailure::Unknown("The instance ended.".to_owned()))),
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    last_event = event.id.or(last_event);
                    pause = event.retry.map_or(pause, |retry| Duration::from_millis(retry).clamp(SHORTEST, PAUSE.1));
                    self.heard(board, event.data.as_deref(), Some(pending.id)).await;
                }
                Some(Err(Broken::TooLarge)) => {
                    return Err(RequestFailure::Unknown(format!(
                        "Server {} answered with more than bounds.result allows; whether it did what was asked is not known.",
                        self.server
                    )));
                }
                Some(Err(Broken::Lost)) | None => {
                    let Some(id) = &last_event else {
                        return Err(RequestFailure::Unknown(format!(
                            "Server {} ended its stream before it answered; whether it did what was asked is not known.",
                            self.server
                        )));
                    };
                    tokio::time::sleep(pause).await;
                    match self.get(Some(id)).await {
                        Ok(response) if response.status().is_success() && is_events(response.headers()) => {
                            events = Events::new(response.into_body(), self.cap);
                        }
                        Ok(response) if response.status().is_client_error() => return Err(self.unknown(response.status())),
                        _ => pause = (pause * 2).min(PAUSE.1),
                    }
                }
            }
        }
    }

    /// Gives one event's message to the board and answers what we answer ourselves.
    pub(super) async fn heard(&self, board: &Board, data: Option<&str>, call: Option<u64>) {
        let Some(data) = data.filter(|data| !data.is_empty()) else { return };
        match board.hear(data, call).await {
            Heard::Taken => {}
            Heard::Noise => tracing::debug!(server = self.server, "an event of the server is not JSON-RPC and was skipped"),
            Heard::Say(text) => {
                let _ = self.post(text).await;
            }
        }
    }

    /// Sends a message that has no answer of its own.
    pub(super) async fn post(&self, text: String) -> Result<(), RequestFailure> {
        let sent = tokio::time::timeout(POST, self.client.send(self.posted(Outgoing::of(text), false))).await;
        match sent {
            Err(_) => Err(RequestFailure::Unknown(format!("Server {} did not take a message within {} s.", self.server, POST.as_secs()))),
            Ok(Err(error)) => Err(self.failure(&error, false)),
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(self.unknown(response.status())),
        }
    }

    /// Opens the GET stream, once per link; called when a session exists.
    pub(super) fn listen(self: &Arc<Self>, board: Arc<Board>) {
        if !self.listening.swap(true, Ordering::AcqRel) {
            tokio::spawn(super::listen::listen(Arc::clone(self), board));
        }
    }

    /// Whether a byte may have left decides between the two kinds of failure.
    fn failure(&self, error: &client::Error, kept: bool) -> RequestFailure {
        let before = kept || error.is_connect();
        let timed_out = client::is_timeout(error);
        // The outer sentences may hold the url, and the url a key; the innermost one is the system's.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let why = if timed_out { format!("no connection within {} s", CONNECT.as_secs()) } else { cause.to_string() };
        match before {
            true => RequestFailure::NeverLeft(format!("Server {} cannot be reached: {why}. Is it running, and is its url right?", self.server)),
            false => RequestFailure::Unknown(format!("The connection to server {} broke: {why}; whether it did what was asked is not known.", self.server)),
        }
    }

    fn unknown(&self, status: StatusCode) -> RequestFailure {
        let hint = if status.is_redirection() { " Paraph follows no redirect; put the final address into its url." } else { "" };
        RequestFailure::Unknown(format!("Server {} answered HTTP {}.{hint}", self.server, status.as_u16()))
    }

    /// The `error` object of a 4xx: the server's own, if it sent one.
    async fn refusal(&self, status: StatusCode, response: Response<Incoming>) -> Box<serde_json::value::RawValue> {
        let body = capped(response.into_body(), ERROR_BODY).await.unwrap_or_default();
        if let Some(error) = std::str::from_utf8(&body).ok().and_then(wire::read).and_then(|message| message.error) {
            return error.to_owned();
        }
        self.own_refusal(status)
    }

    fn own_refusal(&self, status: StatusCode) -> Box<serde_json::value::RawValue> {
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.headers.contains_key(AUTHORIZATION) => {
                " It does not accept the credentials Paraph has for it."
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => " Paraph has no credentials for it in its config.",
            _ => "",
        };
        let message = wire::quoted(&format!("Server {} answered HTTP {}.{hint}", self.server, status.as_u16()));
        wire::raw(format!("{{\"code\":-32000,\"message\":{message},\"data\":{{\"httpStatus\":{}}}}}", status.as_u16()))
    }

    /// Stops listening.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Ends the session at the server.
    pub(super) async fn close(&self) {
        self.end();
        if self.lock().session.is_some() {
            let _ = tokio::time::timeout(GOODBYE, self.client.send(self.ask(Method::DELETE, Outgoing::none(), false))).await;
        }
    }
}
