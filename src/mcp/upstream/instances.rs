//! Which instances run: one per server and agent (semantics.md 22), each started by the first who needs it
//! while others wait for that start, restarted with back-off after it ended, closed when idle or revoked.
//! `serve` makes one `Upstreams` for the whole process.

use super::board::Board;
use super::client::Client;
use super::http::HttpLink;
use super::peer::{Link, Parts};
use super::process::ProcessLink;
use super::times::Times;
use super::tools::Seen;
use super::{ClientHello, Peer, Reply, UpstreamError, wire};
use crate::config::{Bounds, Server, Transport};
use crate::gate::upstream::{InputSchema, ServerState, ServerStatus, ToolInfo};
use crate::gate::{Clock as _, SystemClock};
use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The agent in whose name `refresh_tools` connects.
pub(super) const OWN_NAME: &str = "(paraph)";
/// An unused instance is closed after this long.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Instances of all servers and agents.
const MAX_INSTANCES: usize = 1_000;
/// The first and the longest pause after a failed start or an early end.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A pause up to this long is waited for; a longer one is told.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pages of one `tools/list`.
const MAX_PAGES: usize = 50;
/// Room for the envelope around a result of the permitted size.
const ENVELOPE: usize = 64 << 10;
/// Events a slow listener may lag behind.
const EVENTS: usize = 256;
/// What is under way to a server that was taken out of the configuration may take this long to finish.
const LEAVING: Duration = Duration::from_secs(25);
/// How often it is asked whether it has.
const LEAVING_STEP: Duration = Duration::from_millis(50);

/// All servers and their instances.
pub struct Upstreams {
    inner: Arc<Inner>,
}

struct Inner {
    /// Replaced as a whole by a reload.
    servers: ArcSwap<BTreeMap<String, Arc<Entry>>>,
    message_bound: AtomicUsize,
    in_flight: usize,
    guard_program: PathBuf,
    /// Made when the first server with a url is needed.
    client: OnceLock<Arc<Client>>,
    /// Tells this process's instances from those of an earlier one.
    run: u64,
    begun: AtomicU64,
    slots: Mutex<HashMap<(String, String), Arc<Slot>>>,
    ended: CancellationToken,
}

struct Entry {
    config: Server,
    in_flight: Arc<Semaphore>,
    seen: Arc<Seen>,
    times: Arc<Times>,
}

/// The place of one instance; it outlives restarts.
struct Slot {
    starting: Arc<Semaphore>,
    events: broadcast::Sender<Arc<Box<RawValue>>>,
    state: Mutex<SlotState>,
}

struct SlotState {
    peer: Option<Arc<Peer>>,
    /// The name of the instance in `peer`.
    name: String,
    client: Option<ClientHello>,
    failures: u32,
    started: Instant,
    not_before: Instant,
    last: Option<UpstreamError>,
    used: Instant,
}

