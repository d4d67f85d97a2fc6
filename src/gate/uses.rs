//! When a token was last used. A use is remembered in memory and written about once a minute, each token at most
//! once in five: a request waits for no write, and what a crash loses is a few minutes of a time that is shown to the
//! minute. Lists read both. Noted by `agents` and `signin`, written by a task that `Gate::resume_work` starts.

use super::Gate;
use crate::domain::digest::Digest;
use crate::domain::people::Credential;
use crate::store::{Change, CommitError, Kind, Row};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two rounds of writing.
const ROUND: Duration = Duration::from_secs(60);
/// A token's use is written at most once in this time.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// Tokens remembered at most; there are never so many in use.
const MOST: usize = 10_000;
/// Rows in one change.
const TOGETHER: usize = 50;

/// What was used since it was last written.
#[derive(Default)]
pub(super) struct Uses {
    noted: Mutex<HashMap<Digest, Timestamp>>,
}

impl Uses {
    fn note(&self, credential: &Credential, now: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < MOST || noted.contains_key(&credential.secret) {
            noted.insert(credential.secret.clone(), now);
        }
    }

    fn of(&self, secret: &Digest) -> Option<Timestamp> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).get(secret).copied()
    }

    fn all(&self) -> Vec<(Digest, Timestamp)> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(secret, at)| (secret.clone(), *at)).collect()
    }

    /// Forgets a use unless there was another one meanwhile.
    fn forget(&self, secret: &Digest, at: Timestamp) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(secret) == Some(&at) {
            noted.remove(secret);
        }
    }
}

impl Gate {
    /// Remembers that this credential was used just now.
    pub(super) fn note_token_use(&self, credential: &Credential) {
        self.inner.uses.note(credential, self.inner.clock.now());
    }

    /// When it was last used, as far as anybody knows.
    pub(super) fn last_use(&self, credential: &Credential) -> Option<Timestamp> {
        credential.used_at.max(self.inner.uses.of(&credential.secret))
    }

    pub(super) async fn keep_uses(self) {
        let draining = self.inner.lives.draining.clone();
        loop {
            tokio::select! {
                () = draining.cancelled() => break,
                () = tokio::time::sleep(ROUND) => self.write_uses().await,
            }
        }
        self.write_uses().await;
    }

    /// One round.
    pub async fn write_uses(&self) {
        let mut rows = Vec::new();
        for (secret, at) in self.inner.uses.all() {
            let Ok(found) = self.inner.store.row(Kind::Credential, secret.as_str()).await else { return };
            let Some(Row::Credential(credential)) = found else {
                self.inner.uses.forget(&secret, at);
                continue;
            };
            if credential.used_at.is_none_or(|written| at.duration_since(written) >= AT_MOST_EVERY) {
                rows.push((at, Credential { revision: credential.revision + 1, used_at: Some(at), ..credential }));
            }
        }
        for some in rows.chunks(TOGETHER) {
            let rows = some.iter().map(|(_, credential)| Row::Credential(credential.clone())).collect();
            // No fact: that a token was used stands in the chain with what it was used for.
            match self.inner.store.commit(Change { rows, ..Change::of_facts(self.inner.clock.now(), Vec::new()) }).await {
                Ok(_) => some.iter().for_each(|(at, credential)| self.inner.uses.forget(&credential.secret, *at)),
                // Somebody revoked one of them: the next round reads them anew.
                Err(CommitError::Conflict | CommitError::Lost) => {}
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => {
                    tracing::warn!(cause = %error, "when tokens were last used could not be written; it is tried again");
                }
            }
        }
    }
}
