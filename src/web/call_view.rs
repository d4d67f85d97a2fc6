//! A call in plain words for the pages: where it stands, why it was held, what approving will do, who said what.
//! Words only, no decisions: whether something is allowed is the gate's answer. Used by `call_page`, `panel`, `row`.

use super::moment::{Moment, span};
use super::shown::{Mark, Shown};
use crate::domain::call::{Call, OutcomeKind, Presence, State, Verdict};
use crate::domain::json;
use crate::gate::Listed;
use jiff::Timestamp;
use serde_json::Value;

/// Where a call stands, as a label; the tone only colours what the label says.
#[derive(Debug, Clone)]
pub struct Standing {
    /// For example `Rejected`.
    pub label: &'static str,
    /// `wait`, `good`, `bad`, `quiet` or `warn`.
    pub tone: &'static str,
    /// The state's word in the contract.
    pub word: &'static str,
}

impl Standing {
    /// The label of a call.
    pub fn of(call: &Call) -> Standing {
        let message = call.message.is_some();
        let (label, tone) = match &call.state {
            State::Held { .. } if call.decisions.iter().any(|d| !d.void) => ("Needs another approval", "wait"),
            State::Held { .. } => ("Held", "wait"),
            State::Approved { .. } if call.is_permit() => ("Approved, agent left", "wait"),
            State::Approved { .. } => ("Approved", "good"),
            State::Sending { .. } => ("Being sent", "wait"),
            State::Answered { outcome, .. } => match outcome.kind {
                OutcomeKind::Ok => (if message { "Sent" } else { "Done" }, "good"),
                OutcomeKind::ToolError | OutcomeKind::ProtocolError => ("The server reported an error", "bad"),
                OutcomeKind::Told => ("Settled by hand", "quiet"),
            },
            State::Rejected { .. } => ("Rejected", "bad"),
            State::ChangesRequested { .. } => ("Changes asked for", "quiet"),
            State::Expired { .. } => ("Expired", "quiet"),
            State::Withdrawn { .. } => ("Taken back", "quiet"),
            State::Lapsed { .. } => ("Lapsed", "quiet"),
            State::Unconfirmed { .. } => ("Unconfirmed", "warn"),
        };
        Standing { label, tone, word: call.state.word() }
    }
}

/// The person whose decision stands, as far as a person decided.
pub fn decided_by(call: &Call) -> Option<String> {
    let ended_by_person = matches!(
        call.state,
        State::Approved { .. }
            | State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Unconfirmed { .. }
    );
    let last = call.decisions.iter().rev().find(|d| !d.void).filter(|_| ended_by_person)?;
    Some(format!("{} by {}", past(last.verdict), last.by))
}

/// What somebody did.
pub fn past(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
        Verdict::RequestChanges => "sent back for changes",
    }
}

/// What became of the call, in one or two sentences; `None` while it is held.
pub fn ending(call: &Call, now: Timestamp) -> Option<String> {
    let done = if call.message.is_some() { "sent" } else { "done" };
    Some(match &call.state {
        State::Held { .. } => return None,
        State::Approved { send_by, .. } if call.is_permit() => format!(
            "Approved. The agent took its request back, so the approval waits for the same request again, until {}.",
            Moment::new(*send_by, now).absolute
        ),
        State::Approved { release_at, tries: 0, .. } => format!("Approved. It is {done} at {}.", release_at.strftime("%H:%M:%S UTC")),
        State::Approved { release_at, .. } => {
            format!("Approved, but the server could not be reached and nothing left. The next try is at {}.", release_at.strftime("%H:%M:%S UTC"))
        }
        State::Sending { .. } => format!("It is being {done} right now and can no longer be stopped."),
        State::Answered { outcome, .. } => match outcome.kind {
            OutcomeKind::Ok => format!("It was {done}, and the server answered."),
            OutcomeKind::ToolError | OutcomeKind::ProtocolError => "It went out, and the server answered with an error. Read the answer below.".to_owned(),
            OutcomeKind::Told => "Nobody could see whether it left; a person found out and said so.".to_owned(),
        },
        State::Rejected { reason, .. } => format!("It was not {done}. The agent was told: {reason}"),
        State::ChangesRequested { reason, .. } => format!("It was not {done}. The agent was asked for changes: {reason}"),
        State::Expired { .. } => format!("Nobody decided in time. It was not {done}."),
        State::Withdrawn { why, .. } => format!("It was not {done}: {why}."),
        State::Lapsed { .. } => format!("It was approved, but could not leave in time. It was not {done}."),
        State::Unconfirmed { why, .. } => {
            format!("Nobody knows whether it was {done}: {why}. It is never repeated by itself; look at the other side and tell the agent's owner.")
        }
    })
}

