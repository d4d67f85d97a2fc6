//! The canonical form of RFC 8785, written as bytes into what the caller has: a digest is taken over it for every
//! call and every audit entry, so nothing is built on the way but a sorted list of members for each object.
//! One deviation: integers are written exactly, because two ids above 2^53 must not share a digest.

use super::scan::quiet;
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Appends the canonical form of a value.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by(|(left, _), (right, _)| in_utf16(left, right));
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a text in quotes: RFC 8785 section 3.2.2.2 escapes quotes, backslash and C0 controls, and nothing else.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.push(b'"');
    loop {
        let (quiet, loud) = rest.split_at(quiet(rest));
        out.extend_from_slice(quiet);
        let Some((byte, after)) = loud.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
        rest = after;
    }
    out.push(b'"');
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    use std::io::Write as _;
    match number.as_f64() {
        Some(double) if number.is_f64() => out.extend_from_slice(ryu_js::Buffer::new().format(double).as_bytes()),
        _ => {
            let _ = write!(out, "{number}");
        }
    }
}

/// The order of two texts by their UTF-16 code units (RFC 8785 section 3.2.3), told from their UTF-8. It is that of
/// the bytes, but for U+E000 to U+FFFF: their units stand above the surrogates that write what is beyond.
pub fn in_utf16(left: &str, right: &str) -> Ordering {
    let rank = |byte: u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { byte };
    let differing = left.bytes().zip(right.bytes()).find(|(left, right)| left != right);
    differing.map_or(left.len().cmp(&right.len()), |(left, right)| rank(left).cmp(&rank(right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_ordered_as_their_utf_16_code_units_are(left in "[a\u{e9}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{1f600}\u{10ffff}]{0,4}|.*", right in "[a\u{e9}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{1f600}\u{10ffff}]{0,4}|.*") {
            prop_assert_eq!(in_utf16(&left, &right), left.encode_utf16().cmp(right.encode_utf16()));
        }

        #[test]
        fn a_text_is_written_as_serde_json_writes_it(text in ".*|[a-z\u{0}-\u{1f}\"\\\\\u{7f}\u{2028}]{0,60}") {
            let mut written = Vec::new();
            write_text(&text, &mut written);
            prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
