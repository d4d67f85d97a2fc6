//! Sessions of agents: which revision was agreed, which requests are under way, which requests of the server
//! an agent has yet to answer. A session belongs to the agent and server that made it; for anybody else it is
//! not there. All of it is memory: a client that finds its session gone initializes again.
//! Called by `http`; entries of requests under way leave by being dropped.

use super::message::Id;
use super::revisions::Revision;
use crate::domain::call::CallId;
use crate::gate::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An unused session ends after this long.
const IDLE: Duration = Duration::from_secs(3600);
/// Held requests whose connection closed, remembered for a cancel that comes after.
const MAX_LEFT: usize = 64;
/// Requests of the server that wait for this session's answer.
const MAX_ASKED: usize = 64;
/// Requests under way in one session.
const MAX_UNDER_WAY: usize = 256;

/// All sessions.
pub(super) struct Sessions {
    all: Mutex<HashMap<String, Arc<Session>>>,
    per_agent: usize,
}

/// One session.
pub(super) struct Session {
    pub id: String,
    pub agent: String,
    pub server: String,
    pub revision: Revision,
    /// Cancelled when the session ends.
    pub ended: CancellationToken,
    state: Mutex<State>,
    listening: AtomicBool,
}

struct State {
    used: Instant,
    under_way: HashMap<String, CancellationToken>,
    left: VecDeque<(String, CallId)>,
    asked: HashMap<String, Box<RawValue>>,
}

/// One request under way; forgotten when dropped.
pub(super) struct Entry {
    session: Arc<Session>,
    key: String,
    /// Fires when the agent takes the request back.
    pub cancel: CancellationToken,
}

/// The session's one GET stream.
pub(super) struct Ear(Arc<Session>);

/// What a cancel found.
pub(super) enum Cancelled {
    /// A request under way; its own task goes on from here.
    UnderWay,
    /// A held call whose connection closed before.
    Left(CallId),
    /// Nothing: it is over.
    Nothing,
}

