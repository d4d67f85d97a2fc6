//! The engine for tests and trials: everything in maps under one mutex, gone with the process. It answers as
//! `on_sled` does, rule for rule, and stands in for a store that two gates share. Nothing is awaited under the
//! mutex, so a plain one serves.

use super::open::{self, Move, Open, Place};
use super::rules::{self, Cursor, Ledger, Start};
use super::{Change, CommitError, Due, Hint, Kind, Page, Query, Row, Space, Store, StoreError, Tally, Views};
use crate::domain::audit::{Entry, Head, Link};
use crate::domain::call::{AskKey, Call, CallId};
use crate::domain::limit::{Counter, CounterKey, group_of};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Hints that wait for a slow reader before it misses some.
const HINTS: usize = 1024;

/// The engine.
#[derive(Debug)]
pub struct InMemory {
    books: Mutex<Books>,
    space: Mutex<Space>,
    hints: broadcast::Sender<Hint>,
}

#[derive(Debug, Default)]
struct Books {
    calls: BTreeMap<CallId, Call>,
    by_time: BTreeSet<Cursor>,
    by_deadline: BTreeSet<(Timestamp, CallId)>,
    newest: HashMap<AskKey, CallId>,
    rows: BTreeMap<(Kind, String), Row>,
    entries: Vec<Link>,
    open: Open,
    head: Head,
}

impl Default for InMemory {
    fn default() -> InMemory {
        InMemory { books: Mutex::default(), space: Mutex::default(), hints: broadcast::Sender::new(HINTS) }
    }
}

impl InMemory {
    /// An empty store.
    pub fn new() -> InMemory {
        InMemory::default()
    }

    /// What a test wants the disk to be like.
    pub fn set_space(&self, space: Space) {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner) = space;
    }

    /// A change is checked whole before its first write, so what a panicking holder left behind is whole.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for Books {
    fn call_revision(&self, id: &CallId) -> Result<Option<u64>, StoreError> {
        Ok(self.calls.get(id).map(|call| call.revision))
    }

    fn newest_id(&self, key: &AskKey) -> Result<Option<CallId>, StoreError> {
        Ok(self.newest.get(key).cloned())
    }

    fn row_revision(&self, kind: Kind, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.rows.get(&(kind, key.to_owned())).map(Row::revision))
    }

    fn held_of(&self, agent: &str) -> (usize, usize) {
        let held = || self.calls.values().filter(|call| rules::is_held(call));
        (held().count(), held().filter(|call| call.agent == agent).count())
    }

    fn counter(&self, key: &CounterKey) -> Result<Option<Counter>, StoreError> {
        Ok(match self.rows.get(&(Kind::Counter, key.as_str().to_owned())) {
            Some(Row::Counter(counter)) => Some(counter.clone()),
            _ => None,
        })
    }

    fn counters_of(&self, group: &str) -> usize {
        let from = (Kind::Counter, group.to_owned());
        self.rows.range(from..).take_while(|((kind, key), _)| *kind == Kind::Counter && group_of(key) == group).count()
    }
}

impl Books {
    fn write(&mut self, change: Change, counters: Vec<Counter>) -> Head {
        let old = change.call.as_ref().and_then(|write| self.calls.get(&write.call.id));
        let to = change.call.as_ref().and_then(|write| Place::of(&write.call));
        let moved = Move { from: old.and_then(Place::of), to, ..Move::of_rows(&change) };
        self.open.apply(moved);
        if let Some(write) = change.call {
            self.write_call(write.call);
        }
        for row in change.rows.into_iter().chain(counters.into_iter().map(Row::Counter)) {
            self.rows.insert((row.kind(), row.key().to_owned()), row);
        }
        for removed in change.removed {
            self.rows.remove(&removed);
        }
        self.entries.extend(rules::chain(&mut self.head, &change.facts, change.at));
        self.head.clone()
    }

    fn write_call(&mut self, call: Call) {
        match self.calls.get(&call.id) {
            Some(old) => {
                self.by_time.remove(&Cursor::of(old));
                if let Some(deadline) = old.deadline() {
                    self.by_deadline.remove(&(deadline, old.id.clone()));
                }
            }
            None => {
                self.newest.insert(call.ask_key(), call.id.clone());
            }
        }
        self.by_time.insert(Cursor::of(&call));
        if let Some(deadline) = call.deadline() {
            self.by_deadline.insert((deadline, call.id.clone()));
        }
        self.calls.insert(call.id.clone(), call);
    }

