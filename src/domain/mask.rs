//! What people are shown instead of a secret in a call's arguments: a mark made with a key of this gateway's own, so
//! that the same value has the same mark and nobody can try guesses on it elsewhere (semantics.md 18). Values are known
//! by their name (`keys`) or by what they look like (`shapes`); recipient and text of a message by name alone. In an
//! edit a mark at its own place stands for the value, anywhere else for nothing. Called by `gate/masking`.

mod keys;
mod shapes;
mod walk;
mod words;

pub use keys::{Names, is_pattern};
pub use shapes::{Found, blot, in_message, looks_like};
pub use words::{imitates, stands_at, words};

use super::digest::hex;
use super::json::canonical;
use super::json::places::step;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;

/// The one member of a mark; what stands under such a name is never a value of an edit's own.
const MARK: &str = "$masked";
/// Hexadecimal digits of a mark.
const DIGITS: usize = 8;

/// What marks are made with: 256 random bits of this gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskKey([u8; 32]);

impl MaskKey {
    /// Of these bytes.
    pub fn new(bytes: [u8; 32]) -> MaskKey {
        MaskKey(bytes)
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(\u{2026})")
    }
}

/// Why a value is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// For the name that it stands under.
    Name,
    /// For what it looks like, as a noun with its article.
    Shape(&'static str),
    /// It looks like one of our own marks, and could be taken for one.
    Mark,
}

/// One masked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Where it stands in the masked arguments (RFC 6901).
    pub pointer: String,
    /// Eight hexadecimal digits of the keyed hash.
    pub mark: String,
    /// Its length in characters; of what is not a text, in characters of its canonical JSON.
    pub length: usize,
    /// Why.
    pub why: Why,
    /// The member's name is masked, not its value.
    pub is_name: bool,
}

/// Arguments as people see them.
#[derive(Debug, Clone, PartialEq)]
pub struct Masked {
    /// With marks in place of secrets.
    pub value: Value,
    /// Every mark, in the order of the value.
    pub masks: Vec<Mask>,
}

/// A mark of an edit that stands where it means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} holds a mark that stands for nothing there; a masked value may stay where it was shown, unchanged, or another value may take its place",
    if self.0.is_empty() { "the arguments as a whole" } else { &self.0 }
)]
pub struct Misplaced(pub String);

/// Masks with one key and the operator's names.
#[derive(Debug, Clone, Copy)]
pub struct Masker<'k> {
    key: &'k MaskKey,
    names: &'k Names,
}

impl<'k> Masker<'k> {
    /// The key is this gateway's.
    pub fn new(key: &'k MaskKey, names: &'k Names) -> Masker<'k> {
        Masker { key, names }
    }

    /// The arguments as people see them. What stands at one of the `shown` pointers is masked by name only.
    pub fn mask(&self, value: &Value, shown: &[&str]) -> Masked {
        walk::arguments(self, value, shown)
    }

    /// A server's answer as people see it: by name, and every stretch that looks like a secret or is one of `known`.
    /// `None` when there is nothing to mask.
    pub fn mask_answer(&self, value: &Value, known: &[String]) -> Option<Value> {
        walk::answer(self, value, known)
    }

    /// The digits for a value that a limit counts by, when a name on the way to it or its look is a secret's. Its letters
    /// were folded before it was kept, so it is compared without their case.
    pub fn mask_counted(&self, path: &str, value: &str) -> Option<String> {
        let names: Vec<String> = path.split(['/', '.']).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
        let verdicts = || names.iter().map(|name| self.names.verdict(name));
        let by_name = !value.is_empty() && verdicts().any(|verdict| verdict == keys::Verdict::Secret);
        let open = || verdicts().next_back() != Some(keys::Verdict::Never);
        (by_name || (open() && shapes::folded(value))).then(|| self.mark(&Value::from(value)))
    }

    /// Edited arguments with the real values behind their marks. `real` is what was masked with the same `shown`.
    pub fn unmask(&self, edited: &Value, real: &Value, shown: &[&str]) -> Result<Value, Misplaced> {
        if !mentions_mark(edited) {
            return Ok(edited.clone());
        }
        let masked = self.mask(real, shown);
        restore(edited, Some((real, &masked.value)), &mut String::new())
    }

    /// What a program's option says of the argument behind it.
    fn option(&self, item: &Value) -> keys::Verdict {
        let name = item.as_str().and_then(|text| text.strip_prefix("--")).filter(|name| shapes::is_option(name));
        name.map_or(keys::Verdict::Open, |name| self.names.verdict(name))
    }

    /// Eight hexadecimal digits that only this gateway can make of the value.
    fn mark(&self, value: &Value) -> String {
        // HMAC pads a shorter key with zeros up to the hash's block (RFC 2104, 2).
        let mut block = [0u8; 64];
        for (to, from) in block.iter_mut().zip(self.key.0) {
            *to = from;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(canonical(value).as_bytes());
        hex(&mac.finalize().into_bytes()).chars().take(DIGITS).collect()
    }
}

