//! Strict JSON: accepts only texts that every reader understands alike, so that what was judged is what the
//! server will execute. serde_json decides the grammar; a second walk over the accepted text refuses what
//! readers disagree on, and says where: duplicate keys, lone surrogates, numbers that lose digits, depth. Called by `mcp` for every request
//! and by `gate` for decisions; the canonical form (RFC 8785) is what a digest is taken over.

pub mod places;

use serde::de::IgnoredAny;
use serde_json::{Number, Value};
use std::collections::HashSet;
use std::fmt::Write as _;

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 64;

/// Why a text was refused, and where: `pointer` is an RFC 6901 JSON Pointer into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at \"{pointer}\"")]
pub struct NotStrict {
    /// Where, as a JSON Pointer; empty for the whole text.
    pub pointer: String,
    /// What is wrong, in plain words without any of the text itself.
    pub reason: &'static str,
    /// True when the text is not JSON at all (JSON-RPC `-32700`), false when it is JSON that we refuse.
    pub not_json: bool,
}

/// Parses `text` and refuses everything that two JSON readers could understand differently.
pub fn strict(text: &[u8]) -> Result<Value, NotStrict> {
    strict_within(text, 0)
}

/// The same for a text whose outermost `envelope` levels are ours to expect and do not count.
pub fn strict_within(text: &[u8], envelope: usize) -> Result<Value, NotStrict> {
    let whole = |reason, not_json| NotStrict { pointer: String::new(), reason, not_json };
    let text = std::str::from_utf8(text).map_err(|_| whole("the text is not UTF-8", true))?;
    if text.starts_with('\u{feff}') {
        return Err(whole("the text starts with a byte order mark", true));
    }
    let not_json = |_| whole("the text is not valid JSON", true);
    let value = serde_json::from_str(text);
    if value.is_err() {
        // Is it the grammar? This reads without recursion and does not look at what numbers and escapes mean.
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
    }
    Walk { text: text.as_bytes(), at: 0, pointer: String::new(), room: MAX_DEPTH + envelope }.value()?;
    value.map_err(not_json)
}

/// A walk over a text that serde_json has already accepted: the grammar is known to be right.
struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    pointer: String,
    /// Levels that may still be opened here.
    room: usize,
}

impl Walk<'_> {
    fn value(&mut self) -> Result<(), NotStrict> {
        self.space();
        match self.text[self.at] {
            b'{' | b'[' if self.room == 0 => Err(self.refuse("nested deeper than 64 levels")),
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.string().map(drop),
            b't' | b'n' => {
                self.at += 4;
                Ok(())
            }
            b'f' => {
                self.at += 5;
                Ok(())
            }
            _ => self.number(),
        }
    }

    fn object(&mut self) -> Result<(), NotStrict> {
        self.at += 1;
        self.room -= 1;
        let mut seen = HashSet::new();
        loop {
            self.space();
            match self.text[self.at] {
                b'}' => break,
                b',' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let key: String = serde_json::from_slice(self.string()?).unwrap_or_default();
            let parent = self.pointer.len();
            let _ = write!(self.pointer, "/{}", key.replace('~', "~0").replace('/', "~1"));
            if !seen.insert(key) {
                return Err(self.refuse("the same key stands twice"));
            }
            self.space();
            self.at += 1;
            self.value()?;
            self.pointer.truncate(parent);
        }
        self.at += 1;
        self.room += 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), NotStrict> {
        self.at += 1;
        self.room -= 1;
        let mut index = 0usize;
        loop {
            self.space();
            match self.text[self.at] {
                b']' => break,
                b',' => {
                    self.at += 1;
                    continue;
                }
                _ => {}
            }
            let parent = self.pointer.len();
            let _ = write!(self.pointer, "/{index}");
            self.value()?;
            self.pointer.truncate(parent);
            index += 1;
        }
        self.at += 1;
        self.room += 1;
        Ok(())
    }

    /// Some readers replace half a surrogate pair, some keep it, some refuse the text.
    fn string(&mut self) -> Result<&[u8], NotStrict> {
        let start = self.at;
        self.at += 1;
        while self.text[self.at] != b'"' {
            let escape = self.text[self.at] == b'\\';
            match (escape, self.unit(self.at)) {
                (false, _) => self.at += 1,
                (true, Some(0xd800..=0xdbff)) if matches!(self.unit(self.at + 6), Some(0xdc00..=0xdfff)) => self.at += 12,
                (true, Some(0xd800..=0xdfff)) => return Err(self.refuse("half a surrogate pair")),
                (true, _) => self.at += 2,
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at])
    }

    /// The UTF-16 code unit that is escaped here, if one is.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self) -> Result<(), NotStrict> {
        let start = self.at;
        while self.at < self.text.len() && matches!(self.text[self.at], b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') {
            self.at += 1;
        }
        let token = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        let exact = if token.contains(['.', 'e', 'E']) {
            token.parse::<f64>().is_ok_and(|double| double.is_finite() && decimal(token) == decimal(ryu_js::Buffer::new().format(double)))
        } else {
            token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok()
        };
        if exact { Ok(()) } else { Err(self.refuse("a number that readers round differently or that is too large for them")) }
    }

    fn space(&mut self) {
        while self.at < self.text.len() && self.text[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn refuse(&self, reason: &'static str) -> NotStrict {
        NotStrict { pointer: self.pointer.clone(), reason, not_json: false }
    }
}

/// The decimal value of a JSON number: its significant digits and the power of ten of the last one.
/// `None` for exponents no double has.
fn decimal(token: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let negative = mantissa.starts_with('-');
    let (whole, fraction) = mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let digits = format!("{whole}{fraction}");
    let power = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::new(), 0));
    }
    let power = power + i64::try_from(significant.len() - trimmed.len()).ok()?;
    Some((negative, trimmed.to_owned(), power))
}

