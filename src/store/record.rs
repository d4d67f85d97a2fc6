//! How a record becomes bytes. A value in the store is at most 4 KiB: longer records and the long texts of a
//! call stand apart, named by owner and SHA-256, in chunks, or above 64 KiB in a file. A call's texts do not
//! change with its revisions, so a decision rewrites a small head only. Called by `on_sled`; pure.

use super::StoreError;
use crate::domain::call::{Call, State};
use crate::domain::digest::hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// Longest value, bytes. sled puts larger leaves into files that it never syncs.
pub const CHUNK_BYTES: usize = 4096;

/// Longest text that is kept in chunks, bytes; longer ones are files.
pub const CHUNKED_MOST: usize = 64 * 1024;

/// Longest text of a call that stays in its head, bytes.
const HERE_MOST: usize = 512;

/// First byte of a value: the record follows.
const WHOLE: u8 = 0;

/// First byte of a value: the name of the record's bytes follows.
const APART: u8 = 1;

/// The name of bytes that are kept apart from the record that needs them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Apart {
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// How many.
    pub bytes: usize,
}

impl Apart {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Apart {
        Apart { sha256: Sha256::digest(bytes).into(), bytes: bytes.len() }
    }

    /// Whether they are a file instead of chunks.
    pub fn is_file(&self) -> bool {
        self.bytes > CHUNKED_MOST
    }

    /// The file's name.
    pub fn file_name(&self) -> String {
        hex(&self.sha256)
    }

    /// How many chunks.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.bytes.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX)
    }

    /// The bytes, when they are the named ones.
    pub fn checked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if Apart::of(&bytes) == *self { Ok(bytes) } else { Err(StoreError::Corrupt(format!("a text does not have its SHA-256 {}", self.file_name()))) }
    }
}

/// A record as it is written: the value, and the bytes that must be there with it.
#[derive(Debug, Default)]
pub struct Written {
    /// At most `CHUNK_BYTES`.
    pub value: Vec<u8>,
    /// Everything that the value names, directly or in the record.
    pub apart: Vec<(Apart, Vec<u8>)>,
}

/// A text of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Text {
    Here(String),
    Apart(Apart),
}

/// A call whose long texts are named instead of contained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallHead {
    /// The call; its arguments, asked arguments, message text and outcome body are empty.
    pub call: Call,
    arguments: Text,
    #[serde(default)]
    asked_arguments: Option<Text>,
    message_text: Option<Text>,
    outcome_body: Option<Text>,
}

impl CallHead {
    /// Takes the texts out of a call.
    pub fn split(call: &Call) -> (CallHead, Vec<(Apart, Vec<u8>)>) {
        let mut apart = Vec::new();
        let mut call = call.clone();
        let mut take = |text: &mut String| {
            let text = std::mem::take(text);
            if text.len() <= HERE_MOST {
                return Text::Here(text);
            }
            let name = Apart::of(text.as_bytes());
            apart.push((name.clone(), text.into_bytes()));
            Text::Apart(name)
        };
        let arguments = take(&mut call.arguments);
        let asked_arguments = call.asked_arguments.as_mut().map(&mut take);
        let message_text = call.message.as_mut().map(|message| take(&mut message.text));
        let outcome_body = body(&mut call.state).map(&mut take);
        (CallHead { call, arguments, asked_arguments, message_text, outcome_body }, apart)
    }

    /// What the head names.
    pub fn names(&self) -> impl Iterator<Item = &Apart> {
        let texts = [Some(&self.arguments), self.asked_arguments.as_ref(), self.message_text.as_ref(), self.outcome_body.as_ref()];
        texts.into_iter().flatten().filter_map(|text| match text {
            Text::Here(_) => None,
            Text::Apart(apart) => Some(apart),
        })
    }