impl Sessions {
    pub(super) fn new(per_agent: usize) -> Sessions {
        Sessions { all: Mutex::default(), per_agent: per_agent.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session. One too many ends the agent's longest unused one; `None` when all are in use.
    pub(super) fn make(&self, clock: &dyn Clock, agent: &str, server: &str, revision: Revision) -> Option<Arc<Session>> {
        let mut bits = [0u8; 24];
        clock.random(&mut bits);
        let now = Instant::now();
        let mut all = self.lock();
        all.retain(|_, session| session.lives(now));
        let own: Vec<_> = all.values().filter(|session| session.agent == agent).cloned().collect();
        if own.len() >= self.per_agent {
            let oldest = own.iter().filter(|session| !session.busy()).min_by_key(|session| session.lock().used)?;
            oldest.ended.cancel();
            all.remove(&oldest.id);
        }
        let state = State { used: now, under_way: HashMap::new(), left: VecDeque::new(), asked: HashMap::new() };
        let session = Arc::new(Session {
            id: format!("ms_{}", URL_SAFE_NO_PAD.encode(bits)),
            agent: agent.to_owned(),
            server: server.to_owned(),
            revision,
            ended: CancellationToken::new(),
            state: Mutex::new(state),
            listening: AtomicBool::new(false),
        });
        all.insert(session.id.clone(), session.clone());
        Some(session)
    }

    /// The session of this id, if it is this agent's at this server.
    pub(super) fn find(&self, id: &str, agent: &str, server: &str) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut all = self.lock();
        let session = all.get(id).filter(|session| session.agent == agent && session.server == server)?.clone();
        if !session.lives(now) {
            session.ended.cancel();
            all.remove(id);
            return None;
        }
        session.lock().used = now;
        Some(session)
    }

    /// Ends a session; its streams end by themselves.
    pub(super) fn end(&self, session: &Session) {
        session.ended.cancel();
        self.lock().remove(&session.id);
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> bool {
        self.listening.load(Ordering::Acquire) || !self.lock().under_way.is_empty()
    }

    fn lives(&self, now: Instant) -> bool {
        self.busy() || now.duration_since(self.lock().used) < IDLE
    }

    /// Notes a request; `None` when its id is under way already, or too many are.
    pub(super) fn begin(self: &Arc<Session>, id: &Id) -> Option<Entry> {
        let mut state = self.lock();
        if state.under_way.len() >= MAX_UNDER_WAY || state.under_way.contains_key(&id.key) {
            return None;
        }
        let cancel = CancellationToken::new();
        state.under_way.insert(id.key.clone(), cancel.clone());
        state.left.retain(|(key, _)| *key != id.key);
        drop(state);
        Some(Entry { session: self.clone(), key: id.key.clone(), cancel })
    }

    /// The agent takes a request back.
    pub(super) fn cancel(&self, id: &Id) -> Cancelled {
        let mut state = self.lock();
        if let Some(cancel) = state.under_way.get(&id.key) {
            cancel.cancel();
            return Cancelled::UnderWay;
        }
        let at = state.left.iter().position(|(key, _)| *key == id.key);
        at.and_then(|at| state.left.remove(at)).map_or(Cancelled::Nothing, |(_, call)| Cancelled::Left(call))
    }

    /// A message of the server goes to this session; if it is a request, only this session may answer it.
    pub(super) fn passes(&self, message: &RawValue) {
        #[derive(serde::Deserialize)]
        struct Asked<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            method: Option<serde::de::IgnoredAny>,
        }
        let Ok(Asked { id: Some(id), method: Some(_) }) = serde_json::from_str(message.get()) else { return };
        let Some(key) = Id::read(id) else { return };
        let mut state = self.lock();
        if state.asked.len() < MAX_ASKED {
            state.asked.insert(key.key, id.to_owned());
        }
    }

    /// The id that the server gave the request which is answered now; once.
    pub(super) fn answers(&self, id: &Id) -> Option<Box<RawValue>> {
        self.lock().asked.remove(&id.key)
    }

    /// Forgets what the server asked during a call that is over.
    pub(super) fn forget_asked(&self) {
        let mut state = self.lock();
        if state.under_way.is_empty() {
            state.asked.clear();
        }
    }

    /// Takes the session's one GET stream.
    pub(super) fn listen(self: &Arc<Session>) -> Option<Ear> {
        let taken = self.listening.swap(true, Ordering::AcqRel);
        (!taken).then(|| Ear(self.clone()))
    }
}

impl Entry {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The connection closed without a cancel; one may still come.
    pub(super) fn leave(self, call: &CallId) {
        let mut state = self.session.lock();
        if state.left.len() >= MAX_LEFT {
            state.left.pop_front();
        }
        state.left.push_back((self.key.clone(), call.clone()));
        // In the same breath: a cancel finds the request either under way or left.
        state.under_way.remove(&self.key);
        drop(state);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.under_way.remove(&self.key);
        state.used = Instant::now();
        drop(state);
        self.session.forget_asked();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.listening.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::SystemClock;

    fn id(raw: &str) -> Id {
        Id::read(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap()
    }

    fn make(sessions: &Sessions) -> Arc<Session> {
        sessions.make(&SystemClock, "bot", "demo", Revision::V2025_11_25).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_session_ends_and_one_with_a_request_under_way_does_not() {
        let sessions = Sessions::new(5);
        let (idle, busy) = (make(&sessions), make(&sessions));
        let entry = busy.begin(&id("1")).unwrap();
        tokio::time::advance(IDLE).await;
        assert!(sessions.find(&idle.id, "bot", "demo").is_none());
        assert!(idle.ended.is_cancelled());
        assert!(sessions.find(&busy.id, "bot", "demo").is_some());
        drop(entry);
        assert!(sessions.find(&busy.id, "bot", "other").is_none());
        assert!(sessions.find(&busy.id, "eve", "demo").is_none());
    }

    #[tokio::test]
    async fn sessions_in_use_are_not_ended_for_a_new_one() {
        let sessions = Sessions::new(1);
        let first = make(&sessions);
        let ear = first.listen().unwrap();
        assert!(first.listen().is_none());
        assert!(sessions.make(&SystemClock, "bot", "demo", Revision::V2025_11_25).is_none());
        assert!(sessions.make(&SystemClock, "other", "demo", Revision::V2025_11_25).is_some());
        drop(ear);
        make(&sessions);
        assert!(first.ended.is_cancelled());
    }

    #[tokio::test]
    async fn a_cancel_finds_a_request_under_way_or_left_and_no_other() {
        let session = make(&Sessions::new(1));
        let call = CallId("c_1".to_owned());
        let entry = session.begin(&id("\"a\"")).unwrap();
        assert!(session.begin(&id("\"\\u0061\"")).is_none(), "the same id");
        assert!(matches!(session.cancel(&id("\"\\u0061\"")), Cancelled::UnderWay));
        assert!(entry.cancel.is_cancelled());
        entry.leave(&call);
        assert!(matches!(session.cancel(&id("\"a\"")), Cancelled::Left(left) if left == call));
        assert!(matches!(session.cancel(&id("\"a\"")), Cancelled::Nothing));
    }
}
