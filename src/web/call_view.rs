//! A call in plain words for the pages: where it stands, what became of it, who said what, what is in it.
//! Words only, no decisions: whether something is allowed is the gate's answer. Used by `call_page`, `panel`, `row`, `context`.

use super::masked::{self, Stretch};
use super::shown::{Mark, Shown};
use crate::domain::call::{Call, OutcomeKind, State, Verdict};
use crate::domain::json;
use crate::domain::mask::{self, Mask as Masked};
use crate::gate::Listed;
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
            State::Approved { .. } if call.is_permit() => ("Waiting for agent", "wait"),
            State::Approved { .. } => (if message { "Sending soon" } else { "Leaving soon" }, "good"),
            State::Sending { .. } => ("Being sent", "wait"),
            State::Answered { outcome, .. } => match outcome.kind {
                OutcomeKind::Ok => (if message { "Sent" } else { "Done" }, "good"),
                OutcomeKind::ToolError | OutcomeKind::ProtocolError => ("The server reported an error", "bad"),
                OutcomeKind::Told => match outcome.as_told().map(|told| told.sent) {
                    Some(true) => (if message { "Sent, a person says" } else { "Done, a person says" }, "quiet"),
                    Some(false) => (if message { "Not sent, a person says" } else { "Not done, a person says" }, "quiet"),
                    None => ("Settled by hand", "quiet"),
                },
            },
            State::Rejected { .. } => ("Rejected", "bad"),
            State::ChangesRequested { .. } => ("Changes asked for", "quiet"),
            State::Expired { .. } => ("Expired", "quiet"),
            State::Withdrawn { .. } => ("Taken back", "quiet"),
            State::Lapsed { .. } => ("Lapsed", "quiet"),
            State::Unconfirmed { .. } => (if message { "Unknown whether sent" } else { "Unknown whether done" }, "warn"),
        };
        Standing { label, tone, word: call.state.word() }
    }
}

/// The person whose word stands, as far as a person decided.
pub fn decided_by(call: &Call) -> Option<String> {
    let ended_by_person = match &call.state {
        State::Answered { outcome, .. } => {
            if let Some(told) = outcome.as_told() {
                return Some(format!("told by {}", told.by));
            }
            true
        }
        State::Approved { .. } | State::Sending { .. } | State::Rejected { .. } | State::ChangesRequested { .. } | State::Unconfirmed { .. } => true,
        State::Held { .. } | State::Expired { .. } | State::Withdrawn { .. } | State::Lapsed { .. } => false,
    };
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

/// What became of the call, in one or two sentences; `None` while it is held, waits to leave, or nobody knows.
pub fn ending(call: &Call) -> Option<String> {
    let done = if call.message.is_some() { "sent" } else { "done" };
    // An erased reason is empty, and a sentence that ends in a colon would promise one.
    let told = |what: &str, reason: &str| if reason.is_empty() { format!("{what}.") } else { format!("{what}: {reason}") };
    Some(match &call.state {
        State::Held { .. } | State::Approved { .. } | State::Unconfirmed { .. } => return None,
        State::Sending { .. } => format!("It is being {done} right now and can no longer be stopped."),
        State::Answered { outcome, .. } => match outcome.kind {
            OutcomeKind::Ok => format!("It was {done}, and the server answered."),
            OutcomeKind::ToolError | OutcomeKind::ProtocolError => "It went out, and the server answered with an error.".to_owned(),
            OutcomeKind::Told => "Nobody could see whether it left.".to_owned(),
        },
        State::Rejected { reason, .. } => told(&format!("It was not {done}. The agent was told the reason"), reason),
        State::ChangesRequested { reason, .. } => told(&format!("It was not {done}. The agent was asked for changes"), reason),
        State::Expired { .. } => format!("Nobody decided in time. It was not {done}."),
        State::Withdrawn { why, .. } => format!("It was not {done}: {why}."),
        State::Lapsed { .. } => format!("It was approved, but could not leave in time. It was not {done}."),
    })
}

/// The message of a call.
pub struct MessageView {
    /// To whom.
    pub to: Shown,
    /// The text, whole, cut where something looks like a secret.
    pub text: Vec<Stretch>,
    /// What looks like a secret in text and recipient.
    pub secrets: Vec<&'static str>,
    /// What was marked in both.
    pub legend: Vec<Mark>,
    /// Found by the arguments' names only.
    pub guessed: bool,
    /// How long the text is.
    pub size: usize,
    /// What stands for the recipient, when it is masked.
    pub to_masked: Option<String>,
    /// What stands for the text, when it is masked.
    pub text_masked: Option<String>,
    /// Of recipient and text, what looks like a mark and is the agent's own.
    pub imitates: Option<&'static str>,
}

/// One argument that is not the message.
pub struct Argument {
    /// Its name.
    pub name: Shown,
    /// Its value; JSON unless it is a string.
    pub value: Shown,
    /// Four digits in its place, when all of it is masked.
    pub masked: Option<String>,
}

/// The message, when the call is one.
pub fn message(listed: &Listed) -> Option<MessageView> {
    let message = listed.call.message.as_ref()?;
    let (to_masked, text_masked) = (masked::over(listed, &message.to_pointer), masked::over(listed, &message.text_pointer));
    let (to, text) = (Shown::new(&message.to), Shown::new(&message.text));
    let legend = Shown { runs: to.runs.iter().chain(&text.runs).cloned().collect() }.legend();
    let (stretches, mut secrets) = masked::stretches(&message.text);
    for what in mask::looks_like(&message.to) {
        if !secrets.contains(&what) {
            secrets.push(what);
        }
    }
    let own = |masked: &Option<&Masked>, text: &str| masked.is_none() && mask::imitates(text);
    let imitates = match (own(&to_masked, &message.to), own(&text_masked, &message.text)) {
        (true, true) => Some("recipient and text"),
        (true, false) => Some("the recipient"),
        (false, true) => Some("the text"),
        (false, false) => None,
    };
    Some(MessageView {
        legend,
        to,
        text: stretches,
        secrets,
        guessed: message.guessed,
        size: text_masked.map_or_else(|| message.text.chars().count(), |mask| mask.length),
        to_masked: to_masked.map(masked::chip),
        text_masked: text_masked.map(masked::chip),
        imitates,
    })
}

/// The arguments beside the message: nothing that will be sent stays out of sight.
pub fn other_arguments(call: &Call) -> Vec<Argument> {
    let Ok(Value::Object(members)) = serde_json::from_str(&call.arguments) else { return Vec::new() };
    let shown_already = |name: &str| {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        call.message.as_ref().is_some_and(|message| message.to_pointer == pointer || message.text_pointer == pointer)
    };
    let others = members.into_iter().filter(|(name, _)| !shown_already(name));
    let argument = |(name, value): (String, Value)| Argument {
        name: Shown::new(&name),
        masked: mask::digits(&value).map(|digits| masked::four(digits).to_owned()),
        value: Shown::new(&value.as_str().map_or_else(|| pretty(&value), str::to_owned)),
    };
    others.map(argument).collect()
}

/// The arguments as indented JSON in canonical order.
pub fn raw(call: &Call) -> Shown {
    Shown::new(&indented(&call.arguments))
}

/// JSON text indented, in canonical order.
pub fn indented(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| pretty(&value))
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
