//! `/config`, for operators: when the configuration in force was read, which policies judge, what is wrong in the file
//! as it is now, what waits for a restart. Reads only; a configuration is changed in its file.

use super::WebState;
use super::moment::Moment;
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::config::Mistake;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

/// One mistake: where, and what to do.
struct Line {
    place: Shown,
    key: Shown,
    problem: Shown,
    mend: Shown,
}

#[derive(Template)]
#[template(path = "config.html")]
struct Page {
    frame: Frame,
    loaded: Option<Moment>,
    mistakes: Vec<Line>,
    waiting: Vec<Line>,
    /// Servers and the digests of their policies.
    policies: Vec<(String, String)>,
}

/// `GET /config`
pub async fn show(by: SignedIn, State(state): State<WebState>) -> Response {
    if !by.reviewer.may_switch() {
        let detail = "Only an operator may see how the configuration stands.";
        return page::problem(&state, Some(&by), StatusCode::FORBIDDEN, "This is for operators", detail).await;
    }
    let (reading, now) = (state.settings.standing.now(), state.gate.clock().now());
    let policies = state.gate.settings().servers.iter().map(|(name, server)| (name.clone(), server.digest().to_string())).collect();
    let page = Page {
        frame: Frame::new(&state, Some(&by), "config").await,
        loaded: reading.loaded_at.map(|at| Moment::new(at, now)),
        mistakes: reading.refused.iter().flat_map(|refused| &refused.mistakes).map(line).collect(),
        waiting: reading.needs_restart.iter().map(line).collect(),
        policies,
    };
    page::html(&state, StatusCode::OK, &page)
}

fn line(mistake: &Mistake) -> Line {
    let place = if mistake.line == 0 { mistake.file.clone() } else { format!("{}:{}", mistake.file, mistake.line) };
    Line {
        place: Shown::new(&place),
        key: Shown::new(&mistake.key),
        problem: Shown::new(&page::sentence(mistake.problem.trim_end_matches('.')).replace("?.", "?")),
        mend: Shown::new(&mistake.mend),
    }
}
