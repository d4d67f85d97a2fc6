//! Signing in by a one-time link. Opening the link only shows a button: mail scanners fetch links, and a link
//! that signs in by being fetched would be used up before its owner sees it.

use super::page::{self, Frame};
use super::{WebState, session};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    /// The link works: show the button.
    good: bool,
    /// A link was opened and does not work.
    spent: bool,
    /// The session was just ended.
    signed_out: bool,
    secret: String,
}

/// `GET /sign-in`: how to get a link.
pub async fn help(State(state): State<WebState>) -> Response {
    needed(&state, StatusCode::OK).await
}

/// The same page in the place of one that needs a session.
pub async fn needed(state: &WebState, status: StatusCode) -> Response {
    page_with(state, status, false, false, false, String::new()).await
}

/// After signing out.
pub async fn ended(state: &WebState) -> Response {
    page_with(state, StatusCode::OK, false, false, true, String::new()).await
}

/// `GET /sign-in/{secret}`: a button, when the link works.
pub async fn ask(State(state): State<WebState>, Path(secret): Path<String>) -> Response {
    match state.gate.link_is_good(&secret).await {
        Ok(true) => page_with(&state, StatusCode::OK, true, false, false, secret).await,
        Ok(false) => page_with(&state, StatusCode::GONE, false, true, false, String::new()).await,
        Err(failure) => page::failure(&state, None, &failure),
    }
}

/// `POST /sign-in/{secret}`: uses the link up. The Origin check of `door` stands before it.
pub async fn redeem(State(state): State<WebState>, Path(secret): Path<String>) -> Response {
    match state.gate.redeem_link(&secret).await {
        Ok(Some(opened)) => {
            let cookie = session::cookie(&state, Some(&opened.secret), opened.life);
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Ok(None) => page_with(&state, StatusCode::GONE, false, true, false, String::new()).await,
        Err(failure) => page::failure(&state, None, &failure),
    }
}

async fn page_with(state: &WebState, status: StatusCode, good: bool, spent: bool, signed_out: bool, secret: String) -> Response {
    page::html(state, status, &SignIn { frame: Frame::new(state, None, "").await, good, spent, signed_out, secret })
}
