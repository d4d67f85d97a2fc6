//! The seam to what is kept: one `commit` that writes a call, rows and audit facts all or nothing, and a few
//! wide reads. `Arc<dyn Store>`, so that a test can wrap any engine in a faulty one. Engines compare revisions
//! and chain the audit; what the next state is was decided by `gate`, the only writer.

pub mod backup;
pub mod in_memory;
pub mod on_sled;
pub mod open;
pub mod record;
pub mod rules;

use crate::domain::audit::{Entry, Fact, Head};
use crate::domain::call::{AskKey, Call, CallId};
use crate::domain::letter::Letter;
use crate::domain::limit::{Counter, GiveBack, Restored, Take};
use crate::domain::pause::Pause;
use crate::domain::people::{Agent, Credential, Passkey, Password, Person};
use crate::domain::recipient::{RecipientKey, Refusals};
use async_trait::async_trait;
use jiff::Timestamp;
use rules::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use tokio::sync::broadcast;

/// Writes. Reads are in [`Views`].
#[async_trait]
pub trait Store: Views {
    /// All or nothing; durable when it returns. An error other than `Lost` means nothing was written.
    async fn commit(&self, change: Change) -> Result<Head, CommitError>;

    /// "Look again." May repeat, come late or be missed; never carries a decision.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}

/// Reads. Never blocks the runtime. All answers are snapshots: decide by the revision in `commit`. Each record is as it
/// was at one moment; a list may be of several moments, one behind the other, as the pages of a longer list are: what was
/// asked for all the while is on it, once, and what came or went meanwhile may be.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// One call, with its text.
    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError>;

    /// The newest call that is identical for its agent.
    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError>;

    /// Calls that match, in the order of the query.
    async fn calls(&self, query: &Query) -> Result<Page, StoreError>;

    /// The calls whose deadline is at or before `until`, earliest first, at most `most`; and the first deadline
    /// after `until` (or of the first call left out).
    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError>;

    /// Calls that were over before `until` and still have their texts, the longest over first.
    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError>;

    /// One row.
    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError>;

    /// Rows of a kind in the order of their keys, those after `after`.
    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError>;

    /// Audit entries from number `from` on, at most `most`.
    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError>;

    /// The last entry's number and hash.
    async fn head(&self) -> Result<Head, StoreError>;

    /// How many calls are `Held`.
    async fn held(&self) -> Result<usize, StoreError>;

    /// How many calls are open, counted for who may see calls of these groups (`None`: all of them), and how many letters wait.
    /// No call is read for it.
    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError>;

    /// How many calls of each agent are `Held` or `Approved`; agents without any are left out.
    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError>;

    /// Where the open calls in these states stand, those of this agent or of all: the places behind `after`, the longest held
    /// first, at most `most`. No call is read for it, and none is left unlooked at: fewer than `most` mean that there are
    /// no more.
    async fn open_places(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>, StoreError>;

    /// The servers that calls are `Held` for.
    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError>;

    /// Whether the call is certainly held, approved or being sent, told without a look at the disk. `false` says nothing:
    /// read it.
    fn is_unsettled(&self, id: &CallId) -> bool {
        let _ = id;
        false
    }

    /// Room on the disk as it was measured last; at most a second old, and never waits.
    fn space(&self) -> Space;
}

/// How many calls are open, by what they wait for, and how many letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that are `Held`.
    pub held: usize,
    /// Calls that are `Approved` and no permits, or `Sending`.
    pub leaving: usize,
    /// Permits: calls that are `Approved` and wait for their agents.
    pub permits: usize,
    /// Calls that are `Unconfirmed`.
    pub unconfirmed: usize,
    /// Letters that are there, of everybody.
    pub letters: usize,
}

/// Room on the disk below the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Bytes; `None` when they cannot be told, or there is no disk.
    pub free: Option<u64>,
    /// With less the store takes no new work; 0 = no floor.
    pub floor: u64,
}

impl Space {
    /// Whether new work has to be refused.
    pub fn is_low(&self) -> bool {
        self.free.is_some_and(|free| free < self.floor)
    }

