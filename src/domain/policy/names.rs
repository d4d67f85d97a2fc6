//! A list of globs over names of tools or agents. Names are compared exactly: another case or a trailing blank
//! is another name. `*` crosses every character, a slash or dot too, because names are no file paths.
//! globset reads the pattern; the regular expression is compiled here, because globset's own matcher counts bytes
//! where `?` and `[…]` mean characters, and panics on a pattern that is too large. Called by `rule` and for `reads`.

use super::SpecMistake;
use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

/// Characters of a pattern.
const PATTERN_CHARS: usize = 200;
/// Bytes a compiled pattern may take.
const REGEX_BYTES: usize = 1 << 20;

/// Compiled globs; a name is in the list when any of them matches.
#[derive(Debug, Clone)]
pub(super) struct Names {
    patterns: Vec<String>,
    globs: Vec<Regex>,
    every: bool,
}

impl Names {
    /// The list that no name is in.
    pub(super) fn none() -> Names {
        Names { patterns: Vec::new(), globs: Vec::new(), every: false }
    }

    /// Compiles the patterns; what is wrong goes to `mistakes` under `at[index]`.
    pub(super) fn compile(patterns: &[String], at: &str, mistakes: &mut Vec<SpecMistake>) -> Names {
        let mut globs = Vec::with_capacity(patterns.len());
        for (index, pattern) in patterns.iter().enumerate() {
            match compile(pattern) {
                Ok(glob) => globs.push(glob),
                Err(problem) => mistakes.push(SpecMistake::new(
                    format!("{at}[{index}]"),
                    problem,
                    "Write a name, or a pattern with *, ?, [abc] and {this,that}; a backslash takes the next character as it is.",
                )),
            }
        }
        Names { patterns: patterns.to_vec(), globs, every: patterns.iter().any(|pattern| pattern == "*") }
    }

    /// Whether the name is in the list.
    pub(super) fn has(&self, name: &str) -> bool {
        self.every || self.globs.iter().any(|glob| glob.is_match(name.as_bytes()))
    }

    /// The patterns as they were written.
    pub(super) fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// Whether any of the names is in what the pattern at a place matches.
    pub(super) fn pattern_has_any(&self, index: usize, names: &[String]) -> bool {
        self.globs.get(index).is_some_and(|glob| names.iter().any(|name| glob.is_match(name.as_bytes())))
    }

    /// Whether the list says that every name is in it.
    pub(super) fn has_every_name(&self) -> bool {
        self.every
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("is empty and matches no name".to_owned());
    }
    if pattern.chars().count() > PATTERN_CHARS {
        return Err("is longer than 200 characters".to_owned());
    }
    // globset writes other letters byte by byte, so one character in brackets would become several.
    if !pattern.is_ascii() && pattern.contains(['?', '[']) {
        return Err("has ? or [ beside letters outside of ASCII".to_owned());
    }
    // Empty alternates on: {,_dm} must match nothing too, or a deny rule would miss a tool.
    let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).empty_alternates(true).build();
    let glob = glob.map_err(|error| format!("{pattern:?} is not a pattern: {}", error.kind()))?;
    let bytewise = glob.regex();
    let expression = if pattern.is_ascii() { bytewise.strip_prefix("(?-u)").unwrap_or(bytewise) } else { bytewise };
    let built = RegexBuilder::new(expression).dot_matches_new_line(true).size_limit(REGEX_BYTES).build();
    built.map_err(|_| format!("{pattern:?} is too large a pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(pattern: &str, name: &str) -> bool {
        compile(pattern).unwrap().is_match(name.as_bytes())
    }

    #[test]
    fn a_pattern_counts_characters_and_knows_empty_alternates() {
        for (pattern, name) in [
            ("send_?", "send_\u{e9}"),
            ("send_[!a]", "send_\u{1f600}"),
            ("\u{e9}*", "\u{e9}t\u{e9}"),
            ("send{,_dm}", "send"),
            ("send{,_dm}", "send_dm"),
            ("a**b", "a/x/b"),
            ("*.*", "x.\n"),
            ("\\[x\\]", "[x]"),
        ] {
            assert!(has(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("send_?", "send_"), ("\u{e9}*", "e"), ("a.b", "axb"), ("(a|b)", "a"), ("send", "send\n"), ("send", "Send")] {
            assert!(!has(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        for pattern in ["", "[", "{a", "a}", "[z-a]", "\\", "[\u{e9}]", "\u{e9}?", &"a".repeat(201)] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&format!("{}a{}", "{".repeat(99), "}".repeat(99))).is_ok());
    }

    proptest! {
        #[test]
        fn no_pattern_makes_the_compiler_panic(pattern in "[\\[\\]{},*?!^a-c\\\\/.\u{e9}\\-]{0,40}", name in ".*") {
            if let Ok(glob) = compile(&pattern) {
                glob.is_match(name.as_bytes());
            }
        }

        #[test]
        fn a_plain_name_matches_itself_alone(name in "[a-zA-Z0-9_./ -]{1,20}", other in "[a-zA-Z0-9_./ -]{1,20}") {
            prop_assert!(has(&name, &name));
            prop_assert_eq!(has(&name, &other), name == other);
        }
    }
}
