//! Errors with two faces: the cause goes to the log once, the user gets a fixed sentence and a reference that
//! finds it there. Made by `gate`, shown by the edges as they are.

use super::Gate;
use crate::domain::digest::hex;

/// Something on our side does not work. The caller may try again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Paraph could not finish this because of a fault on its side. Nothing was sent by this request. Reference {reference}.")]
pub struct Failure {
    /// What the log line with the cause carries.
    pub reference: String,
}

impl Gate {
    /// Writes the cause to the log and gives the user's half.
    pub(super) fn failed(&self, cause: &(dyn std::error::Error + Send + Sync)) -> Failure {
        let failure = Failure { reference: self.reference() };
        tracing::error!(reference = failure.reference, cause = %cause, "a request could not be finished");
        failure
    }

    /// A short random reference.
    pub fn reference(&self) -> String {
        let mut bits = [0u8; 6];
        self.inner.clock.random(&mut bits);
        format!("r_{}", hex(&bits))
    }
}
