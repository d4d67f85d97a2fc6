//! `GET /api/v1/calls/{id}/outcome`: the server's answer with its secrets masked, also when it is too large for CALL
//! (semantics.md 24), or what a person told. It is an upstream's text: it is JSON for programs, never a page.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::{CallId, State as CallState};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// Serves it.
pub async fn show(caller: Caller, State(state): State<WebState>, Path(id): Path<String>) -> Response {
    match caller.reviewer.visible(&CallId(id)).await {
        Ok(call) => match call.state {
            CallState::Answered { .. } if call.erased_at.is_some() => {
                problem::problem(&state, StatusCode::GONE, "What came back was erased, as store.keep_text asks; its digest is in the audit.")
            }
            CallState::Answered { outcome, .. } => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], outcome.body).into_response(),
            _ => problem::problem(&state, StatusCode::NOT_FOUND, "This call has no outcome: nothing was answered."),
        },
        Err(error) => problem::refused(&state, &error),
    }
}
