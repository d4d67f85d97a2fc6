//! Sessions of agents: which revision was agreed, which requests are under way, which requests of the server
//! an agent has yet to answer. A session belongs to the agent and server that made it; for anybody else it is
//! not there. All of it is memory, but an id proves itself: one that an earlier process issued begins anew here,
//! once, with nothing under way. One that was ended stays ended, and its client initializes again.
//! Called by `http`; entries of requests under way leave by being dropped.

use super::message::Id;
use super::revisions::Revision;
use super::session_id::SessionKey;
use crate::domain::call::CallId;
use crate::domain::digest::Digest;
use crate::gate::Clock;
use jiff::Timestamp;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// An unused session ends after this long.
const IDLE: Duration = Duration::from_secs(3600);
/// Held requests whose connection closed, remembered for a cancel that comes after.
const MAX_LEFT: usize = 64;
/// Requests that were taken back, remembered for a client that resumes their streams.
const MAX_TAKEN_BACK: usize = 256;
/// Requests of the server that wait for this session's answer.
const MAX_ASKED: usize = 64;
/// Requests under way in one session.
const MAX_UNDER_WAY: usize = 256;

/// How old an id of an earlier process may be.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Ids of earlier processes that are remembered, so that each begins once.
const MAX_ADOPTED: usize = 10_000;

/// All sessions.
pub(super) struct Sessions {
    all: Mutex<All>,
    per_agent: AtomicUsize,
    key: SessionKey,
    /// When this process began. What it issues is never older, whatever the wall clock does, so that an older id
    /// is of an earlier process and a younger one that is not in memory has ended.
    since: Timestamp,
}

#[derive(Default)]
struct All {
    sessions: HashMap<String, Arc<Session>>,
    adopted: HashMap<String, Timestamp>,
}

/// One session.
pub(super) struct Session {
    pub id: String,
    pub agent: String,
    pub server: String,
    pub revision: Revision,
    /// Cancelled when the session ends.
    pub ended: CancellationToken,
    /// Filled at the first call.
    word: OnceLock<String>,
    state: Mutex<State>,
    listening: AtomicBool,
}

struct State {
    used: Instant,
    turns: u64,
    under_way: HashMap<String, UnderWay>,
    left: VecDeque<(String, CallId)>,
    taken_back: VecDeque<String>,
    asked: HashMap<String, Box<RawValue>>,
}

struct UnderWay {
    turn: u64,
    cancel: CancellationToken,
    superseded: CancellationToken,
    /// The held call that it waits for.
    call: Option<CallId>,
}

/// One request under way; forgotten when dropped.
pub(super) struct Entry {
    session: Arc<Session>,
    key: String,
    /// Which of the requests that had this id: one that was superseded must not forget its successor.
    turn: u64,
    /// Fires when the agent takes the request back.
    pub cancel: CancellationToken,
    /// Fires when the request goes on under another connection.
    pub superseded: CancellationToken,
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
    pub(super) fn new(per_agent: usize, key: SessionKey, since: Timestamp) -> Sessions {
        Sessions { all: Mutex::default(), per_agent: AtomicUsize::new(per_agent.max(1)), key, since }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session. One too many ends the agent's longest unused one; `None` when all are in use.
    pub(super) fn make(&self, clock: &dyn Clock, agent: &str, server: &str, revision: Revision) -> Option<Arc<Session>> {
        let id = self.key.issue(clock, self.since, revision, agent, server);
        self.lock().begin(Session::new(id, agent, server, revision), self.per_agent())
    }

    /// The session of this id, if it is this agent's at this server.
    pub(super) fn find(&self, now: Timestamp, id: &str, agent: &str, server: &str) -> Option<Arc<Session>> {
        let mut all = self.lock();
        let Some(session) = all.sessions.get(id) else { return self.adopt(&mut all, now, id, agent, server) };
        let session = Some(session).filter(|session| session.agent == agent && session.server == server)?.clone();
        let instant = Instant::now();
        if !session.lives(instant) {
            session.ended.cancel();
            all.sessions.remove(id);
            return None;
        }
        session.lock().used = instant;
        Some(session)
    }

    fn adopt(&self, all: &mut All, now: Timestamp, id: &str, agent: &str, server: &str) -> Option<Arc<Session>> {
        let issued = self.key.read(id, agent, server)?;
        let fresh = |at: Timestamp| now < at + MAX_AGE;
        if issued.at >= self.since || !fresh(issued.at) {
            return None;
        }
        all.adopted.retain(|_, at| fresh(*at));
        if all.adopted.len() >= MAX_ADOPTED || all.adopted.contains_key(id) {
            return None;
        }
        let session = all.begin(Session::new(id.to_owned(), agent, server, issued.revision), self.per_agent())?;
        all.adopted.insert(id.to_owned(), issued.at);
        Some(session)
    }

    fn per_agent(&self) -> usize {
        self.per_agent.load(Ordering::Relaxed)
    }

    /// Another bound for sessions made from now on.
    pub(super) fn bound(&self, per_agent: usize) {
        self.per_agent.store(per_agent.max(1), Ordering::Relaxed);
    }

    /// Forgets the sessions of servers that are not there any more and ends them, but for those with a request under
    /// way: these are told how it ended and are given back, to be ended after it.
    pub(super) fn end_without(&self, is_there: impl Fn(&str) -> bool) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        self.lock().sessions.retain(|_, session| {
            let stays = is_there(&session.server);
            if !stays {
                gone.push(session.clone());
            }
            stays
        });
        gone.retain(|session| {
            let waits = session.is_asking();
            if !waits {
                session.ended.cancel();
            }
            waits
        });
        gone
    }

