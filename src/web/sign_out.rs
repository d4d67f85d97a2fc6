//! `POST /sign-out`: ends this browser's session.

use super::cookies::Cookie;
use super::form::Submitted;
use super::{WebState, page, sign_in};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

/// The button was pressed.
pub async fn sign_out(State(state): State<WebState>, form: Submitted) -> Response {
    match state.gate.sign_out(&form.by.secret).await {
        Ok(()) => ([(header::SET_COOKIE, Cookie::Session.clear(&state))], sign_in::ended(&state).await).into_response(),
        Err(failure) => page::failure(&state, Some(&form.by), &failure),
    }
}
