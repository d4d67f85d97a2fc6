//! One held call and its life. `state` is the table of what can happen to it, `decision` what people said,
//! `outcome` what the agent gets; here stands the record itself and what follows from it.
//! Only `gate` applies events; the engines compare `revision` and write what `gate` computed.

mod decision;
mod edit;
mod look;
mod mail;
mod outcome;
mod state;

pub use decision::{Decision, Verdict, Via, View};
pub use edit::Edit;
pub use outcome::{Outcome, OutcomeKind, Told};
pub use state::{Event, Refusal, State};

use super::digest::Digest;
use super::message::Message;
use super::policy::Shadow;
use super::recipient::RecipientKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A call that was taken back stays decidable at least this long.
const AFTER_UNDO: Duration = Duration::from_secs(600);

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
    /// What the agent sent, when a person has edited it since; `None` while that is what will be sent.
    #[serde(default)]
    pub asked_arguments: Option<String>,
    /// Why the arguments were not held against the tool's `inputSchema`; `None` when they were.
    #[serde(default)]
    pub unchecked: Option<String>,
    /// Of what will be sent.
    pub digest: Digest,
    /// Of what the agent sent; never changes.
    pub asked_digest: Digest,
    /// Name of the rule that held it.
    pub rule: String,
    /// The rule's reason, shown to the reviewer.
    pub reason: Option<String>,
    /// Shadow rules that matched it too, shown to the reviewer.
    #[serde(default)]
    pub shadows: Vec<Shadow>,
    /// Groups that may decide; empty means every reviewer.
    pub reviewers: Vec<String>,
    /// Distinct people needed.
    pub approvals: u32,
    /// The message in the arguments, when there is one.
    pub message: Option<Message>,
    /// To whom the message goes, as far as it can be told without the address.
    #[serde(default)]
    pub recipient: Option<RecipientKey>,
    /// When the identical call was last sent.
    #[serde(default)]
    pub last_sent: Option<Timestamp>,
    /// The call for which a person asked for changes, when this is its next version.
    #[serde(default)]
    pub revises: Option<CallId>,
    /// The agent sent `_meta` members that a held call does not keep.
    pub meta_dropped: bool,
    /// `traceparent`, `tracestate`, `baggage` of the request (W3C Trace Context), sent on.
    #[serde(default)]
    pub trace: Vec<(String, String)>,
    /// The MCP session it was asked in, in a word that does not give its id away.
    #[serde(default)]
    pub session: Option<String>,
    /// The limit that keeps it from leaving, while it is approved.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// When it was held.
    pub held_at: Timestamp,
    /// The waiting times stamped on it when it was held.
    pub terms: Terms,
    /// Which instance of the server ran for the agent when the call was held.
    #[serde(default)]
    pub instance: Option<String>,
    /// The agent took its request back; an approval then waits for it to ask again.
    pub cancelled: bool,
    /// The agent got the outcome.
    pub delivered: bool,
    /// A delivery was taken back, because its connection was seen closed; the next one counts for good.
    #[serde(default)]
    pub taken_back: bool,
    /// When the texts were erased; the facts and the audit stay.
    #[serde(default)]
    pub erased_at: Option<Timestamp>,
    /// Every decision in order.
    pub decisions: Vec<Decision>,
    /// Who was served the full text of which digest, once each.
    pub views: Vec<View>,
    /// Whom a mail about it reached, once each.
    #[serde(default)]
    pub told: Vec<String>,
    /// When they are to be reminded, unless somebody has opened it; `None` when that is over.
    #[serde(default)]
    pub remind_at: Option<Timestamp>,
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

