//! Checks an export line by line, as it comes: every entry follows the one before it, the last line signs the last
//! entry. The first thing that does not hold is named with its line and entry, and where the numbers allow it with
//! what is missing. Called by `cli`.

use super::super::audit::{self, Broken, Entry, Head};
use super::super::json;
use super::{Seal, is_signed};
use jiff::Timestamp;
use serde::Serialize;

/// Entries of this kind tell of a start after an unclean stop (semantics.md 32).
const UNCLEAN_START: &str = "unclean_start";
/// Entries of this kind tell of a restore (semantics.md 31): what was written between the backup and them is gone.
const RESTORED: &str = "restored";

/// Where a file does not hold, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}", .seq.map(|seq| format!(" (entry {seq})")).unwrap_or_default())]
pub struct Mistake {
    /// From 1.
    pub line: u64,
    /// The entry that stands there, or whose place it is; unknown in a first line that cannot be read.
    pub seq: Option<u64>,
    /// What is wrong, in plain words; nothing of the line itself.
    pub problem: String,
}

/// A start after an unclean stop: what was queued and not yet written is not in the chain (semantics.md 32).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UncleanStart {
    /// Number of the entry that tells of it.
    pub seq: u64,
    /// When the gateway started again.
    pub at: Timestamp,
    /// The last entry before the stop.
    pub after: u64,
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
    /// Starts after an unclean stop.
    pub unclean_starts: Vec<UncleanStart>,
    /// Numbers of the entries that tell of a restore from a backup; entries that an older export has after the
    /// backup are not in this file.
    pub restored: Vec<u64>,
    /// The number of the entry that has the hash asked for.
    pub head_at: Option<u64>,
    /// The key that signed the head.
    pub key: String,
    /// Whether that key was the one asked for; otherwise it proves only that the file is one piece.
    pub key_pinned: bool,
}

/// Checks a file line by line; it keeps nothing but the starts after an unclean stop.
#[derive(Debug, Default)]
pub struct Verifier {
    pinned: Option<String>,
    wanted: Option<String>,
    found: Option<u64>,
    lines: u64,
    first: u64,
    entries: u64,
    head: Option<Head>,
    unclean_starts: Vec<UncleanStart>,
    restored: Vec<u64>,
    seal: Option<Seal>,
}

impl Verifier {
    /// `key`: the public key that must have signed; `head`: a hash that an entry must have.
    pub fn new(key: Option<String>, head: Option<String>) -> Verifier {
        Verifier { pinned: key, wanted: head, ..Verifier::default() }
    }

    /// Takes the next line, without its line feed; `ended` says that there was one.
    pub fn take(&mut self, text: &[u8], ended: bool) -> Result<(), Mistake> {
        self.lines += 1;
        if self.seal.is_some() {
            return self.broken(None, "something stands after the head line: two files were joined or a line was added");
        }
        let next = self.head.as_ref().map(|head| head.seq + 1);
        let value = match json::strict(text) {
            Ok(value) => value,
            Err(_) if !ended => return self.broken(next, &format!("the file was cut short in the middle of this line; {}", self.so_far())),
            Err(error) => return self.broken(next, &error.reason.replace("the text", "the line")),
        };
        let seq = value.get("seq").and_then(serde_json::Value::as_u64).or(next);
        if json::canonical(&value).as_bytes() != text {
            return self.broken(seq, "the line is not written as it was exported");
        }
        if value.get("head").is_some() {
            let seal = serde_json::from_value(value).or_else(|_| self.broken(None, "this is no head line: it needs head, signature and key"))?;
            return self.take_seal(seal);
        }
        let entry = serde_json::from_value(value).or_else(|_| self.broken(seq, "this is no audit entry"))?;
        self.take_entry(&entry)
    }

    fn take_entry(&mut self, entry: &Entry) -> Result<(), Mistake> {
        let seq = Some(entry.seq);
        let head = match self.head.clone() {
            Some(head) => head,
            None => match entry.seq {
                0 => return self.broken(seq, "an entry has the number 0; the first one is 1"),
                1 => Head::default(),
                // An export from a number on: nothing is known of what came before.
                number => Head { seq: number - 1, hash: entry.prev.clone() },
            },
        };
        if entry.seq == u64::MAX {
            return self.broken(seq, "no audit is as long as this entry's number says");
        }
        let next = audit::follow(&head, entry).or_else(|broken| self.broken(seq, &what_is_missing(&broken)))?;
        if self.entries == 0 {
            self.first = entry.seq;
            // Its `prev` names the entry before: a hash kept before the first line is there to be compared, too.
            self.look_for(&head);
        }
        self.look_for(&next);
        if entry.kind == RESTORED {
            self.restored.push(entry.seq);
        }
        if entry.kind == UNCLEAN_START {
            let after = entry.data.get("last").and_then(serde_json::Value::as_u64).unwrap_or(head.seq);
            self.unclean_starts.push(UncleanStart { seq: entry.seq, at: entry.at, after });
        }
        self.entries += 1;
        self.head = Some(next);
        Ok(())
    }

