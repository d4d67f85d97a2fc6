//! Step 6: an approved call leaves, once. The policy is judged again on the very bytes; `Sending` is durable
//! before the ticket exists; the ticket is spent at the upstream; the end is written down. Whatever is not
//! proven to have stayed here is `Unconfirmed` and never sent again by itself (semantics.md 19, 21).
//! Called by `deadlines` when a release is due.

use super::agents::REVOKED;
use super::forward::is_tool_error;
use super::limits::Limited;
use super::reload::GONE;
use super::upstream::{Outgoing, Ready, Sent, Ticket};
use super::{Failure, Gate, Settings};
use crate::domain::audit::{Data, Fact};
use crate::domain::call::{Call, CallId, Event, Outcome, OutcomeKind, Refusal, State};
use crate::domain::digest::Digest;
use crate::domain::json;
use crate::domain::limit::{Charge, GiveBack, Take};
use crate::domain::policy::Action;
use crate::store::{Change, CommitError, Kind, Row, Seen};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The longest pause before a send that never left is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The sends under way: at most so many per server, each call at most once.
pub(super) struct Sends {
    doors: Mutex<HashMap<String, Arc<Semaphore>>>,
    in_flight: usize,
    under_way: Mutex<HashSet<CallId>>,
    tasks: TaskTracker,
}

