//! A request whose stream broke goes on under a new connection. It is the same request, not a new one: nothing is
//! judged or counted, and an outcome comes without the words for an earlier call. A request that the agent took
//! back stays taken back: resuming it listens for the end and clears nothing (semantics.md 7).
//! Called by `mcp` for `Last-Event-ID`.

use super::hold::Seat;
use super::{Failure, Gate};
use crate::domain::call::{Call, CallId};

impl Gate {
    /// A place at this agent's call at this server; `None` when it has no such call there.
    pub async fn resume(&self, agent: &str, server: &str, id: &CallId) -> Result<Option<Seat>, Failure> {
        let Some(call) = self.own_call(agent, server, id).await? else { return Ok(None) };
        if is_taken_back(&call) {
            let place = self.inner.waiters.listen_in(id);
            return Ok(Some(Seat::at(self.clone(), &call, place, false)));
        }
        let mut seat = Seat::new(self.clone(), &call, false);
        // Read again, now that we sit: a cancel that was under way did not see anybody wait.
        if self.own_call(agent, server, id).await?.is_some_and(|call| is_taken_back(&call)) {
            seat.only_listen();
        }
        Ok(Some(seat))
    }

    /// Whether this agent has such a call at this server.
    pub async fn has_call(&self, agent: &str, server: &str, id: &CallId) -> Result<bool, Failure> {
        Ok(self.own_call(agent, server, id).await?.is_some())
    }

    async fn own_call(&self, agent: &str, server: &str, id: &CallId) -> Result<Option<Call>, Failure> {
        let call = self.inner.store.call(id).await.map_err(|e| self.failed(&e))?;
        Ok(call.filter(|call| call.agent == agent && call.server == server))
    }
}

fn is_taken_back(call: &Call) -> bool {
    call.cancelled && call.state.settled_at().is_none()
}
