//! `GET /api/v1/calls`: a page of calls, newest first, without marking anything as read.
//! Secrets in their arguments are masked before they come here. A route of `api`.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::gate::{Listed, Query};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Calls on a page when nothing is said, and at most.
const LIMITS: (usize, usize) = (50, 200);

const STATES: [&str; 10] = ["held", "approved", "sending", "answered", "rejected", "changes_requested", "expired", "withdrawn", "lapsed", "unconfirmed"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    agent: String,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists.
pub async fn list(caller: Caller, State(state): State<WebState>, wanted: Result<Parameters<Wanted>, QueryRejection>) -> Response {
    let Ok(Parameters(wanted)) = wanted else {
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, "The query may have state, server, agent, limit (1 to 200) and cursor, once each.");
    };
    let states: Vec<String> = wanted.state.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if let Some(unknown) = states.iter().find(|word| !STATES.contains(&word.as_str())) {
        let known = STATES.join(", ");
        let shown: String = unknown.chars().take(40).collect();
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, &format!("There is no state {shown:?}. The states are {known}."));
    }
    let limit = wanted.limit.unwrap_or(LIMITS.0);
    if limit == 0 || limit > LIMITS.1 {
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, "limit is a number from 1 to 200.");
    }
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let query = Query { states, server: some(wanted.server), agent: some(wanted.agent), newest_first: true, limit, cursor: wanted.cursor, ..Query::default() };
    if !query.has_a_start() {
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, "cursor is what the page before had under next, unchanged.");
    }
    match caller.reviewer.calls(query).await {
        Ok(page) => {
            let calls: Vec<Value> =
                page.calls.into_iter().map(|call| Listed { presence: state.gate.presence(&call), call, masks: Vec::new() }.to_json()).collect();
            Json(json!({ "calls": calls, "next": page.next })).into_response()
        }
        Err(failure) => problem::failure(&failure),
    }
}
