//! Step 7: the agent has the answer, or not. An answer counts as delivered as soon as a connection took all of it,
//! because the identical call is a new one from then on; if that connection is seen closed within two seconds it
//! is taken back, once, and the identical call collects the outcome instead of asking a person again (semantics.md 8).
//! Called by `mcp` for every outcome it hands over; `admit` asks what counts right now.

use super::hold::Seat;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId, State};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a connection must stay open for what it took to count for good.
const GRACE: Duration = Duration::from_secs(2);

/// The deliveries of the last two seconds. What they say goes before the record, which follows a moment later.
#[derive(Default)]
pub(super) struct Deliveries {
    recent: Mutex<HashMap<CallId, Recent>>,
}

/// One call's. It may have several: every request that waited gets the outcome.
#[derive(Default)]
struct Recent {
    next: u64,
    connections: Vec<(u64, CancellationToken)>,
    /// One delivery counts for good; the others cannot take that back.
    stands: bool,
    /// The record says "delivered" for one that was lost: the others have to answer for it.
    borrowed: bool,
}

/// One delivery, as long as it can be taken back.
pub struct Grace {
    gate: Gate,
    id: CallId,
    number: u64,
    closed: CancellationToken,
}

impl Recent {
    fn counts_without(&self, number: Option<u64>) -> bool {
        self.stands || self.connections.iter().any(|(other, closed)| Some(*other) != number && !closed.is_cancelled())
    }
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Recent>> {
        // Nothing can panic while the lock is held, so a poisoned map is still whole.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: &CallId, closed: CancellationToken) -> u64 {
        let mut all = self.lock();
        let recent = all.entry(id.clone()).or_default();
        recent.next += 1;
        recent.connections.push((recent.next, closed));
        recent.next
    }

    fn end(&self, id: &CallId, number: u64) {
        let mut all = self.lock();
        let Some(recent) = all.get_mut(id) else { return };
        recent.connections.retain(|(other, _)| *other != number);
        if recent.connections.is_empty() {
            all.remove(id);
        }
    }

    /// A delivery of the last two seconds counts for good.
    fn stands(&self, id: &CallId) {
        if let Some(recent) = self.lock().get_mut(id) {
            recent.stands = true;
        }
    }

    /// Whether nothing can take the call's deliveries back any more.
    fn is_final(&self, id: &CallId) -> bool {
        self.lock().get(id).is_some_and(|recent| recent.stands)
    }

    /// The record said "delivered" before any of the recent ones: what made it say so counts for good.
    fn stood_before(&self, id: &CallId) {
        if let Some(recent) = self.lock().get_mut(id).filter(|recent| recent.connections.len() == 1 && !recent.borrowed) {
            recent.stands = true;
        }
    }

    /// A delivery is lost, and may leave its record to the others.
    fn borrow(&self, id: &CallId) {
        if let Some(recent) = self.lock().get_mut(id) {
            recent.borrowed = true;
        }
    }

    /// Whether a delivery counts, this one left aside; `None` when there was none lately.
    fn counts(&self, id: &CallId, without: Option<u64>) -> Option<bool> {
        self.lock().get(id).map(|recent| recent.counts_without(without))
    }
}

impl Seat {
    /// The agent got the outcome: the identical call is a new one from now on.
    pub async fn delivered(&self) -> Result<(), Failure> {
        self.gate().inner.deliveries.stands(self.call());
        self.gate().note_delivered(self.call()).await.map(drop)
    }

    /// The same for a connection that can be watched; `closed` fires when it is gone.
    pub async fn delivered_over(&self, closed: CancellationToken) -> Result<Grace, Failure> {
        let (gate, id) = (self.gate().clone(), self.call().clone());
        let number = gate.inner.deliveries.begin(&id, closed.clone());
        let grace = Grace { gate, id, number, closed };
        match grace.gate.note_delivered(&grace.id).await? {
            None => grace.gate.inner.deliveries.stood_before(&grace.id),
            // Some clients hang up on every stream as soon as they have read it: told twice is told. What waited beside
            // the first was not told after it.
            Some(call) if call.taken_back && self.is_late() => grace.gate.inner.deliveries.stands(&grace.id),
            Some(_) => {}
        }
        Ok(grace)
    }
}

impl Grace {
    /// Watches the connection until the delivery counts for good or is taken back. A gateway that stops closes its
    /// connections itself, which says nothing of the agent.
    pub async fn watch(self) -> Result<(), Failure> {
        let draining = self.gate.draining();
        if self.gate.inner.deliveries.is_final(&self.id) {
            return Ok(());
        }
        let lost = tokio::select! {
            biased;
            () = draining.cancelled() => false,
            () = self.closed.cancelled() => true,
            () = tokio::time::sleep(GRACE) => false,
        };
        if lost {
            return self.gate.not_delivered(&self.id, self.number).await;
        }
        self.gate.inner.deliveries.stands(&self.id);
        Ok(())
    }
}

impl Drop for Grace {
    fn drop(&mut self) {
        self.gate.inner.deliveries.end(&self.id, self.number);
    }
}

impl Gate {
    /// Whether the agent has the outcome, as far as can be told right now.
    pub(super) fn is_delivered(&self, call: &Call) -> bool {
        self.inner.deliveries.counts(&call.id, None).unwrap_or(call.delivered)
    }

    async fn note_delivered(&self, id: &CallId) -> Result<Option<Call>, Failure> {
        self.rewrite(id, |call| {
            let news = call.state.settled_at().is_some() && !call.delivered && !matches!(call.state, State::Unconfirmed { .. });
            news.then(|| (Call { delivered: true, ..call.touched() }, delivery_fact("call.delivered", call)))
        })
        .await
    }

    async fn not_delivered(&self, id: &CallId, number: u64) -> Result<(), Failure> {
        let deliveries = &self.inner.deliveries;
        deliveries.borrow(id);
        let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(()) };
        let newest = self.inner.store.newest(&call.ask_key()).await.map_err(|e| self.failed(&e))?;
        if newest.is_none_or(|newest| newest.id != *id) {
            // The agent has asked anew meanwhile, and the identical call belongs to that one.
            return Ok(());
        }
        let written = self
            .rewrite(id, |call| {
                let counts = !call.delivered || deliveries.counts(id, Some(number)).unwrap_or(false);
                (!counts).then(|| (Call { delivered: false, taken_back: true, ..call.touched() }, delivery_fact("call.not_delivered", call)))
            })
            .await?;
        if written.is_some() && deliveries.counts(id, Some(number)).unwrap_or(false) {
            // Another request got the outcome while this was written, and may have found the record as it was.
            self.note_delivered(id).await?;
        }
        Ok(())
    }
}

fn delivery_fact(kind: &'static str, call: &Call) -> Fact {
    Fact { kind, call: Some(call.id.clone()), actor: "paraph".into(), data: json!({ "state": call.state.word() }).into() }
}
