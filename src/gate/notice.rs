//! What an agent is told when its call did not go through at once: the sentences of contract.md 4 and the
//! `paraph/call` member of `_meta`. A sentence holds our words, the tool's name and a quoted reason of at most
//! 500 characters, never arguments. Made by `gate`, put into a tool result by `mcp`.

use crate::domain::call::{Call, CallId, Outcome, OutcomeKind, State};
use crate::domain::digest::Digest;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How many characters of somebody's reason an agent is told.
const MAX_REASON: usize = 500;

/// What the agent is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The plain sentence.
    pub text: String,
    /// The value of `_meta["paraph/call"]`.
    pub meta: Value,
}

/// The parts of `paraph/call`.
struct Facts<'a> {
    id: Option<&'a CallId>,
    state: &'a str,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
    digest: Option<&'a Digest>,
    expires_at: Option<Timestamp>,
    retry_after: Option<Duration>,
}

impl Facts<'_> {
    fn notice(self, text: String) -> Notice {
        let mut meta = Map::new();
        meta.insert("id".into(), json!(self.id));
        meta.insert("state".into(), json!(self.state));
        if let Some(rule) = self.rule {
            meta.insert("rule".into(), json!(rule));
        }
        if let Some(reason) = self.reason {
            meta.insert("reason".into(), json!(clip(reason)));
        }
        if let Some(digest) = self.digest {
            meta.insert("digest".into(), json!(digest));
        }
        if let Some(at) = self.expires_at {
            meta.insert("expiresAt".into(), json!(at));
        }
        if let Some(after) = self.retry_after {
            meta.insert("retryAfterMs".into(), json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
        }
        Notice { text, meta: Value::Object(meta) }
    }
}

/// "NOT SENT" for a message, "NOT DONE" for anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    /// The call is a message.
    pub message: bool,
}

impl Wording {
    fn not(self) -> &'static str {
        if self.message { "NOT SENT" } else { "NOT DONE" }
    }

    fn done(self) -> &'static str {
        if self.message { "sent" } else { "done" }
    }

    fn send(self) -> &'static str {
        if self.message { "send" } else { "do" }
    }
}

/// A rule refuses.
pub fn denied(wording: Wording, rule: &str, reason: Option<&str>, digest: &Digest) -> Notice {
    let why = reason.map_or_else(String::new, |reason| format!(": {}", quoted(reason)));
    let text = format!("{}. Rule {rule} refuses this{why}. Do not try another tool or wording.", wording.not());
    Facts { id: None, state: "denied", rule: Some(rule), reason, digest: Some(digest), expires_at: None, retry_after: None }.notice(text)
}

/// A bound is reached; which one stands in the meta, because the sentence is the contract's.
pub fn limited(wording: Wording, what: &str, now: Timestamp, retry_after: Duration) -> Notice {
    let text = format!("{}. Limit reached. Not before {}.", wording.not(), now + retry_after);
    Facts { id: None, state: "limited", rule: None, reason: Some(what), digest: None, expires_at: None, retry_after: Some(retry_after) }.notice(text)
}

