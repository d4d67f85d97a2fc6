//! A list of globs over names of tools or agents. Names are compared exactly: another case or a trailing blank
//! is another name. `*` crosses every character, a slash or dot too, because names are no file paths.
//! Called by `rule` and for `reads`.

use super::SpecMistake;
use globset::{GlobBuilder, GlobMatcher};

/// Compiled globs; a name is in the list when any of them matches.
#[derive(Debug, Clone)]
pub(super) struct Names {
    globs: Vec<GlobMatcher>,
    every: bool,
}

impl Names {
    /// The list that no name is in.
    pub(super) fn none() -> Names {
        Names { globs: Vec::new(), every: false }
    }

    /// Compiles the patterns; what is wrong goes to `mistakes` under `at[index]`.
    pub(super) fn compile(patterns: &[String], at: &str, mistakes: &mut Vec<SpecMistake>) -> Names {
        let mut globs = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            if pattern.is_empty() {
                mistakes.push(SpecMistake::new(format!("{at}[{index}]"), "is empty and matches no name", "Write a name, or a pattern like \"read_*\"."));
                continue;
            }
            match GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build() {
                Ok(glob) => globs.push(glob.compile_matcher()),
                Err(error) => mistakes.push(SpecMistake::new(
                    format!("{at}[{index}]"),
                    format!("{pattern:?} is not a pattern: {}", error.kind()),
                    "A pattern has *, ?, [abc] and {this,that}; a backslash takes the next character as it is.",
                )),
            }
        }
        let every = patterns.iter().any(|pattern| pattern.bytes().all(|byte| byte == b'*') && !pattern.is_empty());
        Names { globs, every }
    }

    /// Whether the name is in the list.
    pub(super) fn has(&self, name: &str) -> bool {
        self.every || self.globs.iter().any(|glob| glob.is_match(name))
    }

    /// Whether every name is in the list.
    pub(super) fn has_every_name(&self) -> bool {
        self.every
    }
}
