//! What is wrong in a configuration, said so that it can be mended without asking: file, line, key, what is the
//! matter, what to write instead. Never the content of a secret. Shown by `check` and at a start that is refused.

use std::fmt;

/// One mistake, or one warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file as the operator named it.
    pub file: String,
    /// From 1; 0 when the whole file is meant.
    pub line: usize,
    /// From 1, in characters; 0 when the whole file is meant.
    pub column: usize,
    /// The key with its tables, `servers.demo.rules[0].action`; empty when the text is no TOML.
    pub key: String,
    /// What is wrong: a sentence without its full stop, or several sentences.
    pub problem: String,
    /// What to do.
    pub mend: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match (self.line, self.key.is_empty()) {
            (0, true) => write!(f, ": ")?,
            (0, false) => write!(f, ": {}: ", self.key)?,
            (line, true) => write!(f, ":{line}:{}: ", self.column)?,
            (line, false) => write!(f, ":{line}: {}: ", self.key)?,
        }
        f.write_str(&self.problem)?;
        if !self.problem.ends_with(['.', '?', '!']) {
            f.write_str(".")?;
        }
        if self.mend.is_empty() { Ok(()) } else { write!(f, " {}", self.mend) }
    }
}

impl std::error::Error for Mistake {}