/// The canonical form of RFC 8785, with one deviation: integers are written exactly, because two ids above
/// 2^53 must not share a digest.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut keys: Vec<(Vec<u16>, &String)> = members.keys().map(|key| (key.encode_utf16().collect(), key)).collect();
            keys.sort();
            out.push('{');
            for (index, (_, key)) in keys.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_canonical(&members[*key], out);
            }
            out.push('}');
        }
    }
}

fn write_number(number: &Number, out: &mut String) {
    match number.as_f64() {
        Some(double) if number.is_f64() => out.push_str(ryu_js::Buffer::new().format(double)),
        _ => {
            let _ = write!(out, "{number}");
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    // serde_json escapes exactly what RFC 8785 section 3.2.2.2 asks for: quotes, backslash and C0 controls.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(text: &str) -> NotStrict {
        strict(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_duplicate_key_is_found_at_any_depth_after_unescaping() {
        assert_eq!(refused(r#"{"a":1,"a":2}"#).pointer, "/a");
        assert_eq!(refused(r#"{"x":[0,{"a":1,"\u0061":2}]}"#).pointer, "/x/1/a");
        assert_eq!(refused(r#"{"a/b":{"c":1,"c":1}}"#).pointer, "/a~1b/c");
    }

    #[test]
    fn numbers_that_lose_digits_are_refused() {
        for text in
            ["12345678901234567890123", "1.00000000000000001", "1e-400", "0.1000000000000000055511151231257827", "18446744073709551616", "-9223372036854775809"]
        {
            assert_eq!(refused(&format!("[{text}]")).pointer, "/0", "{text}");
        }
        for text in ["1e400", "-1e400", "1e99999999999999999999", "123456789e400"] {
            let refused = refused(&format!(r#"{{"a":[0,{text}]}}"#));
            assert_eq!((refused.pointer.as_str(), refused.not_json), ("/a/1", false), "{text}");
        }
        for text in [
            "0",
            "-0",
            "0.0",
            "1.10",
            "1e2",
            "100.0",
            "0.1",
            "1E+2",
            "9223372036854775807",
            "18446744073709551615",
            "2.5e-8",
            "5e-324",
            "1.7976931348623157e308",
        ] {
            assert!(strict(format!("[{text}]").as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn of_two_shortest_forms_the_one_that_clients_write_is_accepted() {
        // Exactly between …12 and …13: ECMAScript and Python write the even one.
        assert!(strict(b"[250021587671766.12]").is_ok());
    }

    #[test]
    fn what_is_not_json_is_told_apart_from_what_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "NaN",
            "-Infinity",
            "{\"a\":NaN}",
            "{'a':1}",
            "{a:1}",
            "1 2",
            "{}{}",
            "{} {}",
            "\u{feff}{}",
            "{}\0",
            "01",
            "+1",
            ".5",
            "1.",
            "0x10",
            "/**/{}",
            "{}//",
            "\"\n\"",
            "\"\\u12\"",
            "\"\\x41\"",
            "\"\\ud800",
            "tRUE",
            "undefined",
        ] {
            assert!(refused(text).not_json, "{text}");
        }
        for bytes in [&b"\"\xff\""[..], b"\"\xed\xa0\x80\"", b"\"\xc0\x80\"", b"{\0}\0", b"\xff\xfe{\0}\0"] {
            assert!(strict(bytes).unwrap_err().not_json, "{bytes:?}");
        }
        assert!(refused(&"[".repeat(65)).not_json, "never closed");
    }

    #[test]
    fn what_nests_too_deep_is_refused_at_its_place_and_costs_no_recursion() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(strict(nested(64).as_bytes()).is_ok());
        let deep = refused(&format!(r#"{{"a":1,"b":{}}}"#, nested(64)));
        assert_eq!((deep.pointer, deep.not_json), (format!("/b{}", "/0".repeat(63)), false));
        assert!(!refused(&nested(1_000_000)).not_json);
        // Side by side is not deep.
        assert!(strict(format!("[{}]", vec![nested(63); 100].join(",")).as_bytes()).is_ok());
        assert!(strict_within(nested(66).as_bytes(), 2).is_ok() && strict_within(nested(67).as_bytes(), 2).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_at_its_place() {
        for text in [r"\ud800", r"\uDC00", r"\ud800\ud800", r"\udc00\ud800", r"a\ud83dA", r"\ud83d\\ude00", r"\ud83d\n", r"\ud83d \ude00"] {
            let value = refused(&format!(r#"{{"a":["x","{text}"]}}"#));
            assert_eq!((value.pointer.as_str(), value.not_json), ("/a/1", false), "{text}");
            let key = refused(&format!(r#"{{"a":{{"{text}":1}}}}"#));
            assert_eq!((key.pointer.as_str(), key.not_json), ("/a", false), "{text}");
        }
        for text in [r"\ud83d\ude00", r"\\ud800", r"\uD83D\uDE00\u0000", r"\ud7ff\ue000", "\u{1f600}"] {
            assert!(strict(format!(r#"{{"{text}":"{text}"}}"#).as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn canonical_json_follows_rfc_8785_but_keeps_integers_exact() {
        let value = json!({"\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew", "1": "One", "\u{1f600}": "Smiley", "\u{80}": "Control", "\u{f6}": "o"});
        let keys: Vec<char> = canonical(&value).split("\":").filter_map(|part| part.chars().next_back()).collect();
        assert_eq!(keys.len(), 8);
        assert_eq!(canonical(&json!([1e30, 4.50, 2e-3, 1e-27, 1.0, -0.0, 333_333_333.333_333_3])), "[1e+30,4.5,0.002,1e-27,1,0,333333333.3333333]");
        assert_eq!(canonical(&json!([9_007_199_254_740_993_u64])), "[9007199254740993]");
        assert_eq!(canonical(&json!({"b": 1, "a": "\u{1}\n\"/"})), r#"{"a":"\u0001\n\"/","b":1}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // RFC 8785 writes doubles of these sizes as integers too long for the reader: hashed, never read back.
            any::<f64>()
                .prop_filter("not written as a long integer", |d| !(9.2e18..1e21).contains(&d.abs()))
                .prop_filter_map("finite", |d| Number::from_f64(d).map(Value::Number)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// `PARAPH_ROUNDS` raises the number of random texts.
    fn rounds(usual: u32) -> ProptestConfig {
        ProptestConfig::with_cases(std::env::var("PARAPH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).map_or(usual, |rounds: u32| rounds.max(usual)))
    }

    /// The same value, spelled by chance: blanks, escapes and members in another order.
    fn spelled(value: &Value, dice: &mut impl FnMut(usize) -> usize, out: &mut String) {
        let gap = |dice: &mut dyn FnMut(usize) -> usize| ["", "", "", " ", "\n", "\t\r\n "][dice(6)];
        let string = |text: &str, dice: &mut dyn FnMut(usize) -> usize, out: &mut String| {
            out.push('"');
            for c in text.chars() {
                match (dice(4), c) {
                    (1, _) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                        let _ = if dice(2) == 0 { write!(out, "\\u{unit:04x}") } else { write!(out, "\\u{unit:04X}") };
                    }),
                    (2, '/') => out.push_str("\\/"),
                    _ => {
                        let quoted = serde_json::to_string(&c).unwrap();
                        out.push_str(&quoted[1..quoted.len() - 1]);
                    }
                }
            }
            out.push('"');
        };
        out.push_str(gap(dice));
        match value {
            Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
            Value::Number(number) => {
                let text = number.to_string();
                let fraction = text.contains('.') && !text.contains('e');
                out.push_str(&match dice(4) {
                    0 if fraction => format!("{text}0"),
                    1 if fraction => format!("{text}e-0"),
                    2 => text.replace('e', "E"),
                    _ => text,
                });
            }
            Value::String(text) => string(text, dice, out),
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    spelled(item, dice, out);
                }
                out.push_str(gap(dice));
                out.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for at in (1..members.len()).rev() {
                    members.swap(at, dice(at + 1));
                }
                out.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(gap(dice));
                    string(key, dice, out);
                    out.push_str(gap(dice));
                    out.push(':');
                    spelled(value, dice, out);
                }
                out.push_str(gap(dice));
                out.push('}');
            }
        }
        out.push_str(gap(dice));
    }

    /// Pieces that make a text nearly JSON.
    fn near_json() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"{"[..],
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\"a\":",
            b"\"a\":1,",
            b"\"b\":",
            b"\"\\u0061\":",
            b"\"\":",
            b"null",
            b"true",
            b"1",
            b"-0",
            b"1e400",
            b"0.10",
            b"1e2",
            b"9007199254740993",
            b"18446744073709551616",
            b"12345678901234567890123",
            b"\"\\ud800\"",
            b"\"\\ud83d\\ude00\"",
            b"\"~/\":",
            b"\"\xff\"",
            b"NaN",
            b" ",
            b"\n",
            b"\"",
            b"\\",
        ]);
        let soup = prop::collection::vec(piece.clone(), 0..24).prop_map(|pieces| pieces.concat());
        let spoiled = (any_json(), prop::collection::vec((any::<prop::sample::Index>(), piece), 0..3)).prop_map(|(value, changes)| {
            let mut text = value.to_string().into_bytes();
            for (at, put) in changes {
                let at = at.index(text.len() + 1);
                text.splice(at..at, put.iter().copied());
            }
            text
        });
        prop_oneof![1 => soup, 2 => spoiled]
    }

    proptest! {
        #![proptest_config(rounds(10_000))]

        #[test]
        fn a_text_is_accepted_as_what_it_says_or_refused_at_a_place_it_has(text in near_json()) {
            match (strict(&text), serde_json::from_slice::<Value>(&text)) {
                (Ok(strict), lenient) => prop_assert_eq!(strict, lenient.unwrap()),
                (Err(refused), Ok(lenient)) => {
                    prop_assert!(!refused.not_json, "{} of what is JSON", refused);
                    prop_assert!(lenient.pointer(&refused.pointer).is_some(), "{}", refused);
                }
                (Err(refused), Err(_)) => prop_assert!(refused.not_json || serde_json::from_slice::<IgnoredAny>(&text).is_ok()),
            }
        }
    }

    proptest! {
        #![proptest_config(rounds(3_000))]

        #[test]
        fn however_a_value_is_spelled_its_canonical_form_is_one_and_another_value_has_another(value in any_json(), seed in any::<u64>(), other in any_json()) {
            let mut state = seed | 1;
            let mut dice = |sides: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % sides
            };
            let mut text = String::new();
            spelled(&value, &mut dice, &mut text);
            let read = strict(text.as_bytes());
            prop_assert!(read.is_ok(), "{:?} {}", read, text);
            prop_assert_eq!(canonical(&read.unwrap()), canonical(&value), "{}", text);
            // Equal forms are equal values: the form can be read back.
            let form = |value: &Value| strict(canonical(value).as_bytes()).unwrap();
            prop_assert_eq!(canonical(&value) == canonical(&other), form(&value) == form(&other));
            prop_assert_ne!(canonical(&json!([value])), canonical(&value));
        }
    }

    proptest! {
        #[test]
        fn whatever_we_write_we_accept_and_canonical_text_is_a_fixed_point(value in any_json()) {
            let text = serde_json::to_string(&value).unwrap();
            let read = strict(text.as_bytes()).unwrap();
            prop_assert_eq!(&read, &value);
            let once = canonical(&value);
            prop_assert_eq!(canonical(&strict(once.as_bytes()).unwrap()), once);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = strict(&bytes);
        }

        #[test]
        fn no_near_json_makes_the_reader_panic(text in "[\\[\\]{}\":,0-9eE.+\\-\\\\ua-f tn]{0,80}") {
            let _ = strict(text.as_bytes());
        }
    }
}
