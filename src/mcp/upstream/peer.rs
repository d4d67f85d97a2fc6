//! One instance of a server as its callers see it: requests with our own ids, notifications, answers to the
//! server's requests, and its events. It sends each request at most once and says of every end whether a
//! byte may have left. Called by the side towards agents and by `Upstreams::send`.

use super::board::{Answer, Board, Pending};
use super::http::{HttpLink, Lost};
use super::process::ProcessLink;
use super::tools::Seen;
use super::{ClientHello, UpstreamError, wire};
use crate::gate::upstream::Relay;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The revision Paraph asks servers for.
pub const ASKED_REVISION: &str = "2025-11-25";
/// The revisions it accepts in a server's answer.
const ACCEPTED: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

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

/// One running instance: a child process or an HTTP session, started for one agent.
pub struct Peer {
    server: String,
    board: Arc<Board>,
    link: Link,
    slots: Arc<Semaphore>,
    timeout: Duration,
    start_timeout: Duration,
    /// The params of `initialize`, for a session that has to be made anew.
    initialize: Box<RawValue>,
    hello: Mutex<Box<RawValue>>,
    /// One renewal of a lost HTTP session at a time.
    renewing: Semaphore,
    seen: Arc<Seen>,
}

/// What a peer is made of.
pub(super) struct Parts {
    pub server: String,
    pub board: Arc<Board>,
    pub link: Link,
    pub slots: Arc<Semaphore>,
    pub timeout: Duration,
    pub start_timeout: Duration,
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
            timeout: parts.timeout,
            start_timeout: parts.start_timeout,
            initialize: initialize_params(client),
            hello: Mutex::new(Box::default()),
            renewing: Semaphore::new(1),
            seen: parts.seen,
        };
        match peer.shake_hands().await {
            Ok(()) => Ok(peer),
            Err(sentence) => {
                let stderr = peer.stderr();
                peer.close().await;
                Err(UpstreamError { sentence, stderr: if stderr.is_empty() { peer.stderr() } else { stderr } })
            }
        }
    }

    async fn shake_hands(&self) -> Result<(), String> {
        let name = &self.server;
        let deadline = Instant::now() + self.start_timeout;
        let mut pending = self.board.register(None).map_err(|failure| failure.to_string())?;
        let text = wire::request(pending.id, "initialize", Some(&self.initialize), false);
        let left = AtomicBool::new(false);
        let end = tokio::time::timeout_at(deadline, self.exchange(&mut pending, text, &left, true)).await;
        let result = match end {
            Err(_) => {
                return Err(format!(
                    "Server {name} did not answer initialize within {} s. Is it an MCP server on this transport? start_timeout can be raised.",
                    self.start_timeout.as_secs_f32()
                ));
            }
            Ok(Err(Lost)) => return Err(format!("Server {name} answered initialize with HTTP 404: check its url.")),
            Ok(Ok(Err(failure))) => return Err(format!("Server {name} could not be started. {failure}")),
            Ok(Ok(Ok(Reply::Error(error)))) => return Err(format!("Server {name} refused initialize{}.", error_code(&error))),
            Ok(Ok(Ok(Reply::Result(result)))) => result,
        };
        drop(pending);
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Result_ {
            protocol_version: String,
        }
        let revision = serde_json::from_str::<Result_>(result.get()).map_err(|_| format!("Server {name} answered initialize without a protocolVersion."))?;
        let Some(revision) = ACCEPTED.iter().find(|known| **known == revision.protocol_version) else {
            return Err(format!("Server {name} answered initialize with a protocol revision that Paraph does not speak; it speaks {}.", ACCEPTED.join(", ")));
        };
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = result;
        if let Link::Http(link) = &self.link {
            link.negotiated(revision);
        }
        let initialized = wire::notification("notifications/initialized", None);
        tokio::time::timeout_at(deadline, self.say(initialized))
            .await
            .map_err(|_| format!("Server {name} did not take notifications/initialized in time."))?
            .map_err(|failure| format!("Server {name} did not take notifications/initialized. {failure}"))?;
        if let Link::Http(link) = &self.link {
            link.listen(Arc::clone(&self.board));
        }
        Ok(())
    }

    /// The server's answer to `initialize`: the JSON text of its `result`, byte for byte.
    pub fn hello(&self) -> Box<RawValue> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one request once and waits for its end, at most the server's `timeout`. `params` pass as they
    /// are, but for `_meta.progressToken`, which is our own upstream and the relay's on the way back.
    /// When `cancel` fires, `notifications/cancelled` goes upstream and the waiting goes on.
    ///
    /// # Errors
    /// [`RequestFailure`]: whether it may have been executed.
    pub async fn request(&self, method: &str, params: Option<&RawValue>, relay: Option<Relay>, cancel: CancellationToken) -> Answer {
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(RequestFailure::NeverLeft(format!(
                "Server {} has as many requests under way as bounds.in_flight_per_server allows; try again later.",
                self.server
            )));
        };
        let token = relay.as_ref().is_some_and(|relay| relay.progress_token.is_some());
        let deadline = Instant::now() + self.timeout;
        let mut renewed = false;
        loop {
            let session = self.session();
            match self.once(method, params, token, relay.clone(), &cancel, deadline).await {
                Ok(answer) => {
                    if let (Ok(Reply::Result(result)), "tools/list") = (&answer, method) {
                        self.seen.listed(params, result);
                    }
                    return answer;
                }
                Err(Lost) if renewed => {
                    return Err(RequestFailure::NeverLeft(format!("Server {} forgot its session twice; its operator has to look at it.", self.server)));
                }
                Err(Lost) => {
                    renewed = true;
                    self.renew(session).await.map_err(RequestFailure::NeverLeft)?;
                }
            }
        }
    }

    async fn once(
        &self,
        method: &str,
        params: Option<&RawValue>,
        token: bool,
        relay: Option<Relay>,
        cancel: &CancellationToken,
        deadline: Instant,
    ) -> Result<Answer, Lost> {
        let mut pending = match self.board.register(relay) {
            Ok(pending) => pending,
            Err(failure) => return Ok(Err(failure)),
        };
        let id = pending.id;
        let left = AtomicBool::new(false);
        let text = wire::request(id, method, params, token);
        let mut told = false;
        let mut exchange = std::pin::pin!(self.exchange(&mut pending, text, &left, false));
        loop {
            tokio::select! {
                biased;
                end = &mut exchange => return end,
                () = tokio::time::sleep_until(deadline) => break,
                () = cancel.cancelled(), if !told => {
                    told = true;
                    self.say_soon(wire::cancelled(id, "The client cancelled the request."));
                }
            }
        }
        if !left.load(Ordering::Acquire) {
            return Ok(Err(RequestFailure::NeverLeft(format!("Server {} does not read its input.", self.server))));
        }
        if !told {
            self.say_soon(wire::cancelled(id, "Timed out."));
        }
        Ok(Err(RequestFailure::Unknown(format!(
            "Server {} did not answer within {} s; whether it did what was asked is not known.",
            self.server,
            self.timeout.as_secs_f32()
        ))))
    }

    async fn exchange(&self, pending: &mut Pending<'_>, text: String, left: &AtomicBool, initialize: bool) -> Result<Answer, Lost> {
        match &self.link {
            Link::Process(link) => {
                if let Err(failure) = link.say(text, left).await {
                    return Ok(Err(failure));
                }
                Ok((&mut pending.answer).await.unwrap_or_else(|_| Err(RequestFailure::Unknown("The instance ended.".to_owned()))))
            }
            Link::Http(link) => {
                left.store(true, Ordering::Release);
                link.exchange(&self.board, pending, text, initialize).await
            }
        }
    }

    fn session(&self) -> Option<String> {
        match &self.link {
            Link::Process(_) => None,
            Link::Http(link) => link.session(),
        }
    }

    /// Makes a lost HTTP session anew, unless somebody else just did.
    async fn renew(&self, lost: Option<String>) -> Result<(), String> {
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
            Link::Process(link) => {
                let left = AtomicBool::new(false);
                tokio::time::timeout(self.timeout, link.say(text, &left))
                    .await
                    .unwrap_or_else(|_| Err(RequestFailure::NeverLeft(format!("Server {} does not read its input.", self.server))))
            }
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

    /// Whether requests are under way or somebody listens to events.
    pub(super) fn in_use(&self) -> bool {
        self.board.in_flight() > 0 || self.board.listeners() > 0
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
        self.board.close(&format!("Server {} was closed by Paraph.", self.server));
        match &self.link {
            Link::Process(link) => link.close().await,
            Link::Http(link) => link.close().await,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Link::Http(link) = &self.link {
            link.end();
        }
    }
}

fn initialize_params(client: Option<&ClientHello>) -> Box<RawValue> {
    let (capabilities, info) = match client {
        Some(client) => (client.capabilities.get(), client.client_info.get()),
        None => ("{}", concat!("{\"name\":\"paraph\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}")),
    };
    wire::raw(format!("{{\"protocolVersion\":\"{ASKED_REVISION}\",\"capabilities\":{capabilities},\"clientInfo\":{info}}}"))
}

/// Of a hostile error object only the number is shown.
fn error_code(error: &RawValue) -> String {
    let code = wire::Members::read(error.get()).and_then(|error| error.get("code")).and_then(|code| code.get().parse::<i64>().ok());
    code.map(|code| format!(" with error {code}")).unwrap_or_default()
}
