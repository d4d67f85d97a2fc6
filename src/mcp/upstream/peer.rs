//! One instance of a server as its callers see it: requests with our own ids, notifications, answers to the
//! server's requests, and its events. It sends each request at most once and says of every end whether a
//! byte may have left. Called by the side towards agents and by `Upstreams::send`.

mod handshake;

pub use handshake::ASKED_REVISION;

use super::board::{Answer, Board, Pending};
use super::http::{HttpLink, Lost, Session};
use super::leave::Leave;
use super::process::ProcessLink;
use super::times::Times;
use super::tools::Seen;
use super::{ClientHello, UpstreamError, wire};
use crate::gate::upstream::Relay;
use ::http::HeaderValue;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A response of a server; the body is the JSON text of `result` or `error`, byte for byte.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The `result` member.
    Result(Box<RawValue>),
    /// The `error` member, or one that Paraph made of an HTTP 4xx.
    Error(Box<RawValue>),
}

/// Why a request has no response (semantics.md 19). The sentences hold nothing of the request or the answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestFailure {
    /// Provably no byte of it left.
    #[error("{0}")]
    NeverLeft(String),
    /// It may have been executed.
    #[error("{0}")]
    Unknown(String),
}

pub(super) enum Link {
    Process(ProcessLink),
    Http(Arc<HttpLink>),
}

/// What a request is about.
#[derive(Clone, Copy)]
enum Params<'a> {
    /// Whoever asks wrote them.
    Given(Option<&'a RawValue>),
    /// We do.
    Written(&'a wire::Call<'a>),
}

/// One running instance: a child process or an HTTP session, started for one agent.
pub struct Peer {
    server: String,
    board: Arc<Board>,
    link: Link,
    slots: Arc<Semaphore>,
    times: Arc<Times>,
    /// The params of `initialize`, for a session that has to be made anew.
    initialize: Box<RawValue>,
    has_client: bool,
    hello: Mutex<Box<RawValue>>,
    /// One renewal of a lost HTTP session at a time.
    renewing: Semaphore,
    seen: Arc<Seen>,
    closing: AtomicBool,
}

/// What a peer is made of.
pub(super) struct Parts {
    pub server: String,
    pub board: Arc<Board>,
    pub link: Link,
    pub slots: Arc<Semaphore>,
    pub times: Arc<Times>,
    pub seen: Arc<Seen>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Peer").field("server", &self.server).field("in_flight", &self.board.in_flight()).finish_non_exhaustive()
    }
}

impl Peer {
    /// Initializes the instance (MCP lifecycle, `initialize` and `notifications/initialized`).
    pub(super) async fn start(parts: Parts, client: Option<&ClientHello>) -> Result<Peer, UpstreamError> {
        let peer = Peer {
            server: parts.server,
            board: parts.board,
            link: parts.link,
            slots: parts.slots,
            times: parts.times,
            initialize: handshake::params(client),
            has_client: client.is_some(),
            hello: Mutex::new(Box::default()),
            renewing: Semaphore::new(1),
            seen: parts.seen,
            closing: AtomicBool::new(false),
        };
        match peer.shake_hands().await {
            Ok(()) => Ok(peer),
            Err(sentence) => {
                let stderr = peer.stderr();
                // Ending a stubborn child takes seconds; the error need not wait for that.
                tokio::spawn(async move { peer.close().await });
                Err(UpstreamError { sentence, stderr })
            }
        }
    }

    /// The server's answer to `initialize`: the JSON text of its `result`, byte for byte.
    pub fn hello(&self) -> Box<RawValue> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one request once and waits for its end, at most the server's `timeout`, which starts again when the
    /// client has answered a question of the server. `params` pass as they are, but for `_meta.progressToken`,
    /// which is our own upstream and the relay's on the way back. When `cancel` fires, `notifications/cancelled` goes upstream and the waiting goes on.
    ///
    /// # Errors
    /// [`RequestFailure`]: whether it may have been executed.
    pub async fn request(&self, method: &str, params: Option<&RawValue>, relay: Option<Relay>, cancel: CancellationToken) -> Answer {
        let _slot = self.slot()?;
        let mut answer = self.with_renewal(method, Params::Given(params), relay, &cancel).await;
        if let (Ok(Reply::Error(error)), "tools/list") = (&mut answer, method) {
            *error = wire::bare_error(error);
        }
        if let (Ok(Reply::Result(result)), "tools/list") = (&answer, method) {
            self.seen.listed(params, result);
        }
        self.note(&answer);
        answer
    }

    /// The same for a `tools/call` that we write. The gate bounds those under way before it counts them: nothing may be
    /// waited for between the count and the first byte.
    pub(super) async fn call(&self, call: wire::Call<'_>, relay: Option<Relay>, cancel: CancellationToken) -> Answer {
        let answer = self.with_renewal("tools/call", Params::Written(&call), relay, &cancel).await;
        self.note(&answer);
        answer
    }

