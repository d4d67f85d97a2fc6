//! The audit chain: one entry for every verdict, hold, letter, view, decision, send and outcome.
//! Each entry's hash covers the one before it, so a changed, removed or reordered line is found by anyone with
//! the export alone. Entries hold digests and facts, never message text, recipients or arguments.
//! `gate` writes facts, the engines chain them inside `commit`, `cli` and `web` show and verify them.

mod data;

pub use data::Data;

use super::call::CallId;
use super::digest::Digest;
use super::json::canonical;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Write as _;

/// Room for the canonical form of a usual entry, bytes.
const USUAL_BYTES: usize = 768;

/// What happened, before the engine gave it a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// For example `call.held`; the list is in docs/operations.md.
    pub kind: &'static str,
    /// The held call it speaks of.
    pub call: Option<CallId>,
    /// `agent:NAME`, `person:ADDRESS`, `operator` (a command on this machine) or `paraph`.
    pub actor: String,
    /// Facts.
    pub data: Data,
}

/// An entry that was just chained: its text, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The chain behind it.
    pub head: Head,
    /// The entry's JSON.
    pub text: Vec<u8>,
}

/// One link of the chain, as it is exported (semantics.md 32).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// Hash of the entry before; 64 zeros for the first.
    pub prev: String,
    /// What happened.
    pub kind: String,
    /// The held call it speaks of.
    pub call: Option<CallId>,
    /// Who did it.
    pub actor: String,
    /// Facts.
    pub data: Value,
    /// `sha256:` + SHA-256 over the canonical JSON of the other members.
    pub hash: String,
}

/// The last number and hash of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 0 for an empty chain.
    pub seq: u64,
    /// 64 zeros for an empty chain.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Head {
        Head { seq: 0, hash: "0".repeat(64) }
    }
}

impl Link {
    /// The entry that follows `head`.
    pub fn after(head: &Head, fact: &Fact, at: Timestamp) -> Link {
        let seq = head.seq + 1;
        let hashed = Hashed { actor: &fact.actor, at, call: fact.call.as_ref(), kind: fact.kind, prev: &head.hash, seq };
        let mut text = hashed.text(|to| fact.data.write_canonical(to));
        let hash = Digest::of_bytes(&text).into_text();
        // The hash comes behind the other members, before the last bracket.
        text.pop();
        text.extend_from_slice(b",\"hash\":\"");
        text.extend_from_slice(hash.as_bytes());
        text.extend_from_slice(b"\"}");
        Link { head: Head { seq, hash }, text }
    }

    /// The entry, read from its text.
    ///
    /// # Errors
    /// Of a number that no JSON reader takes; facts hold none.
    pub fn entry(&self) -> serde_json::Result<Entry> {
        serde_json::from_slice(&self.text)
    }
}

/// What the hash of an entry is over, but for its facts.
struct Hashed<'a> {
    actor: &'a str,
    at: Timestamp,
    call: Option<&'a CallId>,
    kind: &'a str,
    prev: &'a str,
    seq: u64,
}

impl Hashed<'_> {
    /// The canonical form: it has its members in this order; only `data` is written by others.
    fn text(&self, data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        text.extend_from_slice(b"{\"actor\":");
        canonical::write_text(self.actor, &mut text);
        let _ = write!(text, ",\"at\":\"{}\",\"call\":", self.at);
        match self.call {
            Some(call) => canonical::write_text(call.as_str(), &mut text),
            None => text.extend_from_slice(b"null"),
        }
        text.extend_from_slice(b",\"data\":");
        data(&mut text);
        text.extend_from_slice(b",\"kind\":");
        canonical::write_text(self.kind, &mut text);
        text.extend_from_slice(b",\"prev\":");
        canonical::write_text(self.prev, &mut text);
        let _ = write!(text, ",\"seq\":{}}}", self.seq);
        text
    }
}

impl Entry {
    /// What `hash` must be.
    pub fn computed_hash(&self) -> String {
        let hashed = Hashed { actor: &self.actor, at: self.at, call: self.call.as_ref(), kind: &self.kind, prev: &self.prev, seq: self.seq };
        Digest::of_bytes(&hashed.text(|to| canonical::write(&self.data, to))).into_text()
    }

    /// This entry as the head of the chain.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The number is not the next one.
    #[error("entry {found} stands where entry {expected} belongs: lines were removed, added or moved")]
    Number {
        /// The number that belongs here.
        expected: u64,
        /// The number that stands here.
        found: u64,
    },
    /// It does not follow the entry before.
    #[error("entry {seq} does not follow the entry before it: one of the two was changed")]
    Link {
        /// Of the later one.
        seq: u64,
    },
    /// Its content does not have its hash.
    #[error("entry {seq} was changed: its content does not have its hash")]
    Hash {
        /// Which.
        seq: u64,
    },
}

