//! After a start: a call found in `Sending` may or may not have left, so it is `Unconfirmed` and a person must
//! say what happened. Held and approved calls need nothing: they are in the store and their deadlines run.
//! Called by `serve` before anything is let in.

use super::{Failure, Gate};
use crate::domain::call::{Call, Event};
use crate::store::Query;
use serde_json::json;

/// Calls looked at in one read.
const TOGETHER: usize = 100;

impl Gate {
    /// Finds what a crash left behind; the number of calls that became unconfirmed.
    pub async fn recover(&self) -> Result<usize, Failure> {
        let mut lost = 0;
        loop {
            let query = Query { states: vec!["sending".into()], limit: TOGETHER, ..Query::default() };
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            if page.calls.is_empty() {
                return Ok(lost);
            }
            for Call { id, .. } in &page.calls {
                let why = "Paraph stopped while it was being sent";
                self.rewrite(id, |call| {
                    let next = call.after(&Event::Lose { why: why.into() }, self.inner.clock.now()).ok()?;
                    let fact = self.call_fact("call.unconfirmed", &next, "paraph", json!({ "why": why }));
                    Some((next, fact))
                })
                .await?;
                lost += 1;
            }
        }
    }
}
