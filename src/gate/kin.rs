//! What a call stands beside: another one to the same recipient that waits already, the one for which a person
//! asked for changes (contract.md 4, semantics.md 11), the server's instance that it was meant for.
//! Called by `hold` for the agent and by pages, which show them beside each other.

use super::admit::Ask;
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::call::{Call, CallId, State};
use crate::domain::message::{Message, alike};
use crate::domain::recipient::RecipientKey;
use crate::store::Query;
use serde_json::Value;

/// The member of `_meta` by which an agent says which call this is the next version of.
pub(super) const REVISES: &str = "paraph/revises";
/// Calls to one recipient that a page lists.
const LISTED: usize = 20;

impl Gate {
    /// The call to the same recipient that was held before this one and still waits.
    pub(super) async fn waits_before(&self, call: &Call) -> Result<Option<CallId>, Failure> {
        let Some(recipient) = call.recipient.clone().filter(|_| matches!(call.state, State::Held { .. })) else { return Ok(None) };
        let query = Query { states: vec!["held".to_owned()], recipient: Some(recipient), limit: 1, ..Query::default() };
        let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
        Ok(page.calls.into_iter().find(|other| other.id != call.id && other.held_at <= call.held_at).map(|other| other.id))
    }

    /// The call that this one is the next version of: the one that it names, else the last one to the same
    /// recipient for which changes were asked, when the texts are alike.
    pub(super) async fn revised_by(&self, ask: &Ask, message: Option<&Message>, recipient: Option<&RecipientKey>) -> Result<Option<CallId>, Failure> {
        let asked_for_changes = |call: &Call| matches!(call.state, State::ChangesRequested { .. });
        if let Some(named) = named(ask) {
            let call = self.inner.store.call(&named).await.map_err(|e| self.failed(&e))?;
            let fits = |call: &Call| asked_for_changes(call) && call.agent == ask.agent.name && call.server == ask.server;
            return Ok(call.filter(fits).map(|call| call.id));
        }
        let (Some(message), Some(recipient)) = (message, recipient) else { return Ok(None) };
        let states = vec!["changes_requested".to_owned()];
        let query = Query { states, recipient: Some(recipient.clone()), newest_first: true, limit: 1, ..Query::default() };
        let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
        let since = self.inner.clock.now() - self.settings().hold.refuse_again_for;
        let fits = |call: &Call| {
            let recent = call.state.settled_at().is_some_and(|at| at > since);
            recent && call.tool == ask.tool && call.message.as_ref().is_some_and(|earlier| alike(&earlier.text, &message.text))
        };
        Ok(page.calls.into_iter().find(fits).map(|call| call.id))
    }
}

impl Reviewer {
    /// Whether the server was started anew since the call was held, or will be for the send: an account that the
    /// agent had chosen there may be another one now (semantics.md 22).
    pub async fn server_restarted(&self, call: &Call) -> bool {
        let unsent = matches!(call.state, State::Held { .. } | State::Approved { .. });
        unsent && call.instance.is_some() && self.gate().inner.upstream.instance(&call.server, &call.agent).await != call.instance
    }

    /// Other open calls of the same agent to the same recipient, the longest held first.
    pub async fn beside(&self, call: &Call) -> Result<Vec<Call>, Failure> {
        let Some(recipient) = call.recipient.clone() else { return Ok(Vec::new()) };
        let states = ["held", "approved", "sending", "unconfirmed"].map(str::to_owned).to_vec();
        let page = self.calls(Query { states, recipient: Some(recipient), limit: LISTED, ..Query::default() }).await?;
        Ok(page.calls.into_iter().filter(|other| other.id != call.id).collect())
    }
}

fn named(ask: &Ask) -> Option<CallId> {
    let meta: serde_json::Map<String, Value> = serde_json::from_str(ask.meta.as_ref()?).ok()?;
    meta.get(REVISES)?.as_str().map(|id| CallId(id.to_owned()))
}
