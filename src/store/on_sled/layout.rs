//! Which trees there are and how their keys are spelled. Numbers are big-endian and times are shifted to be
//! unsigned, so that the order of the keys is the order that is asked for. Changing anything here needs a new
//! format number in `open.rs`. Used by `plan` for writing and by `reads` for reading.

use crate::domain::call::{Call, CallId};
use crate::domain::recipient::RecipientKey;
use crate::store::open::{About, Place};
use crate::store::record::Apart;
use crate::store::rules::Cursor;
use crate::store::{Kind, StoreError};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// The trees, in the order in which a transaction takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    /// Id → head of the call.
    Calls,
    /// State, time of the hold, id → what the register keeps of an open call, else nothing.
    ByTime,
    /// Deadline, id → nothing.
    ByDeadline,
    /// Ask key → id.
    Newest,
    /// Kind, key → row.
    Rows,
    /// Number of the first → block of audit entries (blocks.rs).
    Entries,
    /// Owner, SHA-256, number of the chunk → chunk.
    Chunks,
    /// SHA-256, owner → nothing: who needs a file in `bodies`.
    Bodies,
    /// SHA-256 of agent, server and recipient; state, time of the hold, id → nothing.
    ByRecipient,
    /// Time of the end, id → nothing: calls that are over and still have their texts.
    ByEnd,
}

/// Every tree, at the index that is its number.
pub(super) const TREES: [(Tree, &str); 10] = [
    (Tree::Calls, "calls"),
    (Tree::ByTime, "calls_by_time"),
    (Tree::ByDeadline, "calls_by_deadline"),
    (Tree::Newest, "newest"),
    (Tree::Rows, "rows"),
    (Tree::Entries, "entries"),
    (Tree::Chunks, "chunks"),
    (Tree::Bodies, "bodies"),
    (Tree::ByRecipient, "calls_by_recipient"),
    (Tree::ByEnd, "calls_by_end"),
];

/// The state words at the index that stands for them in `ByTime`. Never reorder.
const STATES: [&str; 10] = ["held", "approved", "sending", "answered", "rejected", "changes_requested", "expired", "withdrawn", "lapsed", "unconfirmed"];

/// Bytes of a time in a key.
const TIME: usize = 16;

/// Bytes of a recipient in a key.
pub(super) const RECIPIENT: usize = 32;

/// The index of the state words that a query names; all when it names none.
pub(super) fn state_tags(words: &[String]) -> Vec<u8> {
    (0_u8..).zip(STATES).filter(|(_, state)| words.is_empty() || words.iter().any(|word| word == state)).map(|(tag, _)| tag).collect()
}

/// The index of held calls.
pub(super) const HELD: u8 = 0;

fn time(at: Timestamp) -> [u8; TIME] {
    (at.as_nanosecond().cast_unsigned() ^ (1 << 127)).to_be_bytes()
}

fn read_time(key: &[u8]) -> Option<Timestamp> {
    let bytes: [u8; TIME] = key.get(..TIME)?.try_into().ok()?;
    Timestamp::from_nanosecond((u128::from_be_bytes(bytes) ^ (1 << 127)).cast_signed()).ok()
}

fn timed(at: Timestamp, id: &CallId) -> Vec<u8> {
    [&time(at)[..], id.as_str().as_bytes()].concat()
}

fn read_timed(key: &[u8]) -> Result<(Timestamp, CallId), StoreError> {
    let read = || {
        let id = std::str::from_utf8(key.get(TIME..)?).ok()?;
        Some((read_time(key)?, CallId(id.to_owned())))
    };
    read().ok_or_else(|| StoreError::Corrupt("an index key is not of its form".to_owned()))
}

/// Key in `ByTime`.
pub(super) fn by_time(call: &Call) -> Vec<u8> {
    let tag = (0_u8..).zip(STATES).find(|(_, word)| *word == call.state.word()).map_or(u8::MAX, |(tag, _)| tag);
    place_in(tag, &Cursor::of(call))
}

/// Longest value in `ByTime`, bytes: a value may have 4 KiB, and an index is to be small. The names of some thirty groups.
const ABOUT_MOST: usize = 1024;

/// Value in `ByTime`: what the register of open calls needs of one, so that a start need not read each of many. Nothing
/// for calls that are over, for those of which it would be long, nor from a binary before format 5.
pub(super) fn about(call: &Call) -> Vec<u8> {
    let about = Place::of(call).and_then(|place| serde_json::to_vec(&place.about()).ok());
    about.filter(|about| about.len() <= ABOUT_MOST).unwrap_or_default()
}

