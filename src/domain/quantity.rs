//! Times and sizes as people write them: `"50s"`, `"10m"`, `"4MiB"`. One number and one unit, so that there is
//! one way to write each. Called by the readers of `config.toml` and of a `policy.json`, and by `cli` for its options.

use std::time::Duration;

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// A time such as `"500ms"`, `"50s"`, `"10m"`, `"2h"`, `"7d"`.
pub fn time(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis)
}

/// A size in bytes such as `"64KiB"`, `"4MiB"`.
pub fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// A time as it would be written, in the largest unit that leaves nothing over.
pub fn write_time(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fitting = TIMES.iter().rev().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
    fitting.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", millis / unit))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, name) = text.split_at(end);
    let (_, unit) = units.iter().find(|(known, _)| *known == name)?;
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_number_and_one_unit() {
        for (text, millis) in [("500ms", 500), ("50s", 50_000), ("10m", 600_000), ("2h", 7_200_000), ("7d", 604_800_000), ("0s", 0)] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(write_time(Duration::from_millis(millis)), text);
        }
        for text in ["", "s", "5", "5 s", "-5s", "1.5h", "1h30m", "5S", "5sec", "5s ", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_counted_in_powers_of_two() {
        for (text, bytes) in [("4MiB", 4 << 20), ("64KiB", 64 << 10), ("1GiB", 1 << 30), ("10B", 10)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["4MB", "4mib", "4", "MiB", "4 MiB", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
