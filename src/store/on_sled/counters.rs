//! The counters of limits as the committer has them: read once, at hand over many batches, and written once in each
//! transaction, however many changes took from them. A counter with many takes in its window is 24 KB of text in seven
//! chunks; read and written anew for every change it cost more than all the rest of a call. Lent to a batch, which changes
//! it as it plans and gives it back when it is durable: what was planned and failed is forgotten with its batch.

use super::bounded::Step;
use super::disk::Disk;
use super::layout::{self, Tree};
use super::plan::Plan;
use super::records::Records as _;
use crate::domain::limit::Counter;
use crate::store::record::{self, Apart, CHUNK_BYTES};
use crate::store::{Kind, Row, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// Bytes of counters, counted as they are written, that stay at hand between two batches: some 340 with as many takes as
/// one can keep, or 10,000 with a few. In memory a take is 16 bytes of at least 18 written ones, and a list of them has
/// at most twice the room that it needs, so this is at most 15 MiB.
const AT_HAND: usize = 8 * 1024 * 1024;

/// Bytes of a counter besides its takes, as it is written; and about what it costs in memory besides them.
const USUAL_BYTES: usize = 512;

/// Bytes by which a change makes a counter longer, at most: a take in each ledger, of two numbers of 20 digits.
const TAKE_BYTES: usize = 96;

/// What changes make of counters, by key; `None`: it is taken away.
pub(super) type Next = BTreeMap<String, Option<Counter>>;

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Those that the batch has looked at, as they are behind its changes.
    here: HashMap<String, Kept>,
    /// Keys of those that changed since a transaction was closed.
    changed: Vec<String>,
    /// Operations that writing them takes.
    operations: usize,
    /// Those of earlier batches: when the young are half of what may be kept they become the old ones, and those go.
    young: HashMap<String, Kept>,
    young_bytes: usize,
    old: HashMap<String, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// `None`: it is not there.
    counter: Option<Counter>,
    /// What lies in the trees, or will by the transactions that are closed.
    stands: Option<Stands>,
    /// Changes since.
    changes: usize,
}

#[derive(Debug)]
struct Stands {
    bytes: usize,
    apart: Option<Apart>,
}

impl Kept {
    fn read(disk: &Disk, key: &str) -> Result<Kept, StoreError> {
        let key = layout::row(Kind::Counter, key);
        let Some(value) = disk.value(Tree::Rows, &key)? else { return Ok(Kept::default()) };
        let Row::Counter(counter) = disk.record(Tree::Rows, &key, &value)? else {
            return Err(StoreError::Corrupt("a counter's row holds another kind of row".to_owned()));
        };
        let apart = record::named(&value)?;
        let bytes = apart.as_ref().map_or(value.len(), |apart| apart.bytes);
        Ok(Kept { counter: Some(counter), stands: Some(Stands { bytes, apart }), changes: 0 })
    }

    fn bytes(&self) -> usize {
        self.stands.as_ref().map_or(USUAL_BYTES, |stands| stands.bytes)
    }

    /// Operations that writing it takes after so many changes: its row, the chunks that come and those that go.
    fn operations(&self, changes: usize) -> usize {
        let old = self.stands.as_ref().and_then(|stands| stands.apart.as_ref()).map_or(0, |apart| apart.bytes.div_ceil(CHUNK_BYTES));
        let bytes = self.bytes() + changes * TAKE_BYTES;
        if changes == 0 { 0 } else { 1 + old + if bytes > CHUNK_BYTES { bytes.div_ceil(CHUNK_BYTES) } else { 0 } }
    }
}

impl Counters {
    fn at(&mut self, disk: &Disk, key: &str) -> Result<&Kept, StoreError> {
        let place = match self.here.entry(key.to_owned()) {
            Entry::Occupied(found) => return Ok(found.into_mut()),
            Entry::Vacant(place) => place,
        };
        let young = self.young.remove(key);
        self.young_bytes -= young.as_ref().map_or(0, |kept| kept.bytes() + USUAL_BYTES);
        let kept = match young.or_else(|| self.old.remove(key)) {
            Some(kept) => kept,
            None => Kept::read(disk, key)?,
        };
        Ok(place.insert(kept))
    }

    /// A counter behind the changes of the batch.
    pub(super) fn counter(&mut self, disk: &Disk, key: &str) -> Result<Option<Counter>, StoreError> {
        Ok(self.at(disk, key)?.counter.clone())
    }

