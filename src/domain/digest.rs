//! What a decision is bound to: SHA-256 over the canonical JSON of `{server, tool, arguments}`.
//! A digest is text, `sha256:` and 64 hex digits, so that it reads the same on a page, in a mail and in the audit.
//! Made by `gate/admit`, compared by `gate/review`, checked once more by `gate/release` on the bytes to send.

mod words;

use super::json::canonical;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What every digest starts with.
const PREFIX: &str = "sha256:";

/// Room for the canonical form of a usual call, bytes.
const USUAL_BYTES: usize = 512;

/// `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of one call.
    pub fn of_call(server: &str, tool: &str, arguments: &Value) -> Digest {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        text.extend_from_slice(b"{\"arguments\":");
        canonical::write(arguments, &mut text);
        text.extend_from_slice(b",\"server\":");
        canonical::write_text(server, &mut text);
        text.extend_from_slice(b",\"tool\":");
        canonical::write_text(tool, &mut text);
        text.push(b'}');
        Digest::of_bytes(&text)
    }

    /// The digest of some bytes.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        let mut text = String::with_capacity(PREFIX.len() + 64);
        text.push_str(PREFIX);
        push_hex(&Sha256::digest(bytes), &mut text);
        Digest(text)
    }

    /// Takes a digest as somebody wrote it; it is only ever compared.
    pub fn claimed(text: &str) -> Digest {
        Digest(text.to_owned())
    }

    /// The text, with its `sha256:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, with its `sha256:`.
    pub fn into_text(self) -> String {
        self.0
    }

    /// Four words that a person can compare between a mail and a page (desk.md 4).
    pub fn words(&self) -> String {
        words::words(self.0.trim_start_matches("sha256:"))
    }

    /// Four short groups of hex digits: a name for the same bytes.
    pub fn short(&self) -> String {
        let hex = self.0.trim_start_matches("sha256:");
        hex.as_bytes().chunks(4).take(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect::<Vec<_>>().join(" ")
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    push_hex(bytes, &mut out);
    out
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn key_order_does_not_matter_and_every_value_does() {
        let one = Digest::of_call("s", "t", &json!({"a": 1, "b": [true]}));
        assert_eq!(one, Digest::of_call("s", "t", &json!({"b": [true], "a": 1})));
        for other in [
            Digest::of_call("s2", "t", &json!({"a": 1, "b": [true]})),
            Digest::of_call("s", "t2", &json!({"a": 1, "b": [true]})),
            Digest::of_call("s", "t", &json!({"a": 2, "b": [true]})),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_digest_is_what_it_always_was() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&every), every.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let arguments = json!({"to": "@bob", "text": "caf\u{e9}\n\"\\\u{1}", "n": [1, 2.50, -0.0, null, true], "\u{e000}": 1, "\u{10000}": {"b": {}, "a": []}});
        let canonical = "{\"arguments\":{\"n\":[1,2.5,0,null,true],\"text\":\"caf\u{e9}\\n\\\"\\\\\\u0001\",\"to\":\"@bob\",\"\u{10000}\":{\"a\":[],\"b\":{}},\"\u{e000}\":1},\"server\":\"s\\\"\",\"tool\":\"t\"}";
        assert_eq!(Digest::of_call("s\"", "t", &arguments), Digest::of_bytes(canonical.as_bytes()));
        assert_eq!(Digest::of_call("s\"", "t", &arguments).as_str(), "sha256:af493ef952fa5702b25965faf389dad2d9747a280a6e23345d438f2f7a77475a");
    }

    #[test]
    fn two_ids_above_2_to_the_53_do_not_share_a_digest() {
        assert_ne!(Digest::of_call("s", "t", &json!({"id": 9_007_199_254_740_992_u64})), Digest::of_call("s", "t", &json!({"id": 9_007_199_254_740_993_u64})));
    }
}
