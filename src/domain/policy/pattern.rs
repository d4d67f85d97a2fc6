//! A regular expression of an operator's, over a text of an agent's. The engine takes time in proportion to the text
//! and to the compiled expression, so both together are bounded: no slip of the one and no length of the other keeps
//! the gateway busy. Used by `condition` for `regex` and by `when` for `matches`.

use regex::{Regex, RegexBuilder};

/// Bytes a compiled expression may take, and how many times as long as it is a text counts then.
const SIZES: [(usize, usize); 4] = [(8 << 10, 8), (32 << 10, 32), (128 << 10, 128), (1 << 20, 1024)];
/// What one look may cost: the length of the text times the weight of the expression.
const LARGEST_COST: usize = 16_000_000;

/// A compiled expression and what it costs.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    weight: usize,
}

impl Pattern {
    /// Compiles; the error says that it is none, or that it is larger than 1 MiB when compiled.
    pub(super) fn compile(text: &str) -> Result<Pattern, regex::Error> {
        let mut last = regex::Error::CompiledTooBig(0);
        for (bytes, weight) in SIZES {
            match RegexBuilder::new(text).size_limit(bytes).build() {
                Ok(regex) => return Ok(Pattern { regex, weight }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What a look at the text costs, in bytes of a small expression.
    pub(super) fn cost(&self, text: &str) -> usize {
        text.len().saturating_mul(self.weight)
    }

    /// Whether it matches somewhere; whoever asks has counted the cost.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The same, unless the text is too long for this expression: nobody knows then.
    pub(super) fn looks_at(&self, text: &str) -> Option<bool> {
        (self.cost(text) <= LARGEST_COST).then(|| self.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_expression_takes_a_text_of_a_megabyte_and_a_large_one_does_not() {
        let text = "a".repeat(1 << 20);
        assert_eq!(Pattern::compile("^a+$").unwrap().looks_at(&text), Some(true));
        let large = Pattern::compile("(?:[ab]*a[ab]{20}){1,5}c").unwrap();
        assert_eq!(large.looks_at(&text), None);
        assert_eq!(large.looks_at("aaaa"), Some(false));
        assert!(Pattern::compile("a{1000}{1000}").is_err() && Pattern::compile("(").is_err());
    }
}
