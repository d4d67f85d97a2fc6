//! A look over the bytes of a text that serde_json has accepted, for what its grammar lets through and readers
//! disagree on: half surrogate pairs, numbers that lose digits, depth. It keeps nothing and knows no places, so it is
//! cheap; what it finds is looked for again by the walk that says where. Called by `json` for every request.

/// Bytes that are looked at together.
const STRIDE: usize = 16;

/// Digits of a number that every double keeps.
const SAFE_DIGITS: usize = 15;

/// Whether nothing is in the text that a walk would refuse, keys aside; `room` levels may be opened.
pub(super) fn is_plain(text: &[u8], room: usize) -> bool {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => match string_end(text, at) {
                Some(end) => at = end,
                None => return false,
            },
            b'-' | b'0'..=b'9' => {
                let end = number_end(text, at);
                if !is_exact(&text[at..end]) {
                    return false;
                }
                at = end;
            }
            b'{' | b'[' if depth == room => return false,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ => at += 1,
        }
    }
    true
}

/// How many bytes follow before one that JSON escapes within a text: a quote, a backslash or a C0 control.
pub(super) fn quiet(bytes: &[u8]) -> usize {
    let loud = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    // Without an early end within a stride, so that the compiler can look at all of its bytes at once.
    let still = strides.iter().take_while(|stride| !stride.iter().fold(false, |found, byte| found | loud(byte))).count() * STRIDE;
    let tail = if still < strides.len() * STRIDE { &bytes[still..] } else { rest };
    still + tail.iter().position(loud).unwrap_or(tail.len())
}

/// Where the string that starts here ends, after its last quote; `None` for half a surrogate pair, which some readers
/// replace, some keep, and some refuse.
pub(super) fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += quiet(&text[at..]);
        if text.get(at)? == &b'"' {
            return Some(at + 1);
        }
        at += match unit(text, at) {
            Some(0xd800..=0xdbff) if matches!(unit(text, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => return None,
            _ => 2,
        };
    }
}

/// The UTF-16 code unit that is escaped here, if one is.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Where the number that starts here ends.
pub(super) fn number_end(text: &[u8], start: usize) -> usize {
    let digits = text[start..].iter().take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
    start + digits.count()
}

/// Whether every reader takes the number for the same.
pub(super) fn is_exact(token: &[u8]) -> bool {
    let whole = !token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let exponent = token.iter().any(|byte| matches!(byte, b'e' | b'E'));
    // A sign and a dot take no digit away: the bound is only lower than it could be.
    if token.len() <= SAFE_DIGITS && !exponent {
        return true;
    }
    let token = std::str::from_utf8(token).unwrap_or_default();
    if whole {
        return token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok();
    }
    token.parse::<f64>().is_ok_and(|double| double.is_finite() && decimal(token) == decimal(ryu_js::Buffer::new().format(double)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_quiet_bytes_are_those_before_the_first_loud_one(text in "[a-z\u{e9}\u{7f}]{0,40}[\"\\\\\u{0}-\u{1f}]{0,2}[a\"\n]{0,20}") {
            let bytes = text.as_bytes();
            let first = bytes.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
            prop_assert_eq!(quiet(bytes), first);
        }

        #[test]
        fn a_short_number_is_as_exact_as_a_long_look_at_it_says(whole in "-?(0|[1-9][0-9]{0,5})", fraction in "(\\.[0-9]{1,7})?") {
            let token = format!("{whole}{fraction}");
            let double: f64 = token.parse().unwrap();
            prop_assert_eq!(decimal(&token), decimal(ryu_js::Buffer::new().format(double)));
            prop_assert!(is_exact(token.as_bytes()));
        }
    }
}
