//! The audit as a file: one canonical JSON line per entry, and a last line that signs the head of the chain.
//! Without the last line a file is broken, so a file cut short is found. The key in the file only shows that the
//! file is one piece; who wrote it is known by comparing the key with `paraph audit key` (`--key`), and that it
//! is the newest by comparing the hash (`--head`). Called by `control` to sign and by `cli` to verify.

use super::audit::{self, Entry, Head};
use super::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Entries of this kind tell of a start after an unclean stop (semantics.md 32).
const UNCLEAN_START: &str = "unclean_start";
/// Entries of this kind tell of a restore (semantics.md 31): what was written between the backup and them is gone.
const RESTORED: &str = "restored";

/// The last line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The last entry's number and hash.
    pub head: Head,
    /// Ed25519 over [`signed_bytes`], in base64.
    pub signature: String,
    /// The public key, in base64.
    pub key: String,
}

/// What a seal's signature covers: `paraph audit head v1`, the number in decimal and the hash as it stands in
/// the entry, each followed by one line feed.
pub fn signed_bytes(head: &Head) -> Vec<u8> {
    format!("paraph audit head v1\n{}\n{}\n", head.seq, head.hash).into_bytes()
}

/// Signs heads. Holds the private key, hence no `Debug`.
pub struct Attestor {
    key: SigningKey,
}

impl Attestor {
    /// From the 32 bytes of the private key (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Attestor {
        Attestor { key: SigningKey::from_bytes(&seed) }
    }

    /// The public half, in base64.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.key.verifying_key().as_bytes())
    }

    /// Signs a head.
    pub fn seal(&self, head: Head) -> Seal {
        let signature = STANDARD.encode(self.key.sign(&signed_bytes(&head)).to_bytes());
        Seal { head, signature, key: self.public_key() }
    }
}

/// A value as its line in the file, without the line feed.
pub fn line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_value(value).map(|value| json::canonical(&value))
}

/// Where a file does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Mistake {
    /// From 1.
    pub line: u64,
    /// What is wrong, in plain words; nothing of the line itself.
    pub problem: String,
}

/// What a whole file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Number of the last entry.
    pub seq: u64,
    /// Hash of the last entry.
    pub hash: String,
    /// Number of the first entry; 0 when there is none. Above 1 nothing is known of what came before.
    pub first: u64,
    /// How many entries.
    pub entries: u64,
    /// Numbers of the entries that tell of a start after an unclean stop.
    pub unclean_starts: Vec<u64>,
    /// Numbers of the entries that tell of a restore from a backup; entries that an older export has after the
    /// backup are not in this file.
    pub restored: Vec<u64>,
    /// The key that signed the head.
    pub key: String,
    /// Whether that key was the one asked for; otherwise it proves only that the file is one piece.
    pub key_pinned: bool,
}

/// Checks a file line by line, in constant space.
#[derive(Debug, Default)]
pub struct Verifier {
    pinned: Option<String>,
    expected: Option<String>,
    lines: u64,
    first: u64,
    entries: u64,
    head: Option<Head>,
    unclean_starts: Vec<u64>,
    restored: Vec<u64>,
    seal: Option<Seal>,
}

impl Verifier {
    /// `key`: the public key that must have signed; `head`: the hash that must be the last one.
    pub fn new(key: Option<String>, head: Option<String>) -> Verifier {
        Verifier { pinned: key, expected: head, ..Verifier::default() }
    }

    /// Takes the next line, without its line feed.
    pub fn take(&mut self, text: &[u8]) -> Result<(), Mistake> {
        self.lines += 1;
        if self.seal.is_some() {
            return self.broken("something stands after the head line: two files were joined or a line was added");
        }
        let value = json::strict(text).or_else(|error| self.broken(&error.reason.replace("the text", "the line")))?;
        if json::canonical(&value).as_bytes() != text {
            return self.broken("the line is not written as it was exported");
        }
        if value.get("head").is_some() {
            let seal = serde_json::from_value(value).or_else(|_| self.broken("this is no head line: it needs head, signature and key"))?;
            return self.take_seal(seal);
        }
        let entry = serde_json::from_value(value).or_else(|_| self.broken("this is no audit entry"))?;
        self.take_entry(&entry)
    }

    fn take_entry(&mut self, entry: &Entry) -> Result<(), Mistake> {
        let head = match self.head.take() {
            Some(head) => head,
            None => {
                self.first = entry.seq;
                match entry.seq {
                    0 => return self.broken("an entry has the number 0; the first one is 1"),
                    1 => Head::default(),
                    // An export from a number on: nothing is known of what came before.
                    seq => Head { seq: seq - 1, hash: entry.prev.clone() },
                }
            }
        };
        let next = audit::follow(&head, entry).or_else(|broken| self.broken(&broken.to_string()))?;
        match entry.kind.as_str() {
            UNCLEAN_START => self.unclean_starts.push(entry.seq),
            RESTORED => self.restored.push(entry.seq),
            _ => {}
        }
        self.entries += 1;
        self.head = Some(next);
        Ok(())
    }

    fn take_seal(&mut self, seal: Seal) -> Result<(), Mistake> {
        let last = self.head.clone().unwrap_or_default();
        if seal.head.seq != last.seq {
            return self.broken(&format!("the head line speaks of entry {}, but the last entry here is {}: lines are missing", seal.head.seq, last.seq));
        }
        if seal.head.hash != last.hash {
            return self.broken("the head line has another hash than the last entry: one of the two was changed");
        }
        if self.pinned.as_ref().is_some_and(|key| *key != seal.key) {
            return self.broken("another key signed this file than the one asked for");
        }
        if !is_signed(&seal) {
            return self.broken("the signature does not fit the head line and its key");
        }
        if self.expected.as_ref().is_some_and(|hash| *hash != seal.head.hash) {
            let expected = format!("the last hash is {}, not the one asked for: the file was shortened or rewritten, or is of another day", seal.head.hash);
            return self.broken(&expected);
        }
        self.seal = Some(seal);
        Ok(())
    }

