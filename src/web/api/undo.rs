//! `POST /api/v1/calls/{id}/undo`: takes an approval back before the call left; 409 with the call when it is too late.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::CallId;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

/// Takes it back.
pub async fn undo(caller: Caller, State(state): State<WebState>, Path(id): Path<String>) -> Response {
    match caller.reviewer.undo(&CallId(id)).await {
        Ok(listed) => problem::call(StatusCode::OK, &listed),
        Err(error) => problem::refused(&state, &error),
    }
}
