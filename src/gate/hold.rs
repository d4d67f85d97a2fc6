//! Step 2: the hold. The call, its audit entry and its letter become durable in one change; only then is
//! anybody told. A waiting request first sits down, then reads the store, then waits for a hint, and reads
//! again: a decision between the two is never missed. Called by `admit`; the seat is driven by `mcp`.

use super::admit::{Ask, verdict_fact, with_shadows, wording};
use super::kin::REVISES;
use super::limits::Limited;
use super::notice::{self, Notice};
use super::waiters::Place;
use super::{Failure, Gate, Settings};
use crate::domain::call::{Call, CallId, OutcomeKind, State, Terms};
use crate::domain::digest::Digest;
use crate::domain::letter::Letter;
use crate::domain::limit::Take;
use crate::domain::message::Message;
use crate::domain::policy::Judgement;
use crate::domain::recipient::RecipientKey;
use crate::store::{CallWrite, Change, CommitError, Room, Row, Seen};
use serde_json::json;
use std::time::Duration;

/// A lost hint costs at most this, or what is left of the time that the request may wait. Ten thousand who wait would
/// otherwise keep the store busy with nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(120);

/// What became of the attempt to hold.
pub(super) enum Held {
    /// Held; wait here.
    Seated(Seat),
    /// No room.
    Full(Notice),
    /// The identical call changed meanwhile: judge again.
    Moved,
}

/// A waiting request's place at one call. Dropping it is leaving.
pub struct Seat {
    gate: Gate,
    place: Place,
    id: CallId,
    message: bool,
    /// The call was settled before this request came.
    late: bool,
}

/// What the agent gets in the end.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// The server's result, byte for byte, and a further text block when it is of an earlier call.
    Result {
        /// JSON text of `result`.
        body: String,
        /// The block to add.
        earlier: Option<String>,
        /// A further block when a person had edited the call: what was really sent.
        edited: Option<String>,
    },
    /// The server's JSON-RPC error: JSON text of `error`.
    Error(String),
    /// A sentence of ours.
    Notice(Notice),
}

/// The end of a request that waited as long as it may.
#[derive(Debug, Clone)]
pub enum TimeIsUp {
    /// Tell this and leave; the call stays.
    Pending(Notice),
    /// The call was settled meanwhile.
    Settled(Delivery),
}

/// What was found before a call is held.
pub(super) struct Before {
    /// The newest identical call.
    pub newest: Option<Call>,
    /// The message in the arguments.
    pub message: Option<Message>,
    /// What must still be so when the hold is written.
    pub seen: Vec<Seen>,
    /// Why nobody could hold the arguments against the tool's schema.
    pub unchecked: Option<String>,
}

impl Gate {
    pub(super) async fn hold(&self, ask: &Ask, digest: &Digest, judgement: Judgement, before: Before, under: &Settings) -> Result<Held, Failure> {
        let now = self.inner.clock.now();
        if let Some(full) = self.full_since_restore(&judgement.charges, now) {
            return Ok(Held::Full(self.limited(ask, digest, full, under).await?));
        }
        let hold = &under.hold;
        let Before { newest, message, seen, unchecked } = before;
        let recipient = message.as_ref().map(|message| RecipientKey::of(&ask.agent.name, &ask.server, &message.to));
        let revises = self.revised_by(ask, message.as_ref(), recipient.as_ref()).await?;
        let mut bits = [0u8; 16];
        self.inner.clock.random(&mut bits);
        let expires_in = judgement.expires_in.unwrap_or(hold.expires_in);
        let call = Call {
            id: CallId::from_random(bits),
            revision: 1,
            version: 1,
            state: State::Held { expires_at: now + expires_in },
            server: ask.server.clone(),
            tool: ask.tool.clone(),
            agent: ask.agent.name.clone(),
            arguments: ask.arguments.clone(),
            asked_arguments: None,
            unchecked,
            digest: digest.clone(),
            asked_digest: digest.clone(),
            rule: judgement.rule,
            reason: judgement.reason,
            shadows: judgement.shadows,
            reviewers: judgement.reviewers,
            approvals: judgement.approvals,
            message,
            recipient,
            last_sent: newest.as_ref().and_then(|call| call.sent_as_asked()),
            revises,
            meta_dropped: drops_meta(ask),
            trace: ask.trace.clone(),
            session: ask.session.clone(),
            waits_for: None,
            held_at: now,
            terms: Terms { expires_in, undo: hold.undo, permit_for: hold.permit_for },
            instance: self.inner.upstream.instance(&ask.server, &ask.agent.name).await,
            cancelled: false,
            delivered: false,
            taken_back: false,
            erased_at: None,
            decisions: Vec::new(),
            views: Vec::new(),
            told: Vec::new(),
            remind_at: under.letters.then(|| now + expires_in / 2),
        };
        let mut fact = with_shadows(verdict_fact("call.held", ask, digest, &call.rule, under), &call.shadows);
        fact.call = Some(call.id.clone());
        fact.data.put("approvals", &json!(call.approvals));
        fact.data.put("reviewers", &json!(call.reviewers));
        fact.data.put("expires_at", &json!(now + expires_in));
        if let Some(revised) = &call.revises {
            fact.data.put("revises", &json!(revised));
        }
        let letter = Letter::about_hold(&call.id, call.version, now);
        let change = Change {
            seen,
            call: Some(CallWrite {
                call: call.clone(),
                after: newest.map(|call| call.id),
                room: Some(Room { total: hold.max_held, of_agent: hold.max_held_per_agent }),
            }),
            takes: Take::asked(&judgement.charges, under.limit_keys),
            rows: if under.letters { vec![Row::Letter(letter)] } else { Vec::new() },
            ..Change::of_facts(now, vec![fact])
        };
        // Sitting down before the commit: presence is "waiting" in the same instant as the call is there.
        let seat = Seat::new(self.clone(), &call, false);
        match self.commit_takes(change).await {
            Ok(_) => {
                tracing::info!(call.id = %call.id, server = call.server, rule = call.rule, "a call is held");
                self.if_its_server_left(&call).await?;
                Ok(Held::Seated(seat))
            }
            Err(CommitError::Full { of_agent }) => {
                let rule = if of_agent { "max_held_per_agent" } else { "max_held" };
                self.record(verdict_fact("call.limited", ask, digest, rule, under)).await?;
                let what = if of_agent { "too many of this agent's calls wait for a person" } else { "too many calls wait for a person" };
                Ok(Held::Full(notice::limited(wording(ask, under), what, now, Duration::from_secs(60))))
            }
            Err(CommitError::Limited { limit, until }) => {
                Ok(Held::Full(self.limited(ask, digest, Limited::of(&judgement.charges, limit, until), under).await?))
            }
            Err(CommitError::Conflict | CommitError::Lost) => Ok(Held::Moved),
            Err(error @ CommitError::Store(_)) => Err(self.failed(&error)),
        }
    }
}