    /// After the last line.
    pub fn finish(self) -> Result<Summary, Mistake> {
        let Some(seal) = self.seal else {
            return Err(Mistake { line: self.lines + 1, problem: "the head line is missing: the file was cut short".into() });
        };
        Ok(Summary {
            seq: seal.head.seq,
            hash: seal.head.hash,
            first: self.first,
            entries: self.entries,
            unclean_starts: self.unclean_starts,
            restored: self.restored,
            key: seal.key,
            key_pinned: self.pinned.is_some(),
        })
    }

    fn broken<T>(&self, problem: &str) -> Result<T, Mistake> {
        Err(Mistake { line: self.lines, problem: problem.to_owned() })
    }
}

/// Whether a text can be a public key.
pub fn is_public_key(text: &str) -> bool {
    public_key(text).is_some()
}

fn public_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = STANDARD.decode(text).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn is_signed(seal: &Seal) -> bool {
    let signature = STANDARD.decode(&seal.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    match (public_key(&seal.key), signature) {
        (Some(key), Some(signature)) => key.verify_strict(&signed_bytes(&seal.head), &signature).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::audit::Fact;
    use super::*;
    use jiff::Timestamp;

    fn attestor() -> Attestor {
        Attestor::from_seed([7; 32])
    }

    fn entries(count: u64) -> (Vec<String>, Head) {
        let mut head = Head::default();
        let lines = (1..=count).map(|n| {
            let kind = match n {
                2 => UNCLEAN_START,
                3 => RESTORED,
                _ => "call.allowed",
            };
            let fact = Fact { kind, call: None, actor: "agent:a".into(), data: serde_json::json!({ "n": n }) };
            let entry = Entry::chain(&head, fact, Timestamp::UNIX_EPOCH);
            head = entry.head();
            line(&entry).unwrap()
        });
        (lines.collect(), head)
    }

    fn file(count: u64) -> Vec<String> {
        let (mut lines, head) = entries(count);
        lines.push(line(&attestor().seal(head)).unwrap());
        lines
    }

    fn verify(lines: &[String], key: Option<String>, head: Option<String>) -> Result<Summary, Mistake> {
        let mut verifier = Verifier::new(key, head);
        for text in lines {
            verifier.take(text.as_bytes())?;
        }
        verifier.finish()
    }

    #[test]
    fn a_whole_file_tells_its_last_number_hash_and_unclean_starts() {
        let (_, head) = entries(4);
        let summary = verify(&file(4), Some(attestor().public_key()), Some(head.hash.clone())).unwrap();
        assert_eq!((summary.seq, &summary.hash, summary.first, summary.entries), (4, &head.hash, 1, 4));
        assert_eq!((summary.unclean_starts, summary.restored), (vec![2], vec![3]));
        assert!(summary.key_pinned);
        assert!(!verify(&file(4), None, None).unwrap().key_pinned);
    }

    #[test]
    fn an_empty_chain_is_whole_and_a_file_may_begin_later() {
        let empty = verify(&file(0), None, None).unwrap();
        assert_eq!((empty.seq, empty.first, empty.entries), (0, 0, 0));
        let late = verify(&file(4)[2..], None, None).unwrap();
        assert_eq!((late.seq, late.first, late.entries), (4, 3, 2));
    }

    #[test]
    fn a_file_that_was_touched_names_the_line() {
        let whole = file(4);
        let touched = |touch: &dyn Fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            touch(&mut lines);
            verify(&lines, None, None).unwrap_err()
        };
        assert_eq!(touched(&|lines| lines[1] = lines[1].replace("\"n\":2", "\"n\":9")).line, 2);
        assert_eq!(touched(&|lines| drop(lines.remove(1))).line, 2);
        assert_eq!(touched(&|lines| lines.swap(1, 2)).line, 2);
        assert_eq!(touched(&|lines| drop(lines.remove(3))).line, 4);
        assert_eq!(touched(&|lines| drop(lines.pop())), Mistake { line: 5, problem: "the head line is missing: the file was cut short".into() });
        assert_eq!(touched(&|lines| lines.push(lines[4].clone())).line, 6);
        assert_eq!(touched(&|lines| lines[0].insert(1, ' ')).line, 1);
        assert_eq!(touched(&|lines| lines[0].push('x')).line, 1);
        assert_eq!(touched(&|lines| lines[4] = lines[4].replace(&attestor().public_key(), &Attestor::from_seed([8; 32]).public_key())).line, 5);
    }

    #[test]
    fn a_shortened_file_with_a_head_line_of_its_own_fails_by_head_and_by_key() {
        let forger = Attestor::from_seed([9; 32]);
        let (mut short, head) = entries(3);
        short.push(line(&forger.seal(head)).unwrap());
        assert!(verify(&short, None, None).is_ok(), "a self-made key proves only that the file is one piece");
        let (_, newest) = entries(4);
        assert!(verify(&short, None, Some(newest.hash)).unwrap_err().problem.contains("shortened or rewritten"));
        assert!(verify(&short, Some(attestor().public_key()), None).unwrap_err().problem.contains("another key"));
    }
}
