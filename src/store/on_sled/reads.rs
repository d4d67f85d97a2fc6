//! Every read of the sled engine, as plain blocking functions over one open store. They run on blocking threads
//! while the committer is kept out, so each answer is a snapshot of what is durable. A record that cannot be
//! read is an error that says so, never a missing one. Called by `Views` in `mod.rs`.

use super::disk::{Disk, damaged};
use super::layout::{self, HELD, Tree};
use crate::domain::audit::Entry;
use crate::domain::call::{AskKey, Call, CallId};
use crate::store::record::CallHead;
use crate::store::rules::{self, Cursor, Start};
use crate::store::{Due, Kind, Page, Query, Row, StoreError};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::ops::Bound;

pub(super) fn call(disk: &Disk, id: &CallId) -> Result<Option<Call>, StoreError> {
    disk.call_head(id)?.map(|head| whole(disk, head)).transpose()
}

fn whole(disk: &Disk, head: CallHead) -> Result<Call, StoreError> {
    let owner = layout::owner(Tree::Calls, head.call.id.as_str().as_bytes());
    head.join(|apart| disk.apart(&owner, apart))
}

pub(super) fn newest(disk: &Disk, key: &AskKey) -> Result<Option<Call>, StoreError> {
    let Some(id) = disk.value(Tree::Newest, key.0.as_str().as_bytes())? else { return Ok(None) };
    let id = String::from_utf8(id.to_vec()).map_err(|_| StoreError::Corrupt("an id is not UTF-8".to_owned()))?;
    call(disk, &CallId(id))
}

pub(super) fn calls(disk: &Disk, query: &Query) -> Result<Page, StoreError> {
    let start = rules::start(query);
    if start == Start::Nowhere {
        return Ok(Page::default());
    }
    let states = layout::state_tags(&query.states).into_iter().map(|tag| of_state(disk, query, tag, &start));
    let places = Merged { heads: states.map(|mut rest| (rest.next(), rest)).collect(), newest_first: query.newest_first };
    rules::page(query, places, |id| {
        let head = disk.call_head(id)?.ok_or_else(|| StoreError::Corrupt("an index names a call that is not there".to_owned()))?;
        if query.matches(&head.call) { whole(disk, head).map(Some) } else { Ok(None) }
    })
}

type Places = Box<dyn Iterator<Item = Result<Cursor, StoreError>>>;

/// The places of one state behind the start, in the order that is asked for.
fn of_state(disk: &Disk, query: &Query, tag: u8, start: &Start) -> Places {
    let (tree, prefix) = match &query.recipient {
        Some(recipient) => (Tree::ByRecipient, layout::recipient(recipient).to_vec()),
        None => (Tree::ByTime, Vec::new()),
    };
    let key = |rest: &[u8]| [&prefix[..], rest].concat();
    let all = (Bound::Included(key(&[tag])), Bound::Excluded(key(&[tag + 1])));
    let range = match start {
        Start::Behind(place) if query.newest_first => (all.0, Bound::Excluded(key(&layout::place_in(tag, place)))),
        Start::Behind(place) => (Bound::Excluded(key(&layout::place_in(tag, place))), all.1),
        Start::First | Start::Nowhere => all,
    };
    let (keys, skipped) = (disk.tree(tree).range::<Vec<u8>, _>(range), prefix.len());
    let read = move |found: sled::Result<(sled::IVec, sled::IVec)>| {
        let (key, _) = found.map_err(|cause| damaged(&cause))?;
        layout::read_place(key.get(skipped..).unwrap_or_default())
    };
    if query.newest_first { Box::new(keys.rev().map(read)) } else { Box::new(keys.map(read)) }
}

/// The places of several states as one sequence.
struct Merged {
    heads: Vec<(Option<Result<Cursor, StoreError>>, Places)>,
    newest_first: bool,
}

impl Iterator for Merged {
    type Item = Result<Cursor, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut best: Option<(usize, &Cursor)> = None;
        for (number, (head, _)) in self.heads.iter().enumerate() {
            match head {
                Some(Err(cause)) => return Some(Err(cause.clone())),
                Some(Ok(place)) if best.is_none_or(|(_, first)| if self.newest_first { place > first } else { place < first }) => {
                    best = Some((number, place));
                }
                Some(Ok(_)) | None => {}
            }
        }
        let (number, _) = best?;
        let (head, rest) = self.heads.get_mut(number)?;
        std::mem::replace(head, rest.next())
    }
}

/// Gives agent and server of every held call. The index tells them, so that a start with many is short; only a call that
/// an older binary held has to be read.
pub(super) fn held(disk: &Disk, mut each: impl FnMut(&str, &str)) -> Result<(), StoreError> {
    for pair in disk.tree(Tree::ByTime).scan_prefix([HELD]) {
        let (key, value) = pair.map_err(|cause| damaged(&cause))?;
        if let Some((agent, server)) = layout::read_whose(&value) {
            each(agent, server);
            continue;
        }
        let place = layout::read_place(&key)?;
        let head = disk.call_head(&place.id)?.ok_or_else(|| StoreError::Corrupt("an index names a call that is not there".to_owned()))?;
        each(&head.call.agent, &head.call.server);
    }
    Ok(())
}

pub(super) fn servers_of_held(disk: &Disk) -> Result<BTreeSet<String>, StoreError> {
    let mut servers = BTreeSet::new();
    held(disk, |_, server| {
        if !servers.contains(server) {
            servers.insert(server.to_owned());
        }
    })?;
    Ok(servers)
}

pub(super) fn due(disk: &Disk, until: Timestamp, most: usize) -> Result<Due, StoreError> {
    let mut due = Due::default();
    for key in disk.tree(Tree::ByDeadline).iter().keys() {
        let (deadline, id) = layout::read_deadline(&key.map_err(|cause| damaged(&cause))?)?;
        if deadline > until || due.calls.len() >= most {
            due.next = Some(deadline);
            break;
        }
        due.calls.push(id);
    }
    Ok(due)
}

pub(super) fn over(disk: &Disk, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
    let mut over = Vec::new();
    for key in disk.tree(Tree::ByEnd).iter().keys().take(most) {
        let (at, id) = layout::read_deadline(&key.map_err(|cause| damaged(&cause))?)?;
        if at >= until {
            break;
        }
        over.push(id);
    }
    Ok(over)
}

pub(super) fn row(disk: &Disk, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
    let key = layout::row(kind, key);
    disk.value(Tree::Rows, &key)?.map(|value| disk.record(Tree::Rows, &key, &value)).transpose()
}

pub(super) fn rows(disk: &Disk, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
    let from = match after {
        None => Bound::Included(layout::row(kind, "")),
        Some(after) => Bound::Excluded(layout::row(kind, after)),
    };
    let until = Bound::Excluded(vec![layout::kind_tag(kind) + 1]);
    let found = disk.tree(Tree::Rows).range::<Vec<u8>, _>((from, until)).take(most);
    found.map(|pair| pair.map_err(|cause| damaged(&cause)).and_then(|(key, value)| disk.record(Tree::Rows, &key, &value))).collect()
}

pub(super) fn entries(disk: &Disk, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
    let found = disk.tree(Tree::Entries).range(from.to_be_bytes()..).take(most);
    found.map(|pair| pair.map_err(|cause| damaged(&cause)).and_then(|(key, value)| disk.record(Tree::Entries, &key, &value))).collect()
}
