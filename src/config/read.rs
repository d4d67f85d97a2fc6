//! Walking the parsed TOML: a section hands out the keys that its reader knows and at the end reports the others,
//! so that a misspelt key is never ignored. Every value keeps its full key and its place in the text.
//! Used by every section's reader.

use super::source::Source;
use crate::domain::quantity;
use crate::domain::spelling::closest;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Characters of a word that a mistake repeats.
const ECHO: usize = 60;

/// One value with its key.
#[derive(Clone)]
pub(super) struct Node<'t> {
    /// The full key.
    pub(super) key: String,
    /// The byte of the text where it stands.
    pub(super) at: usize,
    value: &'t DeValue<'t>,
}

/// One table being read.
pub(super) struct Section<'t> {
    /// The full key of the table; empty for the whole file.
    pub(super) key: String,
    entries: Vec<(&'t str, usize, &'t Spanned<DeValue<'t>>)>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn of(key: String, table: &'t DeTable<'t>) -> Section<'t> {
        let entries = table.iter().map(|(name, value)| (name.get_ref().as_ref(), name.span().start, value)).collect();
        Section { key, entries, known: Vec::new() }
    }

    /// The value of a key this section knows.
    pub(super) fn take(&mut self, source: &mut Source<'_>, name: &'static str) -> Option<Node<'t>> {
        self.known.push(name);
        let index = self.entries.iter().position(|(written, _, _)| *written == name)?;
        let entry = self.entries.swap_remove(index);
        Some(self.node(source, entry))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&mut self, source: &mut Source<'_>, name: &'static str, mend: &str) -> Option<Node<'t>> {
        let node = self.take(source, name);
        if node.is_none() {
            source.mistake(&self.inner(name), "is missing", mend);
        }
        node
    }

    /// A key of the contract that this version does not enforce: refused by name, because what is ignored protects
    /// nobody.
    pub(super) fn later(&mut self, source: &mut Source<'_>, name: &'static str) {
        if let Some(node) = self.take(source, name) {
            node.later(source);
        }
    }

    /// Every entry, for tables whose keys are names.
    pub(super) fn all(mut self, source: &mut Source<'_>) -> Vec<(&'t str, Node<'t>)> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_key(|(_, at, _)| *at);
        entries.into_iter().map(|entry| (entry.0, self.node(source, entry))).collect()
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self, source: &mut Source<'_>) {
        for (name, at, _) in &self.entries {
            let guess = closest(name, &self.known).map(|known| format!("Did you mean {known:?}? ")).unwrap_or_default();
            let mend = format!("{guess}Known here: {}.", self.known.join(", "));
            source.mistake_at(*at, &self.inner(name), "is not a key of this table", mend);
        }
    }

    fn inner(&self, name: &str) -> String {
        let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let name = if bare { name.to_owned() } else { format!("{:?}", name.chars().take(ECHO).collect::<String>()) };
        if self.key.is_empty() { name } else { format!("{}.{name}", self.key) }
    }

    fn node(&self, source: &mut Source<'_>, (name, at, value): (&'t str, usize, &'t Spanned<DeValue<'t>>)) -> Node<'t> {
        let key = self.inner(name);
        // The span of a table is its header or its braces; its key is what an operator looks for.
        let at = if matches!(value.get_ref(), DeValue::Table(_)) { at } else { value.span().start };
        source.note(&key, at);
        Node { key, at, value: value.get_ref() }
    }
}

impl<'t> Node<'t> {
    pub(super) fn value(&self) -> &'t DeValue<'t> {
        self.value
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn mistake(&self, source: &mut Source<'_>, problem: impl Into<String>, mend: impl Into<String>) {
        source.mistake_at(self.at, &self.key, problem, mend);
    }

    /// Refuses a key that this version does not enforce.
    pub(super) fn later(&self, source: &mut Source<'_>) {
        self.mistake(source, "is not in this version", "Leave it out; nothing would enforce it.");
    }

    pub(super) fn section(&self, source: &mut Source<'_>, mend: &str) -> Option<Section<'t>> {
        match self.value {
            DeValue::Table(table) => Some(Section::of(self.key.clone(), table)),
            _ => self.wrong(source, "a table", mend),
        }
    }

    pub(super) fn text(&self, source: &mut Source<'_>, mend: &str) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong(source, "a text", mend),
        }
    }

    pub(super) fn flag(&self, source: &mut Source<'_>) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(source, "true or false", "Write true or false, without quotes."),
        }
    }

