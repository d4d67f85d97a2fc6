//! `GET /api/v1/limits`: every limit of the config, and a page of what is used of their counters. Amounts are numbers
//! as the config writes them. A reviewer is not shown what counts by the value of an argument.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::domain::limit::ONE;
use crate::gate::limits::Usage;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Counters on a page when nothing is said, and at most.
const COUNTERS: (usize, usize) = (50, 200);

/// The query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Lists.
pub async fn list(caller: Caller, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let limit = |wanted: &Wanted| wanted.limit.unwrap_or(COUNTERS.0);
    let Some(Query(wanted)) = wanted.ok().filter(|wanted| (1..=COUNTERS.1).contains(&limit(wanted))) else {
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, "The query may have limit (1 to 200) and cursor, once each.");
    };
    let limits: Vec<Value> = caller.reviewer.limits().into_iter().map(|(server, limit)| {
        json!({ "server": server, "name": limit.name, "counter": limit.counter, "window_ms": u64::try_from(limit.window.as_millis()).unwrap_or(u64::MAX), "max": limit.max, "scope": limit.scope, "argument": limit.argument })
    }).collect();
    match caller.reviewer.usage(None, wanted.cursor.as_deref(), limit(&wanted)).await {
        Ok(used) => {
            let counters: Vec<Value> = used.counters.iter().map(counter).collect();
            Json(json!({ "limits": limits, "counters": counters, "next": used.next })).into_response()
        }
        Err(failure) => problem::failure(&failure),
    }
}

fn counter(usage: &Usage) -> Value {
    let (counter, label) = (&usage.counter, &usage.counter.label);
    json!({
        "server": label.server, "counter": label.counter, "scope": label.scope, "value": label.value.strip_prefix("text ").unwrap_or(&label.value),
        "window_ms": u64::try_from(counter.window.as_millis()).unwrap_or(u64::MAX), "max": amount(counter.max),
        "asked": amount(usage.asked), "sent": amount(usage.sent), "next_place_at": usage.room_at,
    })
}

/// A whole number wherever it is one.
#[expect(clippy::cast_precision_loss, reason = "at most 100,000 with six places, which a double holds")]
fn amount(millionths: u64) -> Value {
    if millionths.is_multiple_of(ONE) { json!(millionths / ONE) } else { json!(millionths as f64 / ONE as f64) }
}
