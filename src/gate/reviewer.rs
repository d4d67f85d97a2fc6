//! A signed-in person as a handle: whoever holds a `Reviewer` has proven who they are, and every read goes
//! through their rights. A call they may not see does not exist for them. Made by `signin`, used by `web`.

use super::review::ReviewError;
use super::upstream::{ServerState, ServerStatus, ToolInfo};
use super::{Failure, Gate, Page, Query, Tally};
use crate::domain::audit::Entry;
use crate::domain::call::{Call, CallId, Presence, State, Via};
use crate::domain::mask::{Mask, blot};
use crate::domain::people::{Person, Role};
use crate::domain::policy::Preview;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Results above this size are streamed apart (semantics.md 24).
pub const MAX_INLINE_RESULT: usize = 64 * 1024;
/// Calls to the same recipient among which a next version is looked for.
const LATER: usize = 50;

/// A person who may act, and over which way.
#[derive(Clone)]
pub struct Reviewer {
    gate: Gate,
    person: Person,
    via: Via,
}

/// A call as people see it, with marks in place of its secrets, and whether its agent is there.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The record.
    pub call: Call,
    /// Known only to the running gate.
    pub presence: Presence,
    /// What is masked in its arguments; empty where many calls are listed.
    pub masks: Vec<Mask>,
}

/// One server with what the policy would say of each tool.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// State and transport.
    pub status: ServerStatus,
    /// The tools with their verdicts; `None` when the server was never asked.
    pub tools: Option<Vec<(ToolInfo, Preview)>>,
}

impl Reviewer {
    pub(super) fn new(gate: Gate, person: Person, via: Via) -> Reviewer {
        Reviewer { gate, person, via }
    }

    /// Who.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Over which way they came.
    pub fn via(&self) -> Via {
        self.via
    }

    /// The same person over another way; the terminal commands come over the API and say so.
    pub fn over(self, via: Via) -> Reviewer {
        Reviewer { via, ..self }
    }

    /// The gate they stand at.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(super) fn actor(&self) -> String {
        format!("person:{}", self.person.email)
    }

    /// The groups whose calls this person may see, beside calls for everybody; `None`: they see every call.
    fn sees_groups(&self) -> Option<&[String]> {
        match self.person.role {
            Role::Operator | Role::Auditor => None,
            Role::Reviewer => Some(&self.person.groups),
        }
    }

    /// How many open calls this person may see.
    pub async fn tally(&self) -> Result<Tally, Failure> {
        self.gate.inner.store.tally(self.sees_groups()).await.map_err(|e| self.gate.failed(&e))
    }

    /// The calls this person may see, without marking anything as read.
    pub async fn calls(&self, query: Query) -> Result<Page, Failure> {
        let groups = self.sees_groups().map(<[String]>::to_vec);
        let page = self.gate.inner.store.calls(&Query { groups, ..query }).await.map_err(|e| self.gate.failed(&e))?;
        self.gate.page_for_people(page).await
    }

    /// The call with its secrets masked if this person may see it, without marking it as read.
    pub async fn visible(&self, id: &CallId) -> Result<Call, ReviewError> {
        Ok(self.gate.for_people(self.kept(id).await?).await?.0)
    }

    /// The word of the state of a call that this person may see, [`Call::look`] with its agent's presence, and since when
    /// it is held.
    pub async fn glance(&self, id: &CallId) -> Result<(&'static str, String, Timestamp), ReviewError> {
        let call = self.kept(id).await?;
        Ok((call.state.word(), format!("{}-{}", call.look(), self.gate.presence(&call).word()), call.held_at))
    }

    /// The call as it is kept, if this person may see it; for what is decided here, never for showing it.
    pub(super) async fn kept(&self, id: &CallId) -> Result<Call, ReviewError> {
        let call = self.gate.inner.store.call(id).await.map_err(|e| self.gate.failed(&e))?;
        call.filter(|call| self.person.may_see(call)).ok_or(ReviewError::NotFound)
    }

    /// The call with its presence, without marking it as read.
    pub async fn look(&self, id: &CallId) -> Result<Listed, ReviewError> {
        Ok(self.gate.listed(self.kept(id).await?).await?)
    }

    /// The call that came after a person had asked for changes of this one, as far as it says so and its recipient
    /// is known: there is no other index to find it by.
    pub async fn next_version(&self, call: &Call) -> Result<Option<Call>, Failure> {
        let (State::ChangesRequested { .. }, Some(recipient)) = (&call.state, call.recipient.clone()) else { return Ok(None) };
        let page = self.calls(Query { recipient: Some(recipient), newest_first: true, limit: LATER, ..Query::default() }).await?;
        Ok(page.calls.into_iter().find(|later| later.revises.as_ref() == Some(&call.id)))
    }

    /// How many calls are held, of all that there are.
    pub async fn held(&self) -> Result<usize, Failure> {
        self.gate.inner.store.held().await.map_err(|e| self.gate.failed(&e))
    }

    /// Audit entries from a number on. A reviewer is not shown entries about calls they may not see, nor those about other
    /// people and about agents; operators and auditors read everything (semantics.md 17).
    pub async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, Failure> {
        let store = &self.gate.inner.store;
        let mut entries = store.entries(from, most).await.map_err(|e| self.gate.failed(&e))?;
        if self.person.role != Role::Reviewer {
            return Ok(entries);
        }
        let mut known: HashMap<CallId, bool> = HashMap::new();
        for entry in &entries {
            if let Some(id) = entry.call.as_ref().filter(|id| !known.contains_key(*id)) {
                let seen = store.call(id).await.map_err(|e| self.gate.failed(&e))?.is_some_and(|call| self.person.may_see(&call));
                known.insert(id.clone(), seen);
            }
        }
        entries.retain(|entry| match &entry.call {
            Some(id) => known.get(id).copied().unwrap_or(false),
            None => !is_about_people(&entry.kind) || self.is_about_me(entry),
        });
        Ok(entries)
    }

    fn is_about_me(&self, entry: &Entry) -> bool {
        entry.actor == self.actor() || entry.data["person"].as_str() == Some(&self.person.email)
    }

    /// The number of the last audit entry.
    pub async fn last_entry(&self) -> Result<u64, Failure> {
        self.gate.inner.store.head().await.map(|head| head.seq).map_err(|e| self.gate.failed(&e))
    }

    /// Every server, its state, its tools and the verdict each would get.
    pub async fn servers(&self) -> Vec<ServerView> {
        let (servers, settings) = (self.gate.inner.upstream.servers().await, self.gate.settings());
        servers
            .into_iter()
            .map(|mut status| {
                if let ServerState::Down { why, stderr } = &mut status.state {
                    // The server's own words may repeat what a call gave it.
                    *why = blot(why);
                    stderr.iter_mut().for_each(|line| *line = blot(line));
                }
                let policy = settings.servers.get(&status.name).map(|settings| &settings.policy);
                let tools = status.tools.clone().map(|tools| {
                    let known = tools.into_iter();
                    known.filter_map(|tool| policy.map(|policy| (tool.clone(), policy.preview(&tool.name)))).collect()
                });
                ServerView { status, tools }
            })
            .collect()
    }
}

