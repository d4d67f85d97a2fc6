//! What the pages of people and agents share: who may look at them, what a change that was not made answers, and times
//! as somebody types them. Used by `people`, `person`, `agents`, `agent` and by the API beside them.

use super::call_page::Banner;
use super::page;
use super::session::SignedIn;
use super::shown::Shown;
use super::{WebState, api};
use crate::config;
use crate::gate::Failure;
use crate::gate::people::PeopleError;
use crate::gate::registrar::RegistrarError;
use axum::http::StatusCode;
use axum::response::Response;
use std::time::Duration;

/// Why a change was not made, for whoever asked for it.
pub enum Refused {
    /// Nothing here is for this person.
    NotTheirs,
    /// There is no such person or agent.
    NotThere,
    /// In plain words.
    Told(StatusCode, String),
    /// On our side.
    Fault(Failure),
}

impl From<RegistrarError> for Refused {
    fn from(error: RegistrarError) -> Refused {
        let told = page::sentence(&error.to_string());
        match error {
            RegistrarError::NotOperator => Refused::NotTheirs,
            RegistrarError::Changed => Refused::Told(StatusCode::CONFLICT, told),
            RegistrarError::People(error) => match error {
                PeopleError::Failure(failure) => Refused::Fault(failure),
                PeopleError::Unknown { .. } => Refused::NotThere,
                PeopleError::Exists { .. } | PeopleError::LastOperator => Refused::Told(StatusCode::CONFLICT, told),
                PeopleError::BadName(_) => Refused::Told(StatusCode::UNPROCESSABLE_ENTITY, told),
            },
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Fault(failure)
    }
}

impl Refused {
    /// Something a form says that cannot be.
    pub fn wrong(told: &str) -> Refused {
        Refused::Told(StatusCode::UNPROCESSABLE_ENTITY, told.to_owned())
    }

    /// For a page that shows the form again below its words: a status and a banner. The other kinds are pages of their own.
    pub async fn banner(self, state: &WebState, by: &SignedIn) -> Result<(StatusCode, Banner), Response> {
        match self {
            Refused::Told(status, detail) => Ok((status, Banner { title: "Nothing was changed".into(), detail })),
            other => Err(other.page(state, by).await),
        }
    }

    /// As a page.
    pub async fn page(self, state: &WebState, by: &SignedIn) -> Response {
        match self {
            Refused::NotTheirs => {
                let detail = "People and agents are shown to operators and auditors, and changed by operators. Nothing was changed.";
                page::problem(state, Some(by), StatusCode::FORBIDDEN, "This is for operators", detail).await
            }
            Refused::NotThere => page::problem(state, Some(by), StatusCode::NOT_FOUND, "There is nothing here", "Nobody has this name, or no longer.").await,
            Refused::Told(status, detail) => page::problem(state, Some(by), status, "Nothing was changed", &detail).await,
            Refused::Fault(failure) => page::failure(state, Some(by), &failure),
        }
    }

    /// As a problem document.
    pub fn problem(self, state: &WebState) -> Response {
        match self {
            Refused::NotTheirs => api::problem(state, StatusCode::FORBIDDEN, "Only an operator may change people and agents; auditors may read them."),
            Refused::NotThere => api::problem(state, StatusCode::NOT_FOUND, "There is nobody of this name, or no longer."),
            Refused::Told(status, detail) => api::problem(state, status, &format!("{detail} Nothing was changed.")),
            Refused::Fault(failure) => api::failure(&failure),
        }
    }
}

/// Whoever found a session open, or stole its cookie, makes no lasting way in for themselves: that needs a session that has
/// just begun.
pub async fn needs_fresh(by: &SignedIn) -> Result<(), Refused> {
    if by.reviewer.is_freshly_signed_in(&by.secret).await? {
        return Ok(());
    }
    let told = "You have been signed in for more than ten minutes. Sign out, sign in again, and do it then: so nobody makes a way in at a desk you have left.";
    Err(Refused::Told(StatusCode::FORBIDDEN, told.to_owned()))
}

/// A time as somebody types it; nothing for an empty field.
pub fn time(text: &str) -> Result<Option<Duration>, Refused> {
    const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let time = config::time(text).filter(|time| (Duration::from_millis(1)..=LONGEST).contains(time));
    time.map(Some).ok_or_else(|| Refused::wrong("A time is a number and a unit, such as 50s, 10m, 2h or 90d, and at most 3650d."))
}

/// Texts in a row, in a form's field.
pub fn listed(text: &str) -> Vec<String> {
    text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The same, shown.
pub fn shown(texts: &[String]) -> Vec<Shown> {
    texts.iter().map(|text| Shown::new(text)).collect()
}
