//! Agent text as a mail may show it: invisible characters named, links broken visibly, no line that could pass
//! for one of ours. Mail programs turn `https://`, `www.` and bare host names into links by themselves, so the
//! text is changed in the open and the mail says so. Called by `page`.

use crate::domain::reveal::{Run, reveal, reveal_line};

/// A piece of shown text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// What is shown.
    pub(super) text: String,
    /// Stands for a character that would not be seen.
    pub(super) marked: bool,
}

/// Agent text made fit to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// In order.
    pub(super) pieces: Vec<Piece>,
    /// Something was written so that it cannot be clicked.
    pub(super) broken_links: bool,
    /// Some character is shown by its name.
    pub(super) named: bool,
}

/// A text of many lines.
pub(super) fn lines(text: &str) -> Shown {
    show(reveal(text))
}

/// A text on one line: line ends are named too.
pub(super) fn one_line(text: &str) -> Shown {
    show(reveal_line(text))
}

/// A sentence of ours with a person's name in it, on one line: addresses of our own people stay as they are.
pub(super) fn of_ours(text: &str) -> Shown {
    let pieces = reveal_line(text).into_iter().map(|run| match run {
        Run::Plain(text) => Piece { text, marked: false },
        Run::Marked { label, .. } => Piece { text: label, marked: true },
    });
    let pieces: Vec<Piece> = pieces.collect();
    Shown { named: pieces.iter().any(|piece| piece.marked), broken_links: false, pieces }
}

fn show(runs: Vec<Run>) -> Shown {
    let mut shown = Shown::default();
    for run in runs {
        match run {
            Run::Plain(plain) => {
                let text = unlink(&plain);
                shown.broken_links |= text != plain;
                shown.pieces.push(Piece { text, marked: false });
            }
            Run::Marked { label, .. } => {
                shown.named = true;
                shown.pieces.push(Piece { text: label, marked: true });
            }
        }
    }
    shown
}

impl Shown {
    /// The text part's form: every line behind a bar, so that no agent text can pass for a line of ours.
    pub(super) fn barred(&self) -> String {
        self.flat().split('\n').map(|line| format!("| {line}")).collect::<Vec<_>>().join("\n")
    }

    /// As one string, named characters in brackets.
    pub(super) fn flat(&self) -> String {
        self.pieces.iter().map(|piece| if piece.marked { format!("[{}]", piece.text) } else { piece.text.clone() }).collect()
    }
}

/// Breaks whatever mail programs make links of: `x://`, `mailto:` and its like, host names.
fn unlink(text: &str) -> String {
    const SCHEMES: [&str; 6] = ["mailto", "tel", "sms", "javascript", "data", "xmpp"];
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or(' ');
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for (index, &c) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map_or(' ', at);
        // Also behind other letters: where a mail program sees a word begin is not known here.
        let named = || !at(index + 1).is_whitespace() && SCHEMES.iter().any(|scheme| word.ends_with(scheme));
        let scheme = c == ':' && ((at(index + 1) == '/' && at(index + 2) == '/') || named());
        let host = matches!(c, '.' | '。' | '．' | '｡') && before.is_alphanumeric() && at(index + 1).is_alphabetic() && at(index + 2).is_alphanumeric();
        // `www.` is linked whatever follows.
        let www = c == '.' && word.ends_with("www");
        if scheme || host || www {
            out.extend(['[', c, ']']);
        } else {
            out.push(c);
        }
        if c.is_ascii_alphabetic() {
            word.push(c.to_ascii_lowercase());
        } else {
            word.clear();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_that_a_mail_program_would_make_a_link_of() {
        let shown = lines("see https://evil.example/x, WWW.1.de, xMailto:a@b.example or shop.example.");
        assert!(shown.broken_links);
        assert_eq!(shown.flat(), "see https[:]//evil[.]example/x, WWW[.]1[.]de, xMailto[:]a@b[.]example or shop[.]example.");
    }

    #[test]
    fn ordinary_text_is_shown_as_it_is() {
        let text = "Hello Bob. It is 12:30, version 1.2, metadata: none.\n\tYours";
        assert_eq!(lines(text), Shown { pieces: vec![Piece { text: text.into(), marked: false }], broken_links: false, named: false });
    }

    #[test]
    fn a_line_end_in_a_recipient_is_named() {
        let shown = one_line("@bob\r\nAgent: somebody");
        assert_eq!(shown.flat(), "@bob[U+000D][U+000A]Agent: somebody");
        assert!(shown.named);
    }

    #[test]
    fn no_line_of_the_agent_begins_like_one_of_ours() {
        assert_eq!(lines("hi\nAgent: x\n").barred(), "| hi\n| Agent: x\n| ");
    }
}
