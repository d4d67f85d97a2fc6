//! What a change does to the trees: checked against the store plus the changes that go before it in the same
//! batch, and written down as single operations. Only the committer plans, and only the committer writes, so
//! what was read while planning is still true in the transaction.

use super::disk::Disk;
use super::layout::{self, TREES, Tree};
use super::records::Records;
use super::snapshot::Before;
use super::tally::{Step, Tally};
use super::{blocks, known};
use crate::domain::audit::Head;
use crate::domain::call::{AskKey, Call, CallId};
use crate::domain::limit::{Counter, CounterKey};
use crate::store::open::{Move, Place};
use crate::store::record::{self, Apart, CallHead, Written};
use crate::store::rules::{self, Ledger};
use crate::store::{Change, CommitError, Kind, Row, StoreError};
use sled::IVec;
use std::collections::BTreeMap;

/// Operations by tree and key; `None` removes.
pub(super) type Operations = BTreeMap<(Tree, IVec), Option<IVec>>;

/// Changes that will become durable together, by one sync. They are written in several transactions, each of whole
/// changes: a crash in between leaves the first ones, and nobody was told of any.
pub(super) struct Batch<'a> {
    disk: &'a Disk,
    tally: &'a Tally,
    /// What the transactions do, in this order.
    pub(super) transactions: Vec<Operations>,
    /// The same as one, to look things up.
    planned: [BTreeMap<IVec, Option<IVec>>; TREES.len()],
    /// Files to be there before it.
    pub(super) bodies: Vec<(Apart, Vec<u8>)>,
    /// Files that may be needless after it.
    pub(super) dropped: Vec<Apart>,
    /// Rows of the kinds that are kept at hand.
    pub(super) rows: Vec<(Kind, String, Option<Row>)>,
    /// The chain after it.
    pub(super) head: Head,
    /// What it counts.
    pub(super) steps: Vec<Step>,
    /// What it moves in the register of what is open.
    pub(super) moves: Vec<Move>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(disk: &'a Disk, head: Head, tally: &'a Tally) -> Batch<'a> {
        let (transactions, bodies, dropped, rows, steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Batch { disk, tally, transactions, planned: Default::default(), bodies, dropped, rows, head, steps, moves: Vec::new() }
    }

    /// What a change adds to the batch, and its facts go with it; the batch itself stays as it is.
    pub(super) fn plan(&self, change: &Change) -> Result<Plan, CommitError> {
        let counters = rules::check(change, self)?;
        let mut plan = Plan { head: self.head.clone(), moved: Move::of_rows(change), ..Plan::default() };
        if let Some(write) = &change.call {
            plan.call(self, &write.call)?;
        }
        for row in &change.rows {
            plan.row(self, row)?;
        }
        for counter in counters {
            if counter.revision == 1 {
                plan.steps.push(Step::key(counter.key.as_str(), 1));
            }
            plan.row(self, &Row::Counter(counter))?;
        }
        for (kind, key) in &change.removed {
            if *kind == Kind::Counter {
                plan.steps.push(Step::key(key, -1));
            }
            if known::keeps(*kind) {
                plan.rows.push((*kind, key.clone(), None));
            }
            plan.remove(self, Tree::Rows, &layout::row(*kind, key))?;
        }
        for (key, written) in blocks::write(&rules::chain(&mut plan.head, &change.facts, change.at))? {
            // Nothing stands there: the number is new.
            plan.write(Tree::Entries, &key, written, &[]);
        }
        Ok(plan)
    }

    /// Takes a plan that was made for this batch as it is. A transaction gets no more than so many operations, unless
    /// a single change has more.
    pub(super) fn add(&mut self, plan: Plan, together: usize) {
        for ((tree, key), value) in &plan.operations {
            self.planned[*tree as usize].insert(key.clone(), value.clone());
        }
        match self.transactions.last_mut() {
            Some(last) if last.len() + plan.operations.len() <= together => last.extend(plan.operations),
            _ if plan.operations.is_empty() => {}
            _ => self.transactions.push(plan.operations),
        }
        self.bodies.extend(plan.bodies);
        self.dropped.extend(plan.dropped);
        self.rows.extend(plan.rows);
        self.head = plan.head;
        self.steps.extend(plan.steps);
        self.moves.push(plan.moved);
    }

    /// What stands now where the batch writes.
    pub(super) fn before(&self) -> Result<Before, StoreError> {
        let mut before = Before::default();
        for (tree, _) in TREES {
            for key in self.planned[tree as usize].keys() {
                // Entries are only added.
                let stands = if tree == Tree::Entries { None } else { self.disk.value(tree, key)? };
                before.put(tree, key.clone(), stands);
            }
        }
        Ok(before)
    }

    /// How many calls are held after it.
    pub(super) fn held(&self) -> usize {
        self.tally.held_of(&self.steps, "").0
    }

    /// The keys of a tree that the batch writes.
    pub(super) fn keys(&self, tree: Tree) -> impl Iterator<Item = &IVec> {
        self.planned[tree as usize].keys()
    }
}

