//! Step 5: a person decides. Page, API, mail and terminal all come through `decide`, which checks in the order
//! of semantics.md 12: may this person see it, may they decide, is it still open, is it what they were shown,
//! did they see all of it, is the decision complete. A second click learns who was first.

use super::edit::Edited;
use super::reviewer::{Listed, Reviewer};
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId, Decision, Refusal, State, Verdict, View};
use crate::domain::digest::Digest;
use crate::domain::letter::Letter;
use crate::domain::reveal::{Run, reveal};
use crate::store::{Change, CommitError, Kind, Row, Seen};
use serde_json::json;

/// Characters of a reason that are kept.
pub const MAX_REASON: usize = 4_000;

/// A decision as somebody sent it.
#[derive(Debug, Clone)]
pub struct Decide {
    /// What.
    pub verdict: Verdict,
    /// Digest of the text that was shown.
    pub digest: Digest,
    /// Version of the call that was shown.
    pub version: u64,
    /// Needed to reject.
    pub reason: Option<String>,
    /// Edited arguments as JSON text; only with approve.
    pub arguments: Option<String>,
}

/// Why a decision did not count.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReviewError {
    /// There is no such call for this person (404).
    #[error("there is no such call")]
    NotFound,
    /// The person may read it but not decide it (403).
    #[error("you may not decide this call: {0}")]
    NotEntitled(&'static str),
    /// Somebody or something was first (409).
    #[error("this call is already {}", .0.call.state.word().replace('_', " "))]
    Settled(Box<Listed>),
    /// The decision names another text or version than the current one (412).
    #[error("this call changed after it was shown to you; read it again")]
    Stale(Box<Listed>),
    /// The person was never served the whole call (428).
    #[error("you have not been shown the whole call; open it first")]
    NotShown,
    /// Something is missing (422).
    #[error("{0}")]
    Incomplete(&'static str),
    /// Edited arguments that cannot be sent: why (422).
    #[error("{0}")]
    Unfit(String),
    /// A fault on our side (503).
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Reviewer {
    /// One call, whole, and a record that this person was served its text.
    pub async fn read(&self, id: &CallId) -> Result<Listed, ReviewError> {
        let (gate, person) = (self.gate(), self.person());
        let call = self.kept(id).await?;
        if !call.seen_by(&person.email) && call.state.settled_at().is_none() {
            gate.rewrite(id, |call| {
                if call.seen_by(&person.email) {
                    return None;
                }
                let mut next = call.touched();
                next.views.push(View { by: person.email.clone(), digest: call.digest.clone(), at: gate.inner.clock.now() });
                let fact = gate.call_fact("call.viewed", &next, &self.actor(), json!({ "digest": call.digest, "via": self.via().word() }));
                Some((next, fact))
            })
            .await?;
        }
        let call = self.kept(id).await?;
        Ok(gate.listed(call).await?)
    }

    /// Decides, or says why not.
    pub async fn decide(&self, id: &CallId, decide: Decide) -> Result<Listed, ReviewError> {
        let gate = self.gate();
        for _ in 0..super::REWRITES {
            // Rights that were taken away since the request came count no more.
            let (me, still_in) = self.again().await?;
            let pause = gate.pause_record().await?;
            let mut call = me.kept(id).await?;
            me.entitled(&call).await?;
            let now = gate.inner.clock.now();
            if matches!(call.state, State::Held { expires_at } if now >= expires_at) {
                gate.expire(id).await?;
                call = self.kept(id).await?;
            }
            if !matches!(call.state, State::Held { .. }) {
                return Err(ReviewError::Settled(Box::new(gate.listed(call).await?)));
            }
            if decide.digest != call.digest || decide.version != call.version {
                return Err(ReviewError::Stale(Box::new(gate.listed(call).await?)));
            }
            if !call.seen_by(&self.person().email) {
                return Err(ReviewError::NotShown);
            }
            let reason = decide.reason.as_deref().map(str::trim).filter(|reason| can_be_seen(reason));
            match decide.verdict {
                Verdict::Reject if reason.is_none() => {
                    return Err(ReviewError::Incomplete("a refusal needs a reason: the agent is told it, so that it does not try again"));
                }
                Verdict::RequestChanges if reason.is_none() => {
                    return Err(ReviewError::Incomplete("say what should be changed: the agent is told it and writes the next version"));
                }
                Verdict::Reject | Verdict::RequestChanges if decide.arguments.is_some() => {
                    return Err(ReviewError::Incomplete("edited arguments go only with an approval"));
                }
                Verdict::Approve | Verdict::Reject | Verdict::RequestChanges => {}
            }
            if reason.is_some_and(|reason| reason.chars().count() > MAX_REASON) {
                return Err(ReviewError::Incomplete("the reason is longer than 4,000 characters"));
            }
            let (by, reason) = (self.person().email.clone(), reason.map(str::to_owned));
            let decision = Decision { by, verdict: decide.verdict, reason, via: self.via(), at: now, pause: pause.revision, void: false };
            let edited = match &decide.arguments {
                Some(text) => self.edited(&call, text).await?,
                None => None,
            };
            let (decided, mut seen) = match edited {
                Some(Edited { edit, seen }) => {
                    let counts = me.entitled(&call.edited(edit.clone())).await.is_ok();
                    (call.decided_edited(edit, decision, counts), seen)
                }
                None => (call.decided(decision), Vec::new()),
            };
            seen.extend([still_in, Gate::not_paused_since(&pause)]);
            let next = match decided {
                Ok(next) => next,
                Err(Refusal::TooLate | Refusal::TooEarly) => continue,
                Err(Refusal::Settled(_) | Refusal::OutOfOrder(_)) => return Err(ReviewError::Settled(Box::new(gate.listed(call).await?))),
            };
            if next.decisions.len() == call.decisions.len() {
                return Ok(gate.listed(call).await?);
            }
            let rows = gate.letter_of_step(&call, &next, now);
            let mut change = Change { seen, rows, ..Change::of_call(now, next.clone(), self.decision_fact(&next, decide.verdict)) };
            if next.digest != call.digest {
                self.tell_of_edit(&mut change, &call, &next).await?;
            }
            if let (Verdict::Reject, Some(recipient)) = (decide.verdict, &next.recipient) {
                let refusals = gate.refusals(recipient, &next.agent, &next.server).await?.refused_again(id, now);
                change.rows.push(Row::Refusals(refusals));
            }
            match gate.inner.store.commit(change).await {
                Ok(_) => {
                    if next.state.settled_at().is_some() {
                        gate.inner.waiters.forget(id);
                    }
                    tracing::info!(call.id = %id, verdict = decide.verdict.word(), state = next.state.word(), "a person decided");
                    return Ok(gate.listed(next).await?);
                }
                Err(CommitError::Conflict) => {}
                // It may have been written: then the next round says who was first, which is this person.
                Err(CommitError::Lost) => return self.own_decision(&next, decide.verdict).await,
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(gate.failed(&error).into()),
            }
        }
        Err(gate.failed(&CommitError::Conflict).into())
    }

    /// Takes an approval back before the call left.
    pub async fn undo(&self, id: &CallId) -> Result<Listed, ReviewError> {
        let gate = self.gate();
        let call = self.kept(id).await?;
        self.entitled(&call).await?;
        let written = gate
            .rewrite(id, |call| {
                let next = call.undone(gate.inner.clock.now()).ok()?;
                let fact = gate.call_fact("call.undone", &next, &self.actor(), json!({ "via": self.via().word() }));
                Some((next, fact))
            })
            .await?;
        match written {
            Some(call) => Ok(gate.listed(call).await?),
            None => Err(ReviewError::Settled(Box::new(gate.listed(self.kept(id).await?).await?))),
        }
    }

    /// Whether this person may decide the call at all; says why not.
    pub async fn entitled(&self, call: &Call) -> Result<(), ReviewError> {
        let gate = self.gate();
        let owner = gate.owner_of(&call.agent).await?;
        if self.person().may_decide(call, owner.as_deref()) {
            return Ok(());
        }
        Err(ReviewError::NotEntitled(if self.person().may_see(call) && owner.as_deref() == Some(self.person().email.as_str()) {
            "it comes from an agent of yours, and its rule asks for other people"
        } else {
            "an auditor reads and does not decide"
        }))
    }

    /// This person with the rights that their record gives now, and the record: a decision must not count when its
    /// person is shut out or demoted first.
    async fn again(&self) -> Result<(Reviewer, Seen), ReviewError> {
        let gate = self.gate();
        match gate.inner.store.row(Kind::Person, &self.person().email).await.map_err(|e| gate.failed(&e))? {
            Some(Row::Person(person)) if person.disabled_at.is_none() => {
                let seen = Seen { kind: Kind::Person, key: person.email.clone(), revision: person.revision };
                Ok((Reviewer::new(gate.clone(), person, self.via()), seen))
            }
            _ => Err(ReviewError::NotEntitled("an operator has shut you out")),
        }
    }

    /// After a lost acknowledgement: the call as it is, if this person's decision is in it.
    async fn own_decision(&self, decided: &Call, verdict: Verdict) -> Result<Listed, ReviewError> {
        let call = self.kept(&decided.id).await?;
        let by_me = |d: &Decision| d.by == self.person().email && d.verdict == verdict;
        let mine = call.digest == decided.digest && call.decisions.iter().any(|d| by_me(d) && (!d.void || decided.decisions.contains(d)));
        let listed = self.gate().listed(call).await?;
        if mine { Ok(listed) } else { Err(self.gate().failed(&CommitError::Lost).into()) }
    }

    /// The audit says what was edited into what, and by whom; whoever is asked now is told.
    async fn tell_of_edit(&self, change: &mut Change, before: &Call, after: &Call) -> Result<(), ReviewError> {
        let gate = self.gate();
        let data = json!({ "from": before.digest, "to": after.digest, "asked": after.asked_digest, "rule": after.rule, "reviewers": after.reviewers,
            "approvals": after.approvals, "via": self.via().word() });
        change.facts.insert(0, gate.call_fact("call.edited", after, &self.actor(), data));
        if !gate.settings().letters || !matches!(after.state, State::Held { .. }) {
            return Ok(());
        }
        // The first letter, if it has not left, goes to whoever is asked by then and shows the text as it is by then.
        let first = Letter::about_hold(&after.id, 1, change.at);
        if gate.inner.store.row(Kind::Letter, &first.id).await.map_err(|e| gate.failed(&e))?.is_none() {
            change.rows.push(Row::Letter(Letter::about_hold(&after.id, after.version, change.at)));
        }
        Ok(())
    }

    fn decision_fact(&self, call: &Call, verdict: Verdict) -> Fact {
        let data = json!({ "verdict": verdict.word(), "digest": call.digest, "via": self.via().word(), "state": call.state.word(),
            "approvals": call.approved_by().count(), "needed": call.approvals });
        self.gate().call_fact("call.decided", call, &self.actor(), data)
    }
}

/// Whether there is anything to read: the agent is told the reason, and an invisible one is none.
fn can_be_seen(reason: &str) -> bool {
    reveal(reason).iter().any(|run| matches!(run, Run::Plain(text) if !text.trim().is_empty()))
}

impl Gate {
    /// A call as people see it, together with what only memory knows.
    pub(super) async fn listed(&self, call: Call) -> Result<Listed, Failure> {
        let presence = self.presence(&call);
        let (call, masks) = self.for_people(call).await?;
        Ok(Listed { call, presence, masks })
    }
}
