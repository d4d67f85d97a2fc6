//! Strict JSON: accepts only texts that every reader understands alike, so that what was judged is what the
//! server will execute. serde_json decides the grammar; what readers disagree on is refused: duplicate keys, lone
//! surrogates, numbers that lose digits, depth. `tree` and `scan` say of most texts that nothing of that is in them;
//! a slower walk over the others says where it is. Called by `mcp` for every request and by `gate` for decisions;
//! the canonical form (RFC 8785) is what a digest is taken over.

pub mod canonical;
pub mod places;
mod scan;
mod tree;

use serde::de::IgnoredAny;
use serde_json::Value;
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
    let value = serde_json::from_str(text).map(|tree::Tree(value)| value);
    let room = MAX_DEPTH + envelope;
    if value.is_ok() && scan::is_plain(text.as_bytes(), room) {
        return value.map_err(not_json);
    }
    if value.is_err() {
        // Is it the grammar? This reads without recursion and does not look at what numbers and escapes mean.
        serde_json::from_str::<IgnoredAny>(text).map_err(not_json)?;
    }
    Walk { text: text.as_bytes(), at: 0, pointer: String::new(), room }.value()?;
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
            if key == tree::MARK {
                return Err(self.refuse("a key that some readers take for a sign to them"));
            }
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

    fn string(&mut self) -> Result<&[u8], NotStrict> {
        let start = self.at;
        self.at = scan::string_end(self.text, start).ok_or_else(|| self.refuse("half a surrogate pair"))?;
        Ok(&self.text[start..self.at])
    }

    fn number(&mut self) -> Result<(), NotStrict> {
        let start = self.at;
        self.at = scan::number_end(self.text, start);
        let exact = scan::is_exact(&self.text[start..self.at]);
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

/// The canonical form of RFC 8785, with one deviation: integers are written exactly, because two ids above
/// 2^53 must not share a digest.
pub fn canonical(value: &Value) -> String {
    let mut out = Vec::new();
    canonical::write(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Number, json};

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
    fn a_key_by_which_serde_json_would_read_another_value_is_refused() {
        // The first member of an object with this key makes serde_json give the text under it as the value.
        let twice = r#"{"to":"@friend","to":"@bob"}"#;
        for key in ["$serde_json::private::RawValue", r"\u0024serde_json::private::RawValue"] {
            let text = format!(r#"{{"a":[0,{{"{key}":{}}}]}}"#, json!(twice));
            assert_ne!(serde_json::from_str::<Value>(&text).unwrap()["a"][1].as_object().unwrap().keys().next().unwrap(), "$serde_json::private::RawValue");
            let refused = refused(&text);
            assert_eq!((refused.pointer.as_str(), refused.not_json), ("/a/1/$serde_json::private::RawValue", false));
        }
        assert!(!refused(r#"{"b":1,"$serde_json::private::RawValue":1}"#).not_json);
        assert!(strict(br#"{"RawValue":"{}"}"#).is_ok());
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

    /// The canonical form, said as plainly as can be.
    fn plainly(value: &Value) -> String {
        match value {
            Value::Number(number) if number.is_f64() => ryu_js::Buffer::new().format(number.as_f64().unwrap()).to_owned(),
            Value::Array(items) => format!("[{}]", items.iter().map(plainly).collect::<Vec<_>>().join(",")),
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().map(|(key, value)| (key.encode_utf16().collect::<Vec<_>>(), key, value)).collect();
                members.sort_by(|left, right| left.0.cmp(&right.0));
                format!("{{{}}}", members.into_iter().map(|(_, key, value)| format!("{}:{}", json!(key), plainly(value))).collect::<Vec<_>>().join(","))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        }
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
                (Ok(strict), lenient) => {
                    prop_assert_eq!(strict, lenient.unwrap());
                    // What the look without places lets through, the walk that knows them does too.
                    let mut walk = Walk { text: &text, at: 0, pointer: String::new(), room: MAX_DEPTH };
                    prop_assert_eq!(walk.value(), Ok(()));
                }
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
            prop_assert_eq!(&once, &plainly(&value));
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
