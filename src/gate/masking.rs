//! The one door between what is kept and what people see of it: every call that leaves the gate towards pages, API,
//! terminals and mails comes through here, with marks in place of its secrets. What is decided, hashed and sent are the
//! real values, which nobody is shown. Called by `reviewer`, `review`, `letters` and everything else that hands a call out.

use super::reviewer::{Listed, Reviewer};
use super::{Failure, Gate};
use crate::domain::call::{Call, CallId, OutcomeKind, State};
use crate::domain::json::strict;
use crate::domain::mask::{Mask, MaskKey, Masker, Misplaced, blot, secrets, words};
use crate::domain::message::Message;
use crate::store::rules::Cursor;
use crate::store::{Page, Query};
use serde_json::Value;
use std::borrow::Cow;

/// Larger calls are masked on a thread of their own, in bytes.
const AT_ONCE: usize = 64 * 1024;
/// Earlier calls of an agent among which its last value is looked for.
const EARLIER: usize = 20;
/// Reads for them: there is no index by agents.
const READS: usize = 8;

/// Whether a masked value is the one that its agent used last with the same tool, at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// It is; the call, if the reader may see it.
    Same(Option<CallId>),
    /// It was another one.
    Other(Option<CallId>),
    /// None of the agent's last calls with this tool had one there.
    None,
}

#[derive(Debug, thiserror::Error)]
#[error("a call could not be masked: the task ended early")]
struct Ended;

impl Gate {
    /// The key that marks are made with; once, before anybody is shown anything. Without one a passing key is drawn.
    pub fn mask_with(&self, key: MaskKey) {
        // Whoever came first stays: two keys would give one value two marks.
        let _ = self.inner.mask_key.set(key);
    }

    fn mask_key(&self) -> &MaskKey {
        self.inner.mask_key.get_or_init(|| {
            let mut bytes = [0u8; 32];
            self.inner.clock.random(&mut bytes);
            MaskKey::new(bytes)
        })
    }

    /// A call as people see it, and what is masked in its arguments.
    pub(super) async fn for_people(&self, call: Call) -> Result<(Call, Vec<Mask>), Failure> {
        let settings = self.settings();
        if size(&call) <= AT_ONCE {
            return Ok(masked(&Masker::new(self.mask_key(), &settings.mask), call));
        }
        let key = self.mask_key().clone();
        let work = tokio::task::spawn_blocking(move || masked(&Masker::new(&key, &settings.mask), call));
        work.await.map_err(|_| self.failed(&Ended))
    }

    /// The same for a page of calls.
    pub(super) async fn page_for_people(&self, page: Page) -> Result<Page, Failure> {
        let mut calls = Vec::with_capacity(page.calls.len());
        for call in page.calls {
            calls.push(self.for_people(call).await?.0);
        }
        Ok(Page { calls, next: page.next })
    }

    /// Edited arguments with the real values of the call behind their marks.
    pub(super) fn with_values(&self, edited: &Value, call: &Call) -> Result<Value, Misplaced> {
        let settings = self.settings();
        let real = read(&call.arguments);
        Masker::new(self.mask_key(), &settings.mask).unmask(edited, &real, &pointers(call.message.as_ref()))
    }

    /// The call as it is kept, for a masked one that an edge handed back.
    pub(super) async fn unmasked<'c>(&self, call: &'c Call) -> Result<Cow<'c, Call>, Failure> {
        if !call.arguments.contains("\"$masked") {
            return Ok(Cow::Borrowed(call));
        }
        let kept = self.inner.store.call(&call.id).await.map_err(|e| self.failed(&e))?;
        Ok(kept.map_or(Cow::Borrowed(call), Cow::Owned))
    }

    /// What stands for the value of an argument that a limit counts by, when that is a secret.
    pub(super) fn counted_by(&self, argument: Option<&str>, value: &str) -> Option<String> {
        let settings = self.settings();
        let digits = Masker::new(self.mask_key(), &settings.mask).mask_counted(argument.unwrap_or_default(), value)?;
        Some(format!("[masked {digits}]"))
    }
}

