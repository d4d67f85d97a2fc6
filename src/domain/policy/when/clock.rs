//! Times in a `when`: CEL's `timestamp`, `duration` and the parts of a time in a zone. `now` comes in with the call,
//! so nothing here reads a clock; a zone is looked up when the rule is loaded. Used by `compile` and `eval`.

use super::Fault;
use super::tree::Part;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// RFC 3339.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    // jiff reads more than CEL says: a plain date, or a zone in brackets.
    let plain = text.len() <= 40 && text.as_bytes().get(10).is_some_and(|byte| matches!(byte, b'T' | b't')) && !text.contains('[');
    if plain { text.parse().ok() } else { None }
}

/// `1h30m`, `1.5s`, `-300ms`: numbers with a unit, of h, m, s, ms, us and ns.
pub(super) fn span(text: &str) -> Option<SignedDuration> {
    if text.len() > 40 {
        return None;
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos = nanos.checked_add(whole.checked_mul(unit)?)?;
        let mut place = unit;
        for digit in fraction.bytes() {
            place /= 10;
            nanos = nanos.checked_add(i128::from(digit - b'0') * place)?;
        }
        rest = next;
    }
    if text.trim_start_matches(['-', '+']).is_empty() {
        return None;
    }
    let (seconds, left) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    SignedDuration::new(i64::try_from(seconds).ok()?, i32::try_from(left).ok()?).checked_mul(sign)
}

/// A zone by its name (`Europe/Berlin`), `UTC`, or an offset such as `+05:30`.
pub(super) fn zone(text: &str) -> Option<TimeZone> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    if let Some((hours, minutes)) = digits.split_once(':') {
        let two = |part: &str, most: i32| part.parse::<i32>().ok().filter(|value| part.len() == 2 && (0..=most).contains(value));
        let seconds = two(hours, 23)? * 3600 + two(minutes, 59)? * 60;
        return Offset::from_seconds(sign * seconds).ok().map(Offset::to_time_zone);
    }
    if text == "UTC" { Some(TimeZone::UTC) } else { TimeZone::get(text).ok() }
}

/// A part of a time in a zone, in UTC without one.
pub(super) fn part(part: Part, time: Timestamp, zone: Option<&TimeZone>) -> i64 {
    let local = zone.unwrap_or(&TimeZone::UTC).to_datetime(time);
    match part {
        Part::Year => i64::from(local.year()),
        Part::Month => i64::from(local.month()) - 1,
        Part::DayFromZero => i64::from(local.day()) - 1,
        Part::Day => i64::from(local.day()),
        Part::Weekday => i64::from(local.weekday().to_sunday_zero_offset()),
        Part::DayOfYear => i64::from(local.day_of_year()) - 1,
        Part::Hour => i64::from(local.hour()),
        Part::Minute => i64::from(local.minute()),
        Part::Second => i64::from(local.second()),
        Part::Millisecond => i64::from(local.millisecond()),
    }
}

/// A part of a duration: the whole of it in hours, minutes or seconds; the milliseconds beyond its seconds.
pub(super) fn part_of_span(part: Part, span: SignedDuration) -> Result<i64, Fault> {
    match part {
        Part::Hour => Ok(span.as_hours()),
        Part::Minute => Ok(span.as_mins()),
        Part::Second => Ok(span.as_secs()),
        Part::Millisecond => Ok(i64::from(span.subsec_millis())),
        _ => Err(Fault::Error("it asks a duration for a part of a date")),
    }
}
