//! How the configuration stands, for operators' scripts: which policies judge, and whether the file is in force.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::config::Mistake;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

/// `GET /api/v1/config`
pub async fn show(caller: Caller, State(state): State<WebState>) -> Response {
    if !caller.reviewer.may_switch() {
        return problem::problem(&state, StatusCode::FORBIDDEN, "Only an operator may see how the configuration stands.");
    }
    let (reading, settings) = (state.settings.standing.now(), state.gate.settings());
    let digests: Map<String, Value> = settings.servers.iter().map(|(name, server)| (name.clone(), json!(server.digest()))).collect();
    let mistakes: Vec<Value> = reading.refused.iter().flat_map(|refused| &refused.mistakes).map(view).collect();
    let needs_restart: Vec<Value> = reading.needs_restart.iter().map(view).collect();
    let refused_since = reading.refused.as_ref().map(|refused| refused.since);
    Json(json!({
        "loaded_at": reading.loaded_at, "digests": digests,
        "refused_since": refused_since, "mistakes": mistakes, "needs_restart": needs_restart,
    }))
    .into_response()
}

fn view(mistake: &Mistake) -> Value {
    let line = (mistake.line > 0).then_some(mistake.line);
    json!({ "file": mistake.file, "line": line, "key": mistake.key, "problem": mistake.problem, "mend": mistake.mend })
}
