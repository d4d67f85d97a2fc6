//! `/pause`: the kill switch for operators. The page says what it does before it is turned, and how many
//! approvals it would take back; everybody else reads how it stands above every page.

use super::WebState;
use super::call_page::Banner;
use super::form::Submitted;
use super::page::{self, Frame};
use super::session::SignedIn;
use crate::gate::pause::{MAX_REASON, PauseError};
use crate::gate::switch::SwitchError;
use crate::gate::{Failure, Query};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

/// More approvals than this are shown as "100 or more".
const COUNTED: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Wanted {
    taken: Option<usize>,
}

#[derive(Template)]
#[template(path = "pause.html")]
struct Switch {
    frame: Frame,
    banner: Option<Banner>,
    paused: bool,
    /// Approved and not yet sent: what a pause takes back, or without permits what a resumption lets out.
    approved: usize,
    /// There may be more than were counted.
    more: bool,
    /// Taken back by the pause that led here.
    taken: Option<usize>,
    typed: String,
    most: usize,
}

/// `GET /pause`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Parameters<Wanted>, QueryRejection>) -> Response {
    if !by.reviewer.may_switch() {
        return not_operator(&state, &by).await;
    }
    let Ok(Parameters(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    answer(&state, &by, StatusCode::OK, None, wanted.taken, "").await
}

/// `POST /pause`
pub async fn pause(State(state): State<WebState>, form: Submitted) -> Response {
    match form.by.reviewer.pause(form.field("reason")).await {
        Ok(taken_back) => Redirect::to(&format!("/pause?taken={taken_back}")).into_response(),
        Err(error) => refused(&state, &form, error).await,
    }
}

/// `POST /resume`
pub async fn resume(State(state): State<WebState>, form: Submitted) -> Response {
    match form.by.reviewer.resume().await {
        Ok(()) => Redirect::to("/pause").into_response(),
        Err(error) => refused(&state, &form, error).await,
    }
}

async fn refused(state: &WebState, form: &Submitted, error: SwitchError) -> Response {
    let (status, detail) = match error {
        SwitchError::NotOperator => return not_operator(state, &form.by).await,
        SwitchError::Pause(PauseError::Failure(failure)) => return page::failure(state, Some(&form.by), &failure),
        SwitchError::Pause(PauseError::Already(what)) => (StatusCode::CONFLICT, what),
        SwitchError::Pause(PauseError::Incomplete(what)) => (StatusCode::UNPROCESSABLE_ENTITY, what),
    };
    let banner = Banner { title: "Nothing was changed".into(), detail: page::sentence(detail) };
    answer(state, &form.by, status, Some(banner), None, form.field("reason")).await
}

async fn not_operator(state: &WebState, by: &SignedIn) -> Response {
    let detail = "Only an operator may pause and resume. Nothing was changed.";
    page::problem(state, Some(by), StatusCode::FORBIDDEN, "This is for operators", detail).await
}

async fn answer(state: &WebState, by: &SignedIn, status: StatusCode, banner: Option<Banner>, taken: Option<usize>, typed: &str) -> Response {
    match switch(state, by, banner, taken, typed).await {
        Ok(switch) => page::html(state, status, &switch),
        Err(failure) => page::failure(state, Some(by), &failure),
    }
}

async fn switch(state: &WebState, by: &SignedIn, banner: Option<Banner>, taken: Option<usize>, typed: &str) -> Result<Switch, Failure> {
    let stopped = state.gate.pause_record().await?.stopped;
    let query = Query { states: vec!["approved".to_owned()], limit: COUNTED, ..Query::default() };
    let approved = by.reviewer.calls(query).await?;
    Ok(Switch {
        frame: Frame::new(state, Some(by), "pause").await,
        banner,
        taken: taken.filter(|_| stopped.is_some()),
        paused: stopped.is_some(),
        approved: approved.calls.iter().filter(|call| stopped.is_none() || !call.is_permit()).count(),
        more: approved.next.is_some(),
        typed: typed.to_owned(),
        most: MAX_REASON,
    })
}
