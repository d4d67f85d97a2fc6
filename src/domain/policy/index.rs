//! Which of many patterns may have a name, without asking each: a pattern stands under the name it is, or under the
//! text that its names start or end with. What is found is asked again by whoever looked, so that the index can make
//! a verdict cheaper and never another. Nothing is kept of the names that are looked up: they are an agent's text.
//! Built once with a policy, over its rules; and with a long list of names, over its patterns.

use super::matcher::{Key, Matcher};
use std::collections::{BTreeSet, HashMap};

/// Numbers of patterns, or of what they belong to, ascending in each list.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    names: Texts,
    starts: Texts,
    ends: Texts,
    /// Of which no text is known.
    others: Vec<usize>,
}

/// Lists by a text of which all lengths, in bytes, are known.
#[derive(Debug, Clone, Default)]
struct Texts {
    lengths: BTreeSet<usize>,
    lists: HashMap<String, Vec<usize>>,
}

impl Index {
    /// Over patterns with their numbers, which must not descend; several may have one number.
    pub(super) fn of<'m>(patterns: impl Iterator<Item = (usize, &'m Matcher)>) -> Index {
        let mut index = Index::default();
        for (number, pattern) in patterns {
            for key in pattern.keys() {
                let list = match key {
                    Key::Name(name) => index.names.list(name),
                    Key::Start(start) => index.starts.list(start),
                    Key::End(end) => index.ends.list(end),
                    Key::Any => &mut index.others,
                };
                if list.last() != Some(&number) {
                    list.push(number);
                }
            }
        }
        index
    }

    /// The numbers of all patterns that may have the name, each once and ascending. They are found one by one, so
    /// that whoever stops at the first pays for the first.
    pub(super) fn candidates<'i>(&'i self, name: &str) -> Candidates<'i> {
        let starts = self.starts.lengths.range(..=name.len()).filter_map(|length| self.starts.lists.get(name.get(..*length)?));
        let ends = self.ends.lengths.range(..=name.len()).filter_map(|length| self.ends.lists.get(name.get(name.len() - length..)?));
        // A name as long as none of the patterns is not even hashed.
        let whole = self.names.lengths.get(&name.len()).and_then(|_| self.names.lists.get(name));
        let lists = whole.into_iter().chain(starts).chain(ends).map(Vec::as_slice);
        Candidates { lists: lists.chain((!self.others.is_empty()).then_some(self.others.as_slice())).collect() }
    }
}

impl Texts {
    fn list(&mut self, text: &str) -> &mut Vec<usize> {
        if !self.lists.contains_key(text) {
            self.lengths.insert(text.len());
        }
        self.lists.entry(text.to_owned()).or_default()
    }
}

/// Ascending lists, merged as they are read; none is empty.
pub(super) struct Candidates<'i> {
    lists: Vec<&'i [usize]>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = self.lists.iter().map(|list| list[0]).min()?;
        self.lists.retain_mut(|list| {
            if list[0] == next {
                *list = &list[1..];
            }
            !list.is_empty()
        });
        Some(next)
    }
}
