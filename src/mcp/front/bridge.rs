//! What the tasks of the front share: the way to the client, the requests under way with the way to take each back, and
//! whether `notifications/initialized` has arrived. Made by `mod`, used by every file beside it.

use super::gateway::Gateway;
use super::line::{self, Asked, Kind, Message};
use super::session::{Session, Sessions};
use super::{End, Notes, post, told};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Requests under way, as many as the gateway takes in one session, and the bytes of all of them.
const OPEN: usize = 256;
const OPEN_BYTES: usize = 64 << 20;
/// Cancels of one request or batch that it has not read yet.
const CANCELS: usize = 64;

/// What goes to the client.
pub(super) enum Out {
    /// With its line break.
    Line(String),
    /// Everything before it was written.
    Written(oneshot::Sender<()>),
}

/// The client takes the request of this key back.
pub(super) struct Cancel {
    pub key: String,
    pub text: Bytes,
    /// The front does not end while this is here.
    _untold: TaskTrackerToken,
}

/// See the head of the file.
pub(super) struct Front {
    pub gateway: Gateway,
    pub sessions: Sessions,
    /// How long a message waits for a gateway that went away.
    pub patience: Duration,
    /// Posts that nothing waits for.
    pub beside: TaskTracker,
    pub ended: CancellationToken,
    out: mpsc::Sender<Out>,
    open: Mutex<Open>,
    initialized: watch::Sender<Initialized>,
    notes: Notes,
    end: OnceLock<End>,
}

#[derive(Default)]
struct Open {
    requests: HashMap<String, mpsc::Sender<Cancel>>,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Initialized {
    Not,
    /// Requests that came after it wait for it.
    Leaving,
    Told,
}

/// The place of a request among those under way; free again when dropped.
pub(super) struct Place {
    front: Arc<Front>,
    keys: Vec<String>,
    bytes: usize,
    pub cancels: mpsc::Receiver<Cancel>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.front.open();
        open.bytes -= self.bytes;
        for key in &self.keys {
            open.requests.remove(key);
        }
    }
}

impl Front {
    pub(super) fn new(gateway: Gateway, patience: Duration, out: mpsc::Sender<Out>, notes: Notes) -> Front {
        Front {
            gateway,
            sessions: Sessions::new(),
            patience,
            beside: TaskTracker::new(),
            ended: CancellationToken::new(),
            out,
            open: Mutex::default(),
            initialized: watch::Sender::new(Initialized::Not),
            notes,
            end: OnceLock::new(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for every request of the message; `None` when one is taken or there is no room.
    pub(super) fn sit(self: &Arc<Front>, message: &Message) -> Option<Place> {
        let keys: Vec<String> = message.asked.iter().map(|asked| asked.key.clone()).collect();
        let bytes = message.text.len();
        let (cancel, cancels) = mpsc::channel(CANCELS);
        let mut open = self.open();
        let full = open.requests.len() + keys.len() > OPEN || open.bytes + bytes > OPEN_BYTES;
        if full || keys.iter().any(|key| open.requests.contains_key(key)) {
            return None;
        }
        open.bytes += bytes;
        open.requests.extend(keys.iter().map(|key| (key.clone(), cancel.clone())));
        drop(open);
        Some(Place { front: self.clone(), keys, bytes, cancels })
    }

    /// Tells the request; one that is answered has nothing to take back.
    pub(super) fn cancel(&self, key: &str, text: Bytes) {
        let request = self.open().requests.get(key).cloned();
        if let Some(request) = request {
            let _ = request.try_send(Cancel { key: key.to_owned(), text, _untold: self.beside.token() });
        }
    }

    /// Hands a text of the gateway to the client, on one line; false when it is no JSON.
    pub(super) async fn say(&self, text: &str) -> bool {
        let Some(line) = line::relaid(text).map(|line| format!("{line}\n")) else {
            self.note("an answer of the gateway is no JSON and was left out");
            return false;
        };
        let _ = self.out.send(Out::Line(line)).await;
        true
    }

    pub(super) async fn say_all(&self, texts: Vec<String>) {
        for text in texts {
            self.say(&text).await;
        }
    }

    /// Waits until everything said before is written.
    pub(super) async fn written(&self) {
        let (written, all) = oneshot::channel();
        if self.out.send(Out::Written(written)).await.is_ok() {
            let _ = all.await;
        }
    }

    /// Says no to everybody who waits for the message, or to nobody in particular.
    pub(super) async fn refuse(&self, asked: &[Asked], code: i32, why: &str) {
        if asked.is_empty() {
            self.say(&told::error(None, code, why)).await;
        }
        self.say_all(asked.iter().map(|asked| told::error(Some(&asked.id), code, why)).collect()).await;
    }

    /// One line for the person.
    pub(super) fn note(&self, line: &str) {
        (self.notes)(line);
    }

    /// Posts a cancel, now and not after other messages; no more when `moot`.
    pub(super) fn tell_beside(self: &Arc<Front>, text: Bytes, moot: CancellationToken) {
        let front = self.clone();
        let message = Message { text, kind: Kind::Other, asked: Vec::new(), batch: false };
        self.beside.spawn(async move {
            tokio::select! {
                biased;
                () = moot.cancelled() => {}
                _ = post::arrives(&front, &message) => {}
            }
        });
    }

    /// The session for a request: after `notifications/initialized`, if the client has said that.
    pub(super) async fn ready(&self) -> Arc<Session> {
        let _ = self.initialized.subscribe().wait_for(|initialized| *initialized != Initialized::Leaving).await;
        self.sessions.current().await
    }

    pub(super) fn initialized_is_leaving(&self) {
        self.initialized.send_replace(Initialized::Leaving);
    }

    pub(super) fn initialized_is_told(&self) {
        self.initialized.send_replace(Initialized::Told);
    }

    /// Waits until the client has said `notifications/initialized`.
    pub(super) async fn initialized(&self) {
        let _ = self.initialized.subscribe().wait_for(|initialized| *initialized == Initialized::Told).await;
    }

    /// Ends the front; the first reason counts.
    pub(super) fn end_with(&self, end: End) {
        let _ = self.end.set(end);
        self.ended.cancel();
    }

    pub(super) fn end(&self) -> End {
        self.end.get().cloned().unwrap_or(End::Left)
    }
}
