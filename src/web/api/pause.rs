//! The kill switch over the API: everybody with a token may read how it stands, as every page shows it; only an
//! operator turns it.

use super::super::WebState;
use super::body;
use super::caller::Caller;
use super::problem;
use crate::gate::pause::PauseError;
use crate::gate::switch::SwitchError;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// `GET /api/v1/pause`
pub async fn show(caller: Caller) -> Response {
    match caller.reviewer.gate().pause_record().await.map(|pause| pause.stopped) {
        Ok(Some(stopped)) => Json(json!({ "paused": true, "at": stopped.at, "by": stopped.by, "reason": stopped.reason })).into_response(),
        Ok(None) => Json(json!({ "paused": false, "at": null, "by": null, "reason": null })).into_response(),
        Err(failure) => problem::failure(&failure),
    }
}

/// `POST /api/v1/pause {"reason"}`
pub async fn pause(caller: Caller, State(state): State<WebState>, request: Request) -> Response {
    if !caller.reviewer.may_switch() {
        return refused(&state, &SwitchError::NotOperator);
    }
    let reason = body::members(request, &state, &["reason"]).await.and_then(|members| body::text(&members, "reason"));
    let reason = match reason {
        Ok(reason) => reason.unwrap_or_default(),
        Err(malformed) => return malformed.answer(&state),
    };
    match caller.reviewer.pause(&reason).await {
        Ok(taken_back) => Json(json!({ "paused": true, "taken_back": taken_back })).into_response(),
        Err(error) => refused(&state, &error),
    }
}

/// `POST /api/v1/resume`
pub async fn resume(caller: Caller, State(state): State<WebState>) -> Response {
    match caller.reviewer.resume().await {
        Ok(()) => Json(json!({ "paused": false })).into_response(),
        Err(error) => refused(&state, &error),
    }
}

fn refused(state: &WebState, error: &SwitchError) -> Response {
    let status = match error {
        SwitchError::NotOperator => StatusCode::FORBIDDEN,
        SwitchError::Pause(PauseError::Already(_)) => StatusCode::CONFLICT,
        SwitchError::Pause(PauseError::Incomplete(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        SwitchError::Pause(PauseError::Failure(failure)) => return problem::failure(failure),
    };
    problem::problem(state, status, &format!("{}. Nothing was changed.", problem::capital(&error.to_string())))
}
