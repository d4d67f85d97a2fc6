//! The board of one instance: which of our requests wait for an answer, and whom each message of the server
//! concerns. Ids and progress tokens towards the server are our own; the agent's are put back here.
//! Called by the reading side of both links; the waiting side is `peer`.

use super::tools::Seen;
use super::wire::{self, Members};
use super::{Reply, RequestFailure};
use crate::gate::upstream::Relay;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

/// How long a full relay may make the server wait before the message is dropped.
const RELAY_PATIENCE: Duration = Duration::from_secs(10);
/// Requests of a server that may wait for an agent's answer at once.
const MAX_ASKED: usize = 64;

pub(super) type Answer = Result<Reply, RequestFailure>;

pub(super) struct Board {
    table: Mutex<Table>,
    events: broadcast::Sender<Arc<Box<RawValue>>>,
    /// What the server listed; told when the server says that it changed.
    listed: Arc<Seen>,
}

#[derive(Default)]
struct Table {
    last: u64,
    waiting: HashMap<u64, Waiting>,
    /// Requests of the server under way to an agent: raw id, and the call they came with.
    asked: HashMap<String, u64>,
    closed: Option<String>,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    relay: Option<Relay>,
    /// When the client last answered a question of the server.
    resumed: Option<Instant>,
}

/// One of our requests; forgotten when dropped, so that a late answer finds nobody.
pub(super) struct Pending<'a> {
    board: &'a Board,
    pub id: u64,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut table = self.board.lock();
        table.waiting.remove(&self.id);
        table.asked.retain(|_, call| *call != self.id);
    }
}

/// What became of a message.
pub(super) enum Heard {
    /// It found its place, or nobody waits for it any more.
    Taken,
    /// It is not JSON-RPC.
    Noise,
    /// Send this back to the server.
    Say(String),
}

impl Board {
    /// A board that passes on events, and tells `listed` when the server's list is another one now.
    pub(super) fn new(events: broadcast::Sender<Arc<Box<RawValue>>>, listed: Arc<Seen>) -> Board {
        Board { table: Mutex::default(), events, listed }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new request with an id of its own. Refused when the instance has ended: then nothing was sent.
    pub(super) fn register(&self, relay: Option<Relay>) -> Result<Pending<'_>, RequestFailure> {
        let mut table = self.lock();
        if let Some(why) = &table.closed {
            return Err(RequestFailure::NeverLeft(why.clone()));
        }
        table.last += 1;
        let id = table.last;
        let (sender, answer) = oneshot::channel();
        table.waiting.insert(id, Waiting { answer: sender, relay, resumed: None });
        Ok(Pending { board: self, id, answer })
    }

    /// Ends every request as unknown; later ones are refused.
    pub(super) fn close(&self, why: &str) {
        let waiting = {
            let mut table = self.lock();
            table.closed.get_or_insert_with(|| why.to_owned());
            table.asked.clear();
            std::mem::take(&mut table.waiting)
        };
        for (_, one) in waiting {
            let _ = one.answer.send(Err(RequestFailure::Unknown(why.to_owned())));
        }
    }

