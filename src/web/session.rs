//! The extractor that every page begins with: a signed-in person, or the page that says how to sign in and remembers which
//! page was wanted. The person is read from the store each time, so disabling somebody works at once. What a script of an
//! open page fetches is no use of the session: it would never lie idle otherwise.

use super::cookies::Cookie;
use super::{WebState, door, landing, page, sign_in};
use crate::gate::{Gate, Reviewer};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;

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
        let Some(secret) = Cookie::Session.read(state, &parts.headers) else { return Err(sign_in::needed(state, parts).await) };
        let found = match landing::is_navigation(&parts.headers) {
            true => state.gate.use_session(&secret).await,
            false => state.gate.by_session(&secret).await,
        };
        match found {
            Ok(Some(reviewer)) => {
                door::asks(&parts.extensions, reviewer.person());
                Ok(SignedIn { reviewer, secret })
            }
            Ok(None) => Err(sign_in::needed(state, parts).await),
            Err(failure) => Err(page::failure(state, None, &failure)),
        }
    }
}
