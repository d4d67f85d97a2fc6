//! What every engine checks and orders alike: revisions, the newest identical call, room for held calls, rows
//! that must be there, the audit chain, pages and cursors. Pure functions over a narrow view of the engine, run
//! inside its transaction, so that two engines cannot disagree. Called by `in_memory` and `on_sled`.

use super::{Change, CommitError, Hint, Kind, Page, Query, StoreError};
use crate::domain::audit::{Fact, Head, Link};
use crate::domain::call::{AskKey, Call, CallId, State};
use crate::domain::limit::{Counter, CounterKey};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Index entries looked at for one page; a page that ends there has a cursor and may be short or empty.
pub const SCAN_MOST: usize = 2000;

/// What the rules look at.
pub trait Ledger {
    /// The stored revision of a call.
    fn call_revision(&self, id: &CallId) -> Result<Option<u64>, StoreError>;

    /// The newest call that is identical for its agent.
    fn newest_id(&self, key: &AskKey) -> Result<Option<CallId>, StoreError>;

    /// The stored revision of a row.
    fn row_revision(&self, kind: Kind, key: &str) -> Result<Option<u64>, StoreError>;

    /// How many calls are `Held`: of all agents, and of this one.
    fn held_of(&self, agent: &str) -> (usize, usize);

    /// What a limit counted.
    fn counter(&self, key: &CounterKey) -> Result<Option<Counter>, StoreError>;

    /// How many keys of this group of counters are stored.
    fn counters_of(&self, group: &str) -> usize;
}

/// When a counter that has as many keys as it may is asked again.
const CROWDED: std::time::Duration = std::time::Duration::from_secs(60);

/// Whether the change may be written, and the counters that are to be written with it. One record named twice in a
/// change is a `Conflict` too.
pub fn check(change: &Change, ledger: &impl Ledger) -> Result<Vec<Counter>, CommitError> {
    for seen in &change.seen {
        once(ledger.row_revision(seen.kind, &seen.key)?.unwrap_or(0) == seen.revision)?;
    }
    if let Some(write) = &change.call {
        let stored = ledger.call_revision(&write.call.id)?;
        follows(stored, write.call.revision)?;
        if stored.is_none() {
            if ledger.newest_id(&write.call.ask_key())? != write.after {
                return Err(CommitError::Conflict);
            }
            if let Some(room) = write.room.filter(|_| is_held(&write.call)) {
                let (total, of_agent) = ledger.held_of(&write.call.agent);
                if of_agent >= room.of_agent {
                    return Err(CommitError::Full { of_agent: true });
                }
                if total >= room.total {
                    return Err(CommitError::Full { of_agent: false });
                }
            }
        }
    }
    let mut named = BTreeSet::new();
    for row in &change.rows {
        follows(ledger.row_revision(row.kind(), row.key())?, row.revision())?;
        once(named.insert((row.kind(), row.key())))?;
    }
    for (kind, key) in &change.removed {
        once(ledger.row_revision(*kind, key)?.is_some())?;
        once(named.insert((*kind, key.as_str())))?;
    }
    // Last: who is told of a full limit would otherwise have passed.
    counted(change, ledger)
}

/// The counters after the change. What comes back comes back first, so that one change can count a send anew; all
/// of its takes fit, or none is taken.
fn counted(change: &Change, ledger: &impl Ledger) -> Result<Vec<Counter>, CommitError> {
    let mut counters: Vec<Counter> = Vec::with_capacity(change.takes.len() + change.given_back.len());
    for (index, back) in change.given_back.iter().enumerate() {
        let known = counters.iter().position(|counter| counter.key == back.key).map(|at| counters.remove(at));
        once(known.is_none() || change.given_back[..index].iter().all(|other| !back.is_of(other)))?;
        let stored = if known.is_some() { known } else { ledger.counter(&back.key)? };
        counters.extend(stored.map(|counter| counter.given_back(back, change.at)));
    }
    let mut full: Option<(Timestamp, &str)> = None;
    for (index, take) in change.takes.iter().enumerate() {
        let charge = &take.charge;
        once(change.takes[..index].iter().all(|other| other.charge.key != charge.key))?;
        let given_back = counters.iter().position(|counter| counter.key == charge.key).map(|at| counters.remove(at));
        let stored = if given_back.is_some() { given_back } else { ledger.counter(&charge.key)? };
        let new = counters.iter().filter(|counter| counter.revision == 1 && counter.key.group() == charge.key.group()).count();
        let taken = match stored {
            None if ledger.counters_of(charge.key.group()) + new >= take.most_keys => Err(change.at + CROWDED),
            stored => stored.unwrap_or_else(|| Counter::of(charge)).taken(take, change.at),
        };
        match taken {
            Ok(counter) => counters.push(counter),
            Err(until) if full.is_none_or(|(latest, _)| until > latest) => full = Some((until, &charge.name)),
            Err(_) => {}
        }
    }
    match full {
        Some((until, limit)) => Err(CommitError::Limited { limit: limit.to_owned(), until }),
        None => Ok(counters),
    }
}

