//! What a run found, twice: as Markdown on standard output while it goes on, and as JSON at its end for whoever compares
//! runs. Used by every scenario.

use serde_json::{Map, Value};
use std::io::Write as _;

/// Prints a line.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: that ends no measurement.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What was found so far.
#[derive(Default)]
pub struct Report {
    found: Map<String, Value>,
}

impl Report {
    /// A heading with what it means.
    pub fn section(&mut self, title: &str, says: &str) {
        say(&format!("\n## {title}\n\n{says}"));
    }

    /// A sentence between tables.
    pub fn note(&mut self, line: &str) {
        say(&format!("\n{line}"));
    }

    /// A table in Markdown; columns are as wide as their widest cell.
    pub fn table(&mut self, columns: &[&str], rows: &[Vec<String>]) {
        let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).chain([columns[at].chars().count(), 3]).max();
        let widths: Vec<usize> = (0..columns.len()).filter_map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            // Names to the left, numbers to the right.
            let cells = cells.zip(&widths).enumerate().map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        };
        say("");
        say(&line(&mut columns.iter().copied()));
        let rule = widths.iter().enumerate().map(|(at, width)| if at == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) });
        say(&format!("|{}|", rule.collect::<Vec<_>>().join("|")));
        rows.iter().for_each(|row| say(&line(&mut row.iter().map(String::as_str))));
    }

    /// Keeps a value for the JSON file; a second one of the same name makes a list.
    pub fn keep(&mut self, name: &str, value: Value) {
        match self.found.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.push(value),
            other => *other = value,
        }
    }

    /// Everything that was kept.
    pub fn into_json(self) -> Value {
        Value::Object(self.found)
    }
}
