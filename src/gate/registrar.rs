//! The hand that changes people and agents: an operator on a page or over the API, or a command on this machine.
//! Every change says in the audit whose hand it was, and rests on the operator's record as it was read: who was shut
//! out or demoted meanwhile changes nothing any more. What can be changed stands in `people` and `agents`.

use super::people::PeopleError;
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::people::Role;
use crate::store::{Change, CommitError, Kind, Row, Seen};
use serde_json::Value;

/// Whoever may run a command here has the data folder.
const COMMAND: &str = "operator";

/// Why a change of people or agents was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrarError {
    /// The person is no operator.
    #[error("only an operator may change people and agents")]
    NotOperator,
    /// Somebody else changed the same record first.
    #[error("somebody else has changed this since it was shown to you; look at it again")]
    Changed,
    /// The names, the last operator, or a fault on our side.
    #[error(transparent)]
    People(#[from] PeopleError),
}

impl From<Failure> for RegistrarError {
    fn from(failure: Failure) -> RegistrarError {
        RegistrarError::People(PeopleError::Failure(failure))
    }
}

/// An operator at work.
pub struct Registrar {
    pub(super) gate: Gate,
    pub(super) actor: String,
    /// The operator's own record; none for a command.
    standing: Option<Seen>,
}

impl Gate {
    /// For commands on this machine.
    pub fn registrar(&self) -> Registrar {
        Registrar { gate: self.clone(), actor: COMMAND.to_owned(), standing: None }
    }

    /// For those callers who have no words for a conflict: there is nobody else they could have met.
    pub(super) fn plain(&self, error: RegistrarError) -> PeopleError {
        match error {
            RegistrarError::People(error) => error,
            RegistrarError::NotOperator | RegistrarError::Changed => PeopleError::Failure(self.failed(&CommitError::Conflict)),
        }
    }
}

impl Reviewer {
    /// Whether this person may look at people and agents (semantics.md 17).
    pub fn may_oversee(&self) -> bool {
        matches!(self.person().role, Role::Operator | Role::Auditor)
    }

    /// This person as somebody who changes people and agents.
    pub fn registrar(&self) -> Result<Registrar, RegistrarError> {
        let person = self.person();
        if person.role != Role::Operator {
            return Err(RegistrarError::NotOperator);
        }
        let standing = Seen { kind: Kind::Person, key: person.email.clone(), revision: person.revision };
        Ok(Registrar { gate: self.gate().clone(), actor: self.actor(), standing: Some(standing) })
    }
}

/// Does it again as long as a record moves meanwhile: who was shown no revision is not asked to look again.
pub(super) async fn again<T, F>(shown: Option<u64>, attempt: impl Fn() -> F) -> Result<T, RegistrarError>
where
    F: Future<Output = Result<T, RegistrarError>>,
{
    for _ in 1..super::REWRITES {
        match attempt().await {
            Err(RegistrarError::Changed) if shown.is_none() => {}
            done => return done,
        }
    }
    attempt().await
}

impl Registrar {
    /// Whether a person is at work: then what is not in the config is a slip. A command may come before its config.
    pub(super) fn is_person(&self) -> bool {
        self.standing.is_some()
    }

    pub(super) fn fact(&self, kind: &'static str, data: Value) -> Fact {
        Fact { kind, call: None, actor: self.actor.clone(), data: data.into() }
    }

    /// Writes; `Changed` when one of the records moved meanwhile.
    pub(super) async fn write(&self, mut change: Change) -> Result<(), RegistrarError> {
        let first = change.rows.first().cloned();
        change.seen.extend(self.standing.clone());
        let gate = &self.gate;
        match (gate.inner.store.commit(change).await, first) {
            (Ok(_), _) => Ok(()),
            // All or nothing: one row stands for the change. What follows a written one must still be done.
            (Err(CommitError::Lost), Some(row)) if gate.is_written(&row).await? => Ok(()),
            (Err(CommitError::Conflict), _) => Err(RegistrarError::Changed),
            (Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)), _) => {
                Err(gate.failed(&error).into())
            }
        }
    }

    /// Writes a record that must be new.
    pub(super) async fn write_new(&self, change: Change, what: &'static str) -> Result<(), RegistrarError> {
        let new = change.rows.first().map(|row| (row.kind(), row.key().to_owned()));
        match (self.write(change).await, new) {
            (Err(RegistrarError::Changed), Some((kind, name))) if self.row(kind, &name).await?.is_some() => Err(PeopleError::Exists { what, name }.into()),
            (written, _) => written,
        }
    }

    pub(super) async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, Failure> {
        self.gate.inner.store.row(kind, key).await.map_err(|e| self.gate.failed(&e))
    }
}
