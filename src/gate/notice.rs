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

/// Bytes of edited arguments that an agent is told.
const MAX_EDITED: usize = 4096;

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
    /// Of what the agent sent, when a person has edited it.
    asked_digest: Option<&'a Digest>,
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
        if let Some(asked) = self.asked_digest {
            meta.insert("askedDigest".into(), json!(asked));
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
    /// That it did not happen.
    pub fn not_done(self) -> &'static str {
        if self.message { "NOT SENT" } else { "NOT DONE" }
    }

    /// What would have happened.
    pub fn done(self) -> &'static str {
        if self.message { "sent" } else { "done" }
    }

    fn send(self) -> &'static str {
        if self.message { "send" } else { "do" }
    }
}

/// A rule refuses.
pub fn denied(wording: Wording, rule: &str, reason: Option<&str>, digest: &Digest) -> Notice {
    let why = reason.map_or_else(String::new, |reason| format!(": {}", quoted(reason)));
    let text = format!("{}. Rule {rule} refuses this{why}. Do not try another tool or wording.", wording.not_done());
    Facts { id: None, state: "denied", rule: Some(rule), reason, digest: Some(digest), asked_digest: None, expires_at: None, retry_after: None }.notice(text)
}

/// A bound is reached; which one stands in the meta, because the sentence is the contract's.
pub fn limited(wording: Wording, what: &str, now: Timestamp, retry_after: Duration) -> Notice {
    bounded(wording, None, what, now, retry_after)
}

/// A limit of the policy has no room; its name stands where a rule's name stands, with the operator's words for it.
pub fn limited_by(wording: Wording, limit: &str, reason: Option<&str>, now: Timestamp, retry_after: Duration) -> Notice {
    let full = format!("limit {limit} is full");
    bounded(wording, Some(limit), reason.unwrap_or(&full), now, retry_after)
}

fn bounded(wording: Wording, rule: Option<&str>, what: &str, now: Timestamp, retry_after: Duration) -> Notice {
    let text = format!("{}. Limit reached. Not before {}.", wording.not_done(), now + retry_after);
    Facts { id: None, state: "limited", rule, reason: Some(what), digest: None, asked_digest: None, expires_at: None, retry_after: Some(retry_after) }
        .notice(text)
}