/// The texts that are masked in the arguments, the longest first: what a server may repeat in its answer.
pub fn secrets(real: &Value, masked: &Value) -> Vec<String> {
    /// Shorter ones would take ordinary words apart.
    const SHORTEST: usize = 6;
    const MOST: usize = 64;
    fn texts(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, into)),
            Value::Object(members) => members.values().for_each(|item| texts(item, into)),
            Value::Number(number) => into.push(number.to_string()),
            Value::Null | Value::Bool(_) => {}
        }
    }
    fn apart(real: &Value, masked: &Value, into: &mut Vec<String>) {
        match (real, masked) {
            (real, masked) if is_mark(masked) && real != masked => texts(real, into),
            (Value::Object(real), Value::Object(masked)) => {
                for ((name, real), (shown, masked)) in real.iter().zip(masked) {
                    if name != shown {
                        into.push(name.clone());
                    }
                    apart(real, masked, into);
                }
            }
            (Value::Array(real), Value::Array(masked)) => real.iter().zip(masked).for_each(|(real, masked)| apart(real, masked, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    apart(real, masked, &mut found);
    found.retain(|text| text.chars().count() >= SHORTEST);
    found.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    found.dedup();
    found.truncate(MOST);
    found
}

/// Whether a value is one of our marks; its digits.
pub fn digits(value: &Value) -> Option<&str> {
    let Value::Object(members) = value else { return None };
    members.get(MARK).and_then(Value::as_str).and_then(|text| text.strip_prefix("sha256:")).filter(|_| members.len() == 1)
}

fn is_mark(value: &Value) -> bool {
    digits(value).is_some()
}

fn mentions_mark(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| name.starts_with(MARK) || words::holds_mark(name) || mentions_mark(value)),
        Value::Array(items) => items.iter().any(mentions_mark),
        Value::String(text) => words::holds_mark(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn mark_of(digits: &str) -> Value {
    json!({ MARK: format!("sha256:{digits}") })
}

/// A masked member's name.
fn name_of(digits: &str) -> String {
    format!("{MARK}:sha256:{digits}")
}

fn restore(edited: &Value, before: Option<(&Value, &Value)>, pointer: &mut String) -> Result<Value, Misplaced> {
    match edited {
        Value::Object(members) if members.contains_key(MARK) => match before {
            Some((real, masked)) if is_mark(masked) && masked == edited => Ok(real.clone()),
            _ => Err(Misplaced(blot(pointer))),
        },
        Value::Object(members) => {
            let before = before.and_then(|(real, masked)| Some((real.as_object()?, masked.as_object()?)));
            let mut out = Map::with_capacity(members.len());
            let mut renamed: Option<HashMap<&str, &str>> = None;
            for (name, value) in members {
                let around = pointer.len();
                pointer.push_str(&step(name));
                let real_name = if name.starts_with(MARK) {
                    // Both have their members in the same order.
                    let pairs =
                        || before.into_iter().flat_map(|(real, masked)| masked.keys().zip(real.keys())).map(|(shown, name)| (shown.as_str(), name.as_str()));
                    let known = renamed.get_or_insert_with(|| pairs().filter(|(shown, _)| shown.starts_with(MARK)).collect());
                    known.get(name.as_str()).copied().ok_or_else(|| Misplaced(blot(pointer)))?
                } else if words::holds_mark(name) && before.is_none_or(|(real, _)| !real.contains_key(name)) {
                    return Err(Misplaced(blot(pointer)));
                } else {
                    name
                };
                let inner = before.and_then(|(real, masked)| Some((real.get(real_name)?, masked.get(name)?)));
                let value = restore(value, inner, pointer)?;
                if out.insert(real_name.to_owned(), value).is_some() {
                    return Err(Misplaced(blot(pointer)));
                }
                pointer.truncate(around);
            }
            Ok(Value::Object(out))
        }
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let around = pointer.len();
                pointer.push_str(&format!("/{index}"));
                let inner = before.and_then(|(real, masked)| Some((real.get(index)?, masked.get(index)?)));
                out.push(restore(item, inner, pointer)?);
                pointer.truncate(around);
            }
            Ok(Value::Array(out))
        }
        // Written out in a text it would leave as text, in place of the value: only the agent's own may.
        Value::String(text) if words::holds_mark(text) && before.is_none_or(|(real, _)| real != edited) => Err(Misplaced(blot(pointer))),
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests;
