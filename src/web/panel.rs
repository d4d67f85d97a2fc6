//! The decision side of a call: the form while it is held, who and when and what became of it afterwards.
//! The page and the live update print the same template, so a card that somebody else decided is replaced in
//! place and never vanishes.

use super::WebState;
use super::before::{Around, Before};
use super::call_view::{self, Standing};
use super::moment::Moment;
use super::notices;
use super::page;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::call::{Call, CallId, Decision, OutcomeKind, State};
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
    /// Of the record, with the agent's presence and the kill switch: how the script knows that a panel is old.
    pub revision: String,
    /// Named by the form.
    pub version: u64,
    /// Named by the form.
    pub digest: String,
    /// Session's form token.
    pub form_token: String,
    /// Where it stands.
    pub standing: Standing,
    /// What each choice does, while it is held.
    pub before: Option<Before>,
    /// The form is shown.
    pub open: bool,
    /// Why there is no form although a person is asked.
    pub barred: Option<String>,
    /// The rule that refuses it by now.
    pub refused_now: Option<String>,
    /// The reader has approved already and others are needed.
    pub approved_by_reader: bool,
    /// Approvals there are.
    pub approvals: usize,
    /// Approvals needed.
    pub needed: u32,
    /// When an approved call leaves.
    pub soon: Option<Soon>,
    /// Approval can still be taken back.
    pub undoable: bool,
    /// Nobody knows whether it left: why.
    pub unknown: Option<Shown>,
    /// The form for what somebody found out is shown.
    pub resolvable: bool,
    /// The call is a message.
    pub message: bool,
    /// What became of it.
    pub ending: Option<Shown>,
    /// When that was.
    pub settled: Option<Moment>,
    /// What somebody found out.
    pub told: Option<Found>,
    /// Everybody's words.
    pub decisions: Vec<DecisionLine>,
    /// The server's answer.
    pub outcome: Option<Shown>,
    /// A reason that was typed before a refusal.
    pub typed: String,
}

/// What an approved call waits for.
pub struct Soon {
    /// Before the time.
    pub lead: String,
    /// The time.
    pub at: Moment,
    /// The time is near and counts down.
    pub counts: bool,
    /// What cannot leave until then lapses; `None` where the time says so already.
    pub latest: Option<Moment>,
}

/// What a person found out about an unconfirmed call.
pub struct Found {
    /// Who.
    pub by: String,
    /// It was sent.
    pub sent: bool,
    /// In their words.
    pub note: Option<Shown>,
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
    pub reason: Option<Shown>,
    /// Taken back since.
    pub void: bool,
}

impl Panel {
    /// The panel of a call for this reader.
    pub async fn new(state: &WebState, by: &SignedIn, listed: &Listed, typed: &str) -> Panel {
        let (call, now) = (&listed.call, state.gate.clock().now());
        let reader = &by.reviewer.person().email;
        let paused = notices::switch(state).await.stopped.is_some();
        // Without it the page would only say less: the gate holds the limit all the same.
        let limited = by.reviewer.leaves_at(call).await.unwrap_or_default();
        let full = limited.as_ref().map_or_else(String::new, |limited| format!("-{}", limited.until.as_millisecond()));
        let around = Around { limited, paused, refuse_again_for: state.gate.settings().hold.refuse_again_for };
        let entitled = by.reviewer.entitled(call).await;
        let before = if let State::Held { expires_at } = call.state { Some(Before::new(listed, expires_at, &around, now)) } else { None };
        let unknown = if let State::Unconfirmed { why, .. } = &call.state { Some(Shown::new(why.trim_end_matches('.'))) } else { None };
        let asked = before.is_some() || unknown.is_some();
        Panel {
            id: call.id.to_string(),
            revision: format!("{}-{}{}{full}", call.look(), listed.presence.word(), if paused { "-paused" } else { "" }),
            version: call.version,
            digest: call.digest.to_string(),
            form_token: by.form_token(),
            standing: Standing::of(call),
            open: before.is_some() && entitled.is_ok(),
            approved_by_reader: before.is_some() && call.approved_by().any(|who| who == reader),
            approvals: call.approved_by().count(),
            needed: call.approvals,
            soon: soon(call, paused, now),
            undoable: matches!(call.state, State::Approved { .. }) && entitled.is_ok(),
            resolvable: unknown.is_some() && entitled.is_ok(),
            refused_now: by.reviewer.refused_now(call).await,
            barred: entitled.err().filter(|_| asked).map(|error| error.to_string()),
            before,
            unknown,
            message: call.message.is_some(),
            ending: call_view::ending(call).map(|words| Shown::new(&words)),
            settled: call.state.settled_at().map(|at| Moment::new(at, now)),
            told: found(call),
            decisions: call.decisions.iter().map(|d| DecisionLine::new(d, now)).collect(),
            outcome: came_back(call),
            typed: typed.to_owned(),
        }
    }
}