    /// The whole call again.
    pub fn join(self, mut fetch: impl FnMut(&Apart) -> Result<Vec<u8>, StoreError>) -> Result<Call, StoreError> {
        let mut whole = |text: Text| match text {
            Text::Here(text) => Ok(text),
            Text::Apart(apart) => String::from_utf8(apart.checked(fetch(&apart)?)?).map_err(|_| StoreError::Corrupt("a text is not UTF-8".to_owned())),
        };
        let mut call = self.call;
        call.arguments = whole(self.arguments)?;
        if let (Some(asked), Some(text)) = (call.asked_arguments.as_mut(), self.asked_arguments) {
            *asked = whole(text)?;
        }
        if let (Some(message), Some(text)) = (call.message.as_mut(), self.message_text) {
            message.text = whole(text)?;
        }
        if let (Some(body), Some(text)) = (body(&mut call.state), self.outcome_body) {
            *body = whole(text)?;
        }
        Ok(call)
    }
}

fn body(state: &mut State) -> Option<&mut String> {
    match state {
        State::Answered { outcome, .. } => Some(&mut outcome.body),
        State::Held { .. }
        | State::Approved { .. }
        | State::Sending { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Withdrawn { .. }
        | State::Lapsed { .. }
        | State::Unconfirmed { .. } => None,
    }
}

/// Writes a record.
pub fn encode<R: Serialize>(record: &R) -> Result<Written, StoreError> {
    written(&serde_json::to_vec(record).map_err(|cause| StoreError::Corrupt(format!("a record cannot be written: {cause}")))?)
}

/// Writes a record that is text already.
pub fn written(bytes: &[u8]) -> Result<Written, StoreError> {
    if bytes.len() < CHUNK_BYTES {
        return Ok(Written { value: tagged(WHOLE, bytes), apart: Vec::new() });
    }
    let name = Apart::of(bytes);
    let value = serde_json::to_vec(&name).map_err(|cause| StoreError::Corrupt(format!("a record cannot be written: {cause}")))?;
    Ok(Written { value: tagged(APART, &value), apart: vec![(name, bytes.to_vec())] })
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes.len() + 1);
    value.push(tag);
    value.extend_from_slice(bytes);
    value
}

/// What a value names by itself.
pub fn named(value: &[u8]) -> Result<Option<Apart>, StoreError> {
    match value.split_first() {
        Some((&WHOLE, _)) => Ok(None),
        Some((&APART, name)) => read(name).map(Some),
        _ => Err(StoreError::Corrupt("a value has no known form".to_owned())),
    }
}

/// Reads a record; `fetch` gives the bytes that stand apart.
pub fn decode<R: DeserializeOwned>(value: &[u8], fetch: impl FnOnce(&Apart) -> Result<Vec<u8>, StoreError>) -> Result<R, StoreError> {
    read(&text(value, fetch)?)
}

/// A record's text.
pub fn text(value: &[u8], fetch: impl FnOnce(&Apart) -> Result<Vec<u8>, StoreError>) -> Result<Cow<'_, [u8]>, StoreError> {
    Ok(match named(value)? {
        None => Cow::Borrowed(value.get(1..).unwrap_or_default()),
        Some(apart) => Cow::Owned(apart.checked(fetch(&apart)?)?),
    })
}

/// Reads a record's text. The cause of a parse error may quote the record, so only its place is told.
pub fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, StoreError> {
    serde_json::from_slice(bytes).map_err(|cause| StoreError::Corrupt(format!("a record does not parse at column {}", cause.column())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_exceeds_a_chunk_and_reads_back() {
        for length in [0, 1, CHUNK_BYTES - 3, CHUNK_BYTES - 2, CHUNK_BYTES, 100_000] {
            let record = "x".repeat(length);
            let written = encode(&record).unwrap();
            assert!(written.value.len() <= CHUNK_BYTES, "{length}");
            let read: String = decode(&written.value, |apart| Ok(written.apart.iter().find(|(name, _)| name == apart).unwrap().1.clone())).unwrap();
            assert_eq!(read, record);
        }
    }

    #[test]
    fn bytes_that_are_not_the_named_ones_are_found() {
        let apart = Apart::of(b"one");
        assert!(matches!(apart.checked(b"two".to_vec()), Err(StoreError::Corrupt(_))));
        assert!(matches!(named(&[7]), Err(StoreError::Corrupt(_))));
        assert!(matches!(named(&[]), Err(StoreError::Corrupt(_))));
    }
}
