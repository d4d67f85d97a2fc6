//! Every read of the sled engine, as plain blocking functions. They run on blocking threads, because a page of the
//! database that is not in its cache comes from the disk. Whoever reads a list takes a new moment for each slice of it:
//! the committer waits while a moment lives, and with it every change and everybody who looks behind it. A record that
//! cannot be read is an error that says so, never a missing one. Called by `Views` in `mod.rs`.

use super::disk::Disk;
use super::layout::{self, Tree};
use super::records::Records as _;
use super::snapshot::Snapshot;
use super::{blocks, known};
use crate::domain::audit::Entry;
use crate::domain::call::{AskKey, Call, CallId};
use crate::store::open;
use crate::store::record::CallHead;
use crate::store::rules::{self, Cursor, Start};
use crate::store::{Due, Kind, Page, Query, Row, StoreError};
use jiff::Timestamp;
use sled::IVec;
use std::ops::Bound;

/// Places of calls that are read as of one moment: keys of an index, or copies out of the register.
const PLACES: usize = 128;

/// Rows, or blocks of audit entries, that are read as of one moment. A row may be 24 KB of text.
const RECORDS: usize = 16;

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

/// A page. Each call is read as of a moment of its own, with its texts, and is on the page if it matches then; the places
/// come slice by slice. A call never changes its place and nobody looks behind the last one again, so a call is on the page
/// once at most, and one that matched all the while is on it. That is what whoever follows cursors gets from page to page,
/// and all that anybody may rest on: a decision is made by the revision.
pub(super) fn calls(disk: &Disk, query: &Query) -> Result<Page, StoreError> {
    rules::page(query, Places::of(disk, query), |id| {
        let seen = disk.snapshot();
        let head = seen.call_head(id)?.ok_or_else(|| StoreError::Corrupt("an index names a call that is not there".to_owned()))?;
        if query.matches(&head.call) { whole(&seen, head).map(Some) } else { Ok(None) }
    })
}

/// The places that a query asks for, in its order.
pub(super) struct Places<'a> {
    disk: &'a Disk,
    query: &'a Query,
    /// Of the next slice; nowhere behind the last one.
    start: Start,
    /// Places of the next slice: the first one has no more than a page of calls that all match needs.
    most: usize,
    slice: std::vec::IntoIter<Cursor>,
}

impl<'a> Places<'a> {
    fn of(disk: &'a Disk, query: &'a Query) -> Places<'a> {
        let most = PLACES.min(query.limit.saturating_add(1));
        Places { disk, query, start: rules::start(query), most, slice: Vec::new().into_iter() }
    }
}

impl Iterator for Places<'_> {
    type Item = Result<Cursor, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(place) = self.slice.next() {
            return Some(Ok(place));
        }
        let start = std::mem::replace(&mut self.start, Start::Nowhere);
        if start == Start::Nowhere {
            return None;
        }
        let most = std::mem::replace(&mut self.most, PLACES);
        let places = match slice(self.disk, self.query, &start, most) {
            Ok(places) => places,
            Err(cause) => return Some(Err(cause)),
        };
        if let Some(last) = places.last().filter(|_| places.len() == most) {
            self.start = Start::Behind(last.clone());
        }
        self.slice = places.into_iter();
        self.slice.next().map(Ok)
    }
}

