//! Who calls the API: the owner of the bearer token. A terminal command says `Paraph-Via: cli`, so that the audit
//! tells the two ways apart; nobody gains a right by saying it. Every API route begins with it.

use super::super::{WebState, door};
use super::problem;
use crate::domain::call::Via;
use crate::gate::Reviewer;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// A person by their token.
pub struct Caller {
    /// Their handle at the gate.
    pub reviewer: Reviewer,
    /// The token, to ask again while a stream is open.
    pub token: String,
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Caller, Response> {
        let Some(token) = bearer(parts) else {
            return Err(unknown(state, "Send an API token: Authorization: Bearer TOKEN. `paraph reviewer token EMAIL` makes one."));
        };
        match state.gate.by_api_token(&token).await {
            Ok(Some(reviewer)) => {
                door::asks(&parts.extensions, reviewer.person());
                let from_terminal = parts.headers.get("paraph-via").is_some_and(|way| way.as_bytes() == b"cli");
                let reviewer = if from_terminal { reviewer.over(Via::Cli) } else { reviewer };
                Ok(Caller { reviewer, token })
            }
            Ok(None) => Err(unknown(state, "This API token is unknown, expired or revoked, or its owner is disabled.")),
            Err(failure) => Err(problem::failure(&failure)),
        }
    }
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(parts: &Parts) -> Option<String> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn unknown(state: &WebState, detail: &str) -> Response {
    let mut response = problem::problem(state, StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"paraph\""));
    response
}