impl Sends {
    pub(super) fn new(in_flight: usize) -> Sends {
        Sends { doors: Mutex::default(), in_flight, under_way: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// The door of one server; only those of the config are asked for, so there are not many.
    pub(super) fn door(&self, server: &str) -> Arc<Semaphore> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = doors.get(server) {
            return Arc::clone(door);
        }
        Arc::clone(doors.entry(server.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.in_flight))))
    }

    /// How many are under way or wait for their server's door.
    pub(super) fn count(&self) -> usize {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Keeps `finish` waiting until it is dropped: for an allowed call, whose task is the edge's.
    pub(super) fn token(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Waits for the sends under way; false when the limit passed first.
    pub(super) async fn finish(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// One send's place in `under_way`; left also when the send panics, or the call would never be looked at again.
struct UnderWay {
    gate: Gate,
    id: CallId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.gate.inner.lives.sends.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Gate {
    /// Starts the release of one call unless it is already under way.
    pub(super) fn start_release(&self, id: CallId) {
        let sends = &self.inner.lives.sends;
        if self.inner.lives.draining.is_cancelled() || !sends.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone()) {
            return;
        }
        let place = UnderWay { gate: self.clone(), id };
        sends.tasks.spawn(async move {
            // The failure is in the log; the call stays approved and is looked at again.
            let result = place.gate.release(&place.id).await;
            let (gate, id) = (place.gate.clone(), place.id.clone());
            drop(place);
            if result.is_ok() {
                gate.inner.waiters.wake(&id);
            }
        });
    }

    async fn release(&self, id: &CallId) -> Result<(), Failure> {
        let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(()) };
        if !self.settings().servers.contains_key(&call.server) {
            return self.withdraw(id, GONE, "paraph").await;
        }
        let door = self.inner.lives.sends.door(&call.server);
        let _through = tokio::select! {
            through = door.acquire() => through.map_err(|e| self.failed(&e))?,
            // Not sent yet: it stays approved and leaves after the next start.
            () = self.inner.lives.draining.cancelled() => return Ok(()),
        };
        if !matches!(call.state, State::Approved { .. }) || call.is_permit() {
            return Ok(());
        }
        // While the gateway is paused nothing is asked of a server, not even whether it is there.
        if self.pause_record().await?.stopped.is_some() {
            return Ok(());
        }
        // Before anything is counted or on record: until then a pause, an undo and a revocation are in time.
        let ready = tokio::select! {
            ready = self.inner.upstream.ready(&call.server, &call.agent, true) => ready,
            () = self.inner.lives.draining.cancelled() => return Ok(()),
        };
        // Read again: it may have waited at the door for long.
        let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(()) };
        if call.is_permit() {
            return Ok(());
        }
        let pause = self.pause_record().await?;
        if pause.stopped.is_some() {
            return Ok(());
        }
        let mut seen = vec![Gate::not_paused_since(&pause)];
        let settings = self.settings();
        let charges = match self.stands_against(&call, &settings).await? {
            Ok((agent, charges)) => {
                seen.push(agent);
                charges
            }
            Err(why) => return self.withdraw_under(id, &why, "policy", &settings).await,
        };
        for person in call.approved_by() {
            match self.still_entitled(person, &call).await? {
                Some(person) => seen.push(person),
                // Who is shut out or demoted takes their approvals along; it may have been cut short.
                None => return self.void_approval(id, person, "paraph", "person.changed").await,
            }
        }
        let now = self.inner.clock.now();
        let sending = match call.after(&Event::Send, now) {
            Ok(sending) => sending,
            Err(Refusal::TooLate) => return self.lapse(id).await,
            Err(Refusal::TooEarly | Refusal::Settled(_) | Refusal::OutOfOrder(_)) => return Ok(()),
        };
        let fact = call_fact("call.sending", &sending, "paraph", json!({ "digest": sending.digest }), &settings);
        if let Some(full) = self.full_since_restore(&charges, now) {
            return self.put_off(id, &charges, full).await;
        }
        if let Some(full) = self.behind_others(Some(id), &charges, now).await? {
            return self.put_off(id, &charges, full).await;
        }
        let takes = Take::sent(&charges, settings.limit_keys);
        match self.commit_takes(Change { seen, takes, ..Change::of_call(now, sending.clone(), fact) }).await {
            Ok(_) => self.inner.promises.drop_of(id),
            Err(CommitError::Limited { limit, until }) => return self.put_off(id, &charges, Limited::of(&charges, limit, until)).await,
            // A lost acknowledgement is never taken for a yes: recovery will find the call in `Sending`.
            Err(CommitError::Conflict) => return Ok(()),
            Err(error @ (CommitError::Lost | CommitError::Full { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
        }
        let (taken_at, room) = match self.counted_in_time(&charges, now).await {
            Ok(Ok(at)) => (at, true),
            // It has not left yet, and now it may not.
            Ok(Err(_)) | Err(_) => (now, false),
        };
        let sent = match ready {
            // A try that failed, without a moment in which it could still leave: a pause is as good as ever.
            Ready::Unreachable(why) => Sent::NeverLeft(why),
            Ready::AtOnce | Ready::Waited if room => {
                let cancel = CancellationToken::new();
                self.inner.waiters.sending(id, cancel.clone());
                self.inner.upstream.send(ticket_for(&sending, cancel)).await
            }
            Ready::AtOnce | Ready::Waited => Sent::NeverLeft("its limit was full again before it could leave".to_owned()),
        };
        let given_back = if let Sent::NeverLeft(_) = &sent { GiveBack::of(&charges, taken_at) } else { Vec::new() };
        self.end(id, sent, &given_back).await
    }

    /// What forbids the send now although it was approved: changed bytes, a deny rule, a revoked agent. If nothing
    /// does, the agent's record as it was seen (a revocation that is faster than the send wins), and what the send takes
    /// from limits.
    pub(super) async fn stands_against(&self, call: &Call, under: &Settings) -> Result<Result<(Seen, Vec<Charge>), String>, Failure> {
        let Ok(arguments) = json::strict(call.arguments.as_bytes()) else {
            return Ok(Err("its stored arguments cannot be read".into()));
        };
        if Digest::of_call(&call.server, &call.tool, &arguments) != call.digest {
            return Ok(Err("its stored arguments are not the ones that were approved".into()));
        }
        let agent = match self.inner.store.row(Kind::Agent, &call.agent).await.map_err(|e| self.failed(&e))? {
            Some(Row::Agent(agent)) if agent.revoked_at.is_none() && agent.may_use(&call.server) => agent,
            _ => return Ok(Err(REVOKED.into())),
        };
        let Some(server) = under.server(&call.server) else {
            return Ok(Err(GONE.into()));
        };
        let judged = server.judge_call(call, &arguments, self.inner.clock.now());
        Ok(match judged.action {
            Action::Deny | Action::Hide => Err(format!("rule {} refuses it now", judged.rule)),
            Action::Allow | Action::RequireApproval => Ok((Seen { kind: Kind::Agent, key: agent.name, revision: agent.revision }, judged.charges)),
        })
    }

    async fn end(&self, id: &CallId, sent: Sent, given_back: &[GiveBack]) -> Result<(), Failure> {
        let written = self
            .rewrite_and_give_back(id, given_back, |call| {
                let now = self.inner.clock.now();
                let (event, kind) = end_event(call, &sent, now);
                let next = call.after(&event, now).ok()?;
                let data = match &next.state {
                    State::Answered { outcome, .. } => json!({ "end": outcome.kind.word(), "body": Digest::of_bytes(outcome.body.as_bytes()) }),
                    State::Unconfirmed { why, .. } => json!({ "why": why }),
                    State::Held { .. }
                    | State::Approved { .. }
                    | State::Sending { .. }
                    | State::Rejected { .. }
                    | State::ChangesRequested { .. }
                    | State::Expired { .. }
                    | State::Withdrawn { .. }
                    | State::Lapsed { .. } => json!({}),
                };
                let fact = self.call_fact(kind, &next, "paraph", data);
                Some((next, fact))
            })
            .await?;
        if written.is_some_and(|call| call.state.settled_at().is_some()) {
            self.inner.waiters.forget(id);
        }
        Ok(())
    }

    /// Takes an open call back.
    pub(super) async fn withdraw(&self, id: &CallId, why: &str, actor: &str) -> Result<(), Failure> {
        self.withdraw_under(id, why, actor, &self.settings()).await
    }

    /// Takes an open call back because of what these settings say.
    async fn withdraw_under(&self, id: &CallId, why: &str, actor: &str, under: &Settings) -> Result<(), Failure> {
        self.rewrite(id, |call| {
            let next = call.after(&Event::Withdraw { why: why.to_owned() }, self.inner.clock.now()).ok()?;
            let fact = call_fact("call.withdrawn", &next, actor, json!({ "why": why }), under);
            Some((next, fact))
        })
        .await?;
        self.inner.waiters.forget(id);
        Ok(())
    }

    /// A fact about a held call.
    pub(super) fn call_fact(&self, kind: &'static str, call: &Call, actor: &str, data: impl Into<Data>) -> Fact {
        call_fact(kind, call, actor, data, &self.settings())
    }
}

/// A fact about a held call, with the digest of the policy that counts; `None` for a server that is not in the config.
fn call_fact(kind: &'static str, call: &Call, actor: &str, data: impl Into<Data>, under: &Settings) -> Fact {
    let data = data.into().text_or_null("policy", under.server(&call.server).map(|server| server.digest().as_str()));
    Fact { kind, call: Some(call.id.clone()), actor: actor.to_owned(), data }
}

fn ticket_for(call: &Call, cancel: CancellationToken) -> Ticket {
    let trace: serde_json::Map<String, serde_json::Value> = call.trace.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    Ticket::new(Outgoing {
        server: call.server.clone(),
        agent: call.agent.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        meta: (!trace.is_empty()).then(|| serde_json::Value::Object(trace).to_string()),
        relay: None,
        cancel,
    })
}

fn end_event(call: &Call, sent: &Sent, now: jiff::Timestamp) -> (Event, &'static str) {
    match sent {
        Sent::Result(body) => {
            let kind = if is_tool_error(body) { OutcomeKind::ToolError } else { OutcomeKind::Ok };
            (Event::Answer { outcome: Outcome { kind, body: body.get().to_owned() } }, "call.answered")
        }
        Sent::Error(body) => (Event::Answer { outcome: Outcome { kind: OutcomeKind::ProtocolError, body: body.get().to_owned() } }, "call.answered"),
        Sent::NeverLeft(_) => {
            let tries = if let State::Sending { tries, .. } = call.state { tries } else { 0 };
            let pause = Duration::from_secs(1 << tries.min(6)).min(LONGEST_PAUSE);
            (Event::NeverLeft { retry_at: now + pause }, "call.never_left")
        }
        Sent::Unknown(why) => (Event::Lose { why: why.clone() }, "call.unconfirmed"),
    }
}
