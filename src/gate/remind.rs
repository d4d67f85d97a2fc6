//! Half of a held call's time is over and nobody has opened it: those who were told are told once more (desk.md 4).
//! The time stands on the call and wakes `deadlines` like its expiry, so a restart forgets no reminder and nothing
//! has to be looked through for it. Called by `deadlines`.

use super::{Failure, Gate};
use crate::domain::call::CallId;
use serde_json::json;

impl Gate {
    pub(super) async fn remind(&self, id: &CallId) -> Result<(), Failure> {
        // The letter is written with it, see `Letter::of_step`.
        let written = self.rewrite(id, |call| {
            let next = call.reminded(self.inner.clock.now())?;
            let fact = self.call_fact("call.unopened", &next, "paraph", json!({ "told": next.told.len() }));
            Some((next, fact))
        });
        written.await.map(drop)
    }
}
