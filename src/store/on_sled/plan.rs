//! What a change does to the trees: checked against the store plus the changes that go before it in the same
//! batch, and written down as single operations. Only the committer plans, and only the committer writes, so
//! what was read while planning is still true in the transaction.

use super::disk::{Disk, damaged};
use super::layout::{self, Tree};
use super::reads;
use crate::domain::audit::Head;
use crate::domain::call::{AskKey, Call, CallId};
use crate::domain::limit::{Counter, CounterKey, group_of};
use crate::store::record::{self, Apart, CallHead, Written};
use crate::store::rules::{self, Ledger};
use crate::store::{Change, CommitError, Kind, Row, StoreError};
use std::collections::{BTreeMap, HashMap};

/// Operations by tree and key; `None` removes.
pub(super) type Operations = BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>;

/// How many calls are held and how many keys each counter has: counts that the committer keeps, because the store
/// has none.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) total: usize,
    of_agent: HashMap<String, usize>,
    counters: HashMap<String, usize>,
}

impl Held {
    /// Counts what the store holds, at open.
    pub(super) fn count(disk: &Disk) -> Result<Held, StoreError> {
        let mut held = Held::default();
        reads::held(disk, |agent, _| held.add(agent))?;
        for key in disk.tree(Tree::Rows).scan_prefix(layout::row(Kind::Counter, "")).keys() {
            let key = key.map_err(|cause| damaged(&cause))?;
            held.count_key(&String::from_utf8_lossy(&key[1..]));
        }
        Ok(held)
    }

    fn count_key(&mut self, key: &str) {
        *self.counters.entry(group_of(key).to_owned()).or_default() += 1;
    }

    fn forget_key(&mut self, key: &str) {
        if let Some(count) = self.counters.get_mut(group_of(key)) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counters.remove(group_of(key));
            }
        }
    }

    fn add(&mut self, agent: &str) {
        self.total += 1;
        match self.of_agent.get_mut(agent) {
            Some(count) => *count += 1,
            None => drop(self.of_agent.insert(agent.to_owned(), 1)),
        }
    }

    fn take(&mut self, agent: &str) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.of_agent.get_mut(agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_agent.remove(agent);
            }
        }
    }
}

/// Changes that will become durable together.
pub(super) struct Batch<'a> {
    disk: &'a Disk,
    /// What the transaction does.
    pub(super) operations: Operations,
    /// Files to be there before it.
    pub(super) bodies: Vec<(Apart, Vec<u8>)>,
    /// Files that may be needless after it.
    pub(super) dropped: Vec<Apart>,
    /// The chain after it.
    pub(super) head: Head,
    /// The count after it.
    pub(super) held: Held,
}

impl<'a> Batch<'a> {
    pub(super) fn new(disk: &'a Disk, head: Head, held: Held) -> Batch<'a> {
        Batch { disk, operations: Operations::new(), bodies: Vec::new(), dropped: Vec::new(), head, held }
    }

    /// What a change adds to the batch; the batch itself stays as it is.
    pub(super) fn plan(&self, change: &Change) -> Result<Plan, CommitError> {
        let counters = rules::check(change, self)?;
        let mut plan = Plan { head: self.head.clone(), held: self.held.clone(), ..Plan::default() };
        if let Some(write) = &change.call {
            plan.call(self, &write.call)?;
        }
        for row in &change.rows {
            let key = layout::row(row.kind(), row.key());
            plan.record(self, Tree::Rows, key, record::encode(row)?, Vec::new())?;
        }
        for counter in counters {
            if counter.revision == 1 {
                plan.held.count_key(counter.key.as_str());
            }
            let key = layout::row(Kind::Counter, counter.key.as_str());
            plan.record(self, Tree::Rows, key, record::encode(&Row::Counter(counter))?, Vec::new())?;
        }
        for (kind, key) in &change.removed {
            if *kind == Kind::Counter {
                plan.held.forget_key(key);
            }
            plan.remove(self, Tree::Rows, layout::row(*kind, key))?;
        }
        for entry in rules::chain(&mut plan.head, change.facts.clone(), change.at) {
            plan.record(self, Tree::Entries, entry.seq.to_be_bytes().to_vec(), record::encode(&entry)?, Vec::new())?;
        }
        Ok(plan)
    }

    /// Takes a plan that was made for this batch as it is.
    pub(super) fn add(&mut self, plan: Plan) {
        self.operations.extend(plan.operations);
        self.bodies.extend(plan.bodies);
        self.dropped.extend(plan.dropped);
        self.head = plan.head;
        self.held = plan.held;
    }

    /// The value after what is already in the batch.
    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.operations.get(&(tree, key.to_vec())) {
            Some(planned) => Ok(planned.clone()),
            None => Ok(self.disk.value(tree, key)?.map(|value| value.to_vec())),
        }
    }

    fn apart(&self, owner: &[u8], apart: &Apart) -> Result<Vec<u8>, StoreError> {
        if apart.is_file() {
            return match self.bodies.iter().find(|(name, _)| name == apart) {
                Some((_, bytes)) => Ok(bytes.clone()),
                None => self.disk.apart(owner, apart),
            };
        }
        let mut bytes = Vec::with_capacity(apart.bytes);
        for number in 0..apart.chunks() {
            bytes.extend(self.value(Tree::Chunks, &layout::chunk(owner, apart, number))?.unwrap_or_default());
        }
        Ok(bytes)
    }

    fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        let key = layout::row(kind, key);
        let Some(value) = self.value(Tree::Rows, &key)? else { return Ok(None) };
        record::decode(&value, |apart| self.apart(&layout::owner(Tree::Rows, &key), apart)).map(Some)
    }

    fn call_head(&self, id: &CallId) -> Result<Option<CallHead>, StoreError> {
        let key = id.as_str().as_bytes();
        let Some(value) = self.value(Tree::Calls, key)? else { return Ok(None) };
        record::decode(&value, |apart| self.apart(&layout::owner(Tree::Calls, key), apart)).map(Some)
    }
}

impl Ledger for Batch<'_> {
    fn call_revision(&self, id: &CallId) -> Result<Option<u64>, StoreError> {
        Ok(self.call_head(id)?.map(|head| head.call.revision))
    }

    fn newest_id(&self, key: &AskKey) -> Result<Option<CallId>, StoreError> {
        let value = self.value(Tree::Newest, key.0.as_str().as_bytes())?;
        value.map(|id| String::from_utf8(id).map(CallId).map_err(|_| StoreError::Corrupt("an id is not UTF-8".to_owned()))).transpose()
    }

    fn row_revision(&self, kind: Kind, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.row(kind, key)?.map(|row| row.revision()))
    }

    fn held_of(&self, agent: &str) -> (usize, usize) {
        (self.held.total, self.held.of_agent.get(agent).copied().unwrap_or(0))
    }

    fn counter(&self, key: &CounterKey) -> Result<Option<Counter>, StoreError> {
        Ok(match self.row(Kind::Counter, key.as_str())? {
            Some(Row::Counter(counter)) => Some(counter),
            _ => None,
        })
    }

    fn counters_of(&self, group: &str) -> usize {
        self.held.counters.get(group).copied().unwrap_or(0)
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
    /// The chain behind the change: its acknowledgement.
    pub(super) head: Head,
    held: Held,
}

impl Plan {
    fn put(&mut self, tree: Tree, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.operations.insert((tree, key), value);
    }

    fn call(&mut self, batch: &Batch<'_>, call: &Call) -> Result<(), StoreError> {
        let old = batch.call_head(&call.id)?;
        if let Some(old) = &old {
            for (tree, key) in found_by(&old.call) {
                self.put(tree, key, None);
            }
            if rules::is_held(&old.call) {
                self.held.take(&old.call.agent);
            }
        } else {
            self.put(Tree::Newest, call.ask_key().0.as_str().as_bytes().to_vec(), Some(call.id.as_str().as_bytes().to_vec()));
        }
        for (tree, key) in found_by(call) {
            let value = if tree == Tree::ByTime { layout::whose(call) } else { Vec::new() };
            self.put(tree, key, Some(value));
        }
        if rules::is_held(call) {
            self.held.add(&call.agent);
        }
        let (head, apart) = CallHead::split(call);
        let mut written = record::encode(&head)?;
        written.apart.extend(apart);
        let named = old.iter().flat_map(CallHead::names).cloned().collect();
        self.record(batch, Tree::Calls, call.id.as_str().as_bytes().to_vec(), written, named)
    }

    /// Writes a record and what it names, and removes what its last revision named and this one does not.
    /// `named` is what the last revision named inside the record.
    fn record(&mut self, batch: &Batch<'_>, tree: Tree, key: Vec<u8>, written: Written, mut named: Vec<Apart>) -> Result<(), StoreError> {
        let owner = layout::owner(tree, &key);
        if let Some(old) = batch.value(tree, &key)? {
            named.extend(record::named(&old)?);
        }
        for apart in named.iter().filter(|old| written.apart.iter().all(|(new, _)| new != *old)) {
            self.forget(&owner, apart);
        }
        for (apart, bytes) in written.apart {
            if !named.contains(&apart) {
                self.keep(&owner, apart, bytes);
            }
        }
        self.put(tree, key, Some(written.value));
        Ok(())
    }

    fn remove(&mut self, batch: &Batch<'_>, tree: Tree, key: Vec<u8>) -> Result<(), StoreError> {
        if let Some(old) = batch.value(tree, &key)?
            && let Some(apart) = record::named(&old)?
        {
            self.forget(&layout::owner(tree, &key), &apart);
        }
        self.put(tree, key, None);
        Ok(())
    }

    fn keep(&mut self, owner: &[u8], apart: Apart, bytes: Vec<u8>) {
        if apart.is_file() {
            self.put(Tree::Bodies, layout::body(&apart, owner), Some(Vec::new()));
            self.bodies.push((apart, bytes));
            return;
        }
        for (number, chunk) in (0..).zip(bytes.chunks(record::CHUNK_BYTES)) {
            self.put(Tree::Chunks, layout::chunk(owner, &apart, number), Some(chunk.to_vec()));
        }
    }

    fn forget(&mut self, owner: &[u8], apart: &Apart) {
        if apart.is_file() {
            self.put(Tree::Bodies, layout::body(apart, owner), None);
            self.dropped.push(apart.clone());
            return;
        }
        for number in 0..apart.chunks() {
            self.put(Tree::Chunks, layout::chunk(owner, apart, number), None);
        }
    }
}
