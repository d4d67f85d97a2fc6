//! Walking a parsed `policy.json`: an object hands out the keys that its reader knows and at the end reports the
//! others, so that a misspelt key is never ignored. Every value keeps its JSON Pointer. Used by `read`.

use crate::domain::json::places::step;
use crate::domain::policy::SpecMistake;
use crate::domain::spelling::closest;
use serde_json::{Map, Value};

/// Characters of a word that a mistake repeats.
const ECHO: usize = 60;

/// What is wrong so far.
pub(super) type Mistakes = Vec<SpecMistake>;

/// One value with its place.
#[derive(Clone)]
pub(super) struct Node<'v> {
    pub(super) pointer: String,
    pub(super) value: &'v Value,
}

/// One object being read.
pub(super) struct Members<'v> {
    pub(super) pointer: String,
    map: &'v Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'v> Members<'v> {
    /// The value of a key this object knows.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node<'v>> {
        self.known.push(name);
        self.map.get(name).map(|value| Node { pointer: format!("{}{}", self.pointer, step(name)), value })
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, mistakes: &mut Mistakes, name: &'static str, mend: &str) -> Option<Node<'v>> {
        let node = self.take(name);
        if node.is_none() {
            mistakes.push(SpecMistake::new(format!("{}{}", self.pointer, step(name)), "is missing", mend));
        }
        node
    }

    /// Every member, for objects whose keys are names.
    pub(super) fn all(&self) -> Vec<(&'v str, Node<'v>)> {
        let node = |(name, value): (&'v String, &'v Value)| (name.as_str(), Node { pointer: format!("{}{}", self.pointer, step(name)), value });
        self.map.iter().map(node).collect()
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self, mistakes: &mut Mistakes) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            let guess = closest(name, &self.known).map(|known| format!("Did you mean {known:?}? ")).unwrap_or_default();
            let mend = format!("{guess}Known here: {}.", self.known.join(", "));
            let problem = "is not a key that this version enforces";
            mistakes.push(SpecMistake::new(format!("{}{}", self.pointer, step(name)), problem, mend));
        }
    }
}

impl<'v> Node<'v> {
    pub(super) fn mistake(&self, mistakes: &mut Mistakes, problem: impl Into<String>, mend: impl Into<String>) {
        mistakes.push(SpecMistake::new(self.pointer.clone(), problem, mend));
    }

    pub(super) fn object(&self, mistakes: &mut Mistakes, mend: &str) -> Option<Members<'v>> {
        match self.value {
            Value::Object(map) => Some(Members { pointer: self.pointer.clone(), map, known: Vec::new() }),
            _ => self.wrong(mistakes, "an object", mend),
        }
    }

    pub(super) fn text(&self, mistakes: &mut Mistakes, mend: &str) -> Option<&'v str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => self.wrong(mistakes, "a text", mend),
        }
    }

    pub(super) fn list(&self, mistakes: &mut Mistakes, mend: &str) -> Option<Vec<Node<'v>>> {
        let Value::Array(items) = self.value else { return self.wrong(mistakes, "a list", mend) };
        Some(items.iter().enumerate().map(|(index, value)| Node { pointer: format!("{}/{index}", self.pointer), value }).collect())
    }

    pub(super) fn texts(&self, mistakes: &mut Mistakes, mend: &str) -> Option<Vec<String>> {
        let nodes = self.list(mistakes, mend)?;
        let texts: Vec<Option<String>> = nodes.iter().map(|node| node.text(mistakes, mend).map(str::to_owned)).collect();
        texts.into_iter().collect()
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self, mistakes: &mut Mistakes, mend: &str) -> Option<u64> {
        self.value.as_u64().or_else(|| self.wrong(mistakes, "a whole number from 0 on", mend))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, mistakes: &mut Mistakes, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let all = format!("One of: {}.", names.join(", "));
        let word = self.text(mistakes, &all)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let cut: String = word.chars().take(ECHO).collect();
            let guess = closest(word, &names).map(|name| format!("Did you mean {name:?}? ")).unwrap_or_default();
            self.mistake(mistakes, format!("{cut:?} is not {what}"), format!("{guess}{all}"));
        }
        found.map(|(_, choice)| *choice)
    }

    fn wrong<T>(&self, mistakes: &mut Mistakes, wanted: &str, mend: &str) -> Option<T> {
        let kind = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.mistake(mistakes, format!("is {kind}, not {wanted}"), mend);
        None
    }
}