    /// Whether there is room for more than decisions: half of the floor is left for those alone.
    pub fn has_half_left(&self) -> bool {
        self.free.is_none_or(|free| free >= self.floor / 2)
    }
}

/// One atomic change.
#[derive(Debug, Clone)]
pub struct Change {
    /// When, for the audit entries.
    pub at: Timestamp,
    /// Rows that the decision rests on: `Conflict` when one of them has another revision now.
    pub seen: Vec<Seen>,
    /// A call's next revision.
    pub call: Option<CallWrite>,
    /// Rows' next revisions: the stored revision must be one less, or absent for revision 1.
    pub rows: Vec<Row>,
    /// Rows that must be there and are taken away.
    pub removed: Vec<(Kind, String)>,
    /// Taken from limits, from all or from none; each counter once.
    pub takes: Vec<Take>,
    /// Takes that come back, before anything is taken; each once, several of one counter when they were taken at
    /// different times.
    pub given_back: Vec<GiveBack>,
    /// Facts for the audit, in order.
    pub facts: Vec<Fact>,
}

/// A row as it was when somebody decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which kind.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// Its revision; 0 for one that was not there.
    pub revision: u64,
}

/// A call's next revision.
#[derive(Debug, Clone)]
pub struct CallWrite {
    /// The stored revision must be one less; absent for revision 1.
    pub call: Call,
    /// For a new call: the newest identical call that the gate saw. Another one now = `Conflict`.
    pub after: Option<CallId>,
    /// For a new call: how many may be held.
    pub room: Option<Room>,
}

/// Bounds checked inside the commit.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Of all agents.
    pub total: usize,
    /// Of this call's agent.
    pub of_agent: usize,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something moved meanwhile: read again and decide again.
    #[error("the record changed meanwhile")]
    Conflict,
    /// No room for another held call.
    #[error("{}", if *.of_agent { "this agent has too many held calls" } else { "too many calls are held" })]
    Full {
        /// The agent's own bound, not the total.
        of_agent: bool,
    },
    /// A limit has no room.
    #[error("the limit {limit} has no room")]
    Limited {
        /// Its name: the one that has no room for the longest.
        limit: String,
        /// When all of them have room, if nobody else takes it.
        until: Timestamp,
    },
    /// The store cannot write.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The acknowledgement was lost: the change may or may not be there. Read again, never assume.
    #[error("the store's answer was lost")]
    Lost,
}

/// The store cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record cannot be read.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A write or sync failed; the store takes nothing more until it is opened again.
    #[error("the store refuses writes: {0}")]
    Poisoned(String),
    /// The write queue is full.
    #[error("the store's write queue is full")]
    Busy,
}

/// A stored record other than a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "row", rename_all = "snake_case")]
pub enum Row {
    /// Key: name.
    Agent(Agent),
    /// Key: address.
    Person(Person),
    /// Key: digest of the secret.
    Credential(Credential),
    /// Key: letter id.
    Letter(Letter),
    /// Key: the recipient's digest.
    Refusals(Refusals),
    /// Key: [`PAUSE`].
    Pause(Pause),
    /// Key: the counter's. Written by the engines from a change's takes; `gate` only takes idle ones away.
    Counter(Counter),
    /// Key: [`RESTORED`].
    Restored(Restored),
    /// Key: address.
    Password(Password),
    /// Key: credential id.
    Passkey(Passkey),
}

/// The key of the one pause record.
pub const PAUSE: &str = "pause";
/// The key of the one record of a restore.
pub const RESTORED: &str = "restored";

/// The kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Agents.
    Agent,
    /// People.
    Person,
    /// Links, sessions, API tokens.
    Credential,
    /// The outbox.
    Letter,
    /// What was refused lately, by recipient.
    Refusals,
    /// The kill switch.
    Pause,
    /// What limits counted.
    Counter,
    /// When the store was restored.
    Restored,
    /// Passwords, as slow hashes.
    Password,
    /// Passkeys, their public halves.
    Passkey,
}

