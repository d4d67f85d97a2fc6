//! `POST /api/v1/calls/{id}/decision`. The checks come in the order of semantics.md 12: whether the caller may
//! see and decide the call is answered before anything is said about the body.

use super::super::WebState;
use super::body::{self, Malformed};
use super::caller::Caller;
use super::problem;
use crate::domain::call::{Call, CallId, State as CallState, Verdict};
use crate::domain::digest::Digest;
use crate::gate::Listed;
use crate::gate::review::{Decide, ReviewError};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

/// Decides, or says why not.
pub async fn decide(caller: Caller, State(state): State<WebState>, Path(id): Path<String>, request: Request) -> Response {
    let id = CallId(id);
    let undecided = |call: &Call| matches!(call.state, CallState::Held { .. });
    let wanted = body::members(request, &state, &["verdict", "digest", "version", "reason", "arguments"]).await.and_then(|members| read(&members));
    let decide = match permitted(&caller, &id, wanted, undecided).await {
        Ok(Ok(decide)) => decide,
        Ok(Err(malformed)) => return malformed.answer(&state),
        Err(error) => return problem::refused(&state, &error),
    };
    answer(&state, caller.reviewer.decide(&id, decide).await)
}

/// What was wanted, if the caller may decide the call; a body that says nothing is told that the call is out of
/// anybody's hands before it is told what is wrong with it.
pub async fn permitted<W>(
    caller: &Caller,
    id: &CallId,
    wanted: Result<W, Malformed>,
    open: impl Fn(&Call) -> bool,
) -> Result<Result<W, Malformed>, ReviewError> {
    let call = caller.reviewer.visible(id).await?;
    caller.reviewer.entitled(&call).await?;
    if wanted.is_err() && !open(&call) {
        return Err(ReviewError::Settled(Box::new(caller.reviewer.look(id).await?)));
    }
    Ok(wanted)
}

/// CALL afterwards, or why nothing happened.
pub fn answer(state: &WebState, result: Result<Listed, ReviewError>) -> Response {
    match result {
        Ok(listed) => problem::call(StatusCode::OK, &listed),
        Err(error) => problem::refused(state, &error),
    }
}

fn read(members: &Map<String, Value>) -> Result<Decide, Malformed> {
    let verdict = match members.get("verdict").and_then(Value::as_str) {
        Some("approve") => Verdict::Approve,
        Some("reject") => Verdict::Reject,
        Some("request_changes") => Verdict::RequestChanges,
        _ => return Err(Malformed::wrong("verdict is approve, reject or request_changes.")),
    };
    let digest = members.get("digest").and_then(Value::as_str);
    let digest = digest.ok_or_else(|| Malformed::wrong("digest is the text that the call has under digest."))?;
    let version = body::version(members)?;
    let arguments = edits(members, verdict)?;
    let reason = body::text(members, "reason")?;
    Ok(Decide { verdict, digest: Digest::claimed(digest), version, reason, arguments })
}

/// The strictly read value is written again: every number in it is one that every reader writes alike.
fn edits(members: &Map<String, Value>, verdict: Verdict) -> Result<Option<String>, Malformed> {
    match members.get("arguments") {
        None => Ok(None),
        Some(Value::Null) if verdict != Verdict::Approve => Ok(None),
        // Whoever meant to send something else must not have the original sent.
        Some(Value::Null) => Err(Malformed::wrong("arguments is null; leave it out to approve the call as it is.")),
        Some(_) if verdict != Verdict::Approve => Err(Malformed::wrong("arguments go only with approve.")),
        Some(arguments) => Ok(Some(arguments.to_string())),
    }
}
