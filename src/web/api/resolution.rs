//! `POST /api/v1/calls/{id}/resolution`: a person says what became of a call of which nobody knows whether it
//! left (semantics.md 20). Answers in the order of a decision.

use super::super::WebState;
use super::body::{self, Malformed};
use super::caller::Caller;
use super::decision::{answer, permitted};
use super::problem;
use crate::domain::call::{Call, CallId, State as CallState};
use crate::gate::resolve::Resolution;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Map, Value};

/// Resolves, or says why not.
pub async fn resolve(caller: Caller, State(state): State<WebState>, Path(id): Path<String>, request: Request) -> Response {
    let id = CallId(id);
    let unknown = |call: &Call| matches!(call.state, CallState::Unconfirmed { .. });
    let wanted = body::members(request, &state, &["sent", "version", "note"]).await.and_then(|members| read(&members));
    let resolution = match permitted(&caller, &id, wanted, unknown).await {
        Ok(Ok(resolution)) => resolution,
        Ok(Err(malformed)) => return malformed.answer(&state),
        Err(error) => return problem::refused(&state, &error),
    };
    answer(&state, caller.reviewer.resolve(&id, resolution).await)
}

fn read(members: &Map<String, Value>) -> Result<Resolution, Malformed> {
    let sent = members.get("sent").and_then(Value::as_bool);
    let sent = sent.ok_or_else(|| Malformed::wrong("sent is true or false: whether it was sent, as you found out."))?;
    Ok(Resolution { sent, version: body::version(members)?, note: body::text(members, "note")? })
}
