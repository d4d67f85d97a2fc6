//! One held call and its life: an enum that carries its data and one total function `step`.
//! A refusal is an ordinary answer that names the state that won, never a panic: two people may click at once.
//! Only `gate` applies events; the engines compare `revision` and write what `gate` computed.

use super::digest::Digest;
use super::message::Message;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `c_` and 32 hex digits (128 random bits): cannot be guessed, gives no order away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

impl CallId {
    /// The id made of 128 random bits.
    pub fn from_random(bits: [u8; 16]) -> CallId {
        CallId(format!("c_{}", super::digest::hex(&bits)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which call is "the identical call": same agent, server, tool and digest of what the agent sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AskKey(pub Digest);

/// A call that a rule suspended. It lives in the store from the hold until its text is erased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Public id.
    pub id: CallId,
    /// Changes with every write; what the engines compare. Starts at 1.
    pub revision: u64,
    /// Changes only with state, digest or expiry: what a reviewer's decision names. Starts at 1.
    pub version: u64,
    /// Where in its life it is.
    pub state: State,
    /// The upstream's name in the config.
    pub server: String,
    /// The tool's name as the server lists it.
    pub tool: String,
    /// The agent that asked.
    pub agent: String,
    /// The JSON text of `arguments`, byte for byte as it will be sent.
    pub arguments: String,
    /// Of what will be sent.
    pub digest: Digest,
    /// Of what the agent sent; never changes.
    pub asked_digest: Digest,
    /// Name of the rule that held it.
    pub rule: String,
    /// The rule's reason, shown to the reviewer.
    pub reason: Option<String>,
    /// Groups that may decide; empty means every reviewer.
    pub reviewers: Vec<String>,
    /// Distinct people needed.
    pub approvals: u32,
    /// The message in the arguments, when there is one.
    pub message: Option<Message>,
    /// The agent sent `_meta` members that a held call does not keep.
    pub meta_dropped: bool,
    /// `traceparent`, `tracestate`, `baggage` of the request (W3C Trace Context), sent on.
    #[serde(default)]
    pub trace: Vec<(String, String)>,
    /// When it was held.
    pub held_at: Timestamp,
    /// The waiting times stamped on it when it was held.
    pub terms: Terms,
    /// The agent took its request back; an approval then waits for it to ask again.
    pub cancelled: bool,
    /// The agent got the outcome.
    pub delivered: bool,
    /// Every decision in order.
    pub decisions: Vec<Decision>,
    /// Who was served the full text of which digest, once each.
    pub views: Vec<View>,
}

/// Waiting times stamped at the hold, so that a reload does not move them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long a person has to decide.
    #[serde(with = "millis")]
    pub expires_in: Duration,
    /// Between approval and sending.
    #[serde(with = "millis")]
    pub undo: Duration,
    /// How long an approval waits for an agent that cancelled.
    #[serde(with = "millis")]
    pub permit_for: Duration,
}

/// The states of design.md 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// Waits for a person.
    Held {
        /// From then on nobody's decision counts.
        expires_at: Timestamp,
    },
    /// Enough people said yes; leaves at `release_at`.
    Approved {
        /// When the last approval came.
        at: Timestamp,
        /// Not before (undo window, back-off).
        release_at: Timestamp,
        /// Not after: lapses.
        send_by: Timestamp,
        /// Sends that provably never left.
        tries: u32,
    },
    /// The ticket is out: the first byte may have left.
    Sending {
        /// Since when.
        at: Timestamp,
        /// Kept for the way back to `Approved`.
        approved_at: Timestamp,
        /// Kept for the way back to `Approved`.
        send_by: Timestamp,
        /// Kept for the way back to `Approved`.
        tries: u32,
    },
    /// The server answered, or a person told what happened.
    Answered {
        /// When.
        at: Timestamp,
        /// What.
        outcome: Outcome,
    },
    /// A person said no.
    Rejected {
        /// When.
        at: Timestamp,
        /// Told to the agent.
        reason: String,
    },
    /// A person asked for another version.
    ChangesRequested {
        /// When.
        at: Timestamp,
        /// Told to the agent.
        reason: String,
    },
    /// Nobody decided in time.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Taken back by the agent, an operator, a revocation or the policy.
    Withdrawn {
        /// When.
        at: Timestamp,
        /// Why, in a plain sentence.
        why: String,
    },
    /// Approved, but not sent in time.
    Lapsed {
        /// When.
        at: Timestamp,
    },
    /// Nobody knows whether it left. Never sent again by itself.
    Unconfirmed {
        /// When that was found.
        at: Timestamp,
        /// What was seen, without any of the call's text.
        why: String,
    },
}

/// What can happen to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The last approval that was needed.
    Approve {
        /// Not before.
        release_at: Timestamp,
        /// Not after.
        send_by: Timestamp,
    },
    /// A person refuses.
    Reject {
        /// Told to the agent.
        reason: String,
    },
    /// A person wants another version.
    RequestChanges {
        /// Told to the agent.
        reason: String,
    },
    /// The deadline passed.
    Expire,
    /// Taken back.
    Withdraw {
        /// Why.
        why: String,
    },
    /// A person takes an approval back before it left.
    Undo {
        /// The new deadline.
        expires_at: Timestamp,
    },
    /// The ticket is made.
    Send,
    /// The server answered.
    Answer {
        /// What.
        outcome: Outcome,
    },
    /// No byte left.
    NeverLeft {
        /// When to try again.
        retry_at: Timestamp,
    },
    /// Whether it left cannot be known.
    Lose {
        /// What was seen.
        why: String,
    },
    /// `send_by` passed.
    Lapse,
    /// A person says what happened to an unconfirmed call.
    Resolve {
        /// As told.
        outcome: Outcome,
    },
}