impl Seat {
    pub(super) fn new(gate: Gate, call: &Call, late: bool) -> Seat {
        let place = gate.inner.waiters.sit(&call.id);
        Seat::at(gate, call, place, late)
    }

    pub(super) fn at(gate: Gate, call: &Call, place: Place, late: bool) -> Seat {
        Seat { gate, place, id: call.id.clone(), message: call.message.is_some(), late }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Which call.
    pub fn call(&self) -> &CallId {
        &self.id
    }

    /// Whether the call is a message ("sent") or something else ("done").
    pub fn is_message(&self) -> bool {
        self.message
    }

    /// Waits until the call is settled. Can be dropped and called again.
    pub async fn settled(&mut self) -> Result<Delivery, Failure> {
        loop {
            self.place.listen();
            // The call goes at once: with its texts it is by far the largest thing here, and nobody needs it while we wait.
            if !self.gate.inner.store.is_unsettled(&self.id)
                && let Some(delivery) = delivery(&self.read().await?, self.late)
            {
                return Ok(delivery);
            }
            tokio::select! {
                () = self.place.rung() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// What there is to say when the request may not wait any longer: the pending answer, or the outcome if the
    /// call was settled in the same moment.
    /// When the process goes down, a call that is just being sent is waited for: a stop lets sends finish.
    pub async fn time_is_up(&mut self) -> Result<TimeIsUp, Failure> {
        // Counted before the read: whoever settles the call after it forgets the count, else it is forgotten here.
        let answers = self.gate.inner.waiters.count_answer(&self.id);
        let mut call = self.read().await?;
        if self.gate.draining().is_cancelled() && matches!(call.state, State::Sending { .. }) {
            let _ = tokio::time::timeout(super::DRAIN, self.settled()).await;
            call = self.read().await?;
        }
        if call.state.settled_at().is_some() {
            self.gate.inner.waiters.forget(&self.id);
        }
        Ok(match delivery(&call, self.late) {
            Some(delivery) => TimeIsUp::Settled(delivery),
            None => TimeIsUp::Pending(notice::pending(&call, answers, self.gate.waits_before(&call).await?.as_ref())),
        })
    }

    /// Whether somebody waits here; a request that was taken back and resumed only listens.
    pub fn waits(&self) -> bool {
        self.place.waits()
    }

    /// Whether the call was settled before this request came.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    pub(super) fn only_listen(&mut self) {
        self.place.only_listen();
    }

    /// The agent took its request back. Only the last waiter's cancel counts for the call.
    pub async fn cancel(self) -> Result<(), Failure> {
        let Seat { gate, place, id, .. } = self;
        if place.waits() && place.stand_up() == 0 { gate.cancel(&id).await } else { Ok(()) }
    }

    async fn read(&self) -> Result<Call, Failure> {
        let call = self.gate.inner.store.call(&self.id).await.map_err(|e| self.gate.failed(&e))?;
        call.ok_or_else(|| self.gate.failed(&crate::store::StoreError::Corrupt("a call that was held is not there".into())))
    }
}

/// Whether `_meta` has members that a held call does not keep; the page says so.
fn drops_meta(ask: &Ask) -> bool {
    let members: Option<serde_json::Map<String, serde_json::Value>> = ask.meta.as_ref().and_then(|meta| serde_json::from_str(meta).ok());
    members.is_some_and(|members| members.keys().any(|name| name != REVISES && !ask.trace.iter().any(|(kept, _)| kept == name)))
}

fn delivery(call: &Call, late: bool) -> Option<Delivery> {
    if let State::Answered { at, outcome } = &call.state {
        match outcome.kind {
            OutcomeKind::Ok | OutcomeKind::ToolError => {
                let earlier = late.then(|| notice::sent_earlier(call, *at));
                let edited = call.is_edited().then(|| notice::sent_edited(call));
                return Some(Delivery::Result { body: outcome.body.clone(), earlier, edited });
            }
            OutcomeKind::ProtocolError => return Some(Delivery::Error(outcome.body.clone())),
            OutcomeKind::Told => {}
        }
    }
    notice::settled(call).map(Delivery::Notice)
}