/// When an approved call leaves, or what keeps it.
fn soon(call: &Call, paused: bool, now: Timestamp) -> Option<Soon> {
    let State::Approved { release_at, send_by, tries, .. } = &call.state else { return None };
    let (leaves, lapses) = (Moment::new(*release_at, now), Moment::new(*send_by, now));
    let soon = |lead: &str, at: Moment, counts: bool, latest: Option<Moment>| Some(Soon { lead: lead.to_owned(), at, counts, latest });
    if call.cancelled {
        soon("The agent took its request back. Nothing goes out unless it asks for the same again; the permit ends", lapses, false, None)
    } else if paused {
        soon("Paraph is paused. It goes out once an operator resumes, unless that is after", lapses, false, None)
    } else if *tries > 0 && call.waits_for.is_none() {
        soon("The server could not be reached and nothing left. The next try is", leaves, true, Some(lapses))
    } else if let Some(limit) = &call.waits_for {
        if release_at >= send_by {
            soon(&format!("The limit {limit} has no room for it in time. It lapses"), lapses, false, None)
        } else {
            soon(&format!("It waits for the limit {limit} and goes out"), leaves, true, Some(lapses))
        }
    } else {
        soon("It goes out", leaves, true, Some(lapses))
    }
}

fn found(call: &Call) -> Option<Found> {
    let State::Answered { outcome, .. } = &call.state else { return None };
    let told = outcome.as_told()?;
    Some(Found { by: told.by, sent: told.sent, note: told.note.as_deref().map(Shown::new) })
}

/// What a person told is said in words, and an erased answer is none.
fn came_back(call: &Call) -> Option<Shown> {
    match &call.state {
        State::Answered { outcome, .. } if outcome.kind != OutcomeKind::Told && call.erased_at.is_none() => Some(call_view::readable(&outcome.body)),
        State::Answered { .. }
        | State::Held { .. }
        | State::Approved { .. }
        | State::Sending { .. }
        | State::Rejected { .. }
        | State::ChangesRequested { .. }
        | State::Expired { .. }
        | State::Withdrawn { .. }
        | State::Lapsed { .. }
        | State::Unconfirmed { .. } => None,
    }
}

impl DecisionLine {
    fn new(decision: &Decision, now: Timestamp) -> DecisionLine {
        DecisionLine {
            by: decision.by.clone(),
            did: call_view::past(decision.verdict),
            via: decision.via.word(),
            at: Moment::new(decision.at, now),
            reason: decision.reason.as_deref().map(Shown::new),
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
        Ok(listed) => page::html(&state, StatusCode::OK, &PanelTemplate { panel: Panel::new(&state, &by, &listed, "").await }),
        Err(ReviewError::Failure(failure)) => page::failure(&state, Some(&by), &failure),
        Err(_) => page::no_such_call(&state, &by).await,
    }
}
