//! The walk through arguments and answers that puts marks in the place of secrets. Values come from the strict reader,
//! which bounds their depth. A masked name hides nothing but itself; a list or an object under a secret's name is masked
//! whole. Called by `mask`.

use super::keys::Verdict;
use super::shapes;
use super::{Found, MARK, Mask, Masked, Masker, Why, mark_of, name_of};
use crate::domain::json::canonical;
use crate::domain::json::places::step;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt::Write as _;

/// Masks arguments.
pub(super) fn arguments(masker: &Masker<'_>, value: &Value, shown: &[&str]) -> Masked {
    let mut walk = Walk { masker, shown, masks: Vec::new(), pointer: String::new() };
    let value = walk.value(value, Verdict::Open);
    Masked { value, masks: walk.masks }
}

struct Walk<'w, 'k> {
    masker: &'w Masker<'k>,
    shown: &'w [&'w str],
    masks: Vec<Mask>,
    /// Of the value being looked at, in the masked arguments.
    pointer: String,
}

impl Walk<'_, '_> {
    fn value(&mut self, value: &Value, name: Verdict) -> Value {
        if let Some(why) = self.why(value, name) {
            return self.mask(value, why);
        }
        match value {
            Value::Array(items) => {
                let mut masked = Vec::with_capacity(items.len());
                // As the arguments of a program: `["--password", "\u{2026}"]`.
                let mut option = Verdict::Open;
                for (index, item) in items.iter().enumerate() {
                    let said = if option == Verdict::Secret && item.as_str().is_some_and(|text| !text.starts_with('-')) { option } else { name };
                    masked.push(self.at(&format!("/{index}"), |walk| walk.value(item, said)));
                    option = self.masker.option(item);
                }
                Value::Array(masked)
            }
            Value::Object(members) => {
                let names: Vec<String> = members.keys().map(|name| self.shown_name(name)).collect();
                let mut seen = HashSet::new();
                if !names.iter().all(|name| seen.insert(name)) {
                    // Two names with the same mark: nobody could tell them apart in an edit.
                    return self.mask(value, Why::Mark);
                }
                let mut out = Map::with_capacity(members.len());
                for ((name, value), shown_name) in members.iter().zip(names) {
                    let verdict = self.masker.names.beside(name, members);
                    let value = self.at(&step(&shown_name), |walk| {
                        if *name != shown_name {
                            walk.name(name);
                        }
                        walk.value(value, verdict)
                    });
                    out.insert(shown_name, value);
                }
                Value::Object(out)
            }
            other => other.clone(),
        }
    }

