//! What is counted by some counters, for a command that asks whether there would be room. Nothing is taken.
//! Called by `control`.

use super::{Failure, Gate};
use crate::domain::limit::{Counter, CounterKey};
use crate::store::{Kind, Row};
use jiff::Timestamp;

impl Gate {
    /// The counters of these keys, as far as something was taken from them, and when the store was restored from a
    /// backup: until a window is over since then, it counts as full.
    pub async fn counters(&self, keys: &[CounterKey]) -> Result<(Vec<Counter>, Option<Timestamp>), Failure> {
        let mut counters = Vec::with_capacity(keys.len());
        for key in keys {
            let row = self.inner.store.row(Kind::Counter, key.as_str()).await.map_err(|e| self.failed(&e))?;
            if let Some(Row::Counter(counter)) = row {
                counters.push(counter);
            }
        }
        Ok((counters, self.inner.restored_at.get().copied()))
    }
}
