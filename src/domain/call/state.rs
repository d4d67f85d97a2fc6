//! The states of a held call and what can happen to it: an enum that carries its data and one total function
//! `step`, the table of design.md 2. A refusal is an ordinary answer that names the state that won, never a
//! panic: two people may click at once. Called by `Call::after`.

use super::Outcome;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// The store came back from a backup: whatever was open then may have been decided and sent since.
    Restore {
        /// In a plain sentence.
        why: String,
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
                Event::Restore { why } => Ok(State::Unconfirmed { at: now, why: why.clone() }),
                Event::Approve { .. } | Event::Reject { .. } | Event::RequestChanges { .. } | Event::Expire => Err(Refusal::Settled(self.word())),
                Event::Answer { .. } | Event::NeverLeft { .. } | Event::Lose { .. } | Event::Resolve { .. } => Err(Refusal::OutOfOrder(self.word())),
            },
            State::Sending { approved_at, send_by, tries, .. } => match event {
                Event::Answer { outcome } => Ok(State::Answered { at: now, outcome: outcome.clone() }),
                Event::NeverLeft { retry_at } => {
                    Ok(State::Approved { at: *approved_at, release_at: *retry_at, send_by: *send_by, tries: tries.saturating_add(1) })
                }
                Event::Lose { why } | Event::Restore { why } => Ok(State::Unconfirmed { at: now, why: why.clone() }),
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
                | Event::Restore { .. }
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
        Event::Restore { why } => Ok(State::Unconfirmed { at: now, why: why.clone() }),
        Event::Undo { .. } | Event::Send | Event::Answer { .. } | Event::NeverLeft { .. } | Event::Lose { .. } | Event::Lapse | Event::Resolve { .. } => {
            Err(Refusal::OutOfOrder("held"))
        }
    }
}
