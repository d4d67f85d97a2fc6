//! How the gateway is, in one reading: what operators are told by banner, mail and `/metrics` (semantics.md 37) comes
//! from here, so that the three never disagree. Reads a few indexes; called every half minute and at every scrape.
//! Called by `observe` and by `troubles`.

use super::upstream::ServerStatus;
use super::{Failure, Gate, Query, Space};
use crate::store::Kind;
use jiff::Timestamp;
use std::time::Duration;

/// Calls counted at most; beyond it more is not worse.
const MOST: usize = 100;

/// One reading.
#[derive(Debug, Clone)]
pub struct Health {
    /// Calls that wait for a person.
    pub held: usize,
    /// Calls of which nobody knows whether they were sent, counted up to 100.
    pub unconfirmed: usize,
    /// The outbox.
    pub letters: Letters,
    /// Room on the disk.
    pub space: Space,
    /// The kill switch is on.
    pub paused: bool,
    /// When this process found that the last one had not stopped cleanly.
    pub unclean_start: Option<Timestamp>,
    /// Number of the last audit entry.
    pub head: u64,
    /// Every server in the order of the config.
    pub servers: Vec<ServerStatus>,
}

/// How the outbox is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Letters {
    /// Letters that have not left yet.
    pub waiting: usize,
    /// Since no mail has left; one mailbox that puts mails off is no such failure.
    pub failing_for: Option<Duration>,
}

impl Gate {
    /// Reads it now.
    pub async fn health(&self) -> Result<Health, Failure> {
        let unconfirmed = Query { states: vec!["unconfirmed".to_owned()], limit: MOST, ..Query::default() };
        let store = &self.inner.store;
        Ok(Health {
            held: store.held().await.map_err(|e| self.failed(&e))?,
            unconfirmed: store.calls(&unconfirmed).await.map_err(|e| self.failed(&e))?.calls.len(),
            letters: self.letters_waiting().await?,
            space: self.space(),
            paused: self.pause_record().await?.stopped.is_some(),
            unclean_start: self.unclean_start(),
            head: self.audit_head().await?.seq,
            servers: self.inner.upstream.servers().await,
        })
    }

    async fn letters_waiting(&self) -> Result<Letters, Failure> {
        let failing = self.mailing().now().failing;
        let failing_for = failing.map(|failing| Duration::try_from(self.inner.clock.now().duration_since(failing.since)).unwrap_or_default());
        let (mut letters, mut after) = (Letters { waiting: 0, failing_for }, None::<String>);
        loop {
            let rows = self.inner.store.rows(Kind::Letter, after.as_deref(), 500).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(letters) };
            after = Some(last.key().to_owned());
            letters.waiting += rows.len();
        }
    }
}
