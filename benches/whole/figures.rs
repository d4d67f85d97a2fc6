//! Times, and tables of what was measured: the rows are said as they come, and stand in the report at the end.
//! Used by the scenarios with held calls.

use crate::report::Report;
use serde_json::{Map, Value};
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
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new(name: &'static str, columns: &[&'static str]) -> Table {
        Table { name, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row and says it at once on standard error, because a run takes long.
    pub fn row(&mut self, cells: Vec<Value>) {
        let said: Vec<String> = self.columns.iter().zip(&cells).map(|(column, cell)| format!("{column} {}", shown(cell))).collect();
        let _ = writeln!(std::io::stderr(), "{}: {}", self.name, said.join(", "));
        self.rows.push(cells);
    }

    /// Puts it into the report. `how` says what was measured how, and what differs from the default configuration.
    pub fn print(self, report: &mut Report, how: &str) {
        report.section(self.name, how);
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        report.table(&self.columns, &rows);
        for row in self.rows {
            let named: Map<String, Value> = self.columns.iter().map(|column| (*column).to_owned()).zip(row).collect();
            report.keep(self.name, Value::Object(named));
        }
    }
}

/// Bytes as MiB.
pub fn mebi(bytes: u64) -> Value {
    (bytes as f64 / f64::from(1 << 20)).into()
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