/// Checks that `entry` follows `head`, and gives the new head.
pub fn follow(head: &Head, entry: &Entry) -> Result<Head, Broken> {
    if entry.seq != head.seq + 1 {
        return Err(Broken::Number { expected: head.seq + 1, found: entry.seq });
    }
    if entry.prev != head.hash {
        return Err(Broken::Link { seq: entry.seq });
    }
    if entry.hash != entry.computed_hash() {
        return Err(Broken::Hash { seq: entry.seq });
    }
    Ok(entry.head())
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn a_hash_is_over_the_canonical_form_of_all_other_members(
            seq in any::<u64>(), nanos in 0..4_000_000_000_000_000_000_i64, text in ".*", key in ".*", call in any::<bool>(), number in any::<f64>()
        ) {
            let data = json!({ "server": text, key.as_str(): [number, seq, { "b": null, "a": text }], "digest": "sha256:x" });
            let entry = Entry {
                seq,
                at: Timestamp::from_nanosecond(i128::from(nanos)).unwrap(),
                prev: "0".repeat(64),
                kind: text.clone(),
                call: call.then(|| serde_json::from_value(json!(key)).unwrap()),
                actor: format!("agent:{text}"),
                data,
                hash: String::new(),
            };
            let mut others = serde_json::to_value(&entry).unwrap();
            others.as_object_mut().unwrap().remove("hash");
            prop_assert_eq!(entry.computed_hash(), Digest::of_bytes(json::canonical(&others).as_bytes()).to_string());
        }

        #[test]
        fn what_is_stored_is_the_entry_and_has_its_hash(
            seq in 0..u64::MAX, nanos in 0..4_000_000_000_000_000_000_i64, actor in ".*", key in ".*", call in any::<bool>(), number in any::<f64>()
        ) {
            let head = Head { seq, hash: format!("sha256:{seq:064}") };
            let value = json!({ "server": actor, key.as_str(): [number, seq, { "b": null, "a": actor }] });
            let call = call.then(|| serde_json::from_value(json!(key)).unwrap());
            let at = Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
            let link = Link::after(&head, &Fact { kind: "call.held", call: call.clone(), actor: actor.clone(), data: value.clone().into() }, at);
            let entry = link.entry().unwrap();
            prop_assert_eq!(follow(&head, &entry).unwrap(), link.head);
            prop_assert_eq!(json::canonical(&entry.data), json::canonical(&value));
            prop_assert_eq!((entry.kind.as_str(), entry.call, entry.actor, entry.at), ("call.held", call, actor, at));
        }
    }

    #[test]
    fn the_hash_of_an_entry_is_what_it_always_was() {
        let at = Timestamp::from_nanosecond(1_790_000_000_120_000_000).unwrap();
        let data = json!({ "tool": "caf\u{e9}\n", "n": [1, 2.50, null], "digest": "sha256:x", "B": {} });
        let fact = Fact { kind: "call.allowed", call: None, actor: "agent:\"a\"".into(), data: data.into() };
        assert_eq!(Link::after(&Head::default(), &fact, at).head.hash, "sha256:375d102698f11cebaeb1aea1a2e60758079cad70b3aeed6243028da016accf78");
    }

    fn fact(n: u64) -> Fact {
        Fact { kind: "call.allowed", call: None, actor: "agent:a".into(), data: json!({ "n": n }).into() }
    }

    #[test]
    fn a_changed_removed_or_swapped_entry_is_found() {
        let mut head = Head::default();
        let entries: Vec<Entry> = (0..4)
            .map(|n| {
                let link = Link::after(&head, &fact(n), Timestamp::UNIX_EPOCH);
                let entry = link.entry().unwrap();
                head = link.head;
                entry
            })
            .collect();
        let check = |entries: &[Entry]| entries.iter().try_fold(Head::default(), |head, entry| follow(&head, entry));
        assert_eq!(check(&entries).unwrap(), head);
        let mut changed = entries.clone();
        changed[1].data = json!({"n": 9});
        assert_eq!(check(&changed), Err(Broken::Hash { seq: 2 }));
        changed[1].hash = changed[1].computed_hash();
        assert_eq!(check(&changed), Err(Broken::Link { seq: 3 }));
        let mut removed = entries.clone();
        removed.remove(1);
        assert_eq!(check(&removed), Err(Broken::Number { expected: 2, found: 3 }));
        let mut swapped = entries;
        swapped.swap(1, 2);
        assert!(check(&swapped).is_err());
    }
}
