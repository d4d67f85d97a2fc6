//! The kill switch. Pausing refuses every new call except those of reading tools, takes approvals that have not
//! left back to held, and lets nothing out until somebody resumes. It is one record in the store, and every
//! change that lets something out names the revision it saw: of a pause and a send exactly one is first.
//! Called by `control` and `web`; looked at by `admit`, `hold` and `release`.

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::State;
use crate::domain::pause::{Pause, Stopped};
use crate::store::{Change, CommitError, Kind, PAUSE, Query, Row, Seen};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The name that stands where a rule's name stands when the pause refuses a call.
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
        self.turn(actor, "paused", "the gateway is paused already", |pause| pause.stopped.is_none().then(|| Some(stopped.clone()))).await?;
        tracing::warn!("the gateway is paused: nothing is sent until it is resumed");
        Ok(self.take_back_approved(stopped.at, actor).await?)
    }

    /// Resumes. What was approved during the pause goes out now.
    pub async fn resume_sending(&self, actor: &str) -> Result<(), PauseError> {
        self.turn(actor, "resumed", "the gateway is not paused", |pause| pause.stopped.is_some().then_some(None)).await?;
        tracing::warn!("the gateway is resumed");
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
            let turned = Pause { revision: pause.revision + 1, stopped };
            let row = Row::Pause(turned.clone());
            // The reason is somebody's text and stays out of the chain.
            let fact = Fact { kind, call: None, actor: actor.to_owned(), data: Value::Object(serde_json::Map::new()) };
            match self.inner.store.commit(Change::of_row(self.inner.clock.now(), row, fact)).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Lost) if self.pause_record().await? == turned => return Ok(()),
                Err(error @ (CommitError::Full { .. } | CommitError::Store(_) | CommitError::Lost)) => return Err(self.failed(&error).into()),
            }
        }
        Err(self.failed(&CommitError::Conflict).into())
    }

    /// After a start: what a pause that was cut short by a crash left approved.
    pub(super) async fn finish_pause(&self) -> Result<(), Failure> {
        match self.pause_record().await?.stopped {
            Some(stopped) => self.take_back_approved(stopped.at, "paraph").await.map(drop),
            None => Ok(()),
        }
    }

    /// Whatever was approved until then and has not left is held again. What is approved during the pause stays so.
    async fn take_back_approved(&self, until: Timestamp, actor: &str) -> Result<usize, Failure> {
        let mut taken_back = 0;
        let mut query = Query { states: vec!["approved".to_owned()], limit: 100, ..Query::default() };
        loop {
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            for call in &page.calls {
                let written = self
                    .rewrite(&call.id, |call| {
                        if !matches!(call.state, State::Approved { at, .. } if at <= until) {
                            return None;
                        }
                        let next = call.undone(self.inner.clock.now()).ok()?;
                        let fact = self.call_fact("call.undone", &next, actor, json!({ "why": PAUSED }));
                        Some((next, fact))
                    })
                    .await?;
                taken_back += usize::from(written.is_some());
            }
            if page.next.is_none() {
                return Ok(taken_back);
            }
            query.cursor = page.next;
        }
    }
}
