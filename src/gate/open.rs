//! Every open call that a change concerns, one after the other: those of a revoked agent, those whose approver is shut
//! out, those of a server that is gone, those that a restore leaves in doubt. The one way to go through them: from the
//! register of what is open, which calls of others cost nothing and which answers short only at the end. Used by
//! `agents`, `people`, `pause`, `reload`, `recover`, `restore` and `deadlines`.

use super::{Failure, Gate};
use crate::domain::call::{Call, CallId};
use crate::store::rules::Cursor;

/// Calls that have not begun to leave.
pub(super) const UNSENT: &[&str] = &["held", "approved"];
/// Places in one read.
const TOGETHER: usize = 256;

/// Calls in some states, the longest held first, each at most once; in memory are a few hundred places and one call.
///
/// Calls move meanwhile. A place is when a call was held and its id, which never change: whatever becomes of a call, it
/// is not met again behind the place reached, nor lost before it. What is done to one is decided anew on its newest record
/// (`Gate::rewrite`), so that nothing is done twice, nor to a call that went on meanwhile. What comes into these
/// states behind the place reached is not met, and needs not to be: who holds a call looks afterwards whether its agent and
/// its server are still there, a decision names the person that it rests on, and a send that provably never left is
/// judged again, agent, server, approvers and pause, before it is tried again.
pub(super) struct OpenCalls {
    states: &'static [&'static str],
    agent: Option<String>,
    ahead: std::vec::IntoIter<Cursor>,
    /// The last place that was read.
    reached: Option<Cursor>,
    is_last: bool,
}

impl OpenCalls {
    /// Those in these states, of all agents.
    pub(super) fn of(states: &'static [&'static str]) -> OpenCalls {
        OpenCalls { states, agent: None, ahead: Vec::new().into_iter(), reached: None, is_last: false }
    }

    /// Those of one agent that have not begun to leave.
    pub(super) fn of_agent(name: &str) -> OpenCalls {
        OpenCalls { agent: Some(name.to_owned()), ..OpenCalls::of(UNSENT) }
    }

    /// The id of the next one; no call is read.
    pub(super) async fn next_id(&mut self, gate: &Gate) -> Result<Option<CallId>, Failure> {
        if self.ahead.as_slice().is_empty() && !self.is_last {
            let places = gate.inner.store.open_places(self.states, self.agent.as_deref(), self.reached.as_ref(), TOGETHER).await;
            let places = places.map_err(|e| gate.failed(&e))?;
            self.is_last = places.len() < TOGETHER;
            self.reached = places.last().cloned();
            self.ahead = places.into_iter();
        }
        Ok(self.ahead.next().map(|place| place.id))
    }

    /// The next one as it is now; one that has left these states meanwhile is passed over.
    pub(super) async fn next(&mut self, gate: &Gate) -> Result<Option<Call>, Failure> {
        while let Some(id) = self.next_id(gate).await? {
            let call = gate.inner.store.call(&id).await.map_err(|e| gate.failed(&e))?;
            if let Some(call) = call.filter(|call| self.states.contains(&call.state.word())) {
                return Ok(Some(call));
            }
        }
        Ok(None)
    }
}
