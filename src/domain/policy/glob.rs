//! Which names two patterns share, told from the patterns alone: whether one says everything that another says, and
//! whether any name is in both. Exact for texts, `*` and `{a,b}`; a pattern with `?` or `[…]` is not looked into.
//! Called by `advice`, and by `matcher` for what to compare with.

/// Texts that one pattern with braces may stand for.
const ALTERNATIVES: usize = 64;

/// A pattern without braces: letters, and `None` for a `*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Glob(Vec<Option<char>>);

impl Glob {
    /// The patterns without braces that the pattern stands for; `None` for one that is not looked into.
    pub(super) fn of(pattern: &str) -> Option<Vec<Glob>> {
        let mut letters = pattern.chars().peekable();
        let globs = alternatives(&mut letters, false)?;
        letters.peek().is_none().then_some(globs)
    }

    /// Whether every name is in it.
    pub(super) fn is_everything(&self) -> bool {
        self.0 == [None]
    }

    /// The one name it stands for; `None` when it has a `*`.
    pub(super) fn name(&self) -> Option<String> {
        self.0.iter().copied().collect()
    }

    /// What stands before, between and after its stars.
    pub(super) fn parts(&self) -> Vec<String> {
        self.0.split(Option::is_none).map(|part| part.iter().flatten().collect()).collect()
    }

    /// Whether every name of the other is a name of this one.
    pub(super) fn covers(&self, other: &Glob) -> bool {
        // The other's stars are letters that nothing but a star can stand for.
        let (mut at, mut in_other, mut star) = (0, 0, None);
        while in_other < other.0.len() {
            match self.0.get(at) {
                Some(None) => {
                    star = Some((at, in_other));
                    at += 1;
                }
                Some(letter) if letter.is_some() && *letter == other.0[in_other] => {
                    at += 1;
                    in_other += 1;
                }
                _ => match star {
                    Some((back, taken)) => {
                        star = Some((back, taken + 1));
                        at = back + 1;
                        in_other = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.0[at..].iter().all(Option::is_none)
    }

    /// Whether a name is in both.
    pub(super) fn meets(&self, other: &Glob) -> bool {
        let (left, right) = (&self.0, &other.0);
        // `row[j]`: whether what is left of this one and `right[j..]` have a name in common.
        let mut below: Vec<bool> = Vec::new();
        for i in (0..=left.len()).rev() {
            let mut row = vec![false; right.len() + 1];
            for j in (0..=right.len()).rev() {
                row[j] = match (left.get(i), right.get(j)) {
                    (None, None) => true,
                    (Some(None), Some(None)) => below[j] || row[j + 1],
                    (Some(None), found) => below[j] || (found.is_some() && row[j + 1]),
                    (found, Some(None)) => row[j + 1] || (found.is_some() && below[j]),
                    (Some(one), Some(two)) => one == two && below[j + 1],
                    _ => false,
                };
            }
            below = row;
        }
        below[0]
    }
}

/// Reads up to the end, or within braces up to a comma or the closing brace.
fn alternatives(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, within: bool) -> Option<Vec<Glob>> {
    let mut globs = vec![Glob(Vec::new())];
    while let Some(letter) = letters.peek().copied() {
        if within && matches!(letter, ',' | '}') {
            break;
        }
        letters.next();
        match letter {
            '?' | '[' => return None,
            '*' => globs.iter_mut().filter(|glob| glob.0.last() != Some(&None)).for_each(|glob| glob.0.push(None)),
            '{' => {
                let mut choices = Vec::new();
                loop {
                    choices.extend(alternatives(letters, true)?);
                    if letters.next()? == '}' {
                        break;
                    }
                }
                if globs.len().saturating_mul(choices.len()) > ALTERNATIVES {
                    return None;
                }
                globs = globs.iter().flat_map(|glob| choices.iter().map(|choice| joined(glob, choice))).collect();
            }
            _ => {
                let letter = if letter == '\\' { letters.next()? } else { letter };
                globs.iter_mut().for_each(|glob| glob.0.push(Some(letter)));
            }
        }
    }
    Some(globs)
}

fn joined(first: &Glob, second: &Glob) -> Glob {
    let doubled = first.0.last() == Some(&None) && second.0.first() == Some(&None);
    Glob(first.0.iter().chain(second.0.iter().skip(usize::from(doubled))).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;
    use proptest::prelude::*;

    fn one(pattern: &str) -> Glob {
        Glob::of(pattern).unwrap().remove(0)
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_more() {
        for (left, right) in
            [("*", "a"), ("*", "*"), ("a*", "a"), ("a*", "ab*"), ("*a", "*ba"), ("a*c", "a*b*c"), ("*b*", "abc"), ("send_*", "send_{dm}"), ("a\\*", "a\\*")]
        {
            assert!(one(left).covers(&one(right)), "{left} {right}");
        }
        for (left, right) in [("a", "*"), ("ab*", "a*"), ("a", "ab"), ("a*", "b"), ("a*c", "a*"), ("a*", "*a"), ("a\\*", "a*"), ("", "*")] {
            assert!(!one(left).covers(&one(right)), "{left} {right}");
        }
        assert_eq!(Glob::of("{a,b{c,}}x").unwrap().iter().filter_map(Glob::name).collect::<Vec<_>>(), ["ax", "bcx", "bx"]);
        for opaque in ["a?", "[ab]", "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"] {
            assert!(Glob::of(opaque).is_none(), "{opaque}");
        }
    }

    proptest! {
        #[test]
        fn covers_and_meets_agree_with_the_matcher(left in "[ab*]{0,5}", right in "[ab*]{0,5}", name in "[abz]{0,6}") {
            prop_assume!(!left.is_empty() && !right.is_empty());
            let has = |pattern: &str| Names::compile(&[pattern.to_owned()], "x", &mut Vec::new()).has(&name);
            let (first, second) = (one(&left), one(&right));
            prop_assert!(!(has(&left) && has(&right)) || (first.meets(&second) && second.meets(&first)));
            prop_assert!(!(first.covers(&second) && has(&right)) || has(&left));
            prop_assert!(!first.covers(&second) || first.meets(&second));
            // A letter that stands in no pattern, for every star: in the wider one exactly when it covers.
            let witness = right.replace('*', "zz");
            prop_assert_eq!(first.covers(&second), Names::compile(&[left], "x", &mut Vec::new()).has(&witness) && !first.0.is_empty());
        }
    }
}
