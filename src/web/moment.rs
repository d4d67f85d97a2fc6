//! Instants as a page shows them: absolute in UTC, so that two people speak of the same time, and relative to
//! now beside it; static/live.js keeps the relative half current with the same words. Used by every page.

use jiff::Timestamp;

/// One instant for a template.
#[derive(Debug, Clone)]
pub struct Moment {
    /// RFC 3339, for machines.
    pub iso: String,
    /// For example `21 Nov 2026, 11:05 UTC`.
    pub absolute: String,
    /// For example `in 23 h 59 min` or `2 min ago`.
    pub relative: String,
    /// Less than ten minutes ahead.
    pub soon: bool,
    /// Half a day away or more: the time of day says too little.
    pub far: bool,
    /// To the second, for what is near: `11:05:09 UTC`.
    pub clock: String,
    /// Like `relative`, to the second within the hour before: `in 9 min 59 s`.
    pub countdown: String,
}

impl Moment {
    /// How `at` looks at `now`.
    pub fn new(at: Timestamp, now: Timestamp) -> Moment {
        let seconds = at.as_second().saturating_sub(now.as_second());
        Moment {
            iso: at.to_string(),
            absolute: at.strftime("%-d %b %Y, %H:%M UTC").to_string(),
            relative: relative(seconds),
            soon: (0..600).contains(&seconds),
            far: seconds.unsigned_abs() >= 12 * 3600,
            countdown: match u64::try_from(seconds) {
                Err(_) | Ok(0) => "now".to_owned(),
                Ok(left @ 60..3600) => format!("in {} min {} s", left / 60, left % 60),
                Ok(left) => format!("in {}", span(left)),
            },
            clock: at.strftime("%H:%M:%S UTC").to_string(),
        }
    }
}

/// Words for a distance in seconds; negative is past.
fn relative(seconds: i64) -> String {
    let away = seconds.unsigned_abs();
    let span = span(away);
    match seconds {
        _ if away < 5 => "now".to_owned(),
        1.. => format!("in {span}"),
        _ => format!("{span} ago"),
    }
}

/// A length in seconds in at most two units.
pub fn span(seconds: u64) -> String {
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big} {big_unit}") } else { format!("{big} {big_unit} {small} {small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_counts_seconds_and_stops_at_now() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, words) in [(7200, "in 2 h"), (599, "in 9 min 59 s"), (60, "in 1 min 0 s"), (3, "in 3 s"), (0, "now"), (-9, "now")] {
            assert_eq!(Moment::new(at(10_000 + seconds), at(10_000)).countdown, words);
        }
    }

    #[test]
    fn distances_read_like_a_person_says_them() {
        for (seconds, words) in [
            (0, "now"),
            (4, "now"),
            (-4, "now"),
            (30, "in 30 s"),
            (-59, "59 s ago"),
            (90, "in 1 min"),
            (7200, "in 2 h"),
            (86_399, "in 23 h 59 min"),
            (-90_000, "1 d 1 h ago"),
        ] {
            assert_eq!(relative(seconds), words);
        }
    }
}
