//! One call as a row of the list: recipient, agent, how it begins, the rule as the one-word why, the time that
//! matters. The page and the live update print the same template.

use super::WebState;
use super::call_view::{self, Standing};
use super::moment::Moment;
use super::page;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::call::{CallId, Presence, State};
use crate::domain::people::Role;
use crate::gate::Listed;
use crate::gate::review::ReviewError;
use askama::Template;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

/// What a row shows.
#[derive(Debug)]
pub struct Row {
    /// For the link.
    pub id: String,
    /// Changes with every write and with the agent's presence: how the script knows that a row is old.
    pub revision: String,
    /// Recipient, or the tool's name.
    pub title: Shown,
    /// The beginning of the text, or of the arguments.
    pub line: Shown,
    /// Where it stands.
    pub standing: Standing,
    /// Who asked.
    pub agent: String,
    /// Which server and tool.
    pub tool: Shown,
    /// Why a person is asked.
    pub rule: String,
    /// "waiting", "gone" or "took it back"; only while open.
    pub agent_is: Option<&'static str>,
    /// When it expires, leaves, ends as a permit, or was settled.
    pub when: Option<Moment>,
    /// What that time is.
    pub when_is: &'static str,
    /// The time is near and counts down.
    pub counts: bool,
    /// The form token, when the reader may take the approval back.
    pub undo: Option<String>,
    /// Who settled it, when a person did.
    pub by: Option<String>,
}

impl Row {
    /// How a call looks in the list.
    pub fn new(by: &SignedIn, listed: &Listed, now: Timestamp) -> Row {
        let call = &listed.call;
        let (title, line) = match &call.message {
            Some(message) => (Shown::new(&message.to), Shown::beginning(&message.text)),
            None => (Shown::new(&call.tool), Shown::beginning(&call.arguments)),
        };
        let agent_is = match (call.state.settled_at(), listed.presence) {
            (Some(_), _) => None,
            (None, Presence::Waiting) => Some("is waiting"),
            (None, Presence::Gone) => Some("has gone"),
            (None, Presence::Cancelled) => Some("took it back"),
        };
        let approved = matches!(call.state, State::Approved { .. });
        let (when, when_is) = match &call.state {
            State::Held { expires_at } => (Some(*expires_at), "expires"),
            State::Approved { send_by, .. } if call.cancelled => (Some(*send_by), "permit ends"),
            State::Approved { release_at, .. } => (Some(*release_at), "leaves"),
            State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => (call.state.settled_at(), ""),
        };
        Row {
            id: call.id.to_string(),
            revision: format!("{}-{}", call.look(), listed.presence.word()),
            title,
            line,
            standing: Standing::of(call),
            agent: call.agent.clone(),
            tool: Shown::new(&format!("{} \u{b7} {}", call.server, call.tool)),
            rule: call.rule.clone(),
            agent_is,
            when: when.map(|at| Moment::new(at, now)),
            when_is,
            counts: approved && !call.cancelled,
            undo: (approved && by.reviewer.person().role != Role::Auditor).then(|| by.form_token()),
            by: call_view::decided_by(call),
        }
    }
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowTemplate {
    row: Row,
}

/// `GET /calls/{id}/row`: what the live update puts in an old row's place. Reads nothing as seen.
pub async fn show(by: SignedIn, Shared(state): Shared<WebState>, Path(id): Path<String>) -> Response {
    match by.reviewer.look(&CallId(id)).await {
        Ok(listed) => page::html(&state, StatusCode::OK, &RowTemplate { row: Row::new(&by, &listed, state.gate.clock().now()) }),
        Err(ReviewError::Failure(failure)) => page::failure(&state, Some(&by), &failure),
        Err(_) => page::no_such_call(&state, &by).await,
    }
}