impl Slot {
    fn new() -> Slot {
        let now = Instant::now();
        Slot {
            starting: Arc::new(Semaphore::new(1)),
            events: broadcast::channel(EVENTS).0,
            state: Mutex::new(SlotState { peer: None, name: String::new(), client: None, failures: 0, started: now, not_before: now, last: None, used: now }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running instance. One that ended leaves its place and a pause. One that was started while no client
    /// was there (for a call approved later) makes way for the first client's, unless somebody uses it: the
    /// server must know what the client can do.
    fn running(&self, client: bool) -> Option<Arc<Peer>> {
        let mut state = self.lock();
        let now = Instant::now();
        state.used = now;
        let peer = state.peer.clone()?;
        if client && !peer.is_closed() && peer.makes_way() {
            state.peer = None;
            tokio::spawn(async move { peer.close().await });
            return None;
        }
        if !peer.is_closed() {
            return Some(peer);
        }
        state.peer = None;
        if now.duration_since(state.started) > BACK_OFF.1 {
            state.failures = 0;
        }
        state.pause();
        None
    }
}

impl SlotState {
    fn pause(&mut self) {
        let pause = BACK_OFF.0.saturating_mul(1 << self.failures.min(6)).min(BACK_OFF.1);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + pause;
    }
}

impl Upstreams {
    /// Starts nothing yet. `guard_program` is the absolute path of Paraph's own executable, run as
    /// `guard_program guard -- …`.
    /// Call it within a tokio runtime.
    pub fn new(servers: BTreeMap<String, Server>, bounds: &Bounds, guard_program: PathBuf) -> Upstreams {
        let mut bits = [0u8; 8];
        SystemClock.random(&mut bits);
        let run = u64::from_be_bytes(bits);
        let inner = Arc::new(Inner {
            servers: ArcSwap::from_pointee(entries(servers, &BTreeMap::new(), bounds.in_flight_per_server)),
            message_bound: AtomicUsize::new(bounds.result.saturating_add(ENVELOPE)),
            in_flight: bounds.in_flight_per_server,
            guard_program,
            client: OnceLock::new(),
            run,
            begun: AtomicU64::new(0),
            slots: Mutex::default(),
            ended: CancellationToken::new(),
        });
        tokio::spawn(close_idle(Arc::downgrade(&inner), inner.ended.clone()));
        Upstreams { inner }
    }

    /// The instance of `server` for `agent`, started and initialized if need be. `hello` is what the first
    /// session's client said of itself; `None` when no client is there.
    ///
    /// # Errors
    /// [`UpstreamError`]: it could not be started, or is in its pause after a failure.
    pub async fn peer(&self, server: &str, agent: &str, hello: Option<ClientHello>) -> Result<Arc<Peer>, UpstreamError> {
        let slot = self.inner.slot(server, agent)?;
        if let Some(peer) = slot.running(hello.is_some()) {
            return Ok(peer);
        }
        let Ok(turn) = Arc::clone(&slot.starting).acquire_owned().await else { return Err(ended()) };
        if let Some(peer) = slot.running(hello.is_some()) {
            return Ok(peer);
        }
        let (until, last) = {
            let state = slot.lock();
            (state.not_before, state.last.clone())
        };
        let left = until.saturating_duration_since(Instant::now());
        if left > PATIENCE {
            let last = last.unwrap_or_else(|| UpstreamError { sentence: format!("Server {server} ended soon after its start."), stderr: Vec::new() });
            return Err(UpstreamError { sentence: format!("{} Paraph starts it again in {} s at the earliest.", last.sentence, left.as_secs() + 1), ..last });
        }
        // A task of its own: a caller who leaves does not take the start of others along.
        let (inner, server) = (Arc::clone(&self.inner), server.to_owned());
        let start = tokio::spawn(async move {
            let _turn = turn;
            tokio::time::sleep(left).await;
            inner.start(&server, &slot, hello).await
        });
        start.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The agent's instance of a server if it runs.
    pub(super) fn running(&self, server: &str, agent: &str) -> Result<Option<Arc<Peer>>, UpstreamError> {
        Ok(self.inner.slot(server, agent)?.running(false))
    }

    /// Asks the server for its tools, in Paraph's own name, and remembers them for `servers()`.
    ///
    /// # Errors
    /// [`UpstreamError`] when it cannot be reached or does not list.
    pub async fn refresh_tools(&self, server: &str) -> Result<Vec<ToolInfo>, UpstreamError> {
        self.list_tools(server, OWN_NAME).await
    }

    async fn list_tools(&self, server: &str, agent: &str) -> Result<Vec<ToolInfo>, UpstreamError> {
        let peer = self.peer(server, agent, None).await?;
        let failed = |why: String| UpstreamError { sentence: format!("Server {server} did not list its tools. {why}"), stderr: peer.stderr() };
        let mut params: Option<Box<RawValue>> = None;
        for _ in 0..MAX_PAGES {
            let reply = peer.request("tools/list", params.as_deref(), None, CancellationToken::new()).await.map_err(|failure| failed(failure.to_string()))?;
            let Reply::Result(result) = reply else { return Err(failed("It answered with an error.".to_owned())) };
            let next = wire::Members::read(result.get()).and_then(|result| result.get("nextCursor")).filter(|cursor| cursor.get() != "null");
            let Some(next) = next else { break };
            params = Some(wire::raw(format!("{{\"cursor\":{}}}", next.get())));
        }
        self.inner.entry(server).and_then(|entry| entry.seen.tools()).ok_or_else(|| failed("Its list could not be read.".to_owned()))
    }

    /// What is known of a tool's schema; with an agent, a server that was never listed is asked in its instance.
    pub(super) async fn input_schema(&self, server: &str, tool: &str, ask_for: Option<&str>) -> InputSchema {
        let Some(entry) = self.inner.entry(server) else { return InputSchema::NotListed };
        if let Some(agent) = ask_for.filter(|_| !entry.seen.is_listed()) {
            entry.seen.ask_once(entry.times.start(), self.list_tools(server, agent)).await;
        }
        entry.seen.input_schema(tool).await
    }

    /// Puts these servers in the place of the present ones. One that stays keeps its instances, also when its
    /// transport is another one now: that is for `reload` to keep out. Instances of one that is gone take nothing new
    /// and end when nothing is under way any more, after 25 s at the latest. The names of those that came.
    pub fn replace(&self, servers: BTreeMap<String, Server>, bounds: &Bounds) -> Vec<String> {
        let inner = &self.inner;
        inner.message_bound.store(bounds.result.saturating_add(ENVELOPE), Ordering::Relaxed);
        let before = inner.servers.load_full();
        inner.servers.store(Arc::new(entries(servers, &before, inner.in_flight)));
        let after = inner.servers.load_full();
        let gone: Vec<_> = {
            // After the swap: a slot that was made meanwhile is of a server that is still there.
            let mut slots = inner.lock();
            let keys: Vec<_> = slots.keys().filter(|(server, _)| !after.contains_key(server)).cloned().collect();
            keys.iter().filter_map(|key| slots.remove(key)).collect()
        };
        if !gone.is_empty() {
            tokio::spawn(close_unused(gone));
        }
        after.keys().filter(|name| !before.contains_key(*name)).cloned().collect()
    }

    /// The names of all servers.
    pub fn names(&self) -> Vec<String> {
        self.inner.servers.load().keys().cloned().collect()
    }

    /// Every server's state and last seen tools.
    pub(super) fn status(&self) -> Vec<ServerStatus> {
        let slots = self.inner.lock();
        let count = |name: &str| {
            let running = |slot: &Slot| slot.lock().peer.as_ref().is_some_and(|peer| !peer.is_closed());
            slots.iter().filter(|((server, _), slot)| server == name && running(slot)).count()
        };
        let status = |(name, entry): (&String, &Arc<Entry>)| ServerStatus {
            name: name.clone(),
            transport: match entry.config.transport {
                Transport::Process { .. } => "stdio",
                Transport::Http { .. } => "http",
            },
            state: match (count(name), entry.seen.down()) {
                (_, Some(down)) => ServerState::Down { why: down.sentence, stderr: down.stderr },
                (0, None) => ServerState::Idle,
                (instances, None) => ServerState::Up { instances },
            },
            tools: entry.seen.tools(),
        };
        self.inner.servers.load().iter().map(status).collect()
    }

    /// The name of the instance that runs for an agent now.
    pub(super) fn instance(&self, server: &str, agent: &str) -> Option<String> {
        let slots = self.inner.lock();
        let state = slots.get(&(server.to_owned(), agent.to_owned()))?.lock();
        state.peer.as_ref().filter(|peer| !peer.is_closed()).map(|_| state.name.clone())
    }

    /// Closes every instance of a revoked agent.
    pub async fn close_agent(&self, agent: &str) {
        let gone: Vec<_> = {
            let mut slots = self.inner.lock();
            let keys: Vec<_> = slots.keys().filter(|(_, name)| name == agent).cloned().collect();
            keys.iter().filter_map(|key| slots.remove(key)).collect()
        };
        close_all(gone).await;
    }

    /// Closes one instance.
    pub(super) async fn close_instance(&self, server: &str, agent: &str) {
        let gone = self.inner.lock().remove(&(server.to_owned(), agent.to_owned()));
        close_all(gone.into_iter().collect()).await;
    }

    /// Closes everything; nothing starts any more.
    pub async fn shutdown(&self) {
        self.inner.ended.cancel();
        let all = std::mem::take(&mut *self.inner.lock());
        close_all(all.into_values().collect()).await;
    }
}

impl Inner {
    fn client(&self) -> Result<Arc<Client>, String> {
        match self.client.get() {
            Some(client) => Ok(Arc::clone(client)),
            None => Client::new().map(|client| Arc::clone(self.client.get_or_init(|| Arc::new(client)))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, server: &str) -> Option<Arc<Entry>> {
        self.servers.load().get(server).cloned()
    }

    fn slot(&self, server: &str, agent: &str) -> Result<Arc<Slot>, UpstreamError> {
        if self.ended.is_cancelled() {
            return Err(ended());
        }
        let mut slots = self.lock();
        // Under the lock: a reload that takes the server away then finds the slot.
        if !self.servers.load().contains_key(server) {
            return Err(gone());
        }
        let full = slots.len() >= MAX_INSTANCES;
        match slots.entry((server.to_owned(), agent.to_owned())) {
            std::collections::hash_map::Entry::Occupied(slot) => Ok(Arc::clone(slot.get())),
            std::collections::hash_map::Entry::Vacant(_) if full => Err(UpstreamError {
                sentence: format!("Paraph already keeps {MAX_INSTANCES} server instances; try again when some have been idle for 30 minutes."),
                stderr: Vec::new(),
            }),
            std::collections::hash_map::Entry::Vacant(place) => Ok(Arc::clone(place.insert(Arc::new(Slot::new())))),
        }
    }

    async fn start(&self, server: &str, slot: &Slot, hello: Option<ClientHello>) -> Result<Arc<Peer>, UpstreamError> {
        let Some(entry) = self.entry(server) else { return Err(gone()) };
        let client = {
            let mut state = slot.lock();
            if hello.is_some() {
                state.client = hello;
            }
            state.client.clone()
        };
        let begun = Instant::now();
        let made = self.make(server, &entry, slot, client.as_ref()).await;
        let made = match made {
            Ok(peer) if self.ended.is_cancelled() => {
                peer.close().await;
                return Err(ended());
            }
            other => other,
        };
        entry.seen.reached(made.as_ref().err().cloned());
        let peer = {
            let mut state = slot.lock();
            match made {
                Ok(peer) => {
                    let peer = Arc::new(peer);
                    state.started = begun;
                    state.last = None;
                    state.name = format!("{:016x}-{}", self.run, self.begun.fetch_add(1, Ordering::Relaxed));
                    state.peer = Some(Arc::clone(&peer));
                    peer
                }
                Err(error) => {
                    tracing::warn!(server, why = error.sentence, "the server could not be started");
                    state.last = Some(error.clone());
                    state.pause();
                    return Err(error);
                }
            }
        };
        // Only now: a reload that takes the server away later finds the instance in its slot.
        if self.entry(server).is_some() {
            return Ok(peer);
        }
        slot.lock().peer = None;
        peer.close().await;
        Err(gone())
    }

    async fn make(&self, server: &str, entry: &Entry, slot: &Slot, client: Option<&ClientHello>) -> Result<Peer, UpstreamError> {
        let board = Arc::new(Board::new(slot.events.clone(), Arc::clone(&entry.seen)));
        let failed = |sentence| UpstreamError { sentence, stderr: Vec::new() };
        let message_bound = self.message_bound.load(Ordering::Relaxed);
        let link = match &entry.config.transport {
            Transport::Process { .. } => Link::Process(
                ProcessLink::start(server, &entry.config.transport, &self.guard_program, Arc::clone(&board), message_bound).await.map_err(failed)?,
            ),
            Transport::Http { url, headers } => {
                let http = self.client().map_err(failed)?;
                Link::Http(Arc::new(HttpLink::new(server, http, url, headers, message_bound).map_err(failed)?))
            }
        };
        let parts = Parts {
            server: server.to_owned(),
            board,
            link,
            slots: Arc::clone(&entry.in_flight),
            times: Arc::clone(&entry.times),
            seen: Arc::clone(&entry.seen),
        };
        Peer::start(parts, client).await
    }
}

/// What is known of a server stays when it stays.
fn entries(servers: BTreeMap<String, Server>, before: &BTreeMap<String, Arc<Entry>>, in_flight: usize) -> BTreeMap<String, Arc<Entry>> {
    let entry = |(name, config): (String, Server)| {
        let entry = match before.get(&name) {
            Some(known) => {
                known.times.set(&config);
                Entry { config, in_flight: Arc::clone(&known.in_flight), seen: Arc::clone(&known.seen), times: Arc::clone(&known.times) }
            }
            None => Entry { in_flight: Arc::new(Semaphore::new(in_flight)), seen: Arc::new(Seen::of(&name)), times: Arc::new(Times::of(&config)), config },
        };
        (name, Arc::new(entry))
    };
    servers.into_iter().map(entry).collect()
}

fn gone() -> UpstreamError {
    UpstreamError { sentence: "There is no server of this name in the config.".to_owned(), stderr: Vec::new() }
}

fn ended() -> UpstreamError {
    UpstreamError { sentence: "Paraph is shutting down.".to_owned(), stderr: Vec::new() }
}

async fn close_all(slots: Vec<Arc<Slot>>) {
    let peers = slots.iter().filter_map(|slot| slot.lock().peer.take());
    let closing: Vec<_> = peers.map(|peer| tokio::spawn(async move { peer.close().await })).collect();
    for one in closing {
        let _ = one.await;
    }
}

/// Ends instances that nobody can reach any more, each when nothing is under way in it.
async fn close_unused(slots: Vec<Arc<Slot>>) {
    let deadline = Instant::now() + LEAVING;
    let busy = |slot: &Arc<Slot>| slot.lock().peer.as_ref().is_some_and(|peer| peer.in_flight() > 0);
    while Instant::now() < deadline && slots.iter().any(busy) {
        tokio::time::sleep(LEAVING_STEP).await;
    }
    close_all(slots).await;
}

/// Once a minute, as long as anybody holds the instances.
async fn close_idle(inner: Weak<Inner>, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let idle: Vec<_> = {
            let mut slots = inner.lock();
            let now = Instant::now();
            let unused = |slot: &Slot| {
                let state = slot.lock();
                now.duration_since(state.used) > IDLE && slot.starting.available_permits() > 0 && !state.peer.as_ref().is_some_and(|peer| peer.in_use())
            };
            let keys: Vec<_> = slots.iter().filter(|(_, slot)| unused(slot)).map(|(key, _)| key.clone()).collect();
            keys.iter().filter_map(|key| slots.remove(key)).collect()
        };
        close_all(idle).await;
    }
}
