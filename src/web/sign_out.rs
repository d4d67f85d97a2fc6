//! `POST /sign-out`: ends this browser's session.

use super::form::Submitted;
use super::{WebState, page, sign_in};
use axum::extract::State;
use axum::response::Response;

/// The button was pressed.
pub async fn sign_out(State(state): State<WebState>, form: Submitted) -> Response {
    match state.gate.sign_out(&form.by.secret).await {
        Ok(()) => sign_in::ended(&state).await,
        Err(failure) => page::failure(&state, Some(&form.by), &failure),
    }
}
