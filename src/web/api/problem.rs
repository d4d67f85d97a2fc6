//! Errors of the API: `application/problem+json` (RFC 9457) with a reference that finds the log line; a decision
//! that lost answers with the call as it is instead. Used by every API route.

use super::super::WebState;
use crate::gate::review::ReviewError;
use crate::gate::{Failure, Listed};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// A problem document with a fresh reference.
pub fn problem(state: &WebState, status: StatusCode, detail: &str) -> Response {
    let reference = state.gate.reference();
    tracing::debug!(reference, status = status.as_u16(), "the API refused something");
    document(status, detail, &reference)
}

/// A fault on our side, under the reference that the log has.
pub fn failure(failure: &Failure) -> Response {
    document(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string(), &failure.reference)
}

/// The status codes of semantics.md 12.
pub fn refused(state: &WebState, error: &ReviewError) -> Response {
    match error {
        ReviewError::NotFound => problem(state, StatusCode::NOT_FOUND, "There is no such call."),
        ReviewError::NotEntitled(_) => problem(state, StatusCode::FORBIDDEN, &sentence(error)),
        ReviewError::Settled(listed) => call(StatusCode::CONFLICT, listed),
        ReviewError::Stale(listed) => call(StatusCode::PRECONDITION_FAILED, listed),
        ReviewError::NotShown => {
            problem(state, StatusCode::PRECONDITION_REQUIRED, "You have not been shown the whole call. Read GET /api/v1/calls/{id} first.")
        }
        ReviewError::Incomplete(_) | ReviewError::Unfit(_) => problem(state, StatusCode::UNPROCESSABLE_ENTITY, &sentence(error)),
        ReviewError::Failure(fault) => failure(fault),
    }
}

/// CALL with a status.
pub fn call(status: StatusCode, listed: &Listed) -> Response {
    (status, Json(listed.to_json())).into_response()
}

fn document(status: StatusCode, detail: &str, reference: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Problem");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "reference": reference });
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

fn sentence(error: &ReviewError) -> String {
    format!("{}.", capital(&error.to_string()))
}

/// The text as a sentence begins.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}
