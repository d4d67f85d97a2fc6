//! The agent takes its request back. A held or approved call stays, but is sent only when the agent asks again:
//! an approval becomes a permit. Once the ticket is out it is too late; the upstream is told and the call runs
//! on (semantics.md 7, 9). Called by the last waiting request's seat.

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId, State};
use serde_json::json;

impl Gate {
    /// A cancel that came after its request's connection had closed; it counts when nobody else waits.
    pub async fn cancel_late(&self, id: &CallId) -> Result<(), Failure> {
        if self.inner.waiters.seats(id) == 0 { self.cancel(id).await } else { Ok(()) }
    }

    pub(super) async fn cancel(&self, id: &CallId) -> Result<(), Failure> {
        let written = self
            .rewrite(id, |call| {
                let state = match &call.state {
                    State::Held { .. } => call.state.clone(),
                    State::Approved { at, release_at, tries, .. } => {
                        State::Approved { at: *at, release_at: *release_at, send_by: *at + call.permit_span(), tries: *tries }
                    }
                    State::Sending { .. }
                    | State::Answered { .. }
                    | State::Rejected { .. }
                    | State::ChangesRequested { .. }
                    | State::Expired { .. }
                    | State::Withdrawn { .. }
                    | State::Lapsed { .. }
                    | State::Unconfirmed { .. } => return None,
                };
                if call.cancelled {
                    return None;
                }
                let fact = Fact { kind: "call.cancelled", call: Some(call.id.clone()), actor: format!("agent:{}", call.agent), data: json!({}).into() };
                Some((Call { cancelled: true, state, ..call.touched() }, fact))
            })
            .await?;
        if written.is_none() {
            self.inner.waiters.cancel_sending(id);
        } else if self.inner.waiters.is_waiting(id) {
            // Somebody sat down while this was written and may have looked before: the call was asked for again.
            self.asked_again(id).await?;
        }
        Ok(())
    }
}