    fn slot(&self) -> Result<SemaphorePermit<'_>, RequestFailure> {
        self.slots.try_acquire().map_err(|_| {
            RequestFailure::NeverLeft(format!("Server {} has as many requests under way as bounds.in_flight_per_server allows; try again later.", self.server))
        })
    }

    /// Keeps in mind whether the server was reached.
    fn note(&self, answer: &Answer) {
        match answer {
            Ok(_) => self.seen.reached(None),
            Err(_) if self.closing.load(Ordering::Acquire) => {}
            Err(failure) => self.seen.reached(Some(UpstreamError { sentence: failure.to_string(), stderr: self.stderr() })),
        }
    }

    /// Tries the session before a call is counted and put on record as being sent, so that nothing is waited for
    /// between that and the first byte.
    /// The error says why it could not leave.
    pub(super) async fn ready(&self, approved: bool) -> Result<(), String> {
        if let Link::Http(link) = &self.link {
            let session = self.session();
            match if approved { link.state(self.times.answer()).await } else { link.state_lately(self.times.answer()).await } {
                Session::Alive => {}
                Session::Lost => self.renew(session).await?,
                Session::Silent(patience) => return Err(self.silent(patience)),
            }
            link.tested();
        }
        Ok(())
    }

    fn silent(&self, patience: Duration) -> String {
        format!("Server {} did not answer a ping within {} s; nothing was sent.", self.server, patience.as_secs_f32())
    }

    async fn with_renewal(&self, method: &str, params: Params<'_>, relay: Option<Relay>, cancel: &CancellationToken) -> Answer {
        let token = relay.as_ref().is_some_and(|relay| relay.progress_token.is_some());
        let repeats = may_repeat(method);
        if let Link::Http(link) = &self.link
            && !repeats
        {
            // It leaves once, so the session is tried before, unless `ready` just did.
            let session = self.session();
            let state = if relay.is_some() || link.was_tested() { link.state_lately(self.times.answer()).await } else { link.state(self.times.answer()).await };
            match state {
                Session::Alive => {}
                Session::Lost => self.renew(session).await.map_err(RequestFailure::NeverLeft)?,
                Session::Silent(patience) => return Err(RequestFailure::NeverLeft(self.silent(patience))),
            }
        }
        let deadline = Instant::now() + self.times.answer();
        let mut renewed = false;
        loop {
            let session = self.session();
            match self.once(method, params, token, relay.clone(), cancel, deadline).await {
                Ok(answer) => {
                    if let Link::Http(link) = &self.link
                        && link.forgotten().await
                    {
                        // For later requests. This one has its answer and is not sent again.
                        let _ = self.renew(session).await;
                    }
                    return answer;
                }
                Err(Lost(refusal)) if !repeats => {
                    // It may have been carried out before the session ended: the 404 is the answer (semantics.md 19).
                    let _ = self.renew(session).await;
                    return Ok(Reply::Error(refusal));
                }
                Err(Lost(_)) if renewed => {
                    return Err(RequestFailure::NeverLeft(format!("Server {} forgot its session twice; its operator has to look at it.", self.server)));
                }
                Err(Lost(_)) => {
                    renewed = true;
                    self.renew(session).await.map_err(RequestFailure::NeverLeft)?;
                }
            }
        }
    }

    async fn once(
        &self,
        method: &str,
        params: Params<'_>,
        token: bool,
        relay: Option<Relay>,
        cancel: &CancellationToken,
        mut deadline: Instant,
    ) -> Result<Answer, Lost> {
        let mut pending = match self.board.register(relay) {
            Ok(pending) => pending,
            Err(failure) => return Ok(Err(failure)),
        };
        let id = pending.id;
        let leave = Arc::new(Leave::default());
        let text = match params {
            Params::Given(params) => wire::request(id, method, params, token),
            Params::Written(call) => call.request(id, token),
        };
        let mut told = false;
        let mut exchange = std::pin::pin!(self.exchange(&mut pending, text, &leave, false));
        loop {
            tokio::select! {
                biased;
                end = &mut exchange => return end,
                // A person may be answering the server's question at the client: that is not the server's time.
                () = tokio::time::sleep_until(deadline) => match self.board.more_time(id, self.times.answer()) {
                    Some(later) => deadline = later,
                    None => break,
                },
                () = cancel.cancelled(), if !told => {
                    told = true;
                    self.say_soon(wire::cancelled(id, "The client cancelled the request."));
                }
            }
        }
        if leave.stay() {
            let seconds = self.times.answer().as_secs_f32();
            return Ok(Err(RequestFailure::NeverLeft(format!("Server {} took nothing in for {seconds} s; nothing was sent.", self.server))));
        }
        if !told {
            self.say_soon(wire::cancelled(id, "Timed out."));
        }
        Ok(Err(RequestFailure::Unknown(format!(
            "Server {} did not answer within {} s; whether it did what was asked is not known.",
            self.server,
            self.times.answer().as_secs_f32()
        ))))
    }

    async fn exchange(&self, pending: &mut Pending<'_>, text: String, leave: &Arc<Leave>, initialize: bool) -> Result<Answer, Lost> {
        match &self.link {
            Link::Process(link) => {
                if let Err(failure) = link.say(text, Some(leave)).await {
                    return Ok(Err(failure));
                }
                let answer = (&mut pending.answer).await.unwrap_or_else(|_| Err(RequestFailure::Unknown("The instance ended.".to_owned())));
                Ok(match answer {
                    // It still stood in our queue when the child ended.
                    Err(RequestFailure::Unknown(_)) if leave.stay() => {
                        Err(RequestFailure::NeverLeft(format!("The process of server {} ended before the request was written to it.", self.server)))
                    }
                    answer => answer,
                })
            }
            Link::Http(link) => link.exchange(&self.board, pending, text, leave, initialize).await,
        }
    }

    fn session(&self) -> Option<HeaderValue> {
        match &self.link {
            Link::Process(_) => None,
            Link::Http(link) => link.session(),
        }
    }

    /// Makes a lost HTTP session anew, unless somebody else just did.
    async fn renew(&self, lost: Option<HeaderValue>) -> Result<(), String> {
        let Ok(_turn) = self.renewing.acquire().await else { return Err("The instance ended.".to_owned()) };
        if self.session() != lost {
            return Ok(());
        }
        tracing::info!(server = self.server, "the server forgot the session; initializing again");
        self.shake_hands().await
    }

    /// Sends a notification.
    ///
    /// # Errors
    /// [`RequestFailure`] when it did not leave, or when HTTP answered otherwise than 2xx.
    pub async fn notify(&self, method: &str, params: Option<&RawValue>) -> Result<(), RequestFailure> {
        self.say(wire::notification(method, params)).await
    }

    /// Answers a request of the server that came through a relay; `id` is the raw id it had.
    ///
    /// # Errors
    /// `NeverLeft` also when the server has no such request open (any more): nothing is sent then.
    pub async fn respond(&self, id: &RawValue, answer: Reply) -> Result<(), RequestFailure> {
        if !self.board.take_asked(id) {
            return Err(RequestFailure::NeverLeft("The server has no such request open.".to_owned()));
        }
        let text = match &answer {
            Reply::Result(body) => wire::response(id, "result", body.get()),
            Reply::Error(body) => wire::response(id, "error", body.get()),
        };
        self.say(text).await
    }

    async fn say(&self, text: String) -> Result<(), RequestFailure> {
        match &self.link {
            Link::Process(link) => tokio::time::timeout(self.times.answer(), link.say(text, None))
                .await
                .unwrap_or_else(|_| Err(RequestFailure::NeverLeft(format!("Server {} does not read its input.", self.server)))),
            Link::Http(link) => link.post(text).await,
        }
    }

    /// Sends without waiting; lost when the server takes nothing in.
    fn say_soon(&self, text: String) {
        match &self.link {
            Link::Process(link) => link.say_soon(text),
            Link::Http(link) => {
                let link = Arc::clone(link);
                tokio::spawn(async move {
                    let _ = link.post(text).await;
                });
            }
        }
    }

    /// The server's messages outside any request: `list_changed`, `resources/updated`, log messages.
    /// A slow reader loses the oldest. The channel outlives a restart of the instance for this agent.
    pub fn events(&self) -> broadcast::Receiver<Arc<Box<RawValue>>> {
        self.board.subscribe()
    }

    /// Whether the instance has ended; ask `Upstreams::peer` for a new one.
    pub fn is_closed(&self) -> bool {
        self.board.is_closed()
    }

    /// Makes way for an instance that knows its client, if this one does not and nobody uses it. Then close it.
    pub(super) fn makes_way(&self) -> bool {
        !self.has_client && self.board.retire(&format!("Server {} is being started again for a client.", self.server))
    }

    /// Whether requests are under way or somebody listens to events.
    pub(super) fn in_use(&self) -> bool {
        self.board.in_flight() > 0 || self.board.listeners() > 0
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.board.in_flight()
    }

    /// The last lines of its standard error (stdio only); hostile text.
    pub fn stderr(&self) -> Vec<String> {
        match &self.link {
            Link::Process(link) => link.stderr(),
            Link::Http(_) => Vec::new(),
        }
    }

    /// Ends the instance; requests under way end as unknown.
    pub(super) async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.board.close(&format!("Server {} was closed by Paraph.", self.server));
        match &self.link {
            Link::Process(link) => link.close().await,
            Link::Http(link) => link.close().await,
        }
    }
}

/// Whether a request that met a lost session may be sent again in a new one: only what the specification defines and
/// what changes nothing when it is carried out twice.
fn may_repeat(method: &str) -> bool {
    matches!(
        method,
        "ping"
            | "tools/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "logging/setLevel"
    )
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Link::Http(link) = &self.link {
            link.end();
        }
    }
}
