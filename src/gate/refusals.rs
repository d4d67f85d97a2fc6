//! Three refusals to one recipient within an hour close the way: an agent that rewords until somebody gives in is
//! told to stop, and a person must open the way again (contract.md, "How an agent waits"). The record is written
//! in the same change as the refusal, so two refusals at once are both counted.
//! Called by `admit`, `review` and, to open the way again, by `web`.

use super::review::ReviewError;
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId};
use crate::domain::recipient::{RecipientKey, Refusals};
use crate::store::{Change, CommitError, Kind, Row, Seen};
use serde_json::json;

/// The name that stands where a rule's name stands when the way is closed.
pub const THREE_REFUSALS: &str = "three-refusals";
/// Told to the agent.
pub(super) const CLOSED: &str = "People refused three messages to this recipient within an hour; only a person can open the way again";
/// Closed ways that one page lists.
const LISTED: usize = 1_000;

impl Gate {
    /// What was refused lately to a recipient.
    pub(super) async fn refusals(&self, recipient: &RecipientKey, agent: &str, server: &str) -> Result<Refusals, Failure> {
        let row = self.inner.store.row(Kind::Refusals, recipient.as_str()).await.map_err(|e| self.failed(&e))?;
        Ok(if let Some(Row::Refusals(refusals)) = row { refusals } else { Refusals::none(recipient.clone(), agent, server) })
    }

    /// Whether the way to a call's recipient is closed, and what a change that rests on it names.
    pub(super) async fn way_to(&self, recipient: &RecipientKey, agent: &str, server: &str) -> Result<(bool, Seen), Failure> {
        let refusals = self.refusals(recipient, agent, server).await?;
        let seen = Seen { kind: Kind::Refusals, key: recipient.as_str().to_owned(), revision: refusals.revision };
        Ok((refusals.closed_at.is_some(), seen))
    }
}

impl Reviewer {
    /// Whether nothing more goes to this call's recipient.
    pub async fn is_closed(&self, call: &Call) -> Result<bool, Failure> {
        match self.recipient_of(call).await? {
            Some(recipient) => Ok(self.gate().refusals(&recipient, &call.agent, &call.server).await?.closed_at.is_some()),
            None => Ok(false),
        }
    }

    /// The key of a call's recipient. An erased call has none any more, but refusals outlive its text and name the
    /// call; else nobody could open a way whose calls were erased.
    async fn recipient_of(&self, call: &Call) -> Result<Option<RecipientKey>, Failure> {
        if call.recipient.is_some() || call.erased_at.is_none() {
            return Ok(call.recipient.clone());
        }
        let gate = self.gate();
        let rows = gate.inner.store.rows(Kind::Refusals, None, LISTED).await.map_err(|e| gate.failed(&e))?;
        let named = |row| if let Row::Refusals(refusals) = row { Some(refusals) } else { None };
        let of_call = |refusals: &Refusals| refusals.refused.iter().any(|(_, id)| *id == call.id);
        Ok(rows.into_iter().filter_map(named).find(of_call).map(|refusals| refusals.recipient))
    }

    /// The last refused call of every closed way that this person may see, the longest closed first.
    pub async fn closed_ways(&self) -> Result<Vec<(Call, Refusals)>, Failure> {
        let gate = self.gate();
        let rows = gate.inner.store.rows(Kind::Refusals, None, LISTED).await.map_err(|e| gate.failed(&e))?;
        let mut closed = Vec::new();
        for row in rows {
            let Row::Refusals(refusals) = row else { continue };
            let Some((_, id)) = refusals.refused.last().filter(|_| refusals.closed_at.is_some()) else { continue };
            let call = gate.inner.store.call(id).await.map_err(|e| gate.failed(&e))?;
            if let Some(call) = call.filter(|call| self.person().may_see(call)) {
                closed.push((gate.for_people(call).await?.0, refusals));
            }
        }
        closed.sort_by_key(|(_, refusals)| refusals.closed_at);
        Ok(closed)
    }

    /// Opens the way to a call's recipient again; false when it was open.
    pub async fn lift(&self, id: &CallId) -> Result<bool, ReviewError> {
        let gate = self.gate();
        let call = self.kept(id).await?;
        self.entitled(&call).await?;
        let Some(recipient) = self.recipient_of(&call).await? else { return Ok(false) };
        for _ in 0..super::REWRITES {
            let refusals = gate.refusals(&recipient, &call.agent, &call.server).await?;
            if refusals.closed_at.is_none() {
                return Ok(false);
            }
            let fact = Fact { kind: "recipient.opened", call: Some(id.clone()), actor: self.actor(), data: json!({ "via": self.via().word() }).into() };
            let row = Row::Refusals(refusals.lifted());
            match gate.inner.store.commit(Change::of_row(gate.inner.clock.now(), row.clone(), fact)).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Lost) if gate.is_written(&row).await? => return Ok(true),
                Err(CommitError::Conflict) => {}
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                    return Err(gate.failed(&error).into());
                }
            }
        }
        Err(gate.failed(&CommitError::Conflict).into())
    }
}