    pub(super) fn list(&self, source: &mut Source<'_>, mend: &str) -> Option<Vec<Node<'t>>> {
        let DeValue::Array(items) = self.value else { return self.wrong(source, "a list", mend) };
        let mut nodes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let (key, at) = (format!("{}[{index}]", self.key), item.span().start);
            source.note(&key, at);
            nodes.push(Node { key, at, value: item.get_ref() });
        }
        Some(nodes)
    }

    pub(super) fn texts(&self, source: &mut Source<'_>, mend: &str) -> Option<Vec<String>> {
        let nodes = self.list(source, mend)?;
        let texts: Vec<Option<String>> = nodes.iter().map(|node| node.text(source, mend).map(str::to_owned)).collect();
        texts.into_iter().collect()
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(&self, source: &mut Source<'_>, least: u64, most: u64) -> Option<u64> {
        let mend = format!("Write a whole number from {least} to {most}.");
        let DeValue::Integer(number) = self.value else { return self.wrong(source, "a whole number", &mend) };
        let count = self.within(source, integer(number), i128::from(least), i128::from(most), &mend)?;
        u64::try_from(count).ok()
    }

    /// Bytes from 1 to `most`, as `"4MiB"` or as a whole number.
    pub(super) fn bytes(&self, source: &mut Source<'_>, most: u64) -> Option<u64> {
        let mend = "Write a size such as \"64KiB\" or \"4MiB\", or a number of bytes, from 1 byte to 1GiB.";
        self.size(source, 1, most, mend)
    }

    /// Room on a disk; 0 is none.
    pub(super) fn room(&self, source: &mut Source<'_>) -> Option<u64> {
        self.size(source, 0, 1 << 40, "Write a size such as \"16MiB\" or \"1GiB\", at most \"1024GiB\", or 0 for none.")
    }

    fn size(&self, source: &mut Source<'_>, least: u64, most: u64, mend: &str) -> Option<u64> {
        let bytes = match self.value {
            DeValue::Integer(number) => integer(number),
            DeValue::String(text) => quantity::size(text).map(i128::from),
            _ => return self.wrong(source, "a size", mend),
        };
        let bytes = self.within(source, bytes, i128::from(least), i128::from(most), mend)?;
        u64::try_from(bytes).ok()
    }

    /// A time from `least` to `most`.
    pub(super) fn time(&self, source: &mut Source<'_>, least: Duration, most: Duration) -> Option<Duration> {
        let mend = format!("Write a time such as \"50s\", \"10m\", \"2h\" or \"7d\", from {} to {}.", quantity::write_time(least), quantity::write_time(most));
        let time = quantity::time(self.text(source, &mend)?);
        self.within(source, time, least, most, &mend)
    }

    /// One of some words; `later` are words of the contract that this version refuses by name.
    pub(super) fn choice<T: Copy>(&self, source: &mut Source<'_>, what: &str, choices: &[(&'static str, T)], later: &[&str]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let all = format!("One of: {}.", names.join(", "));
        let word = self.text(source, &all)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let cut: String = word.chars().take(ECHO).collect();
            let problem = if later.contains(&word) { format!("{cut:?} is not in this version") } else { format!("{cut:?} is not {what}") };
            let guess = closest(word, &names).map(|name| format!("Did you mean {name:?}? ")).unwrap_or_default();
            self.mistake(source, problem, format!("{guess}{all}"));
        }
        found.map(|(_, choice)| *choice)
    }

    fn within<T: PartialOrd + Copy>(&self, source: &mut Source<'_>, value: Option<T>, least: T, most: T, mend: &str) -> Option<T> {
        let problem = match value {
            None => "cannot be understood",
            Some(value) if value < least => "is too small",
            Some(value) if value > most => "is too large",
            Some(_) => return value,
        };
        self.mistake(source, problem, mend);
        None
    }

    fn wrong<T>(&self, source: &mut Source<'_>, wanted: &str, mend: &str) -> Option<T> {
        let kind = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time of day",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.mistake(source, format!("is {kind}, not {wanted}"), mend);
        None
    }
}

/// Wide enough that a number out of range is told as such.
fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
