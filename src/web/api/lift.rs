//! `POST /api/v1/calls/{id}/lift`: lets messages of this call's agent to its recipient through again, after three
//! refusals within an hour had closed the way. `lifted` is false when the way was open.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::CallId;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// Opens the way.
pub async fn lift(caller: Caller, State(state): State<WebState>, Path(id): Path<String>) -> Response {
    match caller.reviewer.lift(&CallId(id)).await {
        Ok(lifted) => Json(json!({ "lifted": lifted })).into_response(),
        Err(error) => problem::refused(&state, &error),
    }
}