    fn why(&self, value: &Value, name: Verdict) -> Option<Why> {
        match value {
            // Nothing secret is in these, and whether a flag is set is what a reader has to see.
            Value::Null | Value::Bool(_) => None,
            Value::Object(members) if members.contains_key(MARK) => Some(Why::Mark),
            _ if name == Verdict::Secret && !is_empty(value) => Some(Why::Name),
            Value::String(text) if name != Verdict::Never && !self.is_shown() => shapes::first(text).map(Why::Shape),
            Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn mask(&mut self, value: &Value, why: Why) -> Value {
        let mark = self.masker.mark(value);
        let length = value.as_str().map_or_else(|| canonical(value).chars().count(), |text| text.chars().count());
        self.masks.push(Mask { pointer: self.pointer.clone(), mark: mark.clone(), length, why, is_name: false });
        mark_of(&mark)
    }

    fn name(&mut self, name: &str) {
        let mark = self.masker.mark(&Value::from(name));
        let why = shapes::first(name).map_or(Why::Mark, Why::Shape);
        self.masks.push(Mask { pointer: self.pointer.clone(), mark, length: name.chars().count(), why, is_name: true });
    }

    /// A member's name as it is shown. On the way to recipient and text it stands in the config and stays.
    fn shown_name(&self, name: &str) -> String {
        let secret = name.starts_with(MARK) || shapes::first(name).is_some();
        if !secret || self.leads_to_shown(name) { name.to_owned() } else { name_of(&self.masker.mark(&Value::from(name))) }
    }

    fn leads_to_shown(&self, name: &str) -> bool {
        let here = format!("{}{}", self.pointer, step(name));
        self.shown.iter().any(|shown| shown.strip_prefix(&here).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    fn is_shown(&self) -> bool {
        self.shown.contains(&self.pointer.as_str())
    }

    fn at<T>(&mut self, step: &str, look: impl FnOnce(&mut Self) -> T) -> T {
        let around = self.pointer.len();
        self.pointer.push_str(step);
        let found = look(self);
        self.pointer.truncate(around);
        found
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Masks a server's answer: stretches of its texts, and what stands under a secret's name.
pub(super) fn answer(masker: &Masker<'_>, value: &Value, known: &[String]) -> Option<Value> {
    let mut changed = false;
    let mut written: Vec<(String, &str)> = known.iter().flat_map(|text| spellings(text).into_iter().map(move |form| (form, text.as_str()))).collect();
    written.sort_by(|one, other| other.0.len().cmp(&one.0.len()).then_with(|| one.cmp(other)));
    written.dedup();
    let masked = Answer { masker, known, written }.value(value, Verdict::Open, &mut changed);
    changed.then_some(masked)
}

struct Answer<'w, 'k> {
    masker: &'w Masker<'k>,
    known: &'w [String],
    /// What is known as JSON within a text has it, and what it stands for.
    written: Vec<(String, &'w str)>,
}

/// A text as it stands alone, within JSON, and within JSON within JSON, in the spellings of usual writers.
fn spellings(text: &str) -> Vec<String> {
    fn json(text: &str) -> String {
        let quoted = Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
    }
    let escaped = |which: fn(char) -> bool, upper: bool| {
        let mut out = String::new();
        for c in json(text).chars() {
            if !which(c) {
                out.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
            }
        }
        out
    };
    let beyond = |c: char| !c.is_ascii();
    let of_markup = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
    let ascii = escaped(beyond, false);
    let slashed = ascii.replace('/', "\\/");
    let mut forms = vec![text.to_owned(), json(text), ascii, escaped(beyond, true), escaped(of_markup, false), slashed];
    forms.extend(forms.clone().iter().map(|form| json(form)));
    forms.sort();
    forms.dedup();
    forms
}

impl Answer<'_, '_> {
    fn value(&self, value: &Value, name: Verdict, changed: &mut bool) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            _ if name == Verdict::Secret && !is_empty(value) => {
                *changed = true;
                mark_of(&self.masker.mark(value))
            }
            Value::String(text) => Value::String(self.text(text, changed)),
            Value::Number(number) => {
                if self.known.iter().any(|known| *known == number.to_string()) {
                    *changed = true;
                    return mark_of(&self.masker.mark(value));
                }
                value.clone()
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item, name, changed)).collect()),
            Value::Object(members) => {
                let masked =
                    members.iter().map(|(name, value)| (self.text(name, changed), self.value(value, self.masker.names.beside(name, members), changed)));
                Value::Object(masked.collect())
            }
        }
    }

    fn text(&self, text: &str, changed: &mut bool) -> String {
        let marked = |secret: &str| format!("[masked {}]", self.masker.mark(&Value::from(secret)));
        let mut found = shapes::all(text);
        let known = self.written.iter().flat_map(|(form, _)| text.match_indices(form.as_str()));
        found.extend(known.map(|(at, form)| Found { at: at..at + form.len(), what: "a known secret" }));
        // A stretch that is one of the known has that one's mark, however it is written.
        let stands_for = |stretch: &str| self.written.iter().find(|(form, _)| form == stretch).map_or_else(|| marked(stretch), |(_, known)| marked(known));
        let out = shapes::replace(text, &shapes::joined(found), stands_for);
        *changed |= out != text;
        out
    }
}
