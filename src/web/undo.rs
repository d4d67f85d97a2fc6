//! `POST /calls/{id}/undo`: takes an approval back before the call left.

use super::WebState;
use super::decision::refused;
use super::form::Submitted;
use crate::domain::call::CallId;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};

/// The button was pressed.
pub async fn undo(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let id = CallId(id);
    match form.by.reviewer.undo(&id).await {
        Ok(listed) => Redirect::to(&format!("/calls/{}", listed.call.id)).into_response(),
        Err(error) => refused(&state, &form, &id, error).await,
    }
}