/// Why an event did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something else came first; the state that won.
    #[error("the call is already {0}")]
    Settled(&'static str),
    /// Not yet.
    #[error("too early")]
    TooEarly,
    /// Not any more.
    #[error("too late")]
    TooLate,
    /// The event does not fit the state.
    #[error("this cannot happen to a call that is {0}")]
    OutOfOrder(&'static str),
}

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

/// Whether the agent is there (semantics.md 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// At least one open request.
    Waiting,
    /// Left without taking the call back.
    Gone,
    /// Took the call back.
    Cancelled,
}

impl Presence {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Presence::Waiting => "waiting",
            Presence::Gone => "gone",
            Presence::Cancelled => "cancelled",
        }
    }
}

impl State {
    /// The word of the contract.
    pub fn word(&self) -> &'static str {
        match self {
            State::Held { .. } => "held",
            State::Approved { .. } => "approved",
            State::Sending { .. } => "sending",
            State::Answered { .. } => "answered",
            State::Rejected { .. } => "rejected",
            State::ChangesRequested { .. } => "changes_requested",
            State::Expired { .. } => "expired",
            State::Withdrawn { .. } => "withdrawn",
            State::Lapsed { .. } => "lapsed",
            State::Unconfirmed { .. } => "unconfirmed",
        }
    }

    /// When the call was settled; `None` while it is open.
    pub fn settled_at(&self) -> Option<Timestamp> {
        match self {
            State::Held { .. } | State::Approved { .. } | State::Sending { .. } => None,
            State::Answered { at, .. }
            | State::Rejected { at, .. }
            | State::ChangesRequested { at, .. }
            | State::Expired { at }
            | State::Withdrawn { at, .. }
            | State::Lapsed { at }
            | State::Unconfirmed { at, .. } => Some(*at),
        }
    }

    /// The table of design.md 2. Total: every event has an answer in every state.
    pub fn step(&self, event: &Event, now: Timestamp) -> Result<State, Refusal> {
        match self {
            State::Held { expires_at } => step_held(event, *expires_at, now),
            State::Approved { at, release_at, send_by, tries } => match event {
                Event::Send if now < *release_at => Err(Refusal::TooEarly),
                Event::Send if now >= *send_by => Err(Refusal::TooLate),
                Event::Send => Ok(State::Sending { at: now, approved_at: *at, send_by: *send_by, tries: *tries }),
                Event::Lapse if now < *send_by => Err(Refusal::TooEarly),
                Event::Lapse => Ok(State::Lapsed { at: now }),
                Event::Undo { expires_at } => Ok(State::Held { expires_at: *expires_at }),
                Event::Withdraw { why } => Ok(State::Withdrawn { at: now, why: why.clone() }),
                Event::Approve { .. } | Event::Reject { .. } | Event::RequestChanges { .. } | Event::Expire => Err(Refusal::Settled(self.word())),
                Event::Answer { .. } | Event::NeverLeft { .. } | Event::Lose { .. } | Event::Resolve { .. } => Err(Refusal::OutOfOrder(self.word())),
            },
            State::Sending { approved_at, send_by, tries, .. } => match event {
                Event::Answer { outcome } => Ok(State::Answered { at: now, outcome: outcome.clone() }),
                Event::NeverLeft { retry_at } => {
                    Ok(State::Approved { at: *approved_at, release_at: *retry_at, send_by: *send_by, tries: tries.saturating_add(1) })
                }
                Event::Lose { why } => Ok(State::Unconfirmed { at: now, why: why.clone() }),
                Event::Undo { .. } | Event::Withdraw { .. } | Event::Lapse => Err(Refusal::TooLate),
                Event::Approve { .. } | Event::Reject { .. } | Event::RequestChanges { .. } | Event::Expire => Err(Refusal::Settled(self.word())),
                Event::Send | Event::Resolve { .. } => Err(Refusal::OutOfOrder(self.word())),
            },
            State::Unconfirmed { .. } => match event {
                Event::Resolve { outcome } => Ok(State::Answered { at: now, outcome: outcome.clone() }),
                Event::Approve { .. }
                | Event::Reject { .. }
                | Event::RequestChanges { .. }
                | Event::Expire
                | Event::Withdraw { .. }
                | Event::Undo { .. }
                | Event::Send
                | Event::Answer { .. }
                | Event::NeverLeft { .. }
                | Event::Lose { .. }
                | Event::Lapse => Err(Refusal::Settled(self.word())),
            },
            State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => Err(Refusal::Settled(self.word())),
        }
    }
}