/// What the agent is doing, and what an approval will therefore do.
pub fn on_approval(listed: &Listed) -> (&'static str, String) {
    let terms = &listed.call.terms;
    let verb = if listed.call.message.is_some() { "goes out" } else { "is done" };
    let when = if terms.undo.is_zero() { "at once".to_owned() } else { format!("{} later; until then it can be taken back", span(terms.undo.as_secs())) };
    match listed.presence {
        Presence::Waiting => ("The agent is waiting for the answer.", format!("If you approve, it {verb} {when}.")),
        Presence::Gone => {
            ("The agent has gone and may ask again.", format!("If you approve, it {verb} {when}, without the agent; it learns the answer when it asks again."))
        }
        Presence::Cancelled => (
            "The agent took its request back.",
            format!("If you approve, nothing {verb} yet: the approval waits {} for the agent to make the same request.", span(terms.permit_for.as_secs())),
        ),
    }
}

/// The message of a call.
pub struct MessageView {
    /// To whom.
    pub to: Shown,
    /// The text, whole.
    pub text: Shown,
    /// What was marked in both.
    pub legend: Vec<Mark>,
    /// Found by the arguments' names only.
    pub guessed: bool,
    /// How long the text is.
    pub size: usize,
}

/// One argument that is not the message.
pub struct Argument {
    /// Its name.
    pub name: Shown,
    /// Its value; JSON unless it is a string.
    pub value: Shown,
}

/// The message, when the call is one.
pub fn message(call: &Call) -> Option<MessageView> {
    let message = call.message.as_ref()?;
    let (to, text) = (Shown::new(&message.to), Shown::new(&message.text));
    let legend = Shown { runs: to.runs.iter().chain(&text.runs).cloned().collect() }.legend();
    Some(MessageView { legend, to, text, guessed: message.guessed, size: message.text.chars().count() })
}

/// The arguments beside the message: nothing that will be sent stays out of sight.
pub fn other_arguments(call: &Call) -> Vec<Argument> {
    let Ok(Value::Object(members)) = serde_json::from_str(&call.arguments) else { return Vec::new() };
    let shown_already = |name: &str| {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        call.message.as_ref().is_some_and(|message| message.to_pointer == pointer || message.text_pointer == pointer)
    };
    let others = members.into_iter().filter(|(name, _)| !shown_already(name));
    others.map(|(name, value)| Argument { name: Shown::new(&name), value: Shown::new(&value.as_str().map_or_else(|| pretty(&value), str::to_owned)) }).collect()
}

/// The arguments as indented JSON in canonical order.
pub fn raw(call: &Call) -> Shown {
    Shown::new(&serde_json::from_str(&call.arguments).map_or_else(|_| call.arguments.clone(), |value| pretty(&value)))
}

/// Any JSON text indented; other text as it is.
pub fn readable(body: &str) -> Shown {
    Shown::new(&serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |value| pretty(&value)))
}

fn pretty(value: &Value) -> String {
    // Canonical text sorts the members; reading it back keeps that order.
    let sorted = serde_json::from_str(&json::canonical(value)).unwrap_or_else(|_| value.clone());
    serde_json::to_string_pretty(&sorted).unwrap_or_else(|_| sorted.to_string())
}