/// The register's place of a pair in `ByTime`; `None` when the value does not tell it.
pub(super) fn read_about(key: &[u8], value: &[u8]) -> Result<Option<Place>, StoreError> {
    let at = read_place(key)?;
    let word = key.first().and_then(|tag| STATES.get(usize::from(*tag)));
    let Ok(about) = serde_json::from_slice::<About>(value) else { return Ok(None) };
    Ok(word.and_then(|word| Place::at(word, at, about)))
}

/// Key of a place among the calls of one state.
pub(super) fn place_in(tag: u8, place: &Cursor) -> Vec<u8> {
    [&[tag][..], &timed(place.at, &place.id)].concat()
}

/// The place in a key of `ByTime`.
pub(super) fn read_place(key: &[u8]) -> Result<Cursor, StoreError> {
    read_timed(key.get(1..).unwrap_or_default()).map(|(at, id)| Cursor { at, id })
}

/// Key in `ByDeadline`, for a call that has one.
pub(super) fn by_deadline(call: &Call) -> Option<Vec<u8>> {
    Some(timed(call.deadline()?, &call.id))
}

/// Key in `ByRecipient`, for a call that has one.
pub(super) fn by_recipient(call: &Call) -> Option<Vec<u8>> {
    Some([&recipient(call.recipient.as_ref()?)[..], &by_time(call)].concat())
}

/// What the keys of one recipient begin with.
pub(super) fn recipient(recipient: &RecipientKey) -> [u8; RECIPIENT] {
    Sha256::digest(recipient.as_str().as_bytes()).into()
}

/// What the keys of one recipient's calls of one state begin with.
pub(super) fn recipient_in(of: &RecipientKey, tag: u8) -> [u8; RECIPIENT + 1] {
    let mut key = [tag; RECIPIENT + 1];
    key[..RECIPIENT].copy_from_slice(&recipient(of));
    key
}

/// Key in `ByEnd`, for a call that is over and has its texts.
pub(super) fn by_end(call: &Call) -> Option<Vec<u8>> {
    Some(timed(call.over_since()?, &call.id))
}

/// The time and the id in a key of `ByDeadline` or `ByEnd`.
pub(super) fn read_deadline(key: &[u8]) -> Result<(Timestamp, CallId), StoreError> {
    read_timed(key)
}

/// The first byte of the rows of a kind. Never renumber.
pub(super) fn kind_tag(kind: Kind) -> u8 {
    match kind {
        Kind::Agent => 1,
        Kind::Person => 2,
        Kind::Credential => 3,
        Kind::Letter => 4,
        Kind::Refusals => 5,
        Kind::Pause => 6,
        Kind::Counter => 7,
        Kind::Restored => 8,
        Kind::Password => 9,
        Kind::Passkey => 10,
    }
}

/// Key in `Rows`.
pub(super) fn row(kind: Kind, key: &str) -> Vec<u8> {
    [&[kind_tag(kind)][..], key.as_bytes()].concat()
}

/// Whose chunks and files these are: the tree and the key of a record, so that they go when it goes.
pub(super) fn owner(tree: Tree, key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    [&[tree as u8][..], &length.to_be_bytes(), key].concat()
}

/// Key in `Chunks`.
pub(super) fn chunk(owner: &[u8], apart: &Apart, number: u32) -> Vec<u8> {
    [owner, &apart.sha256[..], &number.to_be_bytes()[..]].concat()
}

/// Key in `Bodies`.
pub(super) fn body(apart: &Apart, owner: &[u8]) -> Vec<u8> {
    [&apart.sha256[..], owner].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_time_before_and_after_1970() {
        let id = CallId("c_1".to_owned());
        let keys: Vec<Vec<u8>> = [-5_000, -1, 0, 1, 5_000].map(|ms| timed(Timestamp::from_millisecond(ms).unwrap(), &id)).to_vec();
        assert!(keys.is_sorted());
        assert_eq!(read_deadline(&keys[0]).unwrap(), (Timestamp::from_millisecond(-5_000).unwrap(), id));
        assert!(matches!(read_deadline(b"short"), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn each_tree_stands_at_its_number() {
        assert!(TREES.iter().enumerate().all(|(number, (tree, _))| *tree as usize == number));
    }
}