/// The trees behind what is already in the batch.
impl Records for Batch<'_> {
    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.planned[tree as usize].get(key) {
            Some(planned) => Ok(planned.clone()),
            None => self.disk.value(tree, key),
        }
    }

    fn file(&self, apart: &Apart) -> Result<Vec<u8>, StoreError> {
        match self.bodies.iter().find(|(name, _)| name == apart) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => self.disk.file(apart),
        }
    }
}

impl Ledger for Batch<'_> {
    fn call_revision(&self, id: &CallId) -> Result<Option<u64>, StoreError> {
        Ok(self.call_head(id)?.map(|head| head.call.revision))
    }

    fn newest_id(&self, key: &AskKey) -> Result<Option<CallId>, StoreError> {
        let value = self.value(Tree::Newest, key.0.as_str().as_bytes())?;
        value.map(|id| String::from_utf8(id.to_vec()).map(CallId).map_err(|_| StoreError::Corrupt("an id is not UTF-8".to_owned()))).transpose()
    }

    fn row_revision(&self, kind: Kind, key: &str) -> Result<Option<u64>, StoreError> {
        let here = self.rows.iter().rev().find(|(of, name, _)| *of == kind && name == key);
        match here {
            Some((_, _, row)) => Ok(row.as_ref().map(Row::revision)),
            None if known::keeps(kind) => Ok(self.disk.known.row(kind, key).map(|row| row.revision())),
            None => Ok(self.row(kind, key)?.map(|row| row.revision())),
        }
    }

    fn held_of(&self, agent: &str) -> (usize, usize) {
        self.tally.held_of(&self.steps, agent)
    }

    fn counter(&self, key: &CounterKey) -> Result<Option<Counter>, StoreError> {
        Ok(match self.row(Kind::Counter, key.as_str())? {
            Some(Row::Counter(counter)) => Some(counter),
            _ => None,
        })
    }

    fn counters_of(&self, group: &str) -> usize {
        self.tally.counters_of(&self.steps, group)
    }
}

/// The index keys by which a call is found. The order of puts makes a key that both revisions have stay.
pub(super) fn found_by(call: &Call) -> impl Iterator<Item = (Tree, Vec<u8>)> {
    let by_time = Some((Tree::ByTime, layout::by_time(call)));
    let by_deadline = layout::by_deadline(call).map(|key| (Tree::ByDeadline, key));
    let by_recipient = layout::by_recipient(call).map(|key| (Tree::ByRecipient, key));
    let by_end = layout::by_end(call).map(|key| (Tree::ByEnd, key));
    [by_time, by_deadline, by_recipient, by_end].into_iter().flatten()
}

/// What one change adds to a batch.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Operations.
    pub(super) operations: Operations,
    bodies: Vec<(Apart, Vec<u8>)>,
    dropped: Vec<Apart>,
    rows: Vec<(Kind, String, Option<Row>)>,
    /// The chain behind the change: its acknowledgement.
    pub(super) head: Head,
    steps: Vec<Step>,
    moved: Move,
}

