//! The session cookie and the extractor that every page begins with: a signed-in person, or the page that says
//! how to sign in. The person is read from the store each time, so disabling somebody works at once.

use super::{WebState, page, sign_in};
use crate::gate::{Gate, Reviewer};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::time::Duration;

/// A person with an open session.
pub struct SignedIn {
    /// Their handle at the gate.
    pub reviewer: Reviewer,
    /// The cookie's value: what the form token is made of.
    pub secret: String,
}

impl SignedIn {
    /// The form token of this session.
    pub fn form_token(&self) -> String {
        Gate::form_token(&self.secret)
    }
}

impl FromRequestParts<WebState> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<SignedIn, Response> {
        let Some(secret) = secret_in(state, &parts.headers) else { return Err(sign_in::needed(state, StatusCode::UNAUTHORIZED).await) };
        match state.gate.by_session(&secret).await {
            Ok(Some(reviewer)) => Ok(SignedIn { reviewer, secret }),
            Ok(None) => Err(sign_in::needed(state, StatusCode::UNAUTHORIZED).await),
            Err(failure) => Err(page::failure(state, None, &failure)),
        }
    }
}

fn cookie_name(state: &WebState) -> &'static str {
    if state.is_https() { "__Host-paraph_session" } else { "paraph_session" }
}

/// The session's secret in a request's cookies (RFC 6265 section 4.2).
pub fn secret_in(state: &WebState, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(state);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The `Set-Cookie` value that opens a session, or with no secret ends it.
pub fn cookie(state: &WebState, secret: Option<&str>, life: Duration) -> String {
    let secure = if state.is_https() { "; Secure" } else { "" };
    let (value, age) = secret.map_or(("", 0), |secret| (secret, life.as_secs()));
    format!("{}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}", cookie_name(state))
}