    fn look_for(&mut self, head: &Head) {
        if self.wanted.as_ref() == Some(&head.hash) {
            self.found = Some(head.seq);
        }
    }

    fn take_seal(&mut self, seal: Seal) -> Result<(), Mistake> {
        let last = self.head.clone().unwrap_or_default();
        let seq = Some(seal.head.seq);
        if seal.head.seq != last.seq {
            let missing = match last.seq.checked_add(1) {
                Some(next) if next <= seal.head.seq => format!("{} missing", numbers(next, seal.head.seq)),
                _ => "entries were added, or the head line is of an older file".to_owned(),
            };
            return self.broken(seq, &format!("the head line speaks of entry {}, but the last entry here is {}: {missing}", seal.head.seq, last.seq));
        }
        if seal.head.hash != last.hash {
            return self.broken(seq, "the head line has another hash than the last entry: one of the two was changed");
        }
        if self.pinned.as_ref().is_some_and(|key| *key != seal.key) {
            return self.broken(seq, "another key signed this file than the one asked for");
        }
        if !is_signed(&seal) {
            return self.broken(seq, "the signature does not fit the head line and its key");
        }
        if self.entries == 0 {
            self.look_for(&last);
        }
        if self.wanted.is_some() && self.found.is_none() {
            let before = if self.first > 1 { format!(", or it stands before entry {}, where this file begins", self.first) } else { String::new() };
            let why = "the end was cut off before it, the file was rewritten, or it is of another gateway";
            return self.broken(seq, &format!("no entry has the hash asked for; the last one is {} {}: {why}{before}", last.seq, last.hash));
        }
        self.seal = Some(seal);
        Ok(())
    }

    /// After the last line.
    pub fn finish(self) -> Result<Summary, Mistake> {
        let Some(seal) = self.seal else {
            let problem = format!("the head line is missing: the file was cut short; {}", self.so_far());
            return Err(Mistake { line: self.lines + 1, seq: self.head.map(|head| head.seq + 1), problem });
        };
        Ok(Summary {
            seq: seal.head.seq,
            hash: seal.head.hash,
            first: self.first,
            entries: self.entries,
            unclean_starts: self.unclean_starts,
            restored: self.restored,
            head_at: self.found,
            key: seal.key,
            key_pinned: self.pinned.is_some(),
        })
    }

    /// Of a file that ends too early: what is there and holds.
    fn so_far(&self) -> String {
        match &self.head {
            Some(Head { seq, .. }) => format!("entries {} to {seq} are there and hold, what came after entry {seq} is missing", self.first),
            None => "not one whole entry is there".to_owned(),
        }
    }

    fn broken<T>(&self, seq: Option<u64>, problem: &str) -> Result<T, Mistake> {
        Err(Mistake { line: self.lines, seq, problem: problem.to_owned() })
    }
}

/// A gap is told by the numbers that are not there.
fn what_is_missing(broken: &Broken) -> String {
    match broken {
        Broken::Number { expected, found } if expected < found => {
            let place = if *found == expected + 1 { "its" } else { "their" };
            format!("{} missing; entry {found} stands in {place} place", numbers(*expected, found - 1))
        }
        Broken::Number { .. } | Broken::Link { .. } | Broken::Hash { .. } => broken.to_string(),
    }
}

fn numbers(first: u64, last: u64) -> String {
    if first == last { format!("entry {first} is") } else { format!("entries {first} to {last} are") }
}

#[cfg(test)]
mod tests {
    use super::super::super::audit::{Fact, Link};
    use super::super::{Attestor, line};
    use super::*;

    fn attestor() -> Attestor {
        Attestor::from_seed([7; 32])
    }