fn slice(disk: &Disk, query: &Query, start: &Start, most: usize) -> Result<Vec<Cursor>, StoreError> {
    if open::serves(query) {
        let open = disk.open();
        let classes = open.places(query, start).into_iter().map(|places| Box::new(places.cloned().map(Ok)) as Sorted<'_>);
        return Merged::of(classes, query.newest_first).take(most).collect();
    }
    let seen = disk.snapshot();
    let states = layout::state_tags(&query.states).into_iter().map(|tag| of_state(&seen, query, tag, start));
    Merged::of(states, query.newest_first).take(most).collect()
}

/// The places of one state or class behind the start, in the order that is asked for.
type Sorted<'a> = Box<dyn Iterator<Item = Result<Cursor, StoreError>> + 'a>;

fn of_state<'a>(seen: &'a Snapshot<'_>, query: &Query, tag: u8, start: &Start) -> Sorted<'a> {
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
    let skipped = prefix.len();
    let place = move |(key, _): (IVec, IVec)| layout::read_place(key.get(skipped..).unwrap_or_default());
    Box::new(seen.range(tree, from, until, query.newest_first).map(move |pair| pair.and_then(place)))
}

/// The places of several states or classes as one sequence.
struct Merged<'a> {
    heads: Vec<(Option<Result<Cursor, StoreError>>, Sorted<'a>)>,
    newest_first: bool,
}

impl<'a> Merged<'a> {
    fn of(sources: impl Iterator<Item = Sorted<'a>>, newest_first: bool) -> Merged<'a> {
        Merged { heads: sources.map(|mut rest| (rest.next(), rest)).collect(), newest_first }
    }
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

pub(super) fn rows(disk: &Disk, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let wanted = RECORDS.min(most - rows.len());
        let seen = disk.snapshot();
        let pairs = known::of_kind(&seen, kind, rows.last().map(Row::key).or(after)).take(wanted);
        let slice: Vec<Row> = pairs.map(|pair| pair.and_then(|(key, value)| seen.record(Tree::Rows, &key, &value))).collect::<Result<_, _>>()?;
        let ended = slice.len() < wanted;
        rows.extend(slice);
        if ended || rows.len() >= most {
            return Ok(rows);
        }
    }
}

pub(super) fn entries(disk: &Disk, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < most {
        let from = entries.last().map_or(from, |last| last.seq + 1);
        let slice = some_entries(&disk.snapshot(), from)?;
        if slice.is_empty() {
            break;
        }
        entries.extend(slice);
    }
    entries.truncate(most);
    Ok(entries)
}

fn some_entries(seen: &Snapshot<'_>, from: u64) -> Result<Vec<Entry>, StoreError> {
    // The block that holds the first one may begin before it.
    let key = from.to_be_bytes();
    let begin = seen.range(Tree::Entries, Bound::Unbounded, Bound::Included(&key), true).next().transpose()?;
    let begin = begin.map_or_else(|| key.to_vec(), |(key, _)| key.to_vec());
    let mut entries = Vec::new();
    // One more than the slice has: all of the first block may lie before it.
    for pair in seen.range(Tree::Entries, Bound::Included(&begin), Bound::Unbounded, false).take(RECORDS + 1) {
        let (key, value) = pair?;
        entries.extend(blocks::read(seen, &key, &value)?.into_iter().filter(|entry| entry.seq >= from));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::tests::call;
    use super::super::{OnSled, Settings};
    use super::*;
    use crate::domain::audit::Fact;
    use crate::domain::call::Event;
    use crate::store::{Change, Store as _, Views as _};
    use serde_json::json;
    use std::time::Duration;

    fn change(call: Call) -> Change {
        Change::of_call(Timestamp::UNIX_EPOCH, call, Fact { kind: "test.fact", call: None, actor: "paraph".into(), data: json!({}).into() })
    }

    async fn store_of(calls: i64, folder: &std::path::Path) -> OnSled {
        let store = OnSled::open(&folder.join("data"), &Settings::default()).unwrap();
        for done in futures_util::future::join_all((0..calls).map(|number| store.commit(change(call(number))))).await {
            done.unwrap();
        }
        store
    }

    fn numbers(places: impl Iterator<Item = Result<Cursor, StoreError>>) -> Vec<i64> {
        places.map(|place| place.unwrap().at.as_second()).collect()
    }

    #[tokio::test]
    async fn a_commit_goes_on_in_the_middle_of_a_list_and_the_list_leaves_out_and_repeats_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let most = i64::try_from(PLACES).unwrap();
        let (last, gone, new) = (4 * most, 3 * most + 5, 5 * most);
        let store = store_of(last, folder.path()).await;
        let disk = &store.inner.disk;
        let states = || vec!["held".to_owned()];
        let of_register = Query { states: states(), groups: Some(Vec::new()), limit: usize::MAX, ..Query::default() };
        let of_index = Query { states: states(), limit: usize::MAX, ..Query::default() };
        assert!(open::serves(&of_register) && !open::serves(&of_index));
        for (round, query) in (0..).zip([of_register, of_index]) {
            let (gone, new) = (gone + round, new + round);
            let all = numbers(Places::of(disk, &query));
            let mut places = Places::of(disk, &query);
            let first = numbers(places.by_ref().take(2));
            let withdrawn = call(gone).after(&Event::Withdraw { why: "taken back".into() }, Timestamp::UNIX_EPOCH).unwrap();
            for change in [change(withdrawn), change(call(new))] {
                let committed = tokio::time::timeout(Duration::from_secs(30), store.commit(change)).await;
                assert!(committed.is_ok_and(|committed| committed.is_ok()), "the commit waits for the list");
            }
            let walked: Vec<i64> = first.into_iter().chain(numbers(places)).collect();
            let expected: Vec<i64> = all.into_iter().filter(|number| *number != gone).chain([new]).collect();
            assert_eq!(walked, expected);
        }
    }

    #[tokio::test]
    async fn pages_of_any_length_end_where_the_slices_end_or_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let calls = 2 * PLACES;
        let store = store_of(i64::try_from(calls).unwrap(), folder.path()).await;
        for (limit, groups) in
            [1, PLACES - 1, PLACES, PLACES + 1, calls - 1, calls, calls + 1].into_iter().flat_map(|limit| [(limit, None), (limit, Some(Vec::new()))])
        {
            let mut query = Query { states: vec!["held".to_owned()], groups, newest_first: true, limit, ..Query::default() };
            let mut walked = Vec::new();
            loop {
                let page = store.calls(&query).await.unwrap();
                walked.extend(page.calls.iter().map(|call| call.held_at.as_second()));
                let Some(next) = page.next else { break };
                assert_eq!(page.calls.len(), limit);
                query.cursor = Some(next);
                if limit == 1 && walked.len() > 3 {
                    break;
                }
            }
            let expected: Vec<i64> = (0..i64::try_from(calls).unwrap()).rev().take(if limit == 1 { walked.len() } else { calls }).collect();
            assert_eq!(walked, expected, "{limit}");
        }
        for (from, most) in [(1, usize::MAX), (1, 1), (7, 100), (calls as u64, 5), (calls as u64 + 1, 5), (3, 0)] {
            let entries: Vec<u64> = store.entries(from, most).await.unwrap().iter().map(|entry| entry.seq).collect();
            assert_eq!(entries, (from..=calls as u64).take(most).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn whoever_asks_whether_a_call_is_unsettled_never_waits_for_the_register() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_of(1, folder.path()).await;
        assert!(store.is_unsettled(&call(0).id));
        let (told, heard) = std::sync::mpsc::channel();
        let asking = store.clone();
        // While the moves of a batch are written down.
        std::thread::spawn(move || {
            store.inner.disk.move_open(std::iter::from_fn(|| {
                let asking = asking.clone();
                let told = told.clone();
                std::thread::spawn(move || told.send(asking.is_unsettled(&call(0).id)));
                assert_eq!(heard.recv_timeout(Duration::from_secs(30)), Ok(false), "it waited, or told what may be old");
                None
            }));
        })
        .join()
        .unwrap();
    }
}
