//! The kill switch. Pausing refuses every new call except those of reading tools, takes approvals that have not
//! left back to held, and lets nothing out until somebody resumes. It is one record in the store, and every
//! change that lets something out names the revision it saw: of a pause and a send exactly one is first.
//! Called by `control` and `web`; looked at by `admit`, `hold` and `release`.

use super::open::OpenCalls;
use super::{Failure, Gate};
use crate::domain::audit::{Data, Fact};
use crate::domain::call::CallId;
use crate::domain::pause::{Pause, Stopped};
use crate::store::{Change, CommitError, Kind, PAUSE, Row, Seen};
use serde_json::json;
use std::collections::HashSet;

/// The name that stands where a rule's name stands when the pause refuses a call; also the entry's kind.
pub const PAUSED: &str = "paused";
/// Characters of a reason to pause; longer ones are refused.
pub const MAX_REASON: usize = 500;

/// Why pausing or resuming did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// It is so already.
    #[error("{0}")]
    Already(&'static str),
    /// A reason is missing or too long.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A fault on our side.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Gate {
    /// The switch as it is.
    pub async fn pause_record(&self) -> Result<Pause, Failure> {
        let row = self.inner.store.row(Kind::Pause, PAUSE).await.map_err(|e| self.failed(&e))?;
        Ok(if let Some(Row::Pause(pause)) = row { pause } else { Pause::default() })
    }

    /// Pauses; how many approvals were taken back.
    pub async fn pause(&self, reason: &str, actor: &str) -> Result<usize, PauseError> {
        let reason = reason.trim();
        if reason.is_empty() {
            return Err(PauseError::Incomplete("a pause needs a reason: agents and reviewers are told it"));
        }
        if reason.chars().count() > MAX_REASON {
            return Err(PauseError::Incomplete("the reason is longer than 500 characters"));
        }
        let stopped = Stopped { at: self.inner.clock.now(), by: actor.to_owned(), reason: reason.to_owned() };
        let turned = self.turn(actor, PAUSED, "the gateway is paused already", |pause| pause.stopped.is_none().then(|| Some(stopped.clone()))).await;
        if matches!(turned, Err(PauseError::Already(_))) {
            self.finish_pause("paraph").await?;
        }
        turned?;
        tracing::warn!("the gateway is paused: nothing is sent until it is resumed");
        let mut taken_back = 0;
        for id in self.approved().await? {
            taken_back += usize::from(self.take_back(&id, actor).await?);
        }
        Ok(taken_back)
    }

    /// Resumes. What was approved during the pause goes out now; what was approved before it does not, also when
    /// the pause was cut short before it had taken everything back.
    pub async fn resume_sending(&self, actor: &str) -> Result<(), PauseError> {
        self.finish_pause(actor).await?;
        self.turn(actor, "resumed", "the gateway is not paused", |pause| pause.stopped.is_some().then_some(None)).await?;
        tracing::warn!("the gateway is resumed");
        Ok(())
    }

    /// Takes back what a pause that was cut short, by a crash or a fault, left approved.
    pub(super) async fn finish_pause(&self, actor: &str) -> Result<(), Failure> {
        let approved = self.approved().await?;
        if approved.is_empty() || self.pause_record().await?.stopped.is_none() {
            return Ok(());
        }
        // After the list, so that no approval on it is missed here.
        let since = self.decided_since_pause(&approved).await?;
        for id in approved.iter().filter(|id| !since.contains(*id)) {
            self.take_back(id, actor).await?;
        }
        Ok(())
    }

    /// What a change names that must not happen across a pause.
    pub(super) fn not_paused_since(pause: &Pause) -> Seen {
        Seen { kind: Kind::Pause, key: PAUSE.to_owned(), revision: pause.revision }
    }

    async fn turn<F>(&self, actor: &str, kind: &'static str, already: &'static str, next: F) -> Result<(), PauseError>
    where
        F: Fn(&Pause) -> Option<Option<Stopped>> + Send,
    {
        for _ in 0..super::REWRITES {
            let pause = self.pause_record().await?;
            let Some(stopped) = next(&pause) else { return Err(PauseError::Already(already)) };
            let row = Row::Pause(Pause { revision: pause.revision + 1, stopped });
            // The reason is somebody's text and stays out of the chain.
            let fact = Fact { kind, call: None, actor: actor.to_owned(), data: Data::default() };
            match self.inner.store.commit(Change::of_row(self.inner.clock.now(), row.clone(), fact)).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Lost) if self.is_written(&row).await? => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                    return Err(self.failed(&error).into());
                }
            }
        }
        Err(self.failed(&CommitError::Conflict).into())
    }

    /// Whatever is approved and has not left. All of them in one moment, as ids: who goes through them one by one takes
    /// back what is approved meanwhile, and that is to leave at the resume.
    pub(super) async fn approved(&self) -> Result<Vec<CallId>, Failure> {
        let (mut open, mut approved) = (OpenCalls::of(&["approved"]), Vec::new());
        while let Some(id) = open.next_id(self).await? {
            approved.push(id);
        }
        Ok(approved)
    }

    /// Which of these approved calls got their last decision since the gateway was paused last. Decisions say what they
    /// saw of the switch, and none is written across it: neither clocks nor the length of the audit matter.
    async fn decided_since_pause(&self, approved: &[CallId]) -> Result<HashSet<CallId>, Failure> {
        let pause = self.pause_record().await?.revision;
        let mut decided = HashSet::new();
        for id in approved {
            let call = self.inner.store.call(id).await.map_err(|e| self.failed(&e))?;
            if call.is_some_and(|call| call.decisions.last().is_some_and(|last| last.pause >= pause)) {
                decided.insert(id.clone());
            }
        }
        Ok(decided)
    }

    /// Held again, with no approval left; false when it is not approved any more.
    async fn take_back(&self, id: &CallId, actor: &str) -> Result<bool, Failure> {
        let written = self.rewrite(id, |call| {
            let next = call.undone(self.inner.clock.now()).ok()?;
            let fact = self.call_fact("call.undone", &next, actor, json!({ "why": PAUSED }));
            Some((next, fact))
        });
        Ok(written.await?.is_some())
    }
}
