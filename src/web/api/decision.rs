//! `POST /api/v1/calls/{id}/decision`. The checks come in the order of semantics.md 12: whether the caller may
//! see and decide the call is answered before anything is said about the body.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::call::{CallId, State as CallState, Verdict};
use crate::domain::digest::Digest;
use crate::domain::json::strict;
use crate::gate::review::{Decide, ReviewError};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

/// Decides, or says why not.
pub async fn decide(caller: Caller, State(state): State<WebState>, Path(id): Path<String>, request: Request) -> Response {
    let id = CallId(id);
    let body = axum::body::to_bytes(request.into_body(), state.settings.body).await;
    let result = match permitted(&caller, &id).await {
        Err(error) => Err(error),
        Ok(settled) => match body.map_err(|_| Malformed::TooLarge).and_then(|body| read(&body)) {
            Ok(decide) => caller.reviewer.decide(&id, decide).await,
            Err(_) if settled => caller.reviewer.look(&id).await.and_then(|listed| Err(ReviewError::Settled(Box::new(listed)))),
            Err(malformed) => return malformed.answer(&state),
        },
    };
    match result {
        Ok(listed) => problem::call(StatusCode::OK, &listed),
        Err(error) => problem::refused(&state, &error),
    }
}

/// Whether the call is out of anybody's hands already; an error when the caller may not decide it.
async fn permitted(caller: &Caller, id: &CallId) -> Result<bool, ReviewError> {
    let call = caller.reviewer.visible(id).await?;
    caller.reviewer.entitled(&call).await?;
    Ok(!matches!(call.state, CallState::Held { .. }))
}

enum Malformed {
    TooLarge,
    NotJson(String),
    Wrong(&'static str),
}

impl Malformed {
    fn answer(self, state: &WebState) -> Response {
        match self {
            Malformed::TooLarge => problem::problem(state, StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than bounds.body allows. Nothing was decided."),
            Malformed::NotJson(why) => {
                problem::problem(state, StatusCode::BAD_REQUEST, &format!("The body is not JSON that Paraph accepts: {why}. Nothing was decided."))
            }
            Malformed::Wrong(what) => problem::problem(state, StatusCode::UNPROCESSABLE_ENTITY, &format!("{what} Nothing was decided.")),
        }
    }
}

fn read(body: &[u8]) -> Result<Decide, Malformed> {
    let value = strict(body).map_err(|refused| Malformed::NotJson(refused.to_string()))?;
    let Value::Object(members) = value else { return Err(Malformed::Wrong("The body is a JSON object.")) };
    if members.keys().any(|key| !matches!(key.as_str(), "verdict" | "digest" | "version" | "reason" | "arguments")) {
        return Err(Malformed::Wrong("The body may have verdict, digest, version, reason and arguments, and nothing else."));
    }
    let verdict = match members.get("verdict").and_then(Value::as_str) {
        Some("approve") => Verdict::Approve,
        Some("reject") => Verdict::Reject,
        Some("request_changes") => Verdict::RequestChanges,
        _ => return Err(Malformed::Wrong("verdict is approve, reject or request_changes.")),
    };
    let digest = members.get("digest").and_then(Value::as_str).ok_or(Malformed::Wrong("digest is the text that the call has under digest."))?;
    let version = members.get("version").and_then(Value::as_u64).ok_or(Malformed::Wrong("version is the number that the call has under version."))?;
    let edits = edits(&members, verdict)?;
    let reason = match members.get("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) => Some(reason.clone()),
        Some(_) => return Err(Malformed::Wrong("reason is a text.")),
    };
    Ok(Decide { verdict, digest: Digest::claimed(digest), version, reason, edits })
}

fn edits(members: &Map<String, Value>, verdict: Verdict) -> Result<bool, Malformed> {
    match members.get("arguments") {
        None | Some(Value::Null) => Ok(false),
        Some(_) if verdict != Verdict::Approve => Err(Malformed::Wrong("arguments go only with approve.")),
        Some(_) => Ok(true),
    }
}