    /// Its revision.
    pub(super) fn revision(&mut self, disk: &Disk, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.at(disk, key)?.counter.as_ref().map(|counter| counter.revision))
    }

    /// Operations that the open transaction needs for its counters when a change makes these of them.
    pub(super) fn operations_with(&self, next: &Next) -> usize {
        let none = Kept::default();
        let more = next.keys().map(|key| self.here.get(key).unwrap_or(&none)).map(|kept| kept.operations(kept.changes + 1) - kept.operations(kept.changes));
        self.operations + more.sum::<usize>()
    }

    /// Takes what a change made of counters; says which keys have come and gone.
    pub(super) fn change(&mut self, next: Next) -> Vec<Step> {
        self.operations = self.operations_with(&next);
        let mut steps = Vec::new();
        for (key, counter) in next {
            let kept = self.here.entry(key.clone()).or_default();
            match (&kept.counter, &counter) {
                (None, Some(_)) => steps.push(Step::key(&key, 1)),
                (Some(_), None) => steps.push(Step::key(&key, -1)),
                (Some(_), Some(_)) | (None, None) => {}
            }
            if kept.changes == 0 {
                self.changed.push(key);
            }
            kept.counter = counter;
            kept.changes += 1;
        }
        steps
    }

    /// What the transaction that ends here writes of them. After an error the batch cannot be written.
    pub(super) fn write(&mut self, plan: &mut Plan) -> Result<(), StoreError> {
        for kept_key in &self.changed {
            let Some(kept) = self.here.get_mut(kept_key) else { continue };
            let key = layout::row(Kind::Counter, kept_key);
            let named = kept.stands.as_ref().and_then(|stands| stands.apart.clone());
            match &kept.counter {
                Some(counter) => {
                    // The copy stays instead of the first: its lists have no room to spare.
                    let row = Row::Counter(counter.clone());
                    let written = record::encode(&row)?;
                    let apart = written.apart.first().map(|(name, _)| name.clone());
                    let bytes = apart.as_ref().map_or(written.value.len(), |apart| apart.bytes);
                    plan.write(Tree::Rows, &key, written, named.as_slice());
                    kept.stands = Some(Stands { bytes, apart });
                    if let Row::Counter(counter) = row {
                        kept.counter = Some(counter);
                    }
                }
                None if kept.stands.take().is_some() => plan.gone(Tree::Rows, &key, named.as_ref()),
                None => {}
            }
            kept.changes = 0;
        }
        self.changed.clear();
        self.operations = 0;
        Ok(())
    }

    /// The batch is durable: what it looked at stays at hand for the next ones, within the bound.
    pub(super) fn settled(mut self) -> Counters {
        for (key, kept) in self.here.drain().filter(|(_, kept)| kept.counter.is_some()) {
            let bytes = kept.bytes() + USUAL_BYTES;
            if self.young_bytes + bytes > AT_HAND / 2 {
                self.old = std::mem::take(&mut self.young);
                self.young_bytes = 0;
            }
            self.young_bytes += bytes;
            self.young.insert(key, kept);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::committer::OPERATIONS_MOST;
    use super::super::open::Opened;
    use super::super::plan::{Batch, Operations};
    use super::super::{OnSled, Settings, open};
    use super::*;
    use crate::domain::audit::Fact;
    use crate::domain::limit::{Charge, CounterKey, Label, ONE, Take};
    use crate::store::{Change, Store as _, Views as _};
    use jiff::Timestamp;
    use std::path::Path;
    use std::time::Duration;

    fn charge(name: &str) -> Charge {
        let label = Label { server: Some("mail".into()), counter: name.into(), scope: "grant".into(), value: String::new() };
        let window = Duration::from_secs(3600);
        Charge { key: CounterKey::of(&label), label, name: name.into(), window, max: 10_000 * ONE, amount: ONE, reason: None }
    }

    fn take(charges: &[Charge], at: i64) -> Change {
        let fact = Fact { kind: "test.fact", call: None, actor: "paraph".into(), data: serde_json::json!({}).into() };
        Change { takes: Take::at_once(charges, 10_000), ..Change::of_facts(Timestamp::from_millisecond(1_700_000_000_000 + at).unwrap(), vec![fact]) }
    }

    fn opened(folder: &Path) -> Opened {
        open::open(&folder.join("data"), &Settings::default()).unwrap()
    }

    fn apply(disk: &Disk, operations: &Operations) {
        for ((tree, key), value) in operations {
            match value {
                Some(value) => drop(disk.tree(*tree).insert(key, value).unwrap()),
                None => drop(disk.tree(*tree).remove(key).unwrap()),
            }
        }
    }

    /// A batch of as many changes as become durable together, each with a take of each counter.
    fn planned<'a>(opened: &'a Opened, charges: &[Charge], from: i64) -> Batch<'a> {
        let head = super::super::blocks::head(&opened.disk).unwrap();
        let mut batch = Batch::new(&opened.disk, head, &opened.bounded, Counters::default());
        for at in from..from + 256 {
            let plan = batch.plan(&take(charges, at)).unwrap();
            batch.add(plan, OPERATIONS_MOST).unwrap();
        }
        batch.close().unwrap();
        batch
    }

    #[test]
    fn a_transaction_writes_a_counter_once_and_every_one_leaves_what_whole_changes_make() {
        let folder = tempfile::tempdir().unwrap();
        let opened = opened(folder.path());
        let charges = [charge("one"), charge("two"), charge("three")];
        for round in 0..4_u64 {
            let batch = planned(&opened, &charges, i64::try_from(round).unwrap() * 256);
            assert!(batch.transactions.len() > 1, "a crash can come between");
            for operations in &batch.transactions {
                assert!(operations.len() <= OPERATIONS_MOST, "{}", operations.len());
                let chunks = operations.iter().filter(|((tree, _), value)| *tree == Tree::Chunks && value.is_some()).count();
                assert!(chunks <= 7 * charges.len(), "{chunks} chunks of {} counters", charges.len());
                apply(&opened.disk, operations);
                let changes = super::super::blocks::head(&opened.disk).unwrap().seq;
                for charge in &charges {
                    let kept = Kept::read(&opened.disk, charge.key.as_str()).unwrap();
                    assert_eq!(kept.counter.map(|counter| counter.revision), Some(changes));
                }
            }
            assert_eq!(super::super::blocks::head(&opened.disk).unwrap().seq, (round + 1) * 256);
        }
        let apart: usize =
            charges.iter().map(|charge| Kept::read(&opened.disk, charge.key.as_str()).unwrap().stands.unwrap().apart.unwrap().chunks() as usize).sum();
        assert_eq!(opened.disk.tree(Tree::Chunks).len(), apart, "no chunk of an earlier revision stays");
    }

    #[tokio::test]
    async fn a_counter_at_hand_is_not_read_again_and_one_that_was_taken_away_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = OnSled::open(&folder.path().join("data"), &Settings::default()).unwrap();
        let (one, key) = ([charge("one")], charge("one").key);
        store.commit(take(&one, 0)).await.unwrap();
        // Below the engine: only whoever reads it again would miss it.
        store.inner.disk.tree(Tree::Rows).remove(layout::row(Kind::Counter, key.as_str())).unwrap();
        store.commit(take(&one, 1)).await.unwrap();
        let revision = async || store.row(Kind::Counter, key.as_str()).await.unwrap().map(|row| row.revision());
        assert_eq!(revision().await, Some(2));
        store.commit(Change { removed: vec![(Kind::Counter, key.as_str().to_owned())], ..take(&[], 2) }).await.unwrap();
        assert_eq!(revision().await, None);
        store.commit(take(&one, 3)).await.unwrap();
        assert_eq!(revision().await, Some(1));
    }

    #[test]
    fn what_stays_at_hand_is_bounded_and_what_was_looked_at_last_is_among_it() {
        let folder = tempfile::tempdir().unwrap();
        let opened = opened(folder.path());
        let mut counters = Counters::default();
        let kept = |bytes: usize| Kept { counter: Some(Counter::of(&charge("one"))), stands: Some(Stands { bytes, apart: None }), changes: 0 };
        for round in 0..40 {
            counters.here.extend((0..50).map(|number| (format!("{round} {number}"), kept(24_000))));
            counters = counters.settled();
            let bytes: usize = counters.young.values().chain(counters.old.values()).map(|kept| kept.bytes() + USUAL_BYTES).sum();
            assert!(bytes <= AT_HAND, "{bytes}");
            assert!((0..50).all(|number| counters.revision(&opened.disk, &format!("{round} {number}")).unwrap().is_some()));
            counters = counters.settled();
        }
        assert_eq!(counters.revision(&opened.disk, "0 0").unwrap(), None, "it is read from the trees again");
    }
}
