//! How the gateway is, in one reading: what operators are told by banner, mail and `/metrics` (semantics.md 37) comes
//! from here, so that the three never disagree. Reads a few counts; called every half minute and at every scrape.
//! Called by `observe` and by `troubles`.

use super::upstream::ServerStatus;
use super::{Failure, Gate, Space};
use jiff::Timestamp;
use std::time::Duration;

/// One reading.
#[derive(Debug, Clone)]
pub struct Health {
    /// Calls that wait for a person.
    pub held: usize,
    /// Calls of which nobody knows whether they were sent.
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
        let tally = self.inner.store.tally(None).await.map_err(|e| self.failed(&e))?;
        Ok(Health {
            held: tally.held,
            unconfirmed: tally.unconfirmed,
            letters: Letters { waiting: tally.letters, failing_for: self.letters_failing_for() },
            space: self.space(),
            paused: self.pause_record().await?.stopped.is_some(),
            unclean_start: self.unclean_start(),
            head: self.audit_head().await?.seq,
            servers: self.inner.upstream.servers().await,
        })
    }

    fn letters_failing_for(&self) -> Option<Duration> {
        let failing = self.mailing().now().failing?;
        Some(Duration::try_from(self.inner.clock.now().duration_since(failing.since)).unwrap_or_default())
    }
}