/// The pending answer; `answers` counts this one, `before` is a call to the same recipient that waits already.
pub fn pending(call: &Call, answers: u32, before: Option<&CallId>) -> Notice {
    let wording = Wording { message: call.message.is_some() };
    match &call.state {
        State::Approved { release_at, send_by, .. } if !call.cancelled && release_at >= send_by => lapses(call, *send_by),
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
                    wording.not_done(),
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

/// A full limit keeps it here until its time is over: a time at which it goes out would not be true.
fn lapses(call: &Call, send_by: Timestamp) -> Notice {
    let wording = Wording { message: call.message.is_some() };
    let (done, send) = (wording.done(), wording.send());
    let text = format!("APPROVED, not {done} yet; a limit is full until its approval ends at {send_by}. Do not {send} it again.");
    facts_of(call, None, None, Some(Duration::from_secs(15))).notice(text)
}

/// What a settled call means for its agent, when it is not the server's own answer.
pub fn settled(call: &Call) -> Option<Notice> {
    let wording = Wording { message: call.message.is_some() };
    let (not, send, done) = (wording.not_done(), wording.send(), wording.done());
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

/// The block that is added when a person had edited the call: here, and only here, the agent is told arguments, because
/// they are not the ones it knows.
pub fn sent_edited(call: &Call) -> String {
    let done = Wording { message: call.message.is_some() }.done();
    let what = if call.erased_at.is_some() || call.arguments.len() > MAX_EDITED {
        format!("What you asked for is not what was {done}.")
    } else {
        format!("{} with these arguments: {}", if done == "sent" { "Sent" } else { "Done" }, call.arguments)
    };
    format!("A person changed this before approving it. {what}")
}

fn facts_of<'a>(call: &'a Call, reason: Option<&'a str>, expires_at: Option<Timestamp>, retry_after: Option<Duration>) -> Facts<'a> {
    let asked_digest = call.is_edited().then_some(&call.asked_digest);
    Facts { id: Some(&call.id), state: call.state.word(), rule: Some(&call.rule), reason, digest: Some(&call.digest), asked_digest, expires_at, retry_after }
}

/// What a person found out about a call of which nobody knew whether it left.
fn told(wording: Wording, outcome: &Outcome) -> String {
    let (done, send) = (wording.done(), wording.send());
    let Some(told) = outcome.as_told() else { return format!("A person looked into whether it was {done}. Ask the user before you {send} it again.") };
    let note = told.note.as_deref().map_or_else(String::new, because);
    if told.sent {
        format!("{}. A person checked: it was {done}{note}. Do not {send} it again.", done.to_uppercase())
    } else {
        format!("{}. A person checked: it was not {done}{note}. Ask the user before you {send} it again.", wording.not_done())
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
    use crate::domain::call::Terms;
    use crate::domain::message::Message;

    fn call(state: State) -> Call {
        let digest = Digest::of_bytes(b"x");
        Call {
            id: CallId("c_1".into()),
            revision: 1,
            version: 1,
            state,
            server: "demo".into(),
            tool: "send_dm".into(),
            agent: "bot".into(),
            arguments: "{}".into(),
            asked_arguments: None,
            unchecked: None,
            digest: digest.clone(),
            asked_digest: digest,
            rule: "dms".into(),
            reason: None,
            reviewers: Vec::new(),
            approvals: 1,
            message: Some(Message { to: "@bob".into(), text: "hi".into(), to_pointer: "/to".into(), text_pointer: "/text".into(), guessed: false }),
            recipient: None,
            last_sent: None,
            revises: None,
            meta_dropped: false,
            trace: Vec::new(),
            session: None,
            waits_for: None,
            shadows: Vec::new(),
            held_at: NOW,
            terms: Terms { expires_in: Duration::ZERO, undo: Duration::ZERO, permit_for: Duration::ZERO },
            instance: None,
            cancelled: false,
            delivered: false,
            taken_back: false,
            erased_at: None,
            decisions: Vec::new(),
            views: Vec::new(),
            told: Vec::new(),
            remind_at: None,
        }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const MESSAGE: Wording = Wording { message: true };

    #[test]
    fn every_state_has_the_contracts_sentence() {
        let later = NOW + Duration::from_secs(60);
        let approved = State::Approved { at: NOW, release_at: NOW, send_by: later, tries: 0 };
        let kept = State::Approved { at: NOW, release_at: later, send_by: later, tries: 0 };
        let sending = State::Sending { at: NOW, approved_at: NOW, send_by: NOW, tries: 0 };
        let waiting = [
            (
                State::Held { expires_at: NOW },
                2,
                "NOT SENT YET. A person must approve this (c_1). It is sent when they do, even if you do not ask again. Do not reword it or send it another way. To wait, call again with exactly the same arguments.",
            ),
            (State::Held { expires_at: NOW }, 3, "STILL WAITING. Stop calling. Tell the user it awaits approval and go on with other work."),
            (approved.clone(), 1, "APPROVED, not sent yet; it goes out by itself at 1970-01-01T00:00:00Z. Do not send it again."),
            (sending, 1, "APPROVED, not sent yet; it goes out by itself now. Do not send it again."),
            (kept, 1, "APPROVED, not sent yet; a limit is full until its approval ends at 1970-01-01T00:01:00Z. Do not send it again."),
        ];
        for (state, answers, text) in waiting {
            assert_eq!(settled(&call(state.clone())), None);
            assert_eq!(pending(&call(state), answers, None).text, text);
        }
        // After a cancel nothing is sent by itself, and nothing may sound as if it were.
        for state in [State::Held { expires_at: NOW }, approved] {
            let said = pending(&Call { cancelled: true, ..call(state) }, 1, None).text;
            assert!(said.starts_with("NOT SENT YET. ") && !said.contains("by itself") && !said.contains("even if"), "{said}");
        }
        let why = || "Too sharp.".to_owned();
        for (state, text) in [
            (
                State::Rejected { at: NOW, reason: why() },
                "NOT SENT. A person refused: \u{201c}Too sharp\u{201d}. Do not resend it, also not reworded, unless the user asks.",
            ),
            (
                State::ChangesRequested { at: NOW, reason: why() },
                "NOT SENT. A person asked for changes. This is not a tool failure. Do not send it unchanged: \u{201c}Too sharp\u{201d}.",
            ),
            (State::Expired { at: NOW }, "NOT SENT. Nobody decided in time. Tell the user."),
            (State::Withdrawn { at: NOW, why: why() }, "NOT SENT. It was taken back. Tell the user."),
            (State::Lapsed { at: NOW }, "NOT SENT. It was approved but not asked for again in time. Tell the user."),
            (State::Unconfirmed { at: NOW, why: why() }, "UNKNOWN whether it was sent. Do not send it again; a person is checking."),
        ] {
            assert_eq!(settled(&call(state.clone())).map(|notice| notice.text).as_deref(), Some(text));
            assert_eq!(settled(&call(state.clone())).map(|notice| notice.meta["state"].clone()), Some(json!(state.word())));
            // What is no message is not "sent".
            let other = settled(&Call { message: None, ..call(state) }).map(|notice| notice.text).unwrap_or_default();
            assert!(!other.to_lowercase().contains("sen"), "{other}");
        }
        let denied = denied(MESSAGE, "dms", Some("Too sharp."), &Digest::of_bytes(b"x"));
        assert_eq!(denied.text, "NOT SENT. Rule dms refuses this: \u{201c}Too sharp\u{201d}. Do not try another tool or wording.");
    }

    #[test]
    fn a_reason_is_cut_at_five_hundred_characters_and_an_erased_one_is_left_out() {
        let long = settled(&call(State::Rejected { at: NOW, reason: "\u{e9}".repeat(600) })).map(|notice| notice.text).unwrap_or_default();
        assert_eq!(long.matches('\u{e9}').count(), MAX_REASON);
        let erased = settled(&call(State::Rejected { at: NOW, reason: String::new() })).map(|notice| notice.text);
        assert_eq!(erased.as_deref(), Some("NOT SENT. A person refused. Do not resend it, also not reworded, unless the user asks."));
    }

    #[test]
    fn a_reached_limit_has_the_contracts_sentence_and_says_which_one_in_the_meta() {
        let notice = limited(Wording { message: true }, "too many calls wait for a person", Timestamp::UNIX_EPOCH, Duration::from_secs(60));
        assert_eq!(notice.text, "NOT SENT. Limit reached. Not before 1970-01-01T00:01:00Z.");
        assert_eq!(notice.meta["reason"], "too many calls wait for a person");
    }
}
