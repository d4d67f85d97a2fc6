//! `GET /api/v1/people`: everybody with their rights, for operators' and auditors' scripts. Never what would let
//! somebody in.

use super::super::WebState;
use super::super::office::Refused;
use super::caller::Caller;
use crate::gate::people::ListedPerson;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

/// `GET /api/v1/people`
pub async fn list(caller: Caller, State(state): State<WebState>) -> Response {
    match caller.reviewer.people().await {
        Ok(people) => Json(json!({ "people": people.iter().map(view).collect::<Vec<_>>() })).into_response(),
        Err(error) => Refused::from(error).problem(&state),
    }
}

fn view(listed: &ListedPerson) -> Value {
    let person = &listed.person;
    json!({
        "email": person.email, "name": person.name, "role": person.role.word(), "groups": person.groups,
        "state": if person.disabled_at.is_some() { "disabled" } else { "active" },
        "added_at": person.added_at, "disabled_at": person.disabled_at, "seen_at": listed.seen_at,
        "sessions": listed.sessions, "tokens": listed.tokens.len(),
    })
}
