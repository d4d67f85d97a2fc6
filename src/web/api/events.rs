//! `GET /api/v1/events`: `call.held` and `call.changed` with id and state, for each call however many there are;
//! `look` says that anything may have changed besides (at the start, and when the stream fell behind: list again).
//! `call.held` comes once for a call that is held since about when the stream was opened, `call.changed` when people see
//! something else than before. Read the call for the rest.

use super::super::WebState;
use super::super::live::{self, Credential};
use super::caller::Caller;
use super::problem;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// Opens the stream.
pub async fn stream(caller: Caller, State(state): State<WebState>) -> Response {
    live::open(&state, Credential::Token(caller.token)).unwrap_or_else(|| {
        let mut response = problem::problem(
            &state,
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many live streams are open. Try again later; an operator can raise bounds.live_pages.",
        );
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        response
    })
}
