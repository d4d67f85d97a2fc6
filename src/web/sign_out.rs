//! `POST /sign-out`: ends this browser's session.

use super::form::Submitted;
use super::{WebState, page, session, sign_in};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use std::time::Duration;

/// The button was pressed.
pub async fn sign_out(State(state): State<WebState>, form: Submitted) -> Response {
    match state.gate.sign_out(&form.by.secret).await {
        Ok(()) => ([(header::SET_COOKIE, session::cookie(&state, None, Duration::ZERO))], sign_in::ended(&state).await).into_response(),
        Err(failure) => page::failure(&state, Some(&form.by), &failure),
    }
}
