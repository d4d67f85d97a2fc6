//! Signing in: asking for a link by mail, opening one, a password. Opening a link only shows a button: mail scanners fetch
//! links, and one that signs in by being fetched would be used up before its owner sees it. Every answer is the same for
//! people who exist and people who do not. The Origin check of `door` stands before every form here, so that no other site
//! signs a browser in as somebody else.

use super::arrival::Arriving;
use super::cookies::Cookie;
use super::form::Fields;
use super::page::{self, Frame};
use super::{WebState, landing, passkeys};
use crate::gate::signin::device::KNOWN_FOR;
use crate::gate::signin::{HALF_WAY_FOR, Opened, Refused};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use jiff::Timestamp;

/// What the page says first.
enum Says {
    /// Nobody is signed in.
    Please,
    /// The session was just ended.
    SignedOut,
    /// A link that works was opened; its secret.
    Press(String),
    /// A link was opened and does not work.
    Spent,
    /// Somebody asked for a link.
    Sent,
    /// Address and password do not belong together.
    Wrong,
    /// Too many tries; when to come again.
    TooMany(String),
    /// Too many people at this moment.
    Busy,
    /// A passkey was not accepted.
    NotThisKey,
    /// A sign-in was begun and not finished in its time.
    TooLate,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    says: Says,
    /// Links leave by mail.
    mail: bool,
    /// Passwords let in.
    passwords: bool,
    /// Passkeys let in.
    passkey: Option<passkeys::Asked>,
    /// The address that was typed with a password.
    typed: String,
}

/// Characters of an address that the form shows again.
const SHOWN_AGAIN: usize = 254;

/// `GET /sign-in`: how to get in.
pub async fn help(State(state): State<WebState>) -> Response {
    answer(&state, StatusCode::OK, Says::Please).await
}

/// The same page in the place of one that needs a session; the browser remembers which one was wanted.
pub async fn needed(state: &WebState, parts: &Parts) -> Response {
    let response = answer(state, StatusCode::UNAUTHORIZED, Says::Please).await;
    match landing::remember(state, parts) {
        Some(cookie) => (AppendHeaders([(header::SET_COOKIE, cookie)]), response).into_response(),
        None => response,
    }
}

/// After signing out: nothing of what was shown stays behind in the browser (Clear Site Data, 3.1). Not the cookies: by one of
/// them the browser is known again.
pub async fn ended(state: &WebState) -> Response {
    let gone = [(header::SET_COOKIE, Cookie::Session.clear(state)), (header::HeaderName::from_static("clear-site-data"), r#""cache", "storage""#.to_owned())];
    (AppendHeaders(gone), answer(state, StatusCode::OK, Says::SignedOut).await).into_response()
}

/// `POST /sign-in/link`: a link by mail, if the address is somebody's.
pub async fn mail_link(State(state): State<WebState>, Arriving(arrival): Arriving, form: Fields) -> Response {
    match state.gate.ask_for_link(form.field("address"), &arrival) {
        Ok(()) => answer(&state, StatusCode::OK, Says::Sent).await,
        Err(until) => too_many(&state, until, "").await,
    }
}

/// `POST /sign-in/password`
pub async fn password(State(state): State<WebState>, Arriving(arrival): Arriving, headers: HeaderMap, form: Fields) -> Response {
    let (address, password) = (form.field("address"), form.field("password"));
    match Box::pin(state.gate.sign_in_with_password(address, password, &arrival)).await {
        Ok(opened) => landed(&state, &headers, opened).await,
        Err(Refused::Wrong) => again(&state, StatusCode::UNAUTHORIZED, Says::Wrong, address).await,
        Err(Refused::TooMany { until }) => too_many(&state, until, address).await,
        Err(Refused::Busy) => {
            let mut response = again(&state, StatusCode::SERVICE_UNAVAILABLE, Says::Busy, address).await;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            response
        }
        Err(Refused::Off) => {
            let detail = "The operator of this gateway lets nobody in with a password. Sign in with a link.";
            page::problem(&state, None, StatusCode::FORBIDDEN, "Passwords are switched off here", detail).await
        }
        Err(Refused::Failure(failure)) => page::failure(&state, None, &failure),
    }
}

/// `GET /sign-in/{secret}`: a button, when the link works.
pub async fn ask(State(state): State<WebState>, Path(secret): Path<String>) -> Response {
    match state.gate.link_is_good(&secret).await {
        Ok(true) => answer(&state, StatusCode::OK, Says::Press(secret)).await,
        Ok(false) => answer(&state, StatusCode::GONE, Says::Spent).await,
        Err(failure) => page::failure(&state, None, &failure),
    }
}

/// `POST /sign-in/{secret}`: uses the link up.
pub async fn redeem(State(state): State<WebState>, Arriving(arrival): Arriving, headers: HeaderMap, Path(secret): Path<String>) -> Response {
    match Box::pin(state.gate.redeem_link(&secret, &arrival)).await {
        Ok(Some(opened)) => landed(&state, &headers, opened).await,
        Ok(None) => answer(&state, StatusCode::GONE, Says::Spent).await,
        Err(failure) => page::failure(&state, None, &failure),
    }
}

/// Somebody is in, and goes where they wanted to.
pub async fn landed(state: &WebState, headers: &HeaderMap, opened: Opened) -> Response {
    match opened {
        Opened::In(session) => {
            let cookies = [
                (header::SET_COOKIE, Cookie::Session.set(state, &session.secret, session.life)),
                (header::SET_COOKIE, Cookie::Device.set(state, &session.device, KNOWN_FOR)),
                (header::SET_COOKIE, Cookie::Wanted.clear(state)),
                (header::SET_COOKIE, Cookie::HalfWay.clear(state)),
            ];
            (AppendHeaders(cookies), Redirect::to(&landing::wanted(state, headers))).into_response()
        }
        Opened::HalfWay(begun) => {
            let cookie = [(header::SET_COOKIE, Cookie::HalfWay.set(state, &begun.secret, HALF_WAY_FOR))];
            (AppendHeaders(cookie), Redirect::to("/sign-in/second")).into_response()
        }
    }
}

/// A passkey did not let anybody in.
pub async fn passkey_refused(state: &WebState) -> Response {
    answer(state, StatusCode::UNAUTHORIZED, Says::NotThisKey).await
}

/// The half of a sign-in that was there is none any more.
pub async fn too_late(state: &WebState) -> Response {
    answer(state, StatusCode::GONE, Says::TooLate).await
}

async fn too_many(state: &WebState, until: Timestamp, typed: &str) -> Response {
    let (page, seconds) = wait(until, state.gate.clock().now());
    let mut response = again(state, StatusCode::TOO_MANY_REQUESTS, Says::TooMany(page), typed).await;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// How long until then, in words and in seconds (RFC 9110, 10.2.3); never less than one.
pub fn wait(until: Timestamp, now: Timestamp) -> (String, u64) {
    let seconds = u64::try_from(until.duration_since(now).as_secs() + 1).unwrap_or(1).max(1);
    let minutes = seconds.div_ceil(60);
    (if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") }, seconds)
}

async fn answer(state: &WebState, status: StatusCode, says: Says) -> Response {
    again(state, status, says, "").await
}

async fn again(state: &WebState, status: StatusCode, says: Says, typed: &str) -> Response {
    let settings = state.gate.settings();
    let page = SignIn {
        frame: Frame::new(state, None, "").await,
        says,
        mail: settings.letters,
        passwords: settings.sign_in.passwords,
        passkey: passkeys::asked(state),
        typed: typed.chars().take(SHOWN_AGAIN).collect(),
    };
    page::html(state, status, &page)
}
