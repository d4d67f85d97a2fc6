//! One glob, ready to be asked for a name. What is made of texts, `*` and `{a,b}`, as nearly all are, is compared
//! directly; the rest is a regular expression, which takes a thousand times as long to compile. A matcher also tells
//! which text a name must have at one of its ends, so that `index` need not ask it of others. Called by `names`.

use super::glob::Glob;
use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

/// Characters of a pattern.
const PATTERN_CHARS: usize = 200;
/// Bytes a compiled pattern may take.
const REGEX_BYTES: usize = 1 << 20;

/// A compiled glob.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    /// A name is in it when it is in one of these.
    Texts(Vec<Text>),
    /// With what stands before the first special character.
    Regex(Regex, String),
}

/// What stands before, between and after the stars; one part alone is a whole name.
#[derive(Debug, Clone)]
pub(super) struct Text(Vec<String>);

/// What every name in a pattern has, or in one of its alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key<'m> {
    /// It is this name.
    Name(&'m str),
    /// It starts so.
    Start(&'m str),
    /// It ends so.
    End(&'m str),
    /// Nothing is known of it.
    Any,
}

impl Matcher {
    /// Checks and compiles; the error says what is wrong with the pattern.
    pub(super) fn compile(pattern: &str) -> Result<Matcher, String> {
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
        // Beside a slash two stars mean more to globset than one.
        let texts = if pattern.contains("**") { None } else { Glob::of(pattern) };
        match texts {
            Some(globs) => Ok(Matcher::Texts(globs.iter().map(|glob| Text(glob.parts())).collect())),
            None => Matcher::regex(pattern, glob.regex()),
        }
    }

    fn regex(pattern: &str, bytewise: &str) -> Result<Matcher, String> {
        let expression = if pattern.is_ascii() { bytewise.strip_prefix("(?-u)").unwrap_or(bytewise) } else { bytewise };
        let built = RegexBuilder::new(expression).dot_matches_new_line(true).size_limit(REGEX_BYTES).build();
        let start = pattern.split(['*', '?', '[', '{', '\\']).next().filter(|_| !pattern.contains("**")).unwrap_or_default();
        built.map(|regex| Matcher::Regex(regex, start.to_owned())).map_err(|_| format!("{pattern:?} is too large a pattern"))
    }

    /// Whether the name is in it; takes time in proportion to the name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Matcher::Texts(texts) => texts.iter().any(|text| text.has(name)),
            Matcher::Regex(regex, _) => regex.is_match(name.as_bytes()),
        }
    }

    /// One key for each alternative: a name that fits none of them is not in the pattern.
    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        match self {
            Matcher::Texts(texts) => texts.iter().map(Text::key).collect(),
            Matcher::Regex(_, start) if start.is_empty() => vec![Key::Any],
            Matcher::Regex(_, start) => vec![Key::Start(start)],
        }
    }
}

impl Text {
    fn has(&self, name: &str) -> bool {
        let [start, between @ .., end] = self.0.as_slice() else { return self.0.first().is_some_and(|whole| whole == name) };
        let Some(mut rest) = name.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str())) else { return false };
        // The first place of each part is as good as any later one.
        between.iter().all(|part| {
            let after = rest.find(part.as_str()).map(|at| &rest[at + part.len()..]);
            rest = after.unwrap_or_default();
            after.is_some()
        })
    }

    fn key(&self) -> Key<'_> {
        match self.0.as_slice() {
            [whole] => Key::Name(whole),
            [start, .., end] if end.len() > start.len() => Key::End(end),
            [start, ..] if !start.is_empty() => Key::Start(start),
            _ => Key::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(pattern: &str, name: &str) -> bool {
        Matcher::compile(pattern).unwrap().has(name)
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
            ("**/b", "b"),
            ("*.*", "x.\n"),
            ("\\[x\\]", "[x]"),
            ("a*b*c", "abbcbc"),
        ] {
            assert!(has(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("send_?", "send_"), ("\u{e9}*", "e"), ("a.b", "axb"), ("(a|b)", "a"), ("send", "send\n"), ("send", "Send"), ("ab*bc", "abc"), ("*/b", "b")]
        {
            assert!(!has(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        for pattern in ["", "[", "{a", "a}", "[z-a]", "\\", "[\u{e9}]", "\u{e9}?", &"a".repeat(201)] {
            assert!(Matcher::compile(pattern).is_err(), "{pattern}");
        }
        assert!(Matcher::compile(&format!("{}a{}", "{".repeat(99), "}".repeat(99))).is_ok());
    }

    #[test]
    fn what_is_compared_directly_would_never_have_been_too_large_an_expression() {
        for pattern in ["*".repeat(200), "a*".repeat(100), "\u{1f600}*".repeat(100), format!("{}a{}", "{".repeat(99), "}".repeat(99)), "{a,b}*".repeat(6)] {
            let glob = GlobBuilder::new(&pattern).empty_alternates(true).build().unwrap();
            assert!(Matcher::regex(&pattern, glob.regex()).is_ok(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_the_compiler_panic(pattern in "[\\[\\]{},*?!^a-c\\\\/.\u{e9}\\-]{0,40}", name in ".*") {
            if let Ok(glob) = Matcher::compile(&pattern) {
                glob.has(&name);
            }
        }

        #[test]
        fn a_plain_name_matches_itself_alone(name in "[a-zA-Z0-9_./ -]{1,20}", other in "[a-zA-Z0-9_./ -]{1,20}") {
            prop_assert!(has(&name, &name));
            prop_assert_eq!(has(&name, &other), name == other);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_direct_comparison_says_what_the_expression_says_and_its_keys_leave_nothing_out(
            pattern in "([ab/\u{e9}\u{1f600}\n,]|\\*|\\*|\\{,?|\\}|\\{a,b\\*\\}|\\{/,\\*\\}|\\\\[*ab]|\\?|\\[ab\\]){1,8}",
            name in "[ab/*\u{e9}\u{1f600}\n,]{0,7}",
        ) {
            let Ok(matcher) = Matcher::compile(&pattern) else { return Ok(()) };
            let glob = GlobBuilder::new(&pattern).literal_separator(false).backslash_escape(true).empty_alternates(true).build().unwrap();
            prop_assert_eq!(matcher.has(&name), Matcher::regex(&pattern, glob.regex()).unwrap().has(&name), "{} {}", pattern, name);
            let fits = |key: &Key<'_>| match key {
                Key::Name(whole) => name == *whole,
                Key::Start(start) => name.starts_with(start),
                Key::End(end) => name.ends_with(end),
                Key::Any => true,
            };
            prop_assert!(!matcher.has(&name) || matcher.keys().iter().any(fits), "{} {}", pattern, name);
        }
    }
}
