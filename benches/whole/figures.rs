//! What the scenarios print: a table in Markdown for people, and the same as one JSON line for who compares runs.

use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Duration;

/// Measured times of one thing.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Those of another one too.
    pub fn extend(&mut self, other: Times) {
        self.0.extend(other.0);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time within which this share of them lies (nearest rank), in milliseconds.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let found = sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).expect("something was measured");
        found.as_secs_f64() * 1e3
    }

    /// The median in milliseconds.
    pub fn p50(&self) -> f64 {
        self.at(0.5)
    }

    /// In milliseconds.
    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }
}

/// One table of one scenario.
pub struct Table {
    name: &'static str,
    /// What was measured how, and what differs from the default configuration.
    how: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new(name: &'static str, how: impl Into<String>, columns: &[&'static str]) -> Table {
        Table { name, how: how.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row and says it at once on standard error, because a run takes long.
    pub fn row(&mut self, cells: Vec<Value>) {
        let said: Vec<String> = self.columns.iter().zip(&cells).map(|(column, cell)| format!("{column} {}", shown(cell))).collect();
        let _ = writeln!(std::io::stderr(), "{}: {}", self.name, said.join(", "));
        self.rows.push(cells);
    }

    /// Prints it.
    pub fn print(&self) {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("\n**{}.** {}\n\n", self.name, self.how);
        text.push_str(&line(&self.columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>()));
        text.push_str(&line(&self.columns.iter().map(|_| "---".to_owned()).collect::<Vec<_>>()));
        for row in &self.rows {
            text.push_str(&line(&row.iter().map(shown).collect::<Vec<_>>()));
        }
        let rows: Vec<Value> = self.rows.iter().map(|row| self.columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned()).collect()).collect();
        text.push_str(&format!("\n<!-- {} -->\n", json!({"scenario": self.name, "rows": rows})));
        std::io::stdout().write_all(text.as_bytes()).expect("standard output");
    }
}

/// A number with three digits that say something.
fn shown(cell: &Value) -> String {
    match cell.as_f64().filter(|_| !cell.is_u64()) {
        Some(number) if number.abs() >= 100.0 => format!("{number:.0}"),
        Some(number) if number.abs() >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
        None => cell.as_str().map_or_else(|| cell.to_string(), str::to_owned),
    }
}
