//! Stand-ins that tests can steer: a clock that moves when told, an upstream that counts what really left.
//! The store, the gate and everything a test is about are the real ones.

use async_trait::async_trait;
use jiff::Timestamp;
use paraph::domain::schema::{Schema, Unusable};
use paraph::gate::Clock;
use paraph::gate::upstream::{InputSchema, Ready, Sent, ServerStatus, Ticket, Upstream};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Moves only when told; its random numbers never repeat.
pub struct ManualClock {
    millis: AtomicI64,
    drawn: AtomicU64,
}

const START: i64 = 1_790_000_000_000;

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock { millis: AtomicI64::new(START), drawn: AtomicU64::new(0) }
    }
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        self.millis.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Seconds since the start; also backwards, as a wall clock may go.
    pub fn set(&self, seconds: i64) {
        self.millis.store(START + 1000 * seconds, Ordering::SeqCst);
    }

    pub fn seconds_of(at: Timestamp) -> i64 {
        (at.as_millisecond() - START) / 1000
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.millis.load(Ordering::SeqCst)).unwrap()
    }

    fn random(&self, bytes: &mut [u8]) {
        unlike_before(&self.drawn, bytes);
    }
}

/// Fills the bytes with what was not drawn before.
pub fn unlike_before(drawn: &AtomicU64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        let next = drawn.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        chunk.copy_from_slice(&next[..chunk.len()]);
    }
}

/// A data folder as another process would find it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for found in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(found.file_name());
        if found.file_type().unwrap().is_dir() {
            copy_folder(&found.path(), &target);
        } else {
            std::fs::copy(found.path(), target).unwrap();
        }
    }
}

/// What the upstream does with the next send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Answers,
    ToolError,
    NeverReached,
    Vanishes,
}

/// What a server lists, by tool.
type Schemas = HashMap<String, Result<Arc<Schema>, Unusable>>;

/// Counts what left, by the exact bytes of the arguments.
pub struct CountingUpstream {
    pub sent: Mutex<HashMap<String, usize>>,
    pub mood: Mutex<Mood>,
    /// Which instance runs.
    pub instance: Mutex<Option<String>>,
    /// What it lists, by tool; nothing is listed as long as this is `None`.
    pub schemas: Mutex<Option<Schemas>>,
    /// Listed when the gate asks for it.
    pub lists_when_asked: Mutex<Option<Schemas>>,
    /// What is known of servers.
    pub servers: Mutex<Vec<ServerStatus>>,
    /// For whom the gate asked.
    pub asked_for: Mutex<Vec<String>>,
    /// Nothing can leave, as is found before anything does.
    pub absent: Mutex<bool>,
    /// While it is false, a call has to wait until the server has started.
    pub started: tokio::sync::watch::Sender<bool>,
    /// How many calls wait for that.
    pub starting: tokio::sync::watch::Sender<usize>,
    /// How often the gate asked whether a server was ready.
    pub readied: AtomicUsize,
}

impl Default for CountingUpstream {
    fn default() -> CountingUpstream {
        CountingUpstream {
            sent: Mutex::default(),
            mood: Mutex::new(Mood::Answers),
            instance: Mutex::new(Some("one".into())),
            schemas: Mutex::default(),
            lists_when_asked: Mutex::default(),
            servers: Mutex::default(),
            asked_for: Mutex::default(),
            absent: Mutex::default(),
            started: tokio::sync::watch::Sender::new(true),
            starting: tokio::sync::watch::Sender::new(0),
            readied: AtomicUsize::new(0),
        }
    }
}

impl CountingUpstream {
    /// The server lists one more tool, or its schema anew.
    pub fn lists(&self, tool: &str, schema: &str) {
        self.schemas.lock().unwrap().get_or_insert_default().insert(tool.to_owned(), Schema::compile(schema).map(Arc::new));
    }

    pub fn count(&self, arguments: &str) -> usize {
        self.sent.lock().unwrap().get(arguments).copied().unwrap_or(0)
    }
}

pub const RESULT: &str = r#"{"content":[{"type":"text","text":"Sent."}],  "vendor" : 12345678901234567890123}"#;

#[async_trait]
impl Upstream for CountingUpstream {
    async fn ready(&self, _server: &str, _agent: &str, _approved: bool) -> Ready {
        self.readied.fetch_add(1, Ordering::SeqCst);
        let mut started = self.started.subscribe();
        if *self.absent.lock().unwrap() {
            return Ready::Unreachable("Server demo refuses connections.".to_owned());
        }
        if *started.borrow() {
            return Ready::AtOnce;
        }
        self.starting.send_modify(|waiting| *waiting += 1);
        started.wait_for(|started| *started).await.unwrap();
        Ready::Waited
    }

    async fn send(&self, ticket: Ticket) -> Sent {
        let outgoing = ticket.spend();
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let mood = *self.mood.lock().unwrap();
        if mood != Mood::NeverReached {
            *self.sent.lock().unwrap().entry(outgoing.arguments).or_default() += 1;
        }
        match mood {
            Mood::Answers => Sent::Result(raw(RESULT)),
            Mood::ToolError => Sent::Result(raw(r#"{"content":[],"isError":true}"#)),
            Mood::NeverReached => Sent::NeverLeft("the server could not be reached".into()),
            Mood::Vanishes => Sent::Unknown("the connection was cut".into()),
        }
    }

    async fn servers(&self) -> Vec<ServerStatus> {
        self.servers.lock().unwrap().clone()
    }

    async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
        self.instance.lock().unwrap().clone()
    }

    async fn input_schema(&self, _server: &str, tool: &str, ask_for: Option<&str>) -> InputSchema {
        let mut schemas = self.schemas.lock().unwrap();
        if let (None, Some(agent)) = (&*schemas, ask_for) {
            self.asked_for.lock().unwrap().push(agent.to_owned());
            *schemas = self.lists_when_asked.lock().unwrap().take();
        }
        match schemas.as_ref().and_then(|schemas| schemas.get(tool)) {
            Some(Ok(schema)) => InputSchema::Known(Arc::clone(schema)),
            Some(Err(unusable)) => InputSchema::Unusable(*unusable),
            None => InputSchema::NotListed,
        }
    }

    async fn close_agent(&self, _agent: &str) {}
}
