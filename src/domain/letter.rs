//! One notification waiting in the durable outbox. It names the call and the occasion, not the people:
//! who gets it is resolved when it is sent (semantics.md 30). Written by `gate`, delivered by `notify`.

use super::call::CallId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Stable over retries: what duplicates are recognised by.
    pub id: String,
    /// Compared by the engines. Starts at 1.
    pub revision: u64,
    /// What it is about.
    pub call: CallId,
    /// Why it is written.
    pub occasion: Occasion,
    /// When it was put into the outbox.
    pub written_at: Timestamp,
    /// Deliveries that failed.
    pub attempts: u32,
    /// Not before.
    pub next_at: Timestamp,
    /// Who has already got it, after a partial failure.
    #[serde(default)]
    pub delivered_to: Vec<String>,
}

/// Why a letter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A call waits for a person.
    Held,
}

impl Letter {
    /// That a call waits for a person. One letter per call, and one more when an edit asks other people after the
    /// first has left: `version` is the call's then, 1 at the hold.
    pub fn about_hold(call: &CallId, version: u64, at: Timestamp) -> Letter {
        let id = if version == 1 { format!("held-{call}") } else { format!("held-{call}-{version}") };
        Letter { id, revision: 1, call: call.clone(), occasion: Occasion::Held, written_at: at, attempts: 0, next_at: at, delivered_to: Vec::new() }
    }
}
