//! Every read of the sled engine, as plain blocking functions over one moment of it. They run on blocking threads,
//! because a page of the database that is not in its cache comes from the disk. A record that cannot be read is an
//! error that says so, never a missing one. Called by `Views` in `mod.rs`.

use super::layout::{self, Tree};
use super::records::Records as _;
use super::snapshot::{Range, Snapshot};
use super::{blocks, known};
use crate::domain::audit::Entry;
use crate::domain::call::{AskKey, Call, CallId};
use crate::store::open::Open;
use crate::store::record::CallHead;
use crate::store::rules::{self, Cursor, Start};
use crate::store::{Due, Kind, Page, Query, Row, StoreError};
use jiff::Timestamp;
use std::ops::Bound;

pub(super) fn call(seen: &Snapshot<'_>, id: &CallId) -> Result<Option<Call>, StoreError> {
    seen.call_head(id)?.map(|head| whole(seen, head)).transpose()
}

fn whole(seen: &Snapshot<'_>, head: CallHead) -> Result<Call, StoreError> {
    let owner = layout::owner(Tree::Calls, head.call.id.as_str().as_bytes());
    head.join(|apart| seen.apart(&owner, apart))
}

pub(super) fn newest(seen: &Snapshot<'_>, key: &AskKey) -> Result<Option<Call>, StoreError> {
    let Some(id) = seen.value(Tree::Newest, key.0.as_str().as_bytes())? else { return Ok(None) };
    let id = String::from_utf8(id.to_vec()).map_err(|_| StoreError::Corrupt("an id is not UTF-8".to_owned()))?;
    call(seen, &CallId(id))
}

pub(super) fn calls(seen: &Snapshot<'_>, open: &Open, query: &Query) -> Result<Page, StoreError> {
    let start = rules::start(query);
    if start == Start::Nowhere {
        return Ok(Page::default());
    }
    let sources: Vec<Places<'_>> = match open.places(query) {
        Some(classes) => classes.into_iter().map(Places::Of).collect(),
        None => layout::state_tags(&query.states).into_iter().map(|tag| of_state(seen, query, tag, &start)).collect(),
    };
    let places = Merged { heads: sources.into_iter().map(|mut rest| (rest.next(), rest)).collect(), newest_first: query.newest_first };
    rules::page(query, places, |id| {
        let head = seen.call_head(id)?.ok_or_else(|| StoreError::Corrupt("an index names a call that is not there".to_owned()))?;
        if query.matches(&head.call) { whole(seen, head).map(Some) } else { Ok(None) }
    })
}

/// The places of one state or class behind the start, in the order that is asked for.
enum Places<'a> {
    /// From a tree.
    In {
        pairs: Range<'a>,
        /// Bytes of each key before the place.
        skipped: usize,
    },
    /// From the register of what is open.
    Of(Box<dyn Iterator<Item = &'a Cursor> + 'a>),
}

impl Iterator for Places<'_> {
    type Item = Result<Cursor, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Places::In { pairs, skipped } => Some(pairs.next()?.and_then(|(key, _)| layout::read_place(key.get(*skipped..).unwrap_or_default()))),
            Places::Of(places) => places.next().cloned().map(Ok),
        }
    }
}

fn of_state<'a>(seen: &'a Snapshot<'_>, query: &Query, tag: u8, start: &Start) -> Places<'a> {
    let (tree, prefix) = match &query.recipient {
        Some(recipient) => (Tree::ByRecipient, layout::recipient(recipient).to_vec()),
        None => (Tree::ByTime, Vec::new()),
    };
    let key = |rest: &[u8]| [&prefix[..], rest].concat();
    let (first, end) = (key(&[tag]), key(&[tag + 1]));
    let place = if let Start::Behind(place) = start { Some(key(&layout::place_in(tag, place))) } else { None };
    let (from, until) = match &place {
        Some(place) if query.newest_first => (Bound::Included(&first[..]), Bound::Excluded(&place[..])),
        Some(place) => (Bound::Excluded(&place[..]), Bound::Excluded(&end[..])),
        None => (Bound::Included(&first[..]), Bound::Excluded(&end[..])),
    };
    Places::In { pairs: seen.range(tree, from, until, query.newest_first), skipped: prefix.len() }
}

/// The places of several states or classes as one sequence.
struct Merged<'a> {
    heads: Vec<(Option<Result<Cursor, StoreError>>, Places<'a>)>,
    newest_first: bool,
}

impl Iterator for Merged<'_> {
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

pub(super) fn due(seen: &Snapshot<'_>, until: Timestamp, most: usize) -> Result<Due, StoreError> {
    let mut due = Due::default();
    for pair in seen.all(Tree::ByDeadline) {
        let (deadline, id) = layout::read_deadline(&pair?.0)?;
        if deadline > until || due.calls.len() >= most {
            due.next = Some(deadline);
            break;
        }
        due.calls.push(id);
    }
    Ok(due)
}

pub(super) fn over(seen: &Snapshot<'_>, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
    let mut over = Vec::new();
    for pair in seen.all(Tree::ByEnd).take(most) {
        let (at, id) = layout::read_deadline(&pair?.0)?;
        if at >= until {
            break;
        }
        over.push(id);
    }
    Ok(over)
}

pub(super) fn rows(seen: &Snapshot<'_>, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
    known::of_kind(seen, kind, after).take(most).map(|pair| pair.and_then(|(key, value)| seen.record(Tree::Rows, &key, &value))).collect()
}

pub(super) fn entries(seen: &Snapshot<'_>, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
    // The block that holds the first one may begin before it.
    let key = from.to_be_bytes();
    let begin = seen.range(Tree::Entries, Bound::Unbounded, Bound::Included(&key), true).next().transpose()?;
    let begin = begin.map_or_else(|| key.to_vec(), |(key, _)| key.to_vec());
    let mut entries = Vec::new();
    for pair in seen.range(Tree::Entries, Bound::Included(&begin), Bound::Unbounded, false) {
        let (key, value) = pair?;
        entries.extend(blocks::read(seen, &key, &value)?.into_iter().filter(|entry| entry.seq >= from));
        if entries.len() >= most {
            break;
        }
    }
    entries.truncate(most);
    Ok(entries)
}
