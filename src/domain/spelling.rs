//! "Did you mean": the known word closest to one that is not known. Called by the readers of `config.toml` and of a
//! `policy.json` for keys, words with a fixed choice and the names in a `when`; a bad guess is worse than none, so only
//! small slips count.

/// Longer words are no slip of a known one, and comparing them would only cost time.
const LONGEST: usize = 64;

/// What others call the words of a policy.
const OTHER_WORDS: [(&str, &str); 16] = [
    ("=", "eq"),
    ("==", "eq"),
    ("equals", "eq"),
    ("!=", "neq"),
    ("<>", "neq"),
    ("<", "lt"),
    ("<=", "lte"),
    (">", "gt"),
    (">=", "gte"),
    ("matches", "regex"),
    ("has", "exists"),
    ("hold", "require_approval"),
    ("ask", "require_approval"),
    ("block", "deny"),
    ("reject", "deny"),
    ("permit", "allow"),
];

/// The closest of `known`, when no more than a third of its letters differ.
pub fn closest<'n>(word: &str, known: &[&'n str]) -> Option<&'n str> {
    let other = OTHER_WORDS.iter().find(|(other, _)| *other == word).and_then(|(_, meant)| known.iter().find(|name| *name == meant));
    if other.is_some() {
        return other.copied();
    }
    let word: Vec<char> = word.chars().take(LONGEST + 1).flat_map(char::to_lowercase).collect();
    if word.len() > LONGEST {
        return None;
    }
    let scored = known.iter().map(|name| (distance(&word, &name.chars().collect::<Vec<_>>()), *name));
    let (slips, best) = scored.min_by_key(|(slips, _)| *slips)?;
    (slips <= (best.chars().count() / 3).max(1)).then_some(best)
}

/// Letters to add, drop, change or swap with their neighbour (optimal string alignment).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, letter) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in right.iter().enumerate() {
            let mut least = (last[j] + usize::from(letter != other)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == right[j - 1] && left[i - 1] == *other {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_slips_find_their_word_and_strangers_find_none() {
        let known = ["allow", "deny", "require_approval", "hide"];
        for (word, expected) in [
            ("alow", Some("allow")),
            ("ALLOW", Some("allow")),
            ("dney", Some("deny")),
            ("require-aproval", Some("require_approval")),
            ("approve", None),
            ("hold", Some("require_approval")),
            ("==", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, &known), expected, "{word}");
        }
        assert_eq!(closest("==", &["neq", "eq"]), Some("eq"));
        assert_eq!(closest(&"allow".repeat(1000), &known), None);
    }
}
