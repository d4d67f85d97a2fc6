//! Agents for operators' scripts: list, add, another token, revoke. A token stands in one answer, once.
//! Auditors read.

use super::super::WebState;
use super::super::office::{self, Refused};
use super::body::{self, Malformed};
use super::caller::Caller;
use crate::gate::agents::{ListedAgent, NewAgent};
use crate::gate::registrar::RegistrarError;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// `GET /api/v1/agents`
pub async fn list(caller: Caller, State(state): State<WebState>) -> Response {
    let now = state.gate.clock().now();
    match caller.reviewer.agents().await {
        Ok(agents) => Json(json!({ "agents": agents.iter().map(|listed| view(listed, now)).collect::<Vec<_>>() })).into_response(),
        Err(error) => Refused::from(error).problem(&state),
    }
}

/// `POST /api/v1/agents {"name","servers"?,"owner"?,"keep_open"?,"expires"?}`
pub async fn add(caller: Caller, State(state): State<WebState>, request: Request) -> Response {
    let registrar = match caller.reviewer.registrar() {
        Ok(registrar) => registrar,
        Err(error) => return Refused::from(error).problem(&state),
    };
    let members = match body::members(request, &state, &["name", "servers", "owner", "keep_open", "expires"]).await {
        Ok(members) => members,
        Err(malformed) => return malformed.answer(&state),
    };
    let new = match new_agent(&members) {
        Ok(Ok(new)) => new,
        Ok(Err(refused)) => return refused.problem(&state),
        Err(malformed) => return malformed.answer(&state),
    };
    let name = new.name.clone();
    match registrar.add_agent(new).await {
        Ok(token) => (StatusCode::CREATED, Json(json!({ "name": name, "token": token }))).into_response(),
        Err(error) => Refused::from(error).problem(&state),
    }
}

/// `POST /api/v1/agents/{name}/rotate`
pub async fn rotate(caller: Caller, State(state): State<WebState>, Path(name): Path<String>) -> Response {
    let rotated = async { caller.reviewer.registrar()?.rotate_agent(&name).await };
    let rotated: Result<String, RegistrarError> = rotated.await;
    match rotated {
        Ok(token) => Json(json!({ "name": name, "token": token })).into_response(),
        Err(error) => Refused::from(error).problem(&state),
    }
}

/// `POST /api/v1/agents/{name}/revoke`
pub async fn revoke(caller: Caller, State(state): State<WebState>, Path(name): Path<String>) -> Response {
    let revoked = async { caller.reviewer.registrar()?.revoke_agent(&name).await };
    let revoked: Result<usize, RegistrarError> = revoked.await;
    match revoked {
        Ok(withdrawn) => Json(json!({ "name": name, "withdrawn": withdrawn })).into_response(),
        Err(error) => Refused::from(error).problem(&state),
    }
}

fn new_agent(members: &Map<String, Value>) -> Result<Result<NewAgent, Refused>, Malformed> {
    let servers = match members.get("servers") {
        None | Some(Value::Null) => Vec::new(),
        Some(servers) => serde_json::from_value(servers.clone()).map_err(|_| Malformed::wrong("servers is a list of texts."))?,
    };
    let (name, owner) = (body::text(members, "name")?.unwrap_or_default(), body::text(members, "owner")?);
    let (keep_open, expires) = (body::text(members, "keep_open")?.unwrap_or_default(), body::text(members, "expires")?.unwrap_or_default());
    let times = office::time(&keep_open).and_then(|keep_open| Ok((keep_open, office::time(&expires)?)));
    Ok(times.map(|(keep_open, expires_in)| NewAgent { name, servers, owner, keep_open, expires_in }))
}

fn view(listed: &ListedAgent, now: Timestamp) -> Value {
    let agent = &listed.agent;
    json!({
        "name": agent.name, "state": agent.state(now), "servers": agent.servers, "owner": agent.owner,
        "keep_open_ms": agent.keep_open.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "added_at": agent.added_at, "expires_at": agent.expires_at, "revoked_at": agent.revoked_at, "used_at": listed.used_at,
        "old_until": agent.old_token.as_ref().filter(|old| now < old.until).map(|old| old.until),
        "open_calls": listed.open,
    })
}
