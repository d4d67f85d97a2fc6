//! A call of which nobody knows whether it left: a person looks into the matter and says what happened. Until
//! then the identical call is told "unknown" every time; afterwards it is told once what the person found, and
//! then the way is free (semantics.md 20). Called by `web` for the page, the API and the terminal.

use super::review::{MAX_REASON, ReviewError};
use super::reviewer::{Listed, Reviewer};
use crate::domain::call::{CallId, Event, Outcome, State, Told};
use serde_json::json;

/// What a person found out.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// It was sent.
    pub sent: bool,
    /// Version of the call that was shown.
    pub version: u64,
    /// Told to the agent.
    pub note: Option<String>,
}

impl Reviewer {
    /// Says what became of an unconfirmed call.
    pub async fn resolve(&self, id: &CallId, resolution: Resolution) -> Result<Listed, ReviewError> {
        let gate = self.gate();
        let call = self.kept(id).await?;
        self.entitled(&call).await?;
        if !matches!(call.state, State::Unconfirmed { .. }) {
            return Err(ReviewError::Settled(Box::new(gate.listed(call).await?)));
        }
        if call.version != resolution.version {
            return Err(ReviewError::Stale(Box::new(gate.listed(call).await?)));
        }
        let note = resolution.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
        if note.is_some_and(|note| note.chars().count() > MAX_REASON) {
            return Err(ReviewError::Incomplete("the note is longer than 4,000 characters"));
        }
        let told = Told { sent: resolution.sent, note: note.map(str::to_owned), by: self.person().email.clone() };
        let written = gate
            .rewrite(id, |call| {
                let next = call.after(&Event::Resolve { outcome: Outcome::told(&told) }, gate.inner.clock.now()).ok()?;
                let fact = gate.call_fact("call.resolved", &next, &self.actor(), json!({ "sent": resolution.sent, "via": self.via().word() }));
                Some((next, fact))
            })
            .await?;
        match written {
            Some(call) => {
                gate.inner.waiters.forget(id);
                tracing::info!(call.id = %id, sent = resolution.sent, "a person said what became of an unconfirmed call");
                Ok(gate.listed(call).await?)
            }
            None => Err(ReviewError::Settled(Box::new(gate.listed(self.kept(id).await?).await?))),
        }
    }
}