impl Plan {
    fn put(&mut self, tree: Tree, key: &[u8], value: Option<Vec<u8>>) {
        self.operations.insert((tree, key.into()), value.map(IVec::from));
    }

    fn call(&mut self, batch: &Batch<'_>, call: &Call) -> Result<(), StoreError> {
        let old = batch.call_head(&call.id)?;
        self.moved.from = old.as_ref().and_then(|old| Place::of(&old.call));
        self.moved.to = Place::of(call);
        if let Some(old) = &old {
            for (tree, key) in found_by(&old.call) {
                self.put(tree, &key, None);
            }
            if rules::is_held(&old.call) {
                self.steps.push(Step::held(&old.call.agent, -1));
            }
        } else {
            self.put(Tree::Newest, call.ask_key().0.as_str().as_bytes(), Some(call.id.as_str().as_bytes().to_vec()));
        }
        for (tree, key) in found_by(call) {
            let value = if tree == Tree::ByTime { layout::about(call) } else { Vec::new() };
            self.put(tree, &key, Some(value));
        }
        if rules::is_held(call) {
            self.steps.push(Step::held(&call.agent, 1));
        }
        let (head, apart) = CallHead::split(call);
        let mut written = record::encode(&head)?;
        written.apart.extend(apart);
        let named: Vec<_> = old.iter().flat_map(CallHead::names).cloned().collect();
        self.record(batch, Tree::Calls, call.id.as_str().as_bytes(), written, named)
    }

    fn row(&mut self, batch: &Batch<'_>, row: &Row) -> Result<(), StoreError> {
        if known::keeps(row.kind()) {
            self.rows.push((row.kind(), row.key().to_owned(), Some(row.clone())));
        }
        self.record(batch, Tree::Rows, &layout::row(row.kind(), row.key()), record::encode(row)?, Vec::new())
    }

    /// Writes a record and what it names, and removes what its last revision named and this one does not.
    /// `named` is what the last revision named inside the record.
    fn record(&mut self, batch: &Batch<'_>, tree: Tree, key: &[u8], written: Written, mut named: Vec<Apart>) -> Result<(), StoreError> {
        if let Some(old) = batch.value(tree, key)? {
            named.extend(record::named(&old)?);
        }
        self.write(tree, key, written, &named);
        Ok(())
    }

    fn write(&mut self, tree: Tree, key: &[u8], written: Written, named: &[Apart]) {
        if !(named.is_empty() && written.apart.is_empty()) {
            let owner = layout::owner(tree, key);
            for apart in named.iter().filter(|old| written.apart.iter().all(|(new, _)| new != *old)) {
                self.forget(&owner, apart);
            }
            for (apart, bytes) in written.apart {
                if !named.contains(&apart) {
                    self.keep(&owner, apart, bytes);
                }
            }
        }
        self.put(tree, key, Some(written.value));
    }

    fn remove(&mut self, batch: &Batch<'_>, tree: Tree, key: &[u8]) -> Result<(), StoreError> {
        if let Some(old) = batch.value(tree, key)?
            && let Some(apart) = record::named(&old)?
        {
            self.forget(&layout::owner(tree, key), &apart);
        }
        self.put(tree, key, None);
        Ok(())
    }

    fn keep(&mut self, owner: &[u8], apart: Apart, bytes: Vec<u8>) {
        if apart.is_file() {
            self.put(Tree::Bodies, &layout::body(&apart, owner), Some(Vec::new()));
            self.bodies.push((apart, bytes));
            return;
        }
        for (number, chunk) in (0..).zip(bytes.chunks(record::CHUNK_BYTES)) {
            self.put(Tree::Chunks, &layout::chunk(owner, &apart, number), Some(chunk.to_vec()));
        }
    }

    fn forget(&mut self, owner: &[u8], apart: &Apart) {
        if apart.is_file() {
            self.put(Tree::Bodies, &layout::body(apart, owner), None);
            self.dropped.push(apart.clone());
            return;
        }
        for number in 0..apart.chunks() {
            self.put(Tree::Chunks, &layout::chunk(owner, apart, number), None);
        }
    }
}
