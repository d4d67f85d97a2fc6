//! What is written to a terminal. Agent text is hostile: escape sequences could hide or forge lines, invisible
//! and bidirectional characters could show another text than the one that is sent. So everything an agent made
//! goes through `visible` or `json`. Used by every command.

use crate::domain::reveal::{Run, reveal, reveal_line};
use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

/// One line of what was promised. A reader that is gone is no mistake.
pub(super) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// One line for the person, beside what was promised.
pub(super) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A text on one line, with every character that would not be seen written out: `[U+202E]`.
pub(super) fn visible(text: &str) -> String {
    let piece = |run| match run {
        Run::Plain(plain) => plain,
        Run::Marked { label, .. } => format!("[{label}]"),
    };
    reveal_line(text).into_iter().map(piece).collect()
}

/// A text over several lines, each behind a bar so that it cannot be mistaken for ours.
pub(super) fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| format!("  | {}", visible(line))).collect();
    lines.join("\n")
}

/// JSON whose texts hold no character that a terminal would act on or hide; equal to the value for every reader.
pub(super) fn json(value: &Value, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    let text = text.unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        // Outside of texts JSON has only plain characters and our own line feeds.
        if letter.is_ascii_graphic() || matches!(letter, ' ' | '\n') || !is_hidden(letter) {
            shown.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

fn is_hidden(letter: char) -> bool {
    let mut bytes = [0; 4];
    letter.is_control() || reveal(letter.encode_utf8(&mut bytes)).iter().any(|run| matches!(run, Run::Marked { .. }))
}

/// Emphasis on standard output, when it is a terminal and `NO_COLOR` is not set.
pub(super) fn strong(text: &str) -> String {
    styled(text, Style::new().bold())
}

/// An instant to the minute, in UTC (RFC 3339 without its seconds).
pub(super) fn minute(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// Green, yellow or red by what a state means.
pub(super) fn state(word: &str) -> String {
    let colour = match word {
        "answered" | "approved" | "sending" | "active" => AnsiColor::Green,
        "held" | "unconfirmed" => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    styled(word, colour.on_default())
}

/// A verdict in its colour, for a table on standard error.
pub(super) fn verdict(word: &str) -> String {
    let colour = match word {
        "allowed" => AnsiColor::Green,
        "held" => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !io::stderr().is_terminal();
    let style = colour.on_default();
    if plain { word.to_owned() } else { format!("{style}{word}{style:#}") }
}

/// Whether there is a person to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error; the line that was typed, without blanks around it.
pub(super) async fn answer(question: &str) -> io::Result<String> {
    let _ = write!(io::stderr().lock(), "{question}");
    let typed = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line.trim().to_owned())
    });
    typed.await.map_err(io::Error::other)?
}

fn styled(text: &str, style: Style) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !io::stdout().is_terminal();
    if plain { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// A table with as many blanks as it needs; cells are already visible. Colour only in the last column, which
/// is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(at, cell)| if at == last { cell.clone() } else { format!("{cell:<width$}", width = widths[at]) });
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_an_agent_writes_moves_the_cursor() {
        assert_eq!(visible("a\u{1b}[2Jb\rc\u{9b}d"), "a[U+001B][2Jb[U+000D]c[U+009B]d");
        assert_eq!(quoted("one\ntwo\u{7}"), "  | one\n  | two[U+0007]");
    }

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        let value = serde_json::json!({ "text": "a\u{9b}b\u{7f}c\n\u{e9}" });
        let shown = json(&value, false);
        assert!(shown.chars().all(|letter| !letter.is_control()), "{shown}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }
}
