//! Hostile text as templates get it: cut into runs by `domain/reveal`, with a legend of what was marked.
//! A template can only print runs, so nothing unrevealed reaches a page. Used by every page.

use crate::domain::reveal::{Run, reveal};

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

    /// The first line that says something, for a row in a list; the call's own page shows everything.
    pub fn first_line(text: &str) -> Shown {
        const ROW: usize = 200;
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let cut: String = line.chars().take(ROW).collect();
        let rest = cut.len() < text.trim_end().len();
        Shown::new(&if rest { format!("{cut} \u{2026}") } else { cut })
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
    fn a_row_shows_the_first_line_and_says_that_there_is_more() {
        assert_eq!(Shown::first_line("\n  \nHello\nmore").runs, Shown::new("Hello \u{2026}").runs);
        assert_eq!(Shown::first_line("Hello\n").runs, Shown::new("Hello").runs);
    }
}
