//! After a restore: the store believes what was true when the backup was made. What was open then may have been
//! decided and sent since, so nothing of it may be sent again and a person has to say what became of it; what
//! let people in then may have been taken from them since (semantics.md 31). Called by `serve` before anybody
//! else can open the store.

use super::{Failure, Gate};
use crate::domain::audit::{Fact, Head};
use crate::domain::call::{CallId, Event};
use crate::domain::limit::Restored;
use crate::domain::people::CredentialKind;
use crate::store::{Change, CommitError, Kind, Query, RESTORED, Row};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;

/// Told on the call's page.
const WHY: &str = "the store was restored from a backup in which it was open; what happened to it after the backup is not known";
/// Calls or rows in one read; rows in one change, which has room for 64 operations.
const TOGETHER: usize = 50;

impl Gate {
    /// Takes back what a restored store may not believe; the number of calls that became unconfirmed. What limits
    /// counted after the backup is not known either: every window counts as full for its length from now on.
    pub async fn after_restore(&self, made_at: Timestamp, head: &Head) -> Result<usize, Failure> {
        let data = json!({ "backup_at": made_at, "seq": head.seq, "hash": head.hash });
        let fact = Fact { kind: "restored", call: None, actor: "operator".into(), data: data.into() };
        let now = self.inner.clock.now();
        let before = self.inner.store.row(Kind::Restored, RESTORED).await.map_err(|e| self.failed(&e))?;
        let restored = Restored { revision: before.map_or(0, |row| row.revision()) + 1, at: now };
        self.inner.store.commit(Change::of_row(now, Row::Restored(restored), fact)).await.map_err(|e| self.failed(&e))?;
        let unsure = self.doubt_open_calls().await?;
        self.remove_rows(Kind::Credential, |row| match row {
            // A token is revoked by name and would be missed by scripts; a link or a session is made anew in a moment.
            Row::Credential(credential) => match credential.kind {
                CredentialKind::Link | CredentialKind::Session | CredentialKind::HalfWay => true,
                CredentialKind::ApiToken | CredentialKind::AgentToken => false,
            },
            Row::Agent(_)
            | Row::Person(_)
            | Row::Letter(_)
            | Row::Refusals(_)
            | Row::Pause(_)
            | Row::Counter(_)
            | Row::Restored(_)
            | Row::Password(_)
            | Row::Passkey(_) => false,
        })
        .await?;
        // They ask for decisions that nobody can take any more.
        self.remove_rows(Kind::Letter, |_| true).await?;
        Ok(unsure)
    }

    async fn doubt_open_calls(&self) -> Result<usize, Failure> {
        let states = ["held", "approved", "sending"].map(str::to_owned).to_vec();
        let mut unsure = 0;
        loop {
            let query = Query { states: states.clone(), limit: TOGETHER, ..Query::default() };
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            if page.calls.is_empty() {
                return Ok(unsure);
            }
            // Side by side, so that one sync serves many.
            try_join_all(page.calls.iter().map(|call| self.doubt(&call.id))).await?;
            unsure += page.calls.len();
        }
    }

    async fn doubt(&self, id: &CallId) -> Result<(), Failure> {
        let written = self.rewrite(id, |call| {
            let next = call.after(&Event::Restore { why: WHY.into() }, self.inner.clock.now()).ok()?;
            let fact = self.call_fact("call.unconfirmed", &next, "paraph", json!({ "why": WHY, "was": call.state.word() }));
            Some((next, fact))
        });
        written.await.map(drop)
    }

    /// The entry `restored` tells of all of them.
    async fn remove_rows(&self, kind: Kind, goes: impl Fn(&Row) -> bool) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let rows = self.inner.store.rows(kind, after.as_deref(), TOGETHER).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key().to_owned());
            let removed: Vec<_> = rows.iter().filter(|row| goes(row)).map(|row| (kind, row.key().to_owned())).collect();
            if removed.is_empty() {
                continue;
            }
            match self.inner.store.commit(Change { removed, ..Change::of_facts(self.inner.clock.now(), Vec::new()) }).await {
                Ok(_) => {}
                // Nobody else has the store; a lost answer means that the disk failed.
                Err(error @ (CommitError::Conflict | CommitError::Lost | CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => {
                    return Err(self.failed(&error));
                }
            }
        }
    }
}