impl Row {
    /// Which kind.
    pub fn kind(&self) -> Kind {
        match self {
            Row::Agent(_) => Kind::Agent,
            Row::Person(_) => Kind::Person,
            Row::Credential(_) => Kind::Credential,
            Row::Letter(_) => Kind::Letter,
            Row::Refusals(_) => Kind::Refusals,
            Row::Pause(_) => Kind::Pause,
            Row::Counter(_) => Kind::Counter,
            Row::Restored(_) => Kind::Restored,
            Row::Password(_) => Kind::Password,
            Row::Passkey(_) => Kind::Passkey,
        }
    }

    /// Its key within the kind.
    pub fn key(&self) -> &str {
        match self {
            Row::Agent(agent) => &agent.name,
            Row::Person(person) => &person.email,
            Row::Credential(credential) => credential.secret.as_str(),
            Row::Letter(letter) => &letter.id,
            Row::Refusals(refusals) => refusals.recipient.as_str(),
            Row::Pause(_) => PAUSE,
            Row::Counter(counter) => counter.key.as_str(),
            Row::Restored(_) => RESTORED,
            Row::Password(password) => &password.email,
            Row::Passkey(passkey) => &passkey.id,
        }
    }

    /// Compared by the engines.
    pub fn revision(&self) -> u64 {
        match self {
            Row::Agent(agent) => agent.revision,
            Row::Person(person) => person.revision,
            Row::Credential(credential) => credential.revision,
            Row::Letter(letter) => letter.revision,
            Row::Refusals(refusals) => refusals.revision,
            Row::Pause(pause) => pause.revision,
            Row::Counter(counter) => counter.revision,
            Row::Restored(restored) => restored.revision,
            Row::Password(password) => password.revision,
            Row::Passkey(passkey) => passkey.revision,
        }
    }
}

/// Which calls.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// State words; empty means every state.
    pub states: Vec<String>,
    /// Only of this server.
    pub server: Option<String>,
    /// Only of this agent.
    pub agent: Option<String>,
    /// Only to this recipient; an engine has an index for it.
    pub recipient: Option<RecipientKey>,
    /// Only calls that name no group or one of these; `None` means every call.
    pub groups: Option<Vec<String>>,
    /// Only permits, or only calls that are none.
    pub permit: Option<bool>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// At most.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// One page of calls.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The calls, with their texts.
    pub calls: Vec<Call>,
    /// Where the next page starts.
    pub next: Option<String>,
}

/// Calls that want attention.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// Their ids.
    pub calls: Vec<CallId>,
    /// When to look again.
    pub next: Option<Timestamp>,
}

/// A wake-up without content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The call that changed; `None`: rows changed (people, agents, letters). Facts alone give no hint.
    pub call: Option<CallId>,
}

impl Change {
    /// A change that only writes facts.
    pub fn of_facts(at: Timestamp, facts: Vec<Fact>) -> Change {
        Change { at, seen: Vec::new(), call: None, rows: Vec::new(), removed: Vec::new(), takes: Vec::new(), given_back: Vec::new(), facts }
    }

    /// A call's next revision together with the fact that tells of it.
    pub fn of_call(at: Timestamp, call: Call, fact: Fact) -> Change {
        Change { call: Some(CallWrite { call, after: None, room: None }), ..Change::of_facts(at, vec![fact]) }
    }

    /// One row and the fact that tells of it.
    pub fn of_row(at: Timestamp, row: Row, fact: Fact) -> Change {
        Change { rows: vec![row], ..Change::of_facts(at, vec![fact]) }
    }
}

impl Query {
    /// Whether the call is asked for; the one filter both engines use.
    pub fn matches(&self, call: &Call) -> bool {
        (self.states.is_empty() || self.states.iter().any(|word| word == call.state.word()))
            && self.server.as_ref().is_none_or(|server| *server == call.server)
            && self.agent.as_ref().is_none_or(|agent| *agent == call.agent)
            && self.recipient.as_ref().is_none_or(|recipient| call.recipient.as_ref() == Some(recipient))
            && self.groups.as_ref().is_none_or(|groups| call.reviewers.is_empty() || call.reviewers.iter().any(|group| groups.contains(group)))
            && self.permit.is_none_or(|permit| permit == call.is_permit())
    }
}