fn step_held(event: &Event, expires_at: Timestamp, now: Timestamp) -> Result<State, Refusal> {
    match event {
        Event::Approve { .. } | Event::Reject { .. } | Event::RequestChanges { .. } if now >= expires_at => Err(Refusal::TooLate),
        Event::Approve { release_at, send_by } => Ok(State::Approved { at: now, release_at: *release_at, send_by: *send_by, tries: 0 }),
        Event::Reject { reason } => Ok(State::Rejected { at: now, reason: reason.clone() }),
        Event::RequestChanges { reason } => Ok(State::ChangesRequested { at: now, reason: reason.clone() }),
        Event::Expire if now < expires_at => Err(Refusal::TooEarly),
        Event::Expire => Ok(State::Expired { at: now }),
        Event::Withdraw { why } => Ok(State::Withdrawn { at: now, why: why.clone() }),
        Event::Undo { .. } | Event::Send | Event::Answer { .. } | Event::NeverLeft { .. } | Event::Lose { .. } | Event::Lapse | Event::Resolve { .. } => {
            Err(Refusal::OutOfOrder("held"))
        }
    }
}

impl Call {
    /// The next revision of this call with the event applied; `self` is untouched when it is refused.
    pub fn after(&self, event: &Event, now: Timestamp) -> Result<Call, Refusal> {
        let state = self.state.step(event, now)?;
        Ok(Call { state, version: self.version + 1, ..self.touched() })
    }

    /// The next revision without a change that a reviewer has to see.
    pub fn touched(&self) -> Call {
        Call { revision: self.revision + 1, ..self.clone() }
    }

    /// One person's decision: settles the call, or counts as one of the approvals that are needed.
    pub fn decided(&self, decision: Decision) -> Result<Call, Refusal> {
        let now = decision.at;
        let mut next = self.touched();
        let event = match decision.verdict {
            Verdict::Reject => Event::Reject { reason: decision.reason.clone().unwrap_or_default() },
            Verdict::RequestChanges => Event::RequestChanges { reason: decision.reason.clone().unwrap_or_default() },
            Verdict::Approve => Event::Approve { release_at: now + self.terms.undo, send_by: now + self.send_span() },
        };
        let settled = self.state.step(&event, now)?;
        let repeated = self.approved_by().any(|by| by == decision.by) && decision.verdict == Verdict::Approve;
        if !repeated {
            next.decisions.push(decision);
        }
        let enough = next.approved_by().count() >= self.approvals.max(1) as usize;
        if next.decisions.last().is_some_and(|last| last.verdict != Verdict::Approve) || enough {
            next.state = settled;
            next.version += 1;
        }
        Ok(next)
    }

    /// Who has approved the current text.
    pub fn approved_by(&self) -> impl Iterator<Item = &str> {
        self.decisions.iter().filter(|d| d.verdict == Verdict::Approve && !d.void).map(|d| d.by.as_str())
    }

    /// How long after its approval the call may still be sent (semantics.md 10).
    pub fn send_span(&self) -> Duration {
        if self.cancelled { self.terms.permit_for + self.terms.undo } else { self.terms.expires_in + self.terms.undo }
    }

    /// True when this person was served the full text of the current digest.
    pub fn seen_by(&self, person: &str) -> bool {
        self.views.iter().any(|view| view.by == person && view.digest == self.digest)
    }

    /// An approval whose agent took the call back: it waits for the identical call.
    pub fn is_permit(&self) -> bool {
        self.cancelled && matches!(self.state, State::Approved { .. })
    }

    /// When the call wants attention next by itself: expiry, release or lapse.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Held { expires_at } => Some(*expires_at),
            State::Approved { send_by, .. } if self.cancelled => Some(*send_by),
            State::Approved { release_at, send_by, .. } => Some(*release_at.min(send_by)),
            State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => None,
        }
    }

    /// Which calls are identical to this one for its agent.
    pub fn ask_key(&self) -> AskKey {
        AskKey::of(&self.agent, &self.asked_digest)
    }
}

impl AskKey {
    /// The server and the tool are part of the digest.
    pub fn of(agent: &str, asked: &Digest) -> AskKey {
        AskKey(Digest::of_bytes(format!("{agent}\n{asked}").as_bytes()))
    }
}

/// Durations as whole milliseconds.
pub mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    /// Writes milliseconds.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