    /// Closes only if nothing waits; a request that comes a moment later is refused and never leaves.
    pub(super) fn retire(&self, why: &str) -> bool {
        let mut table = self.lock();
        if !table.waiting.is_empty() || self.listeners() > 0 {
            return false;
        }
        table.closed.get_or_insert_with(|| why.to_owned());
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(super) fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Box<RawValue>>> {
        self.events.subscribe()
    }

    /// An answer came that is too large to read. It can be told whose it is only when one request waits.
    pub(super) fn too_large(&self, why: &str) {
        let only = {
            let mut table = self.lock();
            let id = if table.waiting.len() == 1 { table.waiting.keys().next().copied() } else { None };
            id.and_then(|id| table.waiting.remove(&id))
        };
        if let Some(one) = only {
            let _ = one.answer.send(Err(RequestFailure::Unknown(why.to_owned())));
        }
    }

    /// When a call's time is over after all, because the server waits for the call's client or did until lately:
    /// `None` when there is no more time.
    pub(super) fn more_time(&self, call: u64, timeout: Duration) -> Option<Instant> {
        let table = self.lock();
        let one = table.waiting.get(&call)?;
        let there = one.relay.as_ref().is_some_and(|relay| !relay.messages.is_closed());
        let now = Instant::now();
        let since = if there && table.asked.values().any(|of| *of == call) { now } else { one.resumed? };
        Some(since + timeout).filter(|end| *end > now)
    }

    /// Takes back a request of the server that an agent now answers; false when nobody asked that.
    pub(super) fn take_asked(&self, id: &RawValue) -> bool {
        let mut table = self.lock();
        let Some(call) = table.asked.remove(id.get()) else { return false };
        if let Some(one) = table.waiting.get_mut(&call) {
            one.resumed = Some(Instant::now());
        }
        true
    }

    /// Gives one message of the server to whom it concerns. `call` is the request on whose stream it came
    /// (HTTP only). Waits while a relay is full.
    pub(super) async fn hear(&self, text: &str, call: Option<u64>) -> Heard {
        let Some(message) = wire::read(text) else { return Heard::Noise };
        match (message.method.as_deref(), message.id) {
            (Some(method), Some(id)) => self.asked(method, id, text, call).await,
            (Some("notifications/progress"), None) => self.progress(text, message.params).await,
            (Some("notifications/cancelled"), None) => self.withdrawn(text, message.params).await,
            // Its own words, because it has none of the server's to give: a list in it would pass unfiltered.
            (Some(method @ "notifications/tools/list_changed"), None) => {
                self.listed.changed();
                self.notified(&wire::notification(method, None), call).await
            }
            (Some(_), None) => self.notified(text, call).await,
            (None, Some(id)) => {
                let answer = match (message.error, message.result) {
                    (Some(_), Some(result)) if result.get() != "null" => {
                        Err(RequestFailure::Unknown("The server answered with a result and an error at once; its author has to mend that.".to_owned()))
                    }
                    (Some(error), _) => Ok(Reply::Error(error.to_owned())),
                    (None, Some(result)) => Ok(Reply::Result(result.to_owned())),
                    (None, None) => {
                        Err(RequestFailure::Unknown("The server answered with neither a result nor an error; its author has to mend that.".to_owned()))
                    }
                };
                let waiting = id.get().parse().ok().and_then(|id: u64| self.lock().waiting.remove(&id));
                if let Some(waiting) = waiting {
                    let _ = waiting.answer.send(answer);
                }
                Heard::Taken
            }
            (None, None) => Heard::Noise,
        }
    }

    async fn asked(&self, method: &str, id: &RawValue, text: &str, call: Option<u64>) -> Heard {
        if method == "ping" {
            return Heard::Say(wire::response(id, "result", "{}"));
        }
        let refuse = |code, why| Heard::Say(wire::response(id, "error", &wire::error(code, why)));
        let to = {
            let mut table = self.lock();
            let mut with_relay = table.waiting.iter().filter(|(_, one)| one.relay.as_ref().is_some_and(|relay| !relay.messages.is_closed()));
            let found = match call {
                Some(call) => with_relay.find(|(at, _)| **at == call),
                None => with_relay.next().filter(|_| with_relay.next().is_none()),
            };
            let found = found.and_then(|(at, one)| one.relay.clone().map(|relay| (*at, relay)));
            match found {
                Some((at, relay)) if table.asked.len() < MAX_ASKED => {
                    table.asked.insert(id.get().to_owned(), at);
                    Some(relay)
                }
                _ => None,
            }
        };
        let Some(relay) = to else {
            return refuse(
                -32601,
                "Paraph cannot tell which client this request is for: it passes one on only while exactly one call with a client is under way.",
            );
        };
        if self.pass(&relay, wire::raw(text.to_owned())).await {
            return Heard::Taken;
        }
        self.take_asked(id);
        refuse(-32603, "The client of this call is gone or does not read.")
    }

    async fn progress(&self, text: &str, params: Option<&RawValue>) -> Heard {
        let Some(params) = params.and_then(|params| Members::read(params.get())) else { return Heard::Taken };
        let ours = params.get("progressToken").and_then(|token| token.get().parse::<u64>().ok());
        let relay = ours.and_then(|id| self.lock().waiting.get(&id).and_then(|one| one.relay.clone()));
        let Some(relay) = relay else { return Heard::Taken };
        let Some(token) = relay.progress_token.as_deref() else { return Heard::Taken };
        let Some(message) = Members::read(text) else { return Heard::Taken };
        let mapped = message.with("params", Some(&params.with("progressToken", Some(token))));
        self.pass(&relay, wire::raw(mapped)).await;
        Heard::Taken
    }

    /// The server takes one of its own requests back.
    async fn withdrawn(&self, text: &str, params: Option<&RawValue>) -> Heard {
        let params = params.and_then(|params| Members::read(params.get()));
        let id = params.and_then(|params| params.get("requestId"));
        let relay = id.and_then(|id| {
            let mut table = self.lock();
            let call = table.asked.remove(id.get())?;
            table.waiting.get(&call).and_then(|one| one.relay.clone())
        });
        if let Some(relay) = relay {
            self.pass(&relay, wire::raw(text.to_owned())).await;
        }
        Heard::Taken
    }

    async fn notified(&self, text: &str, call: Option<u64>) -> Heard {
        let relay = call.and_then(|call| self.lock().waiting.get(&call).and_then(|one| one.relay.clone()));
        let message = wire::raw(text.to_owned());
        match relay {
            Some(relay) => {
                self.pass(&relay, message).await;
            }
            None => {
                let _ = self.events.send(Arc::new(message));
            }
        }
        Heard::Taken
    }

    async fn pass(&self, relay: &Relay, message: Box<RawValue>) -> bool {
        matches!(tokio::time::timeout(RELAY_PATIENCE, relay.messages.send(message)).await, Ok(Ok(())))
    }
}