    /// Ends a session; its streams end by themselves.
    pub(super) fn end(&self, session: &Session) {
        session.ended.cancel();
        self.lock().sessions.remove(&session.id);
    }
}

impl All {
    fn begin(&mut self, session: Session, per_agent: usize) -> Option<Arc<Session>> {
        let now = Instant::now();
        self.sessions.retain(|_, session| session.lives(now));
        let own: Vec<_> = self.sessions.values().filter(|other| other.agent == session.agent).cloned().collect();
        if own.len() >= per_agent {
            let oldest = own.iter().filter(|session| !session.busy()).min_by_key(|session| session.lock().used)?;
            oldest.ended.cancel();
            self.sessions.remove(&oldest.id);
        }
        let session = Arc::new(session);
        self.sessions.insert(session.id.clone(), session.clone());
        Some(session)
    }
}

impl Session {
    fn new(id: String, agent: &str, server: &str, revision: Revision) -> Session {
        let state =
            State { used: Instant::now(), turns: 0, under_way: HashMap::new(), left: VecDeque::new(), taken_back: VecDeque::new(), asked: HashMap::new() };
        Session {
            id,
            agent: agent.to_owned(),
            server: server.to_owned(),
            revision,
            ended: CancellationToken::new(),
            word: OnceLock::new(),
            state: Mutex::new(state),
            listening: AtomicBool::new(false),
        }
    }

