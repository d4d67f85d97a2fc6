//! PolicyLayer's `policy.json`, format version "1", read unchanged: which tools there are for agents, what their
//! arguments must be, what needs a person, and limits. It is asked before our own rules; what it refuses stays
//! refused. Every mistake in the text is told at once, with its JSON Pointer and line. Read by `config`, asked by `Policy`.

mod compile;
mod explain;
mod import;
mod judge;
mod members;
mod read;
mod spec;

pub use import::{Imported, NotImported};
pub(super) use judge::Said;

use super::condition::Condition;
use super::limits::{Counters, Limit};
use super::{Action, Judgement, LimitView, SpecMistake};
use crate::domain::digest::Digest;
use crate::domain::json;
use crate::domain::json::places::Places;
use serde::{Serialize, Serializer};
use serde_json::Value;
use spec::DocumentSpec;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a file; a larger one is a mix-up.
pub const LARGEST_DOCUMENT: usize = 1 << 20;
/// Characters of a reason: what an agent is told at most.
const REASON_CHARS: usize = 500;
/// Characters of a counter's name.
const COUNTER_CHARS: usize = 100;

/// One checked file. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Document {
    spec: Arc<DocumentSpec>,
    compiled: Arc<Compiled>,
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentMistake {
    /// Where, as a JSON Pointer; empty for the whole file.
    pub pointer: String,
    /// From 1; 0 when the whole file is meant.
    pub line: usize,
    /// From 1, in characters; 0 when the whole file is meant.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub mend: String,
}

#[derive(Debug)]
struct Compiled {
    default: Action,
    hide: Vec<String>,
    limits: Vec<Limit>,
    tools: HashMap<String, Tool>,
}

#[derive(Debug)]
struct Tool {
    pointer: String,
    hides: bool,
    denies: bool,
    reason: Option<String>,
    require: Vec<Entry>,
    deny_if: Vec<Entry>,
    limits: Vec<Limit>,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Entry {
    rule: String,
    condition: Condition,
    reason: Option<String>,
}

#[derive(Debug)]
struct Hold {
    when: Vec<Condition>,
    judgement: Judgement,
}

/// The digest of a policy covers what the file says, not how it was written down.
impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.spec.serialize(serializer)
    }
}

impl Document {
    /// Every name of a tool in it, and where it stands.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        let hidden = self.compiled.hide.iter().enumerate().map(|(index, name)| (format!("/hide/{index}"), name.clone()));
        let mut tools: Vec<_> = self.compiled.tools.iter().map(|(name, tool)| (tool.pointer.clone(), name.clone())).collect();
        tools.sort();
        hidden.chain(tools).collect()
    }

    /// Reads and checks a text; every mistake is in the answer, in the order of the text.
    pub fn read(text: &str) -> Result<Document, Vec<DocumentMistake>> {
        let whole = |at: usize, problem: &str, mend: &str| Err(vec![placed(text, at, String::new(), problem.to_owned(), mend.to_owned())]);
        if text.len() > LARGEST_DOCUMENT {
            return whole(0, "the file is larger than 1 MiB", "Name a policy.json.");
        }
        if text.starts_with('\u{feff}') {
            return whole(0, "the file starts with a byte order mark", "Save it as UTF-8 without one.");
        }
        let mut mistakes = Vec::new();
        let strict = json::strict(text.as_bytes());
        if let Err(why) = &strict
            && why.not_json
        {
            let at = serde_json::from_str::<Value>(text).err().map_or(0, |error| byte_of(text, error.line(), error.column()));
            return whole(at, why.reason, "Check quotes, commas and brackets; JSON has no comments.");
        }
        let places = Places::of(text);
        for (pointer, at) in &places.twice {
            mistakes.push(placed(text, *at, pointer.clone(), "the same key stands twice".into(), "Keep one of them.".into()));
        }
        if let Err(why) = &strict
            && !places.twice.iter().any(|(pointer, _)| *pointer == why.pointer)
        {
            mistakes.push(placed(
                text,
                places.nearest(&why.pointer),
                why.pointer.clone(),
                why.reason.into(),
                "Write it in another way, or take it out.".into(),
            ));
        }
        // Whatever was refused above, the rest is read too, if it can be: all mistakes at once.
        let Ok(value) = serde_json::from_str::<Value>(text) else { return Err(mistakes) };
        let mut found: Vec<SpecMistake> = Vec::new();
        let spec = read::document(&value, &mut found);
        let compiled = compile::document(&spec, &mut found);
        mistakes.extend(found.into_iter().map(|one| placed(text, places.nearest(&one.at), one.at, one.problem, one.mend)));
        if mistakes.is_empty() {
            return Ok(Document { spec: Arc::new(spec), compiled: Arc::new(compiled) });
        }
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        Err(mistakes)
    }

    /// Tells the rules beside this document what it says of its counters.
    pub(super) fn declare(&self, counters: &mut Counters) {
        self.all_limits().for_each(|limit| limit.declare(format!("{} of the policy file", limit.name()), counters));
    }

    /// Every limit.
    pub(super) fn limits(&self) -> Vec<LimitView> {
        self.all_limits().map(Limit::view).collect()
    }

    fn all_limits(&self) -> impl Iterator<Item = &Limit> {
        // By name, so that the order is the same at every start.
        let tools = self.spec.tools.keys().filter_map(|name| self.compiled.tools.get(name));
        self.compiled.limits.iter().chain(tools.flat_map(|tool| &tool.limits))
    }
}

/// The counter of a `rate_limit`: its pointer, or a digest of one too long for a counter's name.
fn counter_of(pointer: &str) -> String {
    if pointer.chars().count() <= COUNTER_CHARS && !pointer.chars().any(char::is_control) && pointer.trim() == pointer {
        return pointer.to_owned();
    }
    format!("rate_limit {}", Digest::of_bytes(pointer.as_bytes()).as_str().chars().take(40).collect::<String>())
}

fn placed(text: &str, at: usize, pointer: String, problem: String, mend: String) -> DocumentMistake {
    let before = text.get(..at).unwrap_or_default();
    let begun = before.rfind('\n').map_or(0, |end| end + 1);
    DocumentMistake { pointer, line: before.matches('\n').count() + 1, column: before[begun..].chars().count() + 1, problem, mend }
}

/// serde_json counts columns in bytes, from 1.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    let mut at = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests;
