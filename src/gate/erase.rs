//! What is forgotten with time: the texts of calls that were over longer than `keep_text` ago, refusals that
//! count no more, secrets that nobody can use any more. The facts and the audit stay, and the chain verifies.
//! A task of its own, started by `Gate::resume_work`; level-triggered, so a missed round costs a round.

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::store::{Change, CommitError, Kind, Row};
use serde_json::json;
use std::time::Duration;

/// Between two rounds; also how much later than `keep_text` a text may go.
const ROUND: Duration = Duration::from_secs(600);
/// How long an expired link is still told apart from one that never was.
const EXPIRED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// Calls or rows looked at in one read.
const TOGETHER: usize = 60;

impl Gate {
    pub(super) async fn keep_forgetting(self) {
        let draining = self.inner.lives.draining.clone();
        loop {
            // A failure is in the log; the next round tries again.
            let _ = self.forget_old().await;
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// One round; how many calls lost their texts.
    pub async fn forget_old(&self) -> Result<usize, Failure> {
        let erased = self.erase_texts().await?;
        self.sweep(Kind::Credential, "credentials.swept").await?;
        self.sweep(Kind::Refusals, "refusals.swept").await?;
        self.forget_counters().await?;
        Ok(erased)
    }

    async fn erase_texts(&self) -> Result<usize, Failure> {
        let mut erased = 0;
        loop {
            let now = self.inner.clock.now();
            let Ok(until) = now.checked_sub(self.settings().keep_text) else { return Ok(erased) };
            let over = self.inner.store.over(until, TOGETHER).await.map_err(|e| self.failed(&e))?;
            if over.is_empty() || self.inner.lives.draining.is_cancelled() {
                return Ok(erased);
            }
            for id in over {
                let written = self
                    .rewrite(&id, |call| {
                        let next = call.erased(now)?;
                        let fact = self.call_fact("call.erased", &next, "paraph", json!({}));
                        Some((next, fact))
                    })
                    .await?;
                erased += usize::from(written.is_some());
            }
        }
    }

    /// Removes the rows of a kind that say nothing any more.
    async fn sweep(&self, kind: Kind, told: &'static str) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let now = self.inner.clock.now();
            let rows = self.inner.store.rows(kind, after.as_deref(), TOGETHER).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key().to_owned());
            let stale: Vec<_> = rows.iter().filter(|row| says_nothing(row, now)).map(|row| (kind, row.key().to_owned())).collect();
            if stale.is_empty() {
                continue;
            }
            let fact = Fact { kind: told, call: None, actor: "paraph".into(), data: json!({ "count": stale.len() }).into() };
            match self.inner.store.commit(Change { removed: stale, ..Change::of_facts(now, vec![fact]) }).await {
                // Somebody used or removed one of them meanwhile: the next round looks again.
                Ok(_) | Err(CommitError::Conflict | CommitError::Lost) => {}
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
            }
        }
    }
}

fn says_nothing(row: &Row, now: jiff::Timestamp) -> bool {
    match row {
        Row::Credential(credential) => now.duration_since(credential.expires_at) > EXPIRED_FOR,
        Row::Refusals(refusals) => refusals.is_stale(now),
        Row::Agent(_) | Row::Person(_) | Row::Letter(_) | Row::Pause(_) | Row::Counter(_) | Row::Restored(_) | Row::Password(_) | Row::Passkey(_) => false,
    }
}
