//! The decision side of a call: the form while it is held, who and when and what became of it afterwards.
//! The page and the live update print the same template, so a card that somebody else decided is replaced in
//! place and never vanishes.

use super::WebState;
use super::call_view::{self, Standing};
use super::moment::Moment;
use super::page;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::call::{CallId, State};
use crate::gate::Listed;
use crate::gate::review::ReviewError;
use askama::Template;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

/// What the panel shows.
pub struct Panel {
    /// For the form's address.
    pub id: String,
    /// Of the record.
    pub revision: u64,
    /// Named by the form.
    pub version: u64,
    /// Named by the form.
    pub digest: String,
    /// Session's form token.
    pub form_token: String,
    /// Where it stands.
    pub standing: Standing,
    /// The form is shown.
    pub open: bool,
    /// Why there is no form although it is open.
    pub barred: Option<String>,
    /// The reader has approved already and others are needed.
    pub approved_by_reader: bool,
    /// Approvals there are.
    pub approvals: usize,
    /// Approvals needed.
    pub needed: u32,
    /// Approval can still be taken back.
    pub undoable: bool,
    /// What became of it.
    pub ending: Option<String>,
    /// When that was.
    pub settled: Option<Moment>,
    /// From then on nobody's decision counts.
    pub expires: Option<Moment>,
    /// What the agent is doing.
    pub agent_is: &'static str,
    /// What an approval does.
    pub on_approval: String,
    /// Everybody's words.
    pub decisions: Vec<DecisionLine>,
    /// The server's answer.
    pub outcome: Option<Shown>,
    /// A reason that was typed before a refusal.
    pub typed: String,
}

/// One decision.
pub struct DecisionLine {
    /// Who.
    pub by: String,
    /// What.
    pub did: &'static str,
    /// Over which way.
    pub via: &'static str,
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: Option<String>,
    /// Taken back since.
    pub void: bool,
}

impl Panel {
    /// The panel of a call for this reader.
    pub async fn new(by: &SignedIn, listed: &Listed, now: Timestamp, typed: &str) -> Panel {
        let call = &listed.call;
        let reader = &by.reviewer.person().email;
        let undecided = matches!(call.state, State::Held { .. });
        let barred = if undecided { by.reviewer.entitled(call).await.err().map(|error| error.to_string()) } else { None };
        let approved_by_reader = undecided && call.approved_by().any(|who| who == reader);
        let (agent_is, on_approval) = call_view::on_approval(listed);
        Panel {
            id: call.id.to_string(),
            revision: call.revision,
            version: call.version,
            digest: call.digest.to_string(),
            form_token: by.form_token(),
            standing: Standing::of(call),
            open: undecided && barred.is_none(),
            barred,
            approved_by_reader,
            approvals: call.approved_by().count(),
            needed: call.approvals,
            undoable: matches!(call.state, State::Approved { .. }) && by.reviewer.entitled(call).await.is_ok(),
            ending: call_view::ending(call, now),
            settled: call.state.settled_at().map(|at| Moment::new(at, now)),
            expires: if let State::Held { expires_at } = call.state { Some(Moment::new(expires_at, now)) } else { None },
            agent_is,
            on_approval,
            decisions: call.decisions.iter().map(|d| DecisionLine::new(d, now)).collect(),
            outcome: if let State::Answered { outcome, .. } = &call.state { Some(call_view::readable(&outcome.body)) } else { None },
            typed: typed.to_owned(),
        }
    }
}

impl DecisionLine {
    fn new(decision: &crate::domain::call::Decision, now: Timestamp) -> DecisionLine {
        DecisionLine {
            by: decision.by.clone(),
            did: call_view::past(decision.verdict),
            via: decision.via.word(),
            at: Moment::new(decision.at, now),
            reason: decision.reason.clone(),
            void: decision.void,
        }
    }
}

#[derive(Template)]
#[template(path = "panel.html")]
struct PanelTemplate {
    panel: Panel,
}

/// `GET /calls/{id}/panel`: what the live update puts in an old panel's place. Records no view: it has no text.
pub async fn show(by: SignedIn, Shared(state): Shared<WebState>, Path(id): Path<String>) -> Response {
    match by.reviewer.look(&CallId(id)).await {
        Ok(listed) => {
            let panel = Panel::new(&by, &listed, state.gate.clock().now(), "").await;
            page::html(&state, StatusCode::OK, &PanelTemplate { panel })
        }
        Err(ReviewError::Failure(failure)) => page::failure(&state, Some(&by), &failure),
        Err(_) => page::no_such_call(&state, &by),
    }
}
