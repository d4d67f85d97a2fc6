//! What is known without a look at the trees, so that a call at the door costs no thread: the rows that each call
//! needs, which are few, and which calls and refusals are certainly not there. A bit set of fixed size tells the
//! latter; with more keys than it is made for, more looks are needless and none is wrong. Filled by `open`, kept by
//! the committer, which writes a row here when it is durable and a key before it is there.

use super::layout::{self, Tree};
use super::records::Records;
use super::snapshot::Snapshot;
use crate::store::{Kind, Row, StoreError};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Bits of the set: 2 MiB. With a million keys one look in some hundreds is needless, with ten million half of them.
const BITS: usize = 1 << 24;
/// Bits that stand for one key.
const PROBES: u64 = 4;

/// The kinds of which all rows are kept here. Each is bounded by the people and agents that an operator lets in.
pub(super) fn keeps(kind: Kind) -> bool {
    match kind {
        Kind::Agent | Kind::Person | Kind::Credential | Kind::Pause | Kind::Restored => true,
        Kind::Letter | Kind::Refusals | Kind::Counter | Kind::Password | Kind::Passkey => false,
    }
}

const KEPT: [Kind; 5] = [Kind::Agent, Kind::Person, Kind::Credential, Kind::Pause, Kind::Restored];

/// The trees of which keys are noted in the bit set.
pub(super) const NOTED: [Tree; 3] = [Tree::Newest, Tree::Rows, Tree::ByRecipient];

/// What is noted of a key: by that it is asked for.
fn noted(tree: Tree, key: &[u8]) -> Option<&[u8]> {
    match tree {
        Tree::Newest => Some(key),
        Tree::Rows => Some(key).filter(|key| key.starts_with(&[layout::kind_tag(Kind::Refusals)])),
        // Recipient and state.
        Tree::ByRecipient => key.get(..=layout::RECIPIENT),
        Tree::Calls | Tree::ByTime | Tree::ByDeadline | Tree::Entries | Tree::Chunks | Tree::Bodies | Tree::ByEnd => None,
    }
}

pub(super) struct Known {
    rows: RwLock<BTreeMap<Kind, BTreeMap<String, Row>>>,
    bits: Vec<AtomicU64>,
}

impl Default for Known {
    fn default() -> Known {
        Known { rows: RwLock::default(), bits: std::iter::repeat_with(AtomicU64::default).take(BITS / 64).collect() }
    }
}

impl Known {
    /// Reads what there is, at open.
    pub(super) fn fill(&self, from: &Snapshot<'_>) -> Result<(), StoreError> {
        for pair in from.all(Tree::Newest) {
            self.may_come(Tree::Newest, &pair?.0);
        }
        for pair in from.all(Tree::ByRecipient) {
            self.may_come(Tree::ByRecipient, &pair?.0);
        }
        for pair in of_kind(from, Kind::Refusals, None) {
            self.may_come(Tree::Rows, &pair?.0);
        }
        for kind in KEPT {
            for pair in of_kind(from, kind, None) {
                let (key, value) = pair?;
                let row: Row = from.record(Tree::Rows, &key, &value)?;
                self.put(kind, row.key().to_owned(), Some(row));
            }
        }
        Ok(())
    }

    /// A row that is durable now; `None`: it was taken away.
    pub(super) fn put(&self, kind: Kind, key: String, row: Option<Row>) {
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let rows = rows.entry(kind).or_default();
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
    }

    /// A row of a kind that is kept here.
    pub(super) fn row(&self, kind: Kind, key: &str) -> Option<Row> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(&kind)?.get(key).cloned()
    }

    /// Rows of a kind that is kept here, in the order of their keys.
    pub(super) fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Vec<Row> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        rows.get(&kind).map(|rows| rows.range::<str, _>((from, Bound::Unbounded)).take(most).map(|(_, row)| row.clone()).collect()).unwrap_or_default()
    }

    /// The key is about to be written.
    pub(super) fn may_come(&self, tree: Tree, key: &[u8]) {
        let Some(key) = noted(tree, key) else { return };
        for bit in probes(tree, key) {
            self.bits[bit / 64].fetch_or(1 << (bit % 64), Ordering::AcqRel);
        }
    }

    /// Whether the key may be there; `false` is certain. Of keys of `Newest`, of `Rows` of refusals, and of what keys of
    /// `ByRecipient` begin with: recipient and state.
    pub(super) fn may_be(&self, tree: Tree, key: &[u8]) -> bool {
        probes(tree, key).all(|bit| self.bits[bit / 64].load(Ordering::Acquire) & (1 << (bit % 64)) != 0)
    }
}

/// The stored rows of a kind behind `after`.
pub(super) fn of_kind<'a>(from: &'a Snapshot<'_>, kind: Kind, after: Option<&str>) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + 'a {
    let first = layout::row(kind, after.unwrap_or_default());
    let begin = if after.is_some() { Bound::Excluded(&first[..]) } else { Bound::Included(&first[..]) };
    from.range(Tree::Rows, begin, Bound::Excluded(&[layout::kind_tag(kind) + 1]), false)
}

/// Kirsch and Mitzenmacher, "Less Hashing, Same Performance": all bits from two hashes.
fn probes(tree: Tree, key: &[u8]) -> impl Iterator<Item = usize> {
    let mut hasher = DefaultHasher::new();
    (tree as u8, key).hash(&mut hasher);
    let hash = hasher.finish();
    let (first, step) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    (0..PROBES).map(move |probe| usize::try_from(first.wrapping_add(probe.wrapping_mul(step))).unwrap_or_default() % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_is_known_not_to_be_there_and_what_was_may_be() {
        let known = Known::default();
        let key = |number: u32| format!("sha256:{number:064x}").into_bytes();
        (0..20_000).for_each(|number| known.may_come(Tree::Newest, &key(number)));
        assert!((0..20_000).all(|number| known.may_be(Tree::Newest, &key(number))));
        let needless = (20_000..40_000).filter(|number| known.may_be(Tree::Newest, &key(*number))).count();
        assert!(needless < 20, "{needless} of 20,000");
        assert!(!known.may_be(Tree::Rows, &key(1)));
        let rows = [Kind::Refusals, Kind::Letter].map(|kind| layout::row(kind, "one"));
        rows.iter().for_each(|key| known.may_come(Tree::Rows, key));
        assert_eq!(rows.map(|key| known.may_be(Tree::Rows, &key)), [true, false], "only what is asked for is noted");
        let recipient = [7; layout::RECIPIENT + 1];
        known.may_come(Tree::ByRecipient, &[&recipient[..], b"place"].concat());
        assert!(known.may_be(Tree::ByRecipient, &recipient));
    }
}
