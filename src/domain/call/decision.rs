//! What people said about a call and what they were shown: kept with the call for as long as it is kept.
//! Nothing is ever taken out of the list; an undo only makes a decision void.
//! Made by `gate/review`.

use crate::domain::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One person's word on a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The person's address.
    pub by: String,
    /// What.
    pub verdict: Verdict,
    /// Needed for reject and request_changes.
    pub reason: Option<String>,
    /// Over which way it came.
    pub via: Via,
    /// When.
    pub at: Timestamp,
    /// Revision of the pause record at that moment: whether it came before a pause or during it, whatever clocks did. 0
    /// when there had been no pause, or an older Paraph wrote it.
    #[serde(default)]
    pub pause: u64,
    /// An undo or an edit took it back; it stays on record.
    #[serde(default)]
    pub void: bool,
}

/// The verdicts a person can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Send it.
    Approve,
    /// Never.
    Reject,
    /// Not like this.
    RequestChanges,
}

impl Verdict {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Approve => "approve",
            Verdict::Reject => "reject",
            Verdict::RequestChanges => "request_changes",
        }
    }
}

/// The ways a person can act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A browser.
    Page,
    /// The HTTP API.
    Api,
    /// A link in a mail.
    Mail,
    /// A terminal.
    Cli,
}

impl Via {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Via::Page => "page",
            Via::Api => "api",
            Via::Mail => "mail",
            Via::Cli => "cli",
        }
    }
}

/// That one person was served the whole call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The person's address.
    pub by: String,
    /// Of which text.
    pub digest: Digest,
    /// When first.
    pub at: Timestamp,
}