/// The pending answer; `answers` counts this one, `before` is a call to the same recipient that waits already.
pub fn pending(call: &Call, answers: u32, before: Option<&CallId>) -> Notice {
    let wording = Wording { message: call.message.is_some() };
    match &call.state {
        State::Approved { release_at, .. } if !call.cancelled => approved(call, Some(*release_at)),
        State::Sending { .. } => approved(call, None),
        State::Held { .. }
        | State::Approved { .. }
        | State::Answered { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Withdrawn { .. }
        | State::Lapsed { .. }
        | State::Unconfirmed { .. } => {
            let (done, send) = (wording.done(), wording.send());
            let text = if answers >= 3 {
                "STILL WAITING. Stop calling. Tell the user it awaits approval and go on with other work.".to_owned()
            } else {
                let by_itself = if call.cancelled { String::new() } else { format!(" It is {done} when they do, even if you do not ask again.") };
                let other = before.map_or_else(String::new, |id| format!(" Another call of yours to the same recipient waits already ({id})."));
                format!(
                    "{} YET. A person must approve this ({}).{by_itself}{other} Do not reword it or {send} it another way. To wait, call again with exactly the same arguments.",
                    wording.not(),
                    call.id
                )
            };
            let expires_at = if let State::Held { expires_at } = &call.state { Some(*expires_at) } else { None };
            let mut notice = facts_of(call, call.reason.as_deref(), expires_at, Some(Duration::from_secs(15))).notice(text);
            if let Some(id) = before {
                notice.meta["waitsBefore"] = json!(id);
            }
            notice
        }
    }
}

fn approved(call: &Call, leaves_at: Option<Timestamp>) -> Notice {
    let wording = Wording { message: call.message.is_some() };
    let done = wording.done();
    let when = leaves_at.map_or_else(|| "now".to_owned(), |at| format!("at {at}"));
    let verb = if wording.message { "goes out" } else { "is done" };
    let text = format!("APPROVED, not {done} yet; it {verb} by itself {when}. Do not {} it again.", wording.send());
    facts_of(call, None, None, Some(Duration::from_secs(15))).notice(text)
}

/// What a settled call means for its agent, when it is not the server's own answer.
pub fn settled(call: &Call) -> Option<Notice> {
    let wording = Wording { message: call.message.is_some() };
    let (not, send, done) = (wording.not(), wording.send(), wording.done());
    let (text, reason) = match &call.state {
        State::Held { .. } | State::Approved { .. } | State::Sending { .. } => return None,
        State::Answered { outcome: Outcome { kind: OutcomeKind::Ok | OutcomeKind::ToolError | OutcomeKind::ProtocolError, .. }, .. } => return None,
        State::Answered { outcome: outcome @ Outcome { kind: OutcomeKind::Told, .. }, .. } => (told(wording, outcome), None),
        State::Rejected { reason, .. } => {
            (format!("{not}. A person refused{}. Do not re{send} it, also not reworded, unless the user asks.", because(reason)), Some(reason.as_str()))
        }
        State::ChangesRequested { reason, .. } => {
            (format!("{not}. A person asked for changes. This is not a tool failure. Do not {send} it unchanged{}.", because(reason)), Some(reason.as_str()))
        }
        State::Expired { .. } => (format!("{not}. Nobody decided in time. Tell the user."), None),
        State::Withdrawn { why, .. } => (format!("{not}. It was taken back. Tell the user."), Some(why.as_str())),
        State::Lapsed { .. } => (format!("{not}. It was approved but not asked for again in time. Tell the user."), None),
        State::Unconfirmed { .. } => (format!("UNKNOWN whether it was {done}. Do not {send} it again; a person is checking."), None),
    };
    Some(facts_of(call, reason, None, None).notice(text))
}

/// The block that is added when the outcome is of an earlier call.
pub fn sent_earlier(call: &Call, at: Timestamp) -> String {
    let wording = Wording { message: call.message.is_some() };
    let (first, done) = if wording.message { ("Sent", "sent") } else { ("Done", "done") };
    format!("{first} at {at} for your earlier call; nothing was {done} now.")
}

fn facts_of<'a>(call: &'a Call, reason: Option<&'a str>, expires_at: Option<Timestamp>, retry_after: Option<Duration>) -> Facts<'a> {
    Facts { id: Some(&call.id), state: call.state.word(), rule: Some(&call.rule), reason, digest: Some(&call.digest), expires_at, retry_after }
}

/// What a person found out about a call of which nobody knew whether it left.
fn told(wording: Wording, outcome: &Outcome) -> String {
    let (done, send) = (wording.done(), wording.send());
    let Some(told) = outcome.as_told() else { return format!("A person looked into whether it was {done}. Ask the user before you {send} it again.") };
    let note = told.note.as_deref().map_or_else(String::new, because);
    if told.sent {
        format!("{}. A person checked: it was {done}{note}. Do not {send} it again.", done.to_uppercase())
    } else {
        format!("{}. A person checked: it was not {done}{note}. Ask the user before you {send} it again.", wording.not())
    }
}

/// Somebody's reason behind a colon; nothing once its text is erased.
fn because(reason: &str) -> String {
    if reason.trim().is_empty() { String::new() } else { format!(": {}", quoted(reason)) }
}

fn clip(reason: &str) -> String {
    reason.chars().take(MAX_REASON).collect()
}

/// Somebody else's words, marked as such, without a full stop of their own at the end.
fn quoted(reason: &str) -> String {
    format!("\u{201c}{}\u{201d}", clip(reason).trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reached_limit_has_the_contracts_sentence_and_says_which_one_in_the_meta() {
        let notice = limited(Wording { message: true }, "too many calls wait for a person", Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        assert_eq!(notice.text, "NOT SENT. Limit reached. Not before 1970-01-01T00:01:00Z.");
        assert_eq!(notice.meta["reason"], "too many calls wait for a person");
    }
}
