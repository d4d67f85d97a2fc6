//! The API of contract.md 3: JSON for reviewers' programs, with a bearer API token. It stands on the same handles
//! as the pages, so nobody can do here what they could not do there. Described at `/api/openapi.json`.

mod agents;
mod audit;
mod body;
mod caller;
mod calls;
mod config;
mod decision;
mod events;
mod lift;
mod limits;
mod one_call;
mod openapi;
mod outcome;
mod pause;
mod people;
mod problem;
mod resolution;
mod undo;

pub use problem::{failure, problem};

use super::WebState;
use axum::Router;
use axum::routing::{get, post};

/// Every API route.
pub fn routes() -> Router<WebState> {
    Router::new()
        .route("/api/openapi.json", get(openapi::show))
        .route("/api/v1/calls", get(calls::list))
        .route("/api/v1/calls/{id}", get(one_call::show))
        .route("/api/v1/calls/{id}/decision", post(decision::decide))
        .route("/api/v1/calls/{id}/undo", post(undo::undo))
        .route("/api/v1/calls/{id}/resolution", post(resolution::resolve))
        .route("/api/v1/calls/{id}/lift", post(lift::lift))
        .route("/api/v1/calls/{id}/outcome", get(outcome::show))
        .route("/api/v1/limits", get(limits::list))
        .route("/api/v1/pause", get(pause::show).post(pause::pause))
        .route("/api/v1/resume", post(pause::resume))
        .route("/api/v1/people", get(people::list))
        .route("/api/v1/agents", get(agents::list).post(agents::add))
        .route("/api/v1/agents/{name}/rotate", post(agents::rotate))
        .route("/api/v1/agents/{name}/revoke", post(agents::revoke))
        .route("/api/v1/config", get(config::show))
        .route("/api/v1/audit", get(audit::export))
        .route("/api/v1/events", get(events::stream))
}
