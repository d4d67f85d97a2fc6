//! A list of globs over names of tools or agents. Names are compared exactly: another case or a trailing blank
//! is another name. `*` crosses every character, a slash or dot too, because names are no file paths.
//! `matcher` compiles each; a long list is asked through an `index`. Called by `rule` and for `reads`.

use super::SpecMistake;
use super::index::Index;
use super::matcher::Matcher;

/// Patterns that are asked one after the other; a longer list has an index.
const FEW: usize = 16;

/// Compiled globs; a name is in the list when any of them matches.
#[derive(Debug, Clone)]
pub(super) struct Names {
    patterns: Vec<String>,
    globs: Vec<Matcher>,
    every: bool,
    index: Option<Box<Index>>,
}

impl Names {
    /// The list that no name is in.
    pub(super) fn none() -> Names {
        Names { patterns: Vec::new(), globs: Vec::new(), every: false, index: None }
    }

    /// Compiles the patterns; what is wrong goes to `mistakes` under `at[index]`.
    pub(super) fn compile(patterns: &[String], at: &str, mistakes: &mut Vec<SpecMistake>) -> Names {
        let mut globs = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            match Matcher::compile(pattern) {
                Ok(glob) => globs.push(glob),
                Err(problem) => mistakes.push(SpecMistake::new(
                    format!("{at}[{index}]"),
                    problem,
                    "Write a name, or a pattern with *, ?, [abc] and {this,that}; a backslash takes the next character as it is.",
                )),
            }
        }
        let every = patterns.iter().any(|pattern| pattern == "*");
        let index = (!every && globs.len() > FEW).then(|| Box::new(Index::of(globs.iter().enumerate())));
        Names { patterns: patterns.to_vec(), globs, every, index }
    }

    /// Whether the name is in the list.
    pub(super) fn has(&self, name: &str) -> bool {
        match &self.index {
            _ if self.every => true,
            Some(index) => index.candidates(name).any(|at| self.globs[at].has(name)),
            None => self.globs.iter().any(|glob| glob.has(name)),
        }
    }

    /// The patterns as they were written.
    pub(super) fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The patterns, compiled.
    pub(super) fn globs(&self) -> &[Matcher] {
        &self.globs
    }

    /// Whether any of the names is in what the pattern at a place matches.
    pub(super) fn pattern_has_any(&self, index: usize, names: &[String]) -> bool {
        self.globs.get(index).is_some_and(|glob| names.iter().any(|name| glob.has(name)))
    }

    /// Whether the list says that every name is in it.
    pub(super) fn has_every_name(&self) -> bool {
        self.every
    }
}