    /// The session in a word that does not give its id away; for limits that count by it.
    pub(super) fn word(&self) -> &str {
        self.word.get_or_init(|| Digest::of_bytes(self.id.as_bytes()).short())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> bool {
        self.listening.load(Ordering::Acquire) || self.is_asking()
    }

    /// Whether requests are under way.
    pub(super) fn is_asking(&self) -> bool {
        !self.lock().under_way.is_empty()
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
        // A new request under an old id.
        state.taken_back.retain(|key| *key != id.key);
        Some(self.enter(&mut state, id, CancellationToken::new(), None))
    }

    /// Notes a request that goes on under a new connection. What still seems to be under way under its id is
    /// superseded when it waits for the same call; `None` when it is another request, or too many are under way.
    pub(super) fn resume(self: &Arc<Session>, id: &Id, call: &CallId) -> Option<Entry> {
        let mut state = self.lock();
        let cancel = match state.under_way.get(&id.key) {
            Some(old) if old.call.as_ref() == Some(call) => {
                old.superseded.cancel();
                // The same one: a cancel that is being carried out is meant for this request.
                old.cancel.clone()
            }
            None if state.under_way.len() < MAX_UNDER_WAY => CancellationToken::new(),
            Some(_) | None => return None,
        };
        Some(self.enter(&mut state, id, cancel, Some(call.clone())))
    }

    fn enter(self: &Arc<Session>, state: &mut State, id: &Id, cancel: CancellationToken, call: Option<CallId>) -> Entry {
        state.turns += 1;
        let (turn, superseded) = (state.turns, CancellationToken::new());
        state.under_way.insert(id.key.clone(), UnderWay { turn, cancel: cancel.clone(), superseded: superseded.clone(), call });
        state.left.retain(|(key, _)| *key != id.key);
        Entry { session: self.clone(), key: id.key.clone(), turn, cancel, superseded }
    }

    /// Whether the agent took this request back: some clients resume its stream all the same, and nobody reads it.
    pub(super) fn took_back(&self, id: &Id) -> bool {
        self.lock().taken_back.contains(&id.key)
    }

    /// The agent takes a request back.
    pub(super) fn cancel(&self, id: &Id) -> Cancelled {
        let mut state = self.lock();
        if !state.taken_back.contains(&id.key) {
            if state.taken_back.len() >= MAX_TAKEN_BACK {
                state.taken_back.pop_front();
            }
            state.taken_back.push_back(id.key.clone());
        }
        if let Some(request) = state.under_way.get(&id.key) {
            request.cancel.cancel();
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

    /// The request waits for this call from now on, and can be resumed.
    pub(super) fn waits_for(&self, call: &CallId) {
        let mut state = self.session.lock();
        if let Some(request) = state.under_way.get_mut(&self.key).filter(|request| request.turn == self.turn) {
            request.call = Some(call.clone());
        }
    }

    /// The connection closed without a cancel; one may still come, unless the request goes on elsewhere.
    pub(super) fn leave(self, call: &CallId) {
        let mut state = self.session.lock();
        // In the same breath: a cancel finds the request either under way or left.
        if state.forget(&self) {
            if state.left.len() >= MAX_LEFT {
                state.left.pop_front();
            }
            state.left.push_back((self.key.clone(), call.clone()));
        }
    }
}

impl State {
    /// Whether it was this request that was under way.
    fn forget(&mut self, entry: &Entry) -> bool {
        let own = self.under_way.get(&entry.key).is_some_and(|request| request.turn == entry.turn);
        own && self.under_way.remove(&entry.key).is_some()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.forget(self);
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

    fn some(per_agent: usize) -> Sessions {
        since(per_agent, Duration::ZERO)
    }

    /// Of a process that began so long ago, or that begins in the future.
    fn since(per_agent: usize, ahead: Duration) -> Sessions {
        Sessions::new(per_agent, SessionKey([7; 32]), SystemClock.now() + ahead)
    }

    fn find(sessions: &Sessions, id: &str, agent: &str, server: &str) -> Option<Arc<Session>> {
        sessions.find(SystemClock.now(), id, agent, server)
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_session_ends_and_one_with_a_request_under_way_does_not() {
        let sessions = some(5);
        let (idle, busy) = (make(&sessions), make(&sessions));
        let entry = busy.begin(&id("1")).unwrap();
        tokio::time::advance(IDLE).await;
        assert!(find(&sessions, &idle.id, "bot", "demo").is_none());
        assert!(idle.ended.is_cancelled());
        assert!(find(&sessions, &busy.id, "bot", "demo").is_some());
        drop(entry);
        assert!(find(&sessions, &busy.id, "bot", "other").is_none());
        assert!(find(&sessions, &busy.id, "eve", "demo").is_none());
    }

    #[tokio::test]
    async fn sessions_in_use_are_not_ended_for_a_new_one() {
        let sessions = some(1);
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
        let session = make(&some(1));
        let call = CallId("c_1".to_owned());
        let entry = session.begin(&id("\"a\"")).unwrap();
        assert!(session.begin(&id("\"\\u0061\"")).is_none(), "the same id");
        assert!(matches!(session.cancel(&id("\"\\u0061\"")), Cancelled::UnderWay));
        assert!(entry.cancel.is_cancelled());
        entry.leave(&call);
        assert!(matches!(session.cancel(&id("\"a\"")), Cancelled::Left(left) if left == call));
        assert!(matches!(session.cancel(&id("\"a\"")), Cancelled::Nothing));
    }

    #[test]
    fn an_id_of_an_earlier_process_begins_once_and_stays_ended() {
        let id = make(&some(1)).id.clone();
        let next = since(1, Duration::from_secs(60));
        assert!(find(&next, &id, "eve", "demo").is_none());
        assert!(find(&next, &id, "bot", "other").is_none());
        let adopted = find(&next, &id, "bot", "demo").unwrap();
        assert_eq!((adopted.id.as_str(), adopted.revision), (id.as_str(), Revision::V2025_11_25));
        assert!(Arc::ptr_eq(&adopted, &find(&next, &id, "bot", "demo").unwrap()));
        next.end(&adopted);
        assert!(find(&next, &id, "bot", "demo").is_none());
        // One of its own that ended is not of an earlier process, though the wall clock has not come so far.
        let own = make(&next);
        next.end(&own);
        assert!(find(&next, &own.id, "bot", "demo").is_none());
    }

    #[test]
    fn an_adopted_session_keeps_to_the_bound_and_to_its_age() {
        let before = some(5);
        let (first, second) = (make(&before).id.clone(), make(&before).id.clone());
        let next = since(1, Duration::from_secs(60));
        let busy = find(&next, &first, "bot", "demo").unwrap();
        let entry = busy.begin(&id("1")).unwrap();
        assert!(find(&next, &second, "bot", "demo").is_none());
        drop(entry);
        assert!(find(&next, &second, "bot", "demo").is_some());
        assert!(busy.ended.is_cancelled());
        let tomorrow = SystemClock.now() + MAX_AGE;
        assert!(since(1, Duration::from_secs(60)).find(tomorrow, &first, "bot", "demo").is_none());
    }

    #[test]
    fn a_resumed_request_supersedes_only_the_one_that_waits_for_the_same_call() {
        let session = make(&some(1));
        let (call, other) = (CallId("c_1".to_owned()), CallId("c_2".to_owned()));
        let old = session.begin(&id("7")).unwrap();
        assert!(session.resume(&id("7"), &call).is_none(), "it does not wait for a call");
        old.waits_for(&call);
        assert!(session.resume(&id("7"), &other).is_none());
        let new = session.resume(&id("7"), &call).unwrap();
        assert!(old.superseded.is_cancelled() && !old.cancel.is_cancelled());
        // The old one leaves no trace: neither of itself nor by taking the new one along.
        old.leave(&call);
        assert!(matches!(session.cancel(&id("7")), Cancelled::UnderWay));
        assert!(new.cancel.is_cancelled());
        drop(new);
        assert!(matches!(session.cancel(&id("7")), Cancelled::Nothing));
        assert!(session.resume(&id("7"), &call).is_some());
    }
}
