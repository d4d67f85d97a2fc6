//! `POST /calls/{id}/lift`: lets messages of a call's agent to its recipient through again, after three refusals
//! had closed the way.

use super::WebState;
use super::decision::refused;
use super::form::Submitted;
use crate::domain::call::CallId;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};

/// The button was pressed; the page then shows that the way is open, whoever opened it.
pub async fn lift(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let id = CallId(id);
    match form.by.reviewer.lift(&id).await {
        Ok(_) => Redirect::to(&format!("/calls/{id}")).into_response(),
        Err(error) => refused(&state, &form, &id, error).await,
    }
}
