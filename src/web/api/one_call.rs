//! `GET /api/v1/calls/{id}`: one call, whole; serving it is recorded as a view, so that its reader may decide.
//! An answer to HEAD carries no text, so it is no view.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::CallId;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;

/// Serves it.
pub async fn show(caller: Caller, State(state): State<WebState>, method: Method, Path(id): Path<String>) -> Response {
    let id = CallId(id);
    let found = if method == Method::HEAD { caller.reviewer.look(&id).await } else { caller.reviewer.read(&id).await };
    match found {
        Ok(listed) => problem::call(StatusCode::OK, &listed),
        Err(error) => problem::refused(&state, &error),
    }
}
