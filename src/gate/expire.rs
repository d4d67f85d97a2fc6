//! What happens to a call when nobody acts: a held one expires, an approved one that could not leave lapses.
//! Called by `deadlines`, and by `review` so that a click after the deadline meets the expired call.

use super::{Failure, Gate};
use crate::domain::call::{CallId, Event};
use serde_json::json;

impl Gate {
    pub(super) async fn expire(&self, id: &CallId) -> Result<(), Failure> {
        self.end_by_time(id, &Event::Expire, "call.expired").await
    }

    pub(super) async fn lapse(&self, id: &CallId) -> Result<(), Failure> {
        self.end_by_time(id, &Event::Lapse, "call.lapsed").await
    }

    async fn end_by_time(&self, id: &CallId, event: &Event, kind: &'static str) -> Result<(), Failure> {
        let written = self
            .rewrite(id, |call| {
                let next = call.after(event, self.inner.clock.now()).ok()?;
                let fact = self.call_fact(kind, &next, "paraph", json!({}));
                Some((next, fact))
            })
            .await?;
        if written.is_some() {
            self.inner.waiters.forget(id);
        }
        Ok(())
    }
}
