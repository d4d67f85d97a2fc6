//! The kill switch: whether the gateway is paused, since when, by whom and why. One record in the store, so that
//! it survives a restart and holds for every gateway on the same store.
//! Written by `gate/pause`, looked at by every step that could let something out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The record. One that was never written means "not paused".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pause {
    /// Compared by the engines; 0 before the first write.
    pub revision: u64,
    /// `None` while the gateway works.
    pub stopped: Option<Stopped>,
}

/// Why nothing goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Since when.
    pub at: Timestamp,
    /// Who: `operator` at the terminal, or `person:` and an address.
    pub by: String,
    /// Told to agents and shown on every page.
    pub reason: String,
}
