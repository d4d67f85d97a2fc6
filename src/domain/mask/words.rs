//! A mark in words, for headings and mails, and the text that only looks like one: an agent can write it to deceive, and
//! a person can carry it into an edit, where it would go out in place of the value. Called by `mask` for edits, by
//! `gate/masking` for recipient and text, and by pages, mails and the terminal for the warning.

use super::digits;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// Digits of a mark that people compare.
const FOUR: usize = 4;

// White space and backslashes are taken out first: a mark within JSON within a text is still one.
static MARK_IN_TEXT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let written =
        r#"(?i-u)\{["']\$masked["']:["']sha256:[0-9a-f]|\$masked:sha256:[0-9a-f]|amaskedvalue\([0-9]+characters?,[0-9a-f]{4}\)|\[masked[0-9a-f]{8}\]"#;
    Regex::new(written).ok()
});

static LIKE_A_MARK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\$masked|masked[\s\p{Cf}]{1,8}value|\[[\s\p{Cf}]{0,8}masked|masked[\s\p{Cf}]{0,8}[·,(:]").ok());

/// What people read in place of a recipient or text that is masked; its length in characters.
pub fn words(length: usize, digits: &str) -> String {
    let four = digits.get(..FOUR).unwrap_or(digits);
    format!("a masked value ({length} {}, {four})", if length == 1 { "character" } else { "characters" })
}

/// Whether a text has a mark written out in it, as pages, API and terminal show marks.
pub(super) fn holds_mark(text: &str) -> bool {
    if !text.contains("masked") && !text.to_ascii_lowercase().contains("masked") {
        return false;
    }
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && *c != '\\').collect();
    MARK_IN_TEXT.as_ref().is_some_and(|regex| regex.is_match(&bare))
}

/// Whether somebody could take a part of the text for a mark.
pub fn imitates(text: &str) -> bool {
    LIKE_A_MARK.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// The digits of the mark that stands at a JSON Pointer of masked arguments, or around it.
pub fn stands_at(arguments: &str, pointer: &str) -> Option<String> {
    if !arguments.contains("\"$masked\"") {
        return None;
    }
    let value: Value = serde_json::from_str(arguments).ok()?;
    let ends = pointer.match_indices('/').map(|(at, _)| at).chain([pointer.len()]);
    ends.filter_map(|end| value.pointer(pointer.get(..end)?)).find_map(digits).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_in_a_text_however_it_is_laid_out() {
        for text in [
            "Your code: {\"$masked\":\"sha256:6edf5213\"}",
            "{ \"$masked\" : \"sha256:6edf5213\" } ",
            "{\\\"$masked\\\":\\\"sha256:6edf5213\\\"}",
            "to a masked value (13 characters, 8794)",
            "key [masked 1a2b3c4d].",
            "$masked:sha256:1a2b3c4d",
        ] {
            assert!(holds_mark(text) && imitates(text), "{text}");
        }
        for text in ["The masked singer, 2026", "$masked is a word", "{\"masked\":\"sha256:6edf5213\"}", "", "[masked]"] {
            assert!(!holds_mark(text), "{text}");
        }
        assert!(imitates("masked \u{b7} 8794") && imitates("A Masked  Value") && !imitates("The masked singer"));
    }

    #[test]
    fn a_mark_is_found_at_its_place_and_around_it() {
        let arguments = r#"{"otp":{"$masked":"sha256:6edf5213"},"to":"x"}"#;
        assert_eq!(stands_at(arguments, "/otp").as_deref(), Some("6edf5213"));
        assert_eq!(stands_at(arguments, "/otp/text/0").as_deref(), Some("6edf5213"));
        assert_eq!((stands_at(arguments, "/to"), stands_at(arguments, "/o"), stands_at(arguments, "")), (None, None, None));
        assert_eq!((words(1, "6edf5213"), words(13, "6e")), ("a masked value (1 character, 6edf)".to_owned(), "a masked value (13 characters, 6e)".to_owned()));
    }
}
