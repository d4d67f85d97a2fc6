//! A tool's `inputSchema` (JSON Schema 2020-12 unless its `$schema` names another draft), compiled once, and whether
//! arguments fit it. Schemas are a server's text and arguments an agent's: both may be made to cost without end, so
//! the work of a check is counted before it is done (`work`), and what would cost too much is not done at all.
//! Nothing is ever fetched: a schema that refers beyond itself does not compile. `format` is an annotation and not
//! asserted, as 2020-12 says. Compiled by `mcp/upstream`, asked by `gate/arguments`.

mod words;
mod work;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use work::{Bounds, Work};

/// Longest schema, bytes of its JSON text.
pub const MAX_BYTES: usize = 256 * 1024;
/// How deep a schema's JSON may nest.
const MAX_DEPTH: usize = 64;
/// References and patterns of one schema; a compiled pattern is far larger than its text.
const MAX_REFS: usize = 500;
const MAX_PATTERNS: usize = 64;
/// Bytes of one compiled pattern.
const PATTERN_BYTES: usize = 256 * 1024;
/// Steps back of one pattern on one text.
const BACKTRACKS: usize = 100_000;
/// A check that is nothing beside the call itself: well below a millisecond, on any stack.
const SMALL: Bounds = Bounds { steps: 10_000, down: 150, patterns: false };
/// The most that a check may cost; far more than a call needs that a person could read.
const MOST: Bounds = Bounds { steps: 500_000, down: 1_000, patterns: true };
/// Steps whose errors may be collected: each keeps some hundred bytes until the check is over.
const MOST_COLLECTED: usize = 50_000;

/// A stack that is large enough for any check within the bounds, bytes.
pub const STACK: usize = 16 * 1024 * 1024;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    value: Value,
}

/// Why a schema cannot be used, as the end of a sentence that begins with "its inputSchema"; without any of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub &'static str);

/// Where arguments do not fit, and what is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// JSON Pointer into the arguments; empty for the whole.
    pub pointer: String,
    /// What the schema asks, never what the arguments hold.
    pub expected: String,
}

/// Whether arguments fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// They do.
    Fits,
    /// They do not.
    Not(Misfit),
    /// It would take more work than a check may cost.
    TooCostly,
}

impl Misfit {
    /// One sentence part for the agent: at most 500 characters, cut in the pointer before the expectation is.
    pub fn sentence(&self) -> String {
        const MOST: usize = 400;
        let expected: String = self.expected.chars().take(250).collect();
        let room = MOST.saturating_sub(expected.chars().count());
        let at = match self.pointer.chars().count() {
            0 => "the arguments as a whole".to_owned(),
            long if long > room => format!("{}\u{2026}", self.pointer.chars().take(room).collect::<String>()),
            _ => self.pointer.clone(),
        };
        format!("{at} {expected}")
    }
}

impl Schema {
    /// Reads and compiles the JSON text of a schema. May take as long as a second for a hostile one and needs a
    /// stack of [`STACK`].
    pub fn compile(text: &str) -> Result<Schema, Unusable> {
        if text.len() > MAX_BYTES {
            return Err(Unusable("has more than 256 KiB"));
        }
        let value: Value = serde_json::from_str(text).map_err(|_| Unusable("is no JSON that Paraph reads"))?;
        if !value.is_object() {
            return Err(Unusable("is no object"));
        }
        bounded(&value)?;
        let patterns = PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
        let options = jsonschema::options()
            .should_validate_formats(false)
            .without_content_encoding_support("base64")
            .without_content_media_type_support("application/json")
            .offline()
            .with_pattern_options(patterns);
        let validator = options.build(&value).map_err(|_| Unusable("is no valid JSON Schema, or of a draft that Paraph does not know"))?;
        Ok(Schema { validator, value })
    }

    /// Whether the arguments fit, if that can be said at once; `None` when the check belongs on a thread of its own.
    pub fn check_small(&self, arguments: &Value) -> Option<Fit> {
        let work = Work::count(&self.value, arguments, SMALL)?;
        Some(self.fit(arguments, &work))
    }

    /// Whether the arguments fit. Needs a stack of [`STACK`] and may take long: as a rule well below a second.
    pub fn check(&self, arguments: &Value) -> Fit {
        match Work::count(&self.value, arguments, MOST) {
            Some(work) => self.fit(arguments, &work),
            None => Fit::TooCostly,
        }
    }

    fn fit(&self, arguments: &Value, work: &Work) -> Fit {
        if work.collected > MOST_COLLECTED {
            let whole = || Misfit { pointer: String::new(), expected: "do not fit the tool's inputSchema; they are too many to say where".to_owned() };
            return if self.validator.is_valid(arguments) { Fit::Fits } else { Fit::Not(whole()) };
        }
        match self.validator.validate(arguments) {
            Ok(()) => Fit::Fits,
            Err(error) => Fit::Not(words::misfit(&error)),
        }
    }
}

/// What is looked at before a schema is compiled.
fn bounded(root: &Value) -> Result<(), Unusable> {
    let (mut refs, mut patterns, mut parts) = (0usize, 0usize, 0usize);
    let own = root.get("$id").and_then(Value::as_str);
    let draft_4 = root.get("$schema").and_then(Value::as_str).is_some_and(|draft| draft.contains("draft-04"));
    let mut nodes = vec![(root, 1usize)];
    while let Some((node, depth)) = nodes.pop() {
        if depth > MAX_DEPTH {
            return Err(Unusable("nests deeper than 64 levels"));
        }
        match node {
            Value::Array(items) => nodes.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) => {
                            refs += 1;
                            if work::local(target, own).is_none() {
                                return Err(Unusable("refers to another document, which Paraph does not fetch"));
                            }
                        }
                        ("$id", Value::String(_)) if depth > 1 => parts += 1,
                        ("id", Value::String(_)) if depth > 1 && draft_4 => parts += 1,
                        ("pattern", Value::String(_)) => patterns += 1,
                        ("patternProperties", Value::Object(all)) => patterns += all.len(),
                        _ => {}
                    }
                    nodes.push((value, depth + 1));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    if refs > MAX_REFS || patterns > MAX_PATTERNS {
        return Err(Unusable("has more than 500 references or 64 patterns"));
    }
    // A reference counts from the document around it; with several it is not the same place for every reader.
    if parts > 0 && refs > 0 {
        return Err(Unusable("is made of several documents with ids of their own"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