fn follows(stored: Option<u64>, new: u64) -> Result<(), CommitError> {
    once(stored.unwrap_or(0).checked_add(1) == Some(new))
}

fn once(holds: bool) -> Result<(), CommitError> {
    if holds { Ok(()) } else { Err(CommitError::Conflict) }
}

/// Whether the call counts as held.
pub fn is_held(call: &Call) -> bool {
    matches!(call.state, State::Held { .. })
}

/// The entries of a change, chained to `head`; `head` moves on.
pub fn chain(head: &mut Head, facts: &[Fact], at: Timestamp) -> Vec<Link> {
    let mut links = Vec::with_capacity(facts.len());
    for fact in facts {
        let link = Link::after(head, fact, at);
        link.head.clone_into(head);
        links.push(link);
    }
    links
}

/// Whom to wake. A change of facts alone wakes nobody: no waiter waits for an audit entry.
pub fn hint(change: &Change) -> Option<Hint> {
    match &change.call {
        Some(write) => Some(Hint { call: Some(write.call.id.clone()) }),
        None if change.rows.is_empty() && change.removed.is_empty() => None,
        None => Some(Hint { call: None }),
    }
}

/// A call's place in time: when it was held, then its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When it was held.
    pub at: Timestamp,
    /// Which call.
    pub id: CallId,
}

impl Cursor {
    /// The place of a call.
    pub fn of(call: &Call) -> Cursor {
        Cursor { at: call.held_at, id: call.id.clone() }
    }

    /// Reads a cursor that a client sent back; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (at, id) = text.split_once('.')?;
        let at = Timestamp::from_nanosecond(at.parse().ok()?).ok()?;
        Some(Cursor { at, id: CallId(id.to_owned()) })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.at.as_nanosecond(), self.id)
    }
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first call.
    First,
    /// Behind this one.
    Behind(Cursor),
    /// The cursor is none of ours: an empty page, so that a client that follows cursors ends.
    Nowhere,
}

impl Query {
    /// Whether its cursor, if it has one, can be one of ours; for an edge that wants to say so.
    pub fn has_a_start(&self) -> bool {
        start(self) != Start::Nowhere
    }
}

/// Where the page of a query starts.
pub fn start(query: &Query) -> Start {
    match &query.cursor {
        None => Start::First,
        Some(text) => Cursor::parse(text).map_or(Start::Nowhere, Start::Behind),
    }
}

/// One page from the index's places in order, already behind the cursor and of the asked states. `load` gives
/// the call, or `None` when the query's other filters leave it out.
pub fn page(
    query: &Query,
    places: impl Iterator<Item = Result<Cursor, StoreError>>,
    mut load: impl FnMut(&CallId) -> Result<Option<Call>, StoreError>,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let mut last: Option<Cursor> = None;
    for (looked_at, place) in places.enumerate() {
        if page.calls.len() >= query.limit || looked_at >= SCAN_MOST {
            page.next = last.map(|place| place.to_string());
            break;
        }
        let place = place?;
        page.calls.extend(load(&place.id)?);
        last = Some(place);
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Cursor {
        Cursor { at: Timestamp::UNIX_EPOCH, id: CallId(format!("c_{number:08}")) }
    }

    #[test]
    fn a_page_stops_looking_and_says_where_to_go_on() {
        let query = Query { limit: 10, ..Query::default() };
        let mut looked_at = 0;
        let found = page(&query, (0..).map(|number| Ok(place(number))), |_| {
            looked_at += 1;
            Ok(None)
        });
        assert_eq!(looked_at, SCAN_MOST);
        assert_eq!(found.unwrap().next.and_then(|next| Cursor::parse(&next)), Some(place(SCAN_MOST - 1)));
        let end = page(&query, (0..SCAN_MOST).map(|number| Ok(place(number))), |_| Ok(None)).unwrap();
        assert_eq!(end.next, None);
    }
}
