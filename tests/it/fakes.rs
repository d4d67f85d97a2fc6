//! Stand-ins that tests can steer: a clock that moves when told, an upstream that counts what really left.
//! The store, the gate and everything a test is about are the real ones.

use async_trait::async_trait;
use jiff::Timestamp;
use paraph::gate::Clock;
use paraph::gate::upstream::{Sent, ServerStatus, Ticket, Upstream};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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

/// Counts what left, by the exact bytes of the arguments.
pub struct CountingUpstream {
    pub sent: Mutex<HashMap<String, usize>>,
    pub mood: Mutex<Mood>,
    /// Which instance runs.
    pub instance: Mutex<Option<String>>,
}

impl Default for CountingUpstream {
    fn default() -> CountingUpstream {
        CountingUpstream { sent: Mutex::default(), mood: Mutex::new(Mood::Answers), instance: Mutex::new(Some("one".into())) }
    }
}

impl CountingUpstream {
    pub fn count(&self, arguments: &str) -> usize {
        self.sent.lock().unwrap().get(arguments).copied().unwrap_or(0)
    }
}

pub const RESULT: &str = r#"{"content":[{"type":"text","text":"Sent."}],  "vendor" : 12345678901234567890123}"#;

#[async_trait]
impl Upstream for CountingUpstream {
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
        Vec::new()
    }

    async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
        self.instance.lock().unwrap().clone()
    }

    async fn close_agent(&self, _agent: &str) {}
}
