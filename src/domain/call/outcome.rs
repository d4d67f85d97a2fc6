//! What became of a call that was sent: the server's own words, byte for byte, or what a person found out.
//! Kept until the text is erased, because the agent may come back for it.
//! Made by `gate/release` and `gate/resolve`.

use serde::{Deserialize, Serialize};

/// What the upstream answered, or a person told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which of the four.
    pub kind: OutcomeKind,
    /// The JSON text of `result` or `error` as the upstream sent it; a note for `Told`.
    pub body: String,
}

/// The kinds of semantics.md 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// A tool result without `isError`.
    Ok,
    /// A tool result with `isError: true`.
    ToolError,
    /// A JSON-RPC error or an HTTP 4xx.
    ProtocolError,
    /// As told by a person.
    Told,
}

/// What a person found out about a call of which nobody knew whether it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// It was sent.
    pub sent: bool,
    /// In the person's words.
    pub note: Option<String>,
    /// The person's address.
    pub by: String,
}

impl Outcome {
    /// The outcome that a person tells.
    pub fn told(told: &Told) -> Outcome {
        let body = serde_json::json!({ "sent": told.sent, "note": told.note, "by": told.by }).to_string();
        Outcome { kind: OutcomeKind::Told, body }
    }

    /// What a person told; `None` for the server's own words, and once the text is erased.
    pub fn as_told(&self) -> Option<Told> {
        if self.kind == OutcomeKind::Told { serde_json::from_str(&self.body).ok() } else { None }
    }

    /// Whether the server carried it out, or a person found that it did.
    pub fn tells_of_a_send(&self) -> bool {
        match self.kind {
            OutcomeKind::Ok => true,
            OutcomeKind::ToolError | OutcomeKind::ProtocolError => false,
            OutcomeKind::Told => self.as_told().is_some_and(|told| told.sent),
        }
    }
}

impl OutcomeKind {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            OutcomeKind::Ok => "ok",
            OutcomeKind::ToolError => "tool_error",
            OutcomeKind::ProtocolError => "protocol_error",
            OutcomeKind::Told => "told",
        }
    }
}
