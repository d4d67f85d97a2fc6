//! `GET /api/v1/calls/{id}`: one call, whole; serving it is recorded as a view, so that its reader may decide.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::CallId;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

/// Serves it.
pub async fn show(caller: Caller, State(state): State<WebState>, Path(id): Path<String>) -> Response {
    match caller.reviewer.read(&CallId(id)).await {
        Ok(listed) => problem::call(StatusCode::OK, &listed),
        Err(error) => problem::refused(&state, &error),
    }
}
