//! The kill switch as a person uses it: everybody who is signed in sees how it stands, an operator turns it.
//! What turning it does stands in `pause`; here is only who may. Called by `web` for the page and the API.

use super::pause::PauseError;
use super::reviewer::Reviewer;
use crate::domain::people::Role;

/// Why the switch was not turned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// The person is no operator.
    #[error("only an operator may pause and resume")]
    NotOperator,
    /// It stands like this already, the reason is wrong, or a fault on our side.
    #[error(transparent)]
    Pause(#[from] PauseError),
}

impl Reviewer {
    /// Whether this person may pause and resume.
    pub fn may_switch(&self) -> bool {
        self.person().role == Role::Operator
    }

    /// Pauses; how many approvals were taken back.
    pub async fn pause(&self, reason: &str) -> Result<usize, SwitchError> {
        self.operator()?;
        Ok(self.gate().pause(reason, &self.actor()).await?)
    }

    /// Resumes.
    pub async fn resume(&self) -> Result<(), SwitchError> {
        self.operator()?;
        Ok(self.gate().resume_sending(&self.actor()).await?)
    }

    fn operator(&self) -> Result<(), SwitchError> {
        if self.may_switch() { Ok(()) } else { Err(SwitchError::NotOperator) }
    }
}