    fn page(&self, query: &Query) -> Result<Page, StoreError> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let range = match rules::start(query) {
            Start::Nowhere => return Ok(Page::default()),
            Start::First => all,
            Start::Behind(place) if query.newest_first => (Bound::Unbounded, Bound::Excluded(place)),
            Start::Behind(place) => (Bound::Excluded(place), Bound::Unbounded),
        };
        let by_time = self.by_time.range(range);
        let places: Box<dyn Iterator<Item = &Cursor> + '_> = if query.newest_first { Box::new(by_time.rev()) } else { Box::new(by_time) };
        // What another engine has an index for must not count as looked at here either.
        let asked = |call: &Call| {
            (query.states.is_empty() || query.states.iter().any(|word| word == call.state.word()))
                && query.recipient.as_ref().is_none_or(|recipient| call.recipient.as_ref() == Some(recipient))
                && (!open::serves(query) || Query { server: None, agent: None, ..query.clone() }.matches(call))
        };
        let places = places.filter(|place| self.calls.get(&place.id).is_some_and(asked));
        rules::page(query, places.cloned().map(Ok), |id| Ok(self.calls.get(id).filter(|call| query.matches(call)).cloned()))
    }
}

#[async_trait]
impl Store for InMemory {
    async fn commit(&self, change: Change) -> Result<Head, CommitError> {
        let hint = rules::hint(&change);
        let head = {
            let mut books = self.books();
            let counters = rules::check(&change, &*books)?;
            books.write(change, counters)
        };
        if let Some(hint) = hint {
            // An error only says that nobody listens.
            let _ = self.hints.send(hint);
        }
        Ok(head)
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

#[async_trait]
impl Views for InMemory {
    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        Ok(self.books().calls.get(id).cloned())
    }

    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError> {
        let books = self.books();
        Ok(books.newest.get(key).and_then(|id| books.calls.get(id)).cloned())
    }

    async fn calls(&self, query: &Query) -> Result<Page, StoreError> {
        self.books().page(query)
    }

    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError> {
        let books = self.books();
        let mut due = Due::default();
        for (deadline, id) in &books.by_deadline {
            if *deadline > until || due.calls.len() >= most {
                due.next = Some(*deadline);
                break;
            }
            due.calls.push(id.clone());
        }
        Ok(due)
    }

    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
        let books = self.books();
        let mut over: Vec<_> = books.calls.values().filter_map(|call| Some((call.over_since()?, call.id.clone()))).filter(|(at, _)| *at < until).collect();
        over.sort();
        Ok(over.into_iter().take(most).map(|(_, id)| id).collect())
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.books().rows.get(&(kind, key.to_owned())).cloned())
    }

    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
        let from = match after {
            None => Bound::Included((kind, String::new())),
            Some(after) => Bound::Excluded((kind, after.to_owned())),
        };
        let books = self.books();
        Ok(books.rows.range((from, Bound::Unbounded)).take_while(|((found, _), _)| *found == kind).take(most).map(|(_, row)| row.clone()).collect())
    }

    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let skipped = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        self.books()
            .entries
            .iter()
            .skip(skipped)
            .take(most)
            .map(|link| link.entry().map_err(|cause| StoreError::Corrupt(format!("an audit entry cannot be read: {cause}"))))
            .collect()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.books().head.clone())
    }

    async fn held(&self) -> Result<usize, StoreError> {
        Ok(self.books().held_of("").0)
    }

    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError> {
        Ok(self.books().open.tally(groups))
    }

    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError> {
        Ok(self.books().open.of_agents())
    }

    async fn open_places(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>, StoreError> {
        Ok(self.books().open.first(states, agent, after, most))
    }

    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError> {
        Ok(self.books().open.servers_of_held())
    }

    fn is_unsettled(&self, id: &CallId) -> bool {
        self.books().open.is_unsettled(id)
    }

    fn space(&self) -> Space {
        *self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
