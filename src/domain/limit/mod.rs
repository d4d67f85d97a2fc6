//! What a limit counts: how much one call takes from which counter. Amounts are millionths, so that sums of money
//! add up exactly. A counter has two ledgers of the same size: what agents asked for and what was sent
//! (semantics.md 25), so that nobody asks more often than is sent, and a burst of approvals leaves at the limit's
//! pace. Made by `policy`, taken inside an engine's transaction, shown by `gate/limits`.

mod counter;

pub use counter::{Counter, Ledger, slack};

use super::call::millis;
use super::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One call, or one of whatever an argument counts, in millionths.
pub const ONE: u64 = 1_000_000;
/// The largest `max` of a limit (semantics.md 26).
pub const LARGEST_MAX: u64 = 100_000;
/// The longest window.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 24 * 3600);

/// Which counter: (server, counter, scope value), as `GROUP:VALUE`. The value is a digest, because it may be an
/// address; all keys of one counter share the group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CounterKey(String);

/// What a counter is called on a page. The value may be an address: it goes when the counter has nothing to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The server; `None` for a counter of all servers.
    pub server: Option<String>,
    /// As the operator named it.
    pub counter: String,
    /// The word of its scope.
    pub scope: String,
    /// Whose it is: an agent, a session, a tool, the value of an argument; empty for a server or all of them.
    pub value: String,
}

/// What one call takes from one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which counter.
    pub key: CounterKey,
    /// What it is called.
    pub label: Label,
    /// What answers and the audit call the limit.
    pub name: String,
    /// The length of its window.
    pub window: Duration,
    /// How much fits into a window, in millionths.
    pub max: u64,
    /// How much the call takes, in millionths.
    pub amount: u64,
    /// The operator's words for a refusal.
    pub reason: Option<String>,
}

/// A charge together with the ledgers it is written into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// What.
    pub charge: Charge,
    /// Into the ledger of what agents asked for.
    pub asked: bool,
    /// Into the ledger of what was sent.
    pub sent: bool,
    /// How many keys the counter may have.
    pub most_keys: usize,
}

/// A take that comes back to the ledger of what was sent, because the send provably never left; or to both ledgers,
/// because nobody asked for it: the rest of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveBack {
    /// To which counter.
    pub key: CounterKey,
    /// When it was taken.
    pub at: Timestamp,
    /// How much, in millionths.
    pub amount: u64,
    /// Also to the ledger of what agents asked for.
    pub asked: bool,
}

/// The store was restored from a backup: what was sent since is not known, so every window counts as full for its
/// length (semantics.md 31).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Compared by the engines. Starts at 1.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
}

impl CounterKey {
    /// The counter of these names. Scopes of different kinds never share a key.
    pub fn of(label: &Label) -> CounterKey {
        let group = CounterKey::group_named(label.server.as_deref(), &label.counter);
        CounterKey([group.as_str(), ":", part(&[label.scope.as_str(), "\n", label.value.as_str()].concat()).as_str()].concat())
    }

    /// The group of a counter of this name.
    pub fn group_named(server: Option<&str>, counter: &str) -> String {
        part(&format!("{}\n{}\n{counter}", server.is_some(), server.unwrap_or_default()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What all keys of the same counter begin with.
    pub fn group(&self) -> &str {
        group_of(&self.0)
    }
}

fn part(text: &str) -> String {
    // The first half of the hex digits.
    Digest::of_bytes(text.as_bytes()).as_str().trim_start_matches("sha256:").get(..32).unwrap_or_default().to_owned()
}

/// The group in the text of a key.
pub fn group_of(key: &str) -> &str {
    key.split_once(':').map_or(key, |(group, _)| group)
}

/// Charges that are alike draw on the same counters for the same amount; the rest of one need not be looked at.
impl std::hash::Hash for Charge {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.amount.hash(state);
    }
}

impl Take {
    /// Of an allowed call: asked and sent at once.
    pub fn at_once(charges: &[Charge], most_keys: usize) -> Vec<Take> {
        Take::all(charges, true, true, most_keys)
    }

    /// Of a call that is held.
    pub fn asked(charges: &[Charge], most_keys: usize) -> Vec<Take> {
        Take::all(charges, true, false, most_keys)
    }

    /// Of a call that leaves after an approval.
    pub fn sent(charges: &[Charge], most_keys: usize) -> Vec<Take> {
        Take::all(charges, false, true, most_keys)
    }

    /// Of so many allowed calls alike, before they are made.
    pub fn block(charges: &[Charge], places: u64, most_keys: usize) -> Vec<Take> {
        let mut takes = Take::at_once(charges, most_keys);
        takes.iter_mut().for_each(|take| take.charge.amount = take.charge.amount.saturating_mul(places));
        takes
    }

    fn all(charges: &[Charge], asked: bool, sent: bool, most_keys: usize) -> Vec<Take> {
        charges.iter().map(|charge| Take { charge: charge.clone(), asked, sent, most_keys }).collect()
    }
}

impl GiveBack {
    /// What these charges took at `at` for a send that never left.
    pub fn of(charges: &[Charge], at: Timestamp) -> Vec<GiveBack> {
        charges.iter().map(|charge| GiveBack { key: charge.key.clone(), at, amount: charge.amount, asked: false }).collect()
    }

    /// So many places of a block that was taken at `at` and that nobody used.
    pub fn unused(charges: &[Charge], at: Timestamp, places: u64) -> Vec<GiveBack> {
        let of = |charge: &Charge| GiveBack { key: charge.key.clone(), at, amount: charge.amount.saturating_mul(places), asked: true };
        charges.iter().map(of).collect()
    }

    /// Whether it is of the same take, so that the two can be one.
    pub fn is_of(&self, other: &GiveBack) -> bool {
        self.key == other.key && self.at == other.at && self.asked == other.asked
    }
}

/// A window's length as it is kept.
mod window {
    pub(super) use super::millis::{deserialize, serialize};
}
