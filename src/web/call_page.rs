//! `/calls/{id}`: one call, whole. The message as its recipient will see it, with hidden characters made
//! visible; every other argument; the raw call; what belongs to it; and the panel to decide. Serving it is what
//! `view` records.

use super::WebState;
use super::call_view::{self, Argument, MessageView};
use super::context::Context;
use super::edit::{Difference, Draft, EditForm};
use super::masked::{self, MaskLine};
use super::moment::Moment;
use super::page::{self, Frame};
use super::panel::Panel;
use super::session::SignedIn;
use super::shown::{Mark, Shown};
use crate::domain::call::{CallId, State as CallState};
use crate::domain::policy::Action;
use crate::gate::review::ReviewError;
use crate::gate::{Failure, Listed};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;

#[derive(Template)]
#[template(path = "call.html")]
struct CallTemplate {
    frame: Frame,
    banner: Option<Banner>,
    panel: Panel,
    context: Context,
    id: String,
    title: Shown,
    message: Option<MessageView>,
    others: Vec<Argument>,
    masks: Vec<MaskLine>,
    raw: Shown,
    legend: Vec<Mark>,
    agent: String,
    /// Whose agent it is.
    owner: Option<Shown>,
    server: String,
    tool: Shown,
    rule: String,
    reason: Option<String>,
    /// Shadow rules that matched too, and what they would have made of the call.
    shadows: Vec<(String, &'static str)>,
    reviewers: Vec<String>,
    digest: String,
    short_digest: String,
    meta_dropped: bool,
    unchecked: Option<Shown>,
    edit: Option<EditForm>,
    difference: Option<Difference>,
    held: Moment,
    views: Vec<(String, Moment)>,
}

/// What happened to the reader's own attempt.
pub struct Banner {
    /// In a few words.
    pub title: String,
    /// What to do.
    pub detail: String,
}

/// `GET /calls/{id}`; an answer to HEAD carries no text, so it is no view.
pub async fn show(by: SignedIn, State(state): State<WebState>, method: Method, Path(id): Path<String>) -> Response {
    let id = CallId(id);
    let found = if method == Method::HEAD { by.reviewer.look(&id).await } else { by.reviewer.read(&id).await };
    answer(&by, &state, found, StatusCode::OK, None, Typed { reason: "", draft: None }).await
}

/// The page of a call, served whole, with a word about what the reader just tried.
pub async fn with_banner(by: &SignedIn, state: &WebState, id: &CallId, status: StatusCode, banner: Option<Banner>, typed: &str) -> Response {
    answer(by, state, by.reviewer.read(id).await, status, banner, Typed { reason: typed, draft: None }).await
}

/// The same after a refused edit, with what the reader had written.
pub async fn with_draft(by: &SignedIn, state: &WebState, id: &CallId, status: StatusCode, banner: Banner, draft: &Draft) -> Response {
    answer(by, state, by.reviewer.read(id).await, status, Some(banner), Typed { reason: "", draft: Some(draft) }).await
}

/// What the reader had typed before a refusal.
#[derive(Clone, Copy)]
struct Typed<'a> {
    reason: &'a str,
    draft: Option<&'a Draft>,
}

async fn answer(by: &SignedIn, state: &WebState, found: Result<Listed, ReviewError>, status: StatusCode, banner: Option<Banner>, typed: Typed<'_>) -> Response {
    match found {
        Ok(listed) => match template(by, state, &listed, banner, typed).await {
            Ok(template) => page::html(state, status, &template),
            Err(failure) => page::failure(state, Some(by), &failure),
        },
        Err(ReviewError::Failure(failure)) => page::failure(state, Some(by), &failure),
        Err(_) => page::no_such_call(state, by).await,
    }
}

fn would_be(action: Action) -> &'static str {
    match action {
        Action::Allow => "allowed",
        Action::Deny => "denied",
        Action::RequireApproval => "held",
        Action::Hide => "hidden",
    }
}

async fn template(by: &SignedIn, state: &WebState, listed: &Listed, banner: Option<Banner>, typed: Typed<'_>) -> Result<CallTemplate, Failure> {
    let (call, now) = (&listed.call, state.gate.clock().now());
    let raw = call_view::raw(call);
    let title = Shown::new(call.message.as_ref().map_or(&call.tool, |message| &message.to));
    let panel = Panel::new(state, by, listed, typed.reason).await;
    Ok(CallTemplate {
        frame: Frame::new(state, Some(by), if matches!(call.state, CallState::Unconfirmed { .. }) { "unknown" } else { "call" }).await,
        banner,
        edit: if panel.open { EditForm::of(call, typed.draft) } else { None },
        difference: Difference::of(call),
        unchecked: call.unchecked.as_deref().map(Shown::new),
        panel,
        context: Context::of(state, by, call).await?,
        id: call.id.to_string(),
        title,
        message: call_view::message(listed),
        others: call_view::other_arguments(call),
        masks: masked::lines(&by.reviewer, listed).await?,
        legend: raw.legend(),
        raw,
        agent: call.agent.clone(),
        owner: by.reviewer.owner_of(&call.agent).await?.as_deref().map(Shown::new),
        server: call.server.clone(),
        tool: Shown::new(&call.tool),
        rule: call.rule.clone(),
        reason: call.reason.clone(),
        shadows: call.shadows.iter().map(|shadow| (shadow.rule.clone(), would_be(shadow.action))).collect(),
        reviewers: call.reviewers.clone(),
        digest: call.digest.to_string(),
        short_digest: call.digest.words(),
        meta_dropped: call.meta_dropped,
        held: Moment::new(call.held_at, now),
        views: call.views.iter().map(|view| (view.by.clone(), Moment::new(view.at, now))).collect(),
    })
}