/// Entries without a call that say who is here, how they get in and what they may do.
fn is_about_people(kind: &str) -> bool {
    const ABOUT: [&str; 9] = ["person.", "agent.", "link.", "token.", "sign_in.", "signed_", "password.", "passkey.", "second_factor."];
    ABOUT.iter().any(|begins| kind.starts_with(begins))
}

impl Listed {
    /// CALL of contract.md 3.
    pub fn to_json(&self) -> Value {
        let call = &self.call;
        let (expires_at, release_at, send_by) = times(call);
        let settled = call.state.settled_at();
        json!({
            "id": call.id, "version": call.version, "state": call.state.word(),
            "server": call.server, "tool": call.tool, "agent": call.agent,
            // Erased arguments are none: an empty object would look like a call without any.
            "arguments": if call.erased_at.is_some() { Value::Null } else { serde_json::from_str::<Value>(&call.arguments).unwrap_or(Value::Null) },
            "digest": call.digest, "asked_digest": call.asked_digest, "asked": asked(call), "unchecked": call.unchecked,
            "rule": call.rule, "reason": call.reason, "reviewers": call.reviewers, "approvals": call.approvals,
            "message": call.message.as_ref().map(|m| json!({ "to": m.to, "text": m.text, "guessed": m.guessed })),
            "meta_dropped": call.meta_dropped,
            "agent_waiting": self.presence == Presence::Waiting,
            "presence": self.presence.word(),
            "on_approval": if self.presence == Presence::Cancelled { "permit" } else { "send" },
            "held_at": call.held_at, "expires_at": expires_at, "release_at": release_at, "send_by": send_by, "settled_at": settled, "waits_for": call.waits_for,
            "why": why(&call.state),
            "decisions": call.decisions.iter().map(|d| json!({ "by": d.by, "verdict": d.verdict, "reason": d.reason, "via": d.via, "at": d.at, "void": d.void })).collect::<Vec<_>>(),
            "outcome": outcome(&call.state),
            "last_sent": call.last_sent, "revises": call.revises, "erased_at": call.erased_at,
        })
    }
}

/// What the agent asked for, when a person has edited it.
fn asked(call: &Call) -> Value {
    if !call.is_edited() {
        return Value::Null;
    }
    let arguments = call.asked_arguments.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({ "arguments": arguments, "digest": call.asked_digest })
}

/// Why a call was taken back, or why nobody knows what became of it.
fn why(state: &State) -> Option<&str> {
    match state {
        State::Withdrawn { why, .. } | State::Unconfirmed { why, .. } => Some(why),
        State::Held { .. }
        | State::Approved { .. }
        | State::Sending { .. }
        | State::Answered { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Lapsed { .. } => None,
    }
}

/// `expires_at`, `release_at`, `send_by`.
fn times(call: &Call) -> (Timestamp, Option<Timestamp>, Option<Timestamp>) {
    match &call.state {
        State::Held { expires_at } => (*expires_at, None, None),
        State::Approved { release_at, send_by, .. } => (call.held_at + call.terms.expires_in, Some(*release_at), Some(*send_by)),
        State::Sending { send_by, .. } => (call.held_at + call.terms.expires_in, None, Some(*send_by)),
        State::Answered { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Withdrawn { .. }
        | State::Lapsed { .. }
        | State::Unconfirmed { .. } => (call.held_at + call.terms.expires_in, None, None),
    }
}

fn outcome(state: &State) -> Value {
    let State::Answered { at, outcome } = state else { return Value::Null };
    let kind = outcome.kind.word();
    let body = if outcome.body.len() > MAX_INLINE_RESULT { None } else { serde_json::from_str::<Value>(&outcome.body).ok() };
    if kind == "protocol_error" {
        json!({ "kind": kind, "result": null, "error": body, "at": at })
    } else {
        json!({ "kind": kind, "result": body, "error": null, "at": at })
    }
}
