//! Bodies of API requests: bounded, strictly parsed, and only with members that the route knows; what is
//! misspelt is refused by name instead of ignored. Used by every route that changes something.

use super::super::WebState;
use super::super::received::{self, Unread};
use super::problem;
use crate::domain::json::strict;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};
use std::sync::atomic::Ordering;

/// Why a body was not taken.
pub enum Malformed {
    /// Larger than `bounds.body`.
    TooLarge,
    /// It did not arrive whole.
    BrokenOff,
    /// No JSON that Paraph accepts.
    NotJson(String),
    /// JSON, but not what the route takes.
    Wrong(String),
}

impl Malformed {
    /// The answer.
    pub fn answer(self, state: &WebState) -> Response {
        match self {
            Malformed::TooLarge => problem::problem(state, StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than bounds.body allows. Nothing was changed."),
            Malformed::BrokenOff => problem::problem(state, StatusCode::REQUEST_TIMEOUT, "The body did not arrive whole. Nothing was changed; send it again."),
            Malformed::NotJson(why) => {
                problem::problem(state, StatusCode::BAD_REQUEST, &format!("The body is not JSON that Paraph accepts: {why}. Nothing was changed."))
            }
            Malformed::Wrong(what) => problem::problem(state, StatusCode::UNPROCESSABLE_ENTITY, &format!("{what} Nothing was changed.")),
        }
    }

    /// JSON that is not what the route takes.
    pub fn wrong(what: &str) -> Malformed {
        Malformed::Wrong(what.to_owned())
    }
}

/// The members of a request's object, which may have these and no others.
pub async fn members(request: Request, state: &WebState, known: &[&str]) -> Result<Map<String, Value>, Malformed> {
    let body = received::whole(request.into_body(), state.body.load(Ordering::Relaxed)).await.map_err(|why| match why {
        Unread::TooLarge => Malformed::TooLarge,
        Unread::BrokenOff => Malformed::BrokenOff,
    })?;
    let value = strict(&body).map_err(|refused| Malformed::NotJson(refused.to_string()))?;
    let Value::Object(members) = value else { return Err(Malformed::wrong("The body is a JSON object.")) };
    if members.keys().any(|key| !known.contains(&key.as_str())) {
        return Err(Malformed::Wrong(format!("The body may have {}, and nothing else.", known.join(", "))));
    }
    Ok(members)
}

/// A text that may be left out or null.
pub fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, Malformed> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Malformed::Wrong(format!("{name} is a text."))),
    }
}

/// The version of the call that was shown.
pub fn version(members: &Map<String, Value>) -> Result<u64, Malformed> {
    members.get("version").and_then(Value::as_u64).ok_or_else(|| Malformed::wrong("version is the number that the call has under version."))
}