impl Call {
    /// The next revision of this call with the event applied; `self` is untouched when it is refused.
    pub fn after(&self, event: &Event, now: Timestamp) -> Result<Call, Refusal> {
        let state = self.state.step(event, now)?;
        Ok(Call { state, version: self.version + 1, waits_for: None, ..self.touched() })
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

    /// The next revision after somebody took the approval back: held again, with no approval left.
    pub fn undone(&self, now: Timestamp) -> Result<Call, Refusal> {
        let mut next = self.held_again(now)?;
        for decision in &mut next.decisions {
            decision.void = true;
        }
        Ok(next)
    }

    fn held_again(&self, now: Timestamp) -> Result<Call, Refusal> {
        self.after(&Event::Undo { expires_at: (self.held_at + self.terms.expires_in).max(now + AFTER_UNDO) }, now)
    }

    /// The next revision of an approved call that a limit keeps from leaving before `until`; `None` when it is not
    /// approved, or leaves no sooner anyway.
    pub fn put_off(&self, until: Timestamp, limit: &str) -> Option<Call> {
        let State::Approved { at, release_at, send_by, tries } = &self.state else { return None };
        let state = State::Approved { at: *at, release_at: until, send_by: *send_by, tries: *tries };
        (until > *release_at).then(|| Call { state, waits_for: Some(limit.to_owned()), ..self.touched() })
    }

    /// The next revision with its undo window from its beginning; `None` when there is none to run again.
    pub fn window_again(&self, now: Timestamp) -> Option<Call> {
        let State::Approved { at, release_at, send_by, tries: 0 } = &self.state else { return None };
        if self.terms.undo.is_zero() || self.cancelled {
            return None;
        }
        let window = now + self.terms.undo;
        // One that waits for a limit leaves no sooner for that.
        let release_at = if self.waits_for.is_some() { window.max(*release_at) } else { window };
        let state = State::Approved { at: *at, release_at, send_by: (*send_by).max(window + self.terms.undo), tries: 0 };
        Some(Call { state, ..self.touched() })
    }

    /// The next revision without this person's approvals, as long as the call has not left; `None` when nothing
    /// of theirs counts.
    pub fn without(&self, person: &str, now: Timestamp) -> Option<Call> {
        let theirs = |decision: &Decision| !decision.void && decision.by == person;
        if !self.decisions.iter().any(theirs) {
            return None;
        }
        let mut next = match &self.state {
            State::Held { .. } => self.touched(),
            State::Approved { .. } => self.held_again(now).ok()?,
            State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => return None,
        };
        for decision in next.decisions.iter_mut().filter(|decision| theirs(decision)) {
            decision.void = true;
        }
        Some(next)
    }

    /// The next revision of a settled call without any text: what it said, to whom, what people wrote about it
    /// and what came back. Digests and facts stay. `None` when it is open, unresolved or erased already.
    pub fn erased(&self, now: Timestamp) -> Option<Call> {
        if self.erased_at.is_some() || !self.may_be_erased() {
            return None;
        }
        let mut next = self.touched();
        next.erased_at = Some(now);
        next.arguments = "{}".to_owned();
        next.asked_arguments = None;
        next.message = None;
        next.recipient = None;
        next.reason = None;
        next.trace = Vec::new();
        for decision in &mut next.decisions {
            decision.reason = None;
        }
        match &mut next.state {
            State::Answered { outcome, .. } => outcome.body = "null".to_owned(),
            State::Rejected { reason, .. } | State::ChangesRequested { reason, .. } => *reason = String::new(),
            State::Held { .. }
            | State::Approved { .. }
            | State::Sending { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => {}
        }
        Some(next)
    }

    /// Since when the call is over for good; `None` while somebody may still need its text. An unconfirmed call
    /// needs it until a person said what happened.
    pub fn over_since(&self) -> Option<Timestamp> {
        let at = self.state.settled_at()?;
        (self.erased_at.is_none() && self.may_be_erased()).then_some(at)
    }

    fn may_be_erased(&self) -> bool {
        match self.state {
            State::Held { .. } | State::Approved { .. } | State::Sending { .. } | State::Unconfirmed { .. } => false,
            State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => true,
        }
    }

    /// When the message left, as far as is known: the server took it, or a person says so.
    pub fn sent_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Answered { at, outcome } if outcome.tells_of_a_send() => Some(*at),
            State::Held { .. }
            | State::Approved { .. }
            | State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => None,
        }
    }

    /// Who has approved the current text.
    pub fn approved_by(&self) -> impl Iterator<Item = &str> {
        self.decisions.iter().filter(|d| d.verdict == Verdict::Approve && !d.void).map(|d| d.by.as_str())
    }

    /// How long after its approval the call may still be sent (semantics.md 10); an undo window that is longer than
    /// that leaves as much time again.
    pub fn send_span(&self) -> Duration {
        if self.cancelled { self.permit_span() } else { self.terms.expires_in.max(2 * self.terms.undo) }
    }

    /// The same for an approval that waits for its agent.
    pub fn permit_span(&self) -> Duration {
        self.terms.permit_for.max(2 * self.terms.undo)
    }

    /// True when this person was served the full text of the current digest.
    pub fn seen_by(&self, person: &str) -> bool {
        self.views.iter().any(|view| view.by == person && view.digest == self.digest)
    }

    /// An approval whose agent took the call back: it waits for the identical call.
    pub fn is_permit(&self) -> bool {
        self.cancelled && matches!(self.state, State::Approved { .. })
    }

    /// When the call wants attention next by itself: reminder, expiry, release or lapse.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Held { expires_at } => Some(self.reminder().map_or(*expires_at, |at| at.min(*expires_at))),
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