    fn entries(count: u64) -> (Vec<String>, Head) {
        let mut head = Head::default();
        let lines = (1..=count).map(|n| {
            let kind = if n == 2 { UNCLEAN_START } else { "call.allowed" };
            let fact = Fact { kind, call: None, actor: "agent:a".into(), data: serde_json::json!({ "n": n }).into() };
            let link = Link::after(&head, &fact, Timestamp::UNIX_EPOCH);
            head = link.head.clone();
            line(&link.entry().unwrap()).unwrap()
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
            verifier.take(text.as_bytes(), true)?;
        }
        verifier.finish()
    }

    #[test]
    fn a_whole_file_tells_its_last_number_hash_and_unclean_starts() {
        let (_, head) = entries(4);
        let summary = verify(&file(4), Some(attestor().public_key()), Some(head.hash.clone())).unwrap();
        assert_eq!((summary.seq, &summary.hash, summary.first, summary.entries), (4, &head.hash, 1, 4));
        assert_eq!(summary.unclean_starts, [UncleanStart { seq: 2, at: Timestamp::UNIX_EPOCH, after: 1 }]);
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
    fn a_file_that_was_touched_names_the_line_and_the_entry() {
        let whole = file(4);
        let touched = |touch: &dyn Fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            touch(&mut lines);
            let mistake = verify(&lines, None, None).unwrap_err();
            (mistake.line, mistake.seq, mistake.problem)
        };
        let told = |line: u64, seq: u64, problem: &str| (line, Some(seq), problem.to_owned());
        let changed = touched(&|lines| lines[1] = lines[1].replace("\"n\":2", "\"n\":9"));
        assert_eq!(changed, told(2, 2, "entry 2 was changed: its content does not have its hash"));
        assert_eq!(touched(&|lines| drop(lines.remove(1))), told(2, 3, "entry 2 is missing; entry 3 stands in its place"));
        assert_eq!(touched(&|lines| drop(lines.drain(1..3))), told(2, 4, "entries 2 to 3 are missing; entry 4 stands in their place"));
        assert_eq!(touched(&|lines| lines.swap(1, 2)).0, 2);
        assert_eq!(touched(&|lines| lines.insert(2, lines[1].clone())).1, Some(2), "an entry that stands there twice");
        let gone = touched(&|lines| drop(lines.remove(3)));
        assert_eq!(gone, told(4, 4, "the head line speaks of entry 4, but the last entry here is 3: entry 4 is missing"));
        let headless = touched(&|lines| drop(lines.pop()));
        assert_eq!((headless.0, headless.1), (5, Some(5)));
        assert!(headless.2.starts_with("the head line is missing") && headless.2.contains("what came after entry 4 is missing"), "{}", headless.2);
        assert_eq!(touched(&|lines| lines.push(lines[4].clone())).0, 6);
        assert_eq!(touched(&|lines| lines[0].insert(1, ' ')).0, 1);
        assert_eq!(
            touched(&|lines| lines[2].push('x')),
            (3, Some(3), touched(&|lines| lines[2].push('x')).2),
            "a line that is no JSON stands in an entry's place"
        );
        let signed = touched(&|lines| lines[4] = lines[4].replace(&attestor().public_key(), &Attestor::from_seed([8; 32]).public_key()));
        assert_eq!(signed, told(5, 4, "the signature does not fit the head line and its key"));
    }

    #[test]
    fn a_file_that_ends_within_a_line_was_cut_short_and_says_after_which_entry() {
        let whole = file(4);
        let mut verifier = Verifier::new(None, None);
        verifier.take(whole[0].as_bytes(), true).unwrap();
        let half = verifier.take(&whole[1].as_bytes()[..40], false).unwrap_err();
        assert_eq!((half.line, half.seq), (2, Some(2)));
        assert!(half.problem.contains("cut short") && half.problem.contains("after entry 1"), "{half}");
        let empty = verify(&[], None, None).unwrap_err();
        assert_eq!((empty.line, empty.seq), (1, None));
        // Only the very last line feed may be gone: nothing else is.
        let mut verifier = Verifier::new(None, None);
        whole.iter().for_each(|text| verifier.take(text.as_bytes(), text != &whole[4]).unwrap());
        assert!(verifier.finish().is_ok());
    }

    #[test]
    fn a_hash_that_was_kept_is_found_wherever_it_stands_or_not_at_all() {
        let at = |lines: &[String], count: u64| verify(lines, None, Some(entries(count).1.hash)).map(|summary| summary.head_at);
        let whole = file(4);
        assert_eq!((at(&whole, 4), at(&whole, 2)), (Ok(Some(4)), Ok(Some(2))));
        assert_eq!(at(&whole, 0), Ok(Some(0)), "the head of a store without an entry");
        assert_eq!(at(&file(0), 0), Ok(Some(0)));
        let late = &whole[2..];
        assert_eq!(at(late, 2), Ok(Some(2)), "the entry just before the file's first is named by it");
        assert!(at(late, 1).unwrap_err().problem.contains("before entry 3"));
        let cut = at(&file(3), 4).unwrap_err();
        assert_eq!((cut.line, cut.seq), (4, Some(3)));
        assert!(cut.problem.contains("the end was cut off"), "{cut}");
        assert_eq!(verify(&whole, None, None).unwrap().head_at, None);
    }

    #[test]
    fn a_shortened_file_with_a_head_line_of_its_own_fails_by_head_and_by_key() {
        let forger = Attestor::from_seed([9; 32]);
        let (mut short, head) = entries(3);
        short.push(line(&forger.seal(head)).unwrap());
        assert!(verify(&short, None, None).is_ok(), "a self-made key proves only that the file is one piece");
        let (_, newest) = entries(4);
        assert!(verify(&short, None, Some(newest.hash)).unwrap_err().problem.contains("cut off"));
        assert!(verify(&short, Some(attestor().public_key()), None).unwrap_err().problem.contains("another key"));
    }
}