impl Reviewer {
    /// For every masked value of a call, in their order, whether it is the one that the agent used last.
    pub async fn used_before(&self, listed: &Listed) -> Result<Vec<Before>, Failure> {
        let (gate, call) = (self.gate(), &listed.call);
        if listed.masks.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = Query {
            server: Some(call.server.clone()),
            agent: Some(call.agent.clone()),
            newest_first: true,
            limit: EARLIER,
            cursor: Some(Cursor::of(call).to_string()),
            ..Query::default()
        };
        let mut found = Vec::new();
        // A page may be short or empty, when calls of others lie between.
        for _ in 0..READS {
            query.limit = EARLIER - found.len();
            let page = gate.inner.store.calls(&query).await.map_err(|e| gate.failed(&e))?;
            found.extend(page.calls);
            query.cursor = page.next;
            if query.cursor.is_none() || found.len() >= EARLIER {
                break;
            }
        }
        let mut before = vec![Before::None; listed.masks.len()];
        for earlier in found.into_iter().filter(|earlier| earlier.tool == call.tool && earlier.erased_at.is_none()) {
            let id = self.person().may_see(&earlier).then(|| earlier.id.clone());
            // What the agent asked for: what a person put in its place was not the agent's.
            let asked = Call { arguments: earlier.asked_arguments.clone().unwrap_or_else(|| earlier.arguments.clone()), asked_arguments: None, ..earlier };
            let (_, theirs) = gate.for_people(asked).await?;
            for (mask, found) in listed.masks.iter().zip(&mut before).filter(|(_, found)| **found == Before::None) {
                if let Some(other) = theirs.iter().find(|other| other.pointer == mask.pointer && other.is_name == mask.is_name) {
                    *found = if other.mark == mask.mark { Before::Same(id.clone()) } else { Before::Other(id.clone()) };
                }
            }
            if !before.contains(&Before::None) {
                break;
            }
        }
        Ok(before)
    }
}

fn size(call: &Call) -> usize {
    let answer = if let State::Answered { outcome, .. } = &call.state { outcome.body.len() } else { 0 };
    call.arguments.len() + call.asked_arguments.as_ref().map_or(0, String::len) + answer
}

/// The texts are JSON that the strict reader took; what is not is shown to nobody.
fn read(text: &str) -> Value {
    strict(text.as_bytes()).or_else(|_| serde_json::from_str(text)).unwrap_or(Value::Null)
}

fn pointers(message: Option<&Message>) -> Vec<&str> {
    message.map(|message| vec![message.to_pointer.as_str(), message.text_pointer.as_str()]).unwrap_or_default()
}

fn masked(masker: &Masker<'_>, mut call: Call) -> (Call, Vec<Mask>) {
    if call.erased_at.is_some() {
        return (call, Vec::new());
    }
    let shown = pointers(call.message.as_ref());
    let real = read(&call.arguments);
    let found = masker.mask(&real, &shown);
    let mut known = if found.masks.is_empty() { Vec::new() } else { secrets(&real, &found.value) };
    let asked = call.asked_arguments.as_deref().map(read).map(|real| (masker.mask(&real, &shown), real));
    if let Some((asked, real)) = asked.filter(|(asked, _)| !asked.masks.is_empty()) {
        known.extend(secrets(&real, &asked.value));
        call.asked_arguments = Some(asked.value.to_string());
    }
    if !found.masks.is_empty() {
        // Text without a mark stays byte for byte as it will be sent.
        call.arguments = found.value.to_string();
        if let Some(message) = &mut call.message {
            let over = |pointer: &str, real: &str| {
                let around =
                    |mask: &&Mask| !mask.is_name && pointer.strip_prefix(mask.pointer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                found.masks.iter().find(around).map(|mask| words(real.chars().count(), &mask.mark))
            };
            let (to, text) = (over(&message.to_pointer, &message.to), over(&message.text_pointer, &message.text));
            message.to = to.unwrap_or_else(|| std::mem::take(&mut message.to));
            message.text = text.unwrap_or_else(|| std::mem::take(&mut message.text));
        }
    }
    call.unchecked = call.unchecked.as_deref().map(blot);
    match &mut call.state {
        State::Answered { outcome, .. } if outcome.kind != OutcomeKind::Told => {
            if let Some(shown) = serde_json::from_str::<Value>(&outcome.body).ok().and_then(|body| masker.mask_answer(&body, &known)) {
                outcome.body = shown.to_string();
            }
        }
        State::Withdrawn { why, .. } | State::Unconfirmed { why, .. } => *why = blot(why),
        State::Answered { .. }
        | State::Held { .. }
        | State::Approved { .. }
        | State::Sending { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Lapsed { .. } => {}
    }
    (call, found.masks)
}
