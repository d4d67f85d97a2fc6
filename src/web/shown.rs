//! Hostile text as templates get it: cut into runs by `domain/reveal`, with a legend of what was marked.
//! A template can only print runs, so nothing unrevealed reaches a page. Used by every page.

use crate::domain::reveal::{Run, reveal};
use std::ops::Range;

/// A revealed text.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The pieces in order.
    pub runs: Vec<Run>,
}

/// One line of the legend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// As it stands in the text.
    pub label: String,
    /// In plain words.
    pub meaning: &'static str,
    /// How often.
    pub count: usize,
}

impl Shown {
    /// The whole text.
    pub fn new(text: &str) -> Shown {
        Shown { runs: reveal(text) }
    }

    /// The beginning on one line, for a row in a list; the call's own page shows everything.
    pub fn beginning(text: &str) -> Shown {
        const ROW: usize = 200;
        let mut line = String::new();
        let mut whole = true;
        for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
            if line.chars().count() >= ROW {
                whole = false;
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(part.chars().take(ROW));
            whole &= part.chars().nth(ROW).is_none();
        }
        if !whole {
            line.push_str(" \u{2026}");
        }
        Shown::new(&line)
    }

    /// The text in pieces: those within the byte ranges, which are in order and do not overlap, and those between. It is
    /// cut after it was revealed: what a character means depends on the ones around it.
    pub fn cut_at(&self, ranges: &[Range<usize>]) -> Vec<(bool, Shown)> {
        let mut pieces: Vec<(bool, Shown)> = Vec::new();
        let mut put = |within: bool, run: Run| match pieces.last_mut() {
            Some((last, shown)) if *last == within => shown.runs.push(run),
            _ => pieces.push((within, Shown { runs: vec![run] })),
        };
        let (mut at, mut next) = (0, 0);
        for run in &self.runs {
            let text = match run {
                Run::Marked { source, .. } => {
                    while ranges.get(next).is_some_and(|range| range.end <= at) {
                        next += 1;
                    }
                    put(ranges.get(next).is_some_and(|range| range.contains(&at)), run.clone());
                    at += source.len_utf8();
                    continue;
                }
                Run::Plain(text) => text,
            };
            let (begin, end) = (at, at + text.len());
            while at < end {
                while ranges.get(next).is_some_and(|range| range.end <= at) {
                    next += 1;
                }
                let (within, until) = match ranges.get(next) {
                    Some(range) if range.start <= at => (true, range.end.min(end)),
                    Some(range) => (false, range.start.min(end)),
                    None => (false, end),
                };
                put(within, Run::Plain(text.get(at - begin..until - begin).unwrap_or_default().to_owned()));
                at = until;
            }
        }
        pieces
    }

    /// What was marked, each kind once.
    pub fn legend(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        for run in &self.runs {
            let Run::Marked { label, meaning, .. } = run else { continue };
            match marks.iter_mut().find(|mark| mark.label == *label) {
                Some(mark) => mark.count += 1,
                None => marks.push(Mark { label: label.clone(), meaning, count: 1 }),
            }
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_names_each_kind_once_and_counts() {
        let legend = Shown::new("a\u{202e}b\u{200b}c\u{202e}").legend();
        assert_eq!(legend.iter().map(|mark| (mark.label.as_str(), mark.count)).collect::<Vec<_>>(), [("U+202E", 2), ("U+200B", 1)]);
    }

    #[test]
    fn a_text_is_cut_where_it_was_asked_and_nothing_of_it_is_lost() {
        let text = "ab\u{202e}cd p\u{430}ypal ef";
        let told = |ranges: &[Range<usize>]| {
            let source =
                |shown: &Shown| shown.runs.iter().map(|run| if let Run::Plain(text) = run { text.clone() } else { "#".to_owned() }).collect::<String>();
            Shown::new(text).cut_at(ranges).iter().map(|(within, shown)| (*within, source(shown))).collect::<Vec<_>>()
        };
        assert_eq!(told(&[]), [(false, "ab#cd p#ypal ef".to_owned())]);
        let expected = [(false, "a"), (true, "b#c"), (false, "d p#ypal "), (true, "ef")];
        assert_eq!(told(&[1..6, 16..18]), expected.map(|(within, text)| (within, text.to_owned())));
    }

    #[test]
    fn a_row_shows_the_beginning_on_one_line_and_says_that_there_is_more() {
        assert_eq!(Shown::beginning("\n  \nHello,\n\n more\n").runs, Shown::new("Hello, more").runs);
        assert_eq!(Shown::beginning(&"x".repeat(300)).runs, Shown::new(&format!("{} \u{2026}", "x".repeat(200))).runs);
        assert_eq!(Shown::beginning(&"y\n".repeat(300)).legend(), Vec::new());
    }
}
