//! `POST /calls/{id}/decision`: the form of the panel. What counts is the gate's answer; this page only says it
//! in words: who was first, what changed, what is missing.

use super::WebState;
use super::call_page::{Banner, with_banner, with_draft};
use super::call_view::{self, Standing};
use super::edit::Draft;
use super::form::Submitted;
use super::page;
use crate::domain::call::{Call, CallId, Verdict};
use crate::domain::digest::Digest;
use crate::gate::review::{Decide, ReviewError};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

/// The form was sent.
pub async fn decide(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let id = CallId(id);
    let verdict = match form.field("verdict") {
        "approve" => Verdict::Approve,
        "reject" => Verdict::Reject,
        "request_changes" => Verdict::RequestChanges,
        _ => {
            let banner = Banner { title: "Nothing was decided".into(), detail: "The form named no verdict. Choose one of the buttons.".into() };
            return with_banner(&form.by, &state, &id, StatusCode::UNPROCESSABLE_ENTITY, Some(banner), form.field("reason")).await;
        }
    };
    let draft = form.given("edit").filter(|_| verdict == Verdict::Approve).map(|_| Draft::of(&form));
    let arguments = match &draft {
        // Only what the person may see is read for the edit; whoever may not is told so by `decide`.
        Some(draft) => match form.by.reviewer.visible(&id).await.map(|call| draft.edited(&call)) {
            Ok(Ok(text)) => Some(text),
            Ok(Err(why)) => return refused(&state, &form, &id, ReviewError::Incomplete(why)).await,
            Err(error) => return refused(&state, &form, &id, error).await,
        },
        None => None,
    };
    let decide = Decide {
        verdict,
        digest: Digest::claimed(form.field("digest")),
        // A version that is no number is no version that was ever shown.
        version: form.field("version").parse().unwrap_or(0),
        // An approval has no reason on the page: one that was typed and then not used is not told to anybody.
        reason: Some(form.field("reason").to_owned()).filter(|_| verdict != Verdict::Approve),
        arguments,
    };
    match form.by.reviewer.decide(&id, decide).await {
        Ok(listed) => Redirect::to(&format!("/calls/{}", listed.call.id)).into_response(),
        Err(error) => refused(&state, &form, &id, error).await,
    }
}

/// The call's page with a word about why the attempt did not count.
pub async fn refused(state: &WebState, form: &Submitted, id: &CallId, error: ReviewError) -> Response {
    let (status, title, detail) = match error {
        ReviewError::NotFound => return page::no_such_call(state, &form.by).await,
        ReviewError::Failure(failure) => return page::failure(state, Some(&form.by), &failure),
        ReviewError::Settled(listed) => (StatusCode::CONFLICT, first(&listed.call), "Your decision did not count and changed nothing.".to_owned()),
        ReviewError::Stale(_) => {
            let detail = "Your decision did not count. Below is the call as it is now; read it and decide again.";
            (StatusCode::PRECONDITION_FAILED, "It changed after it was shown to you".to_owned(), detail.to_owned())
        }
        ReviewError::NotShown => {
            let detail = "Your decision did not count. Below is the whole call; read it and decide.";
            (StatusCode::PRECONDITION_REQUIRED, "You had not been shown this call".to_owned(), detail.to_owned())
        }
        ReviewError::NotEntitled(why) => (StatusCode::FORBIDDEN, "You may not decide this call".to_owned(), format!("This is because {why}.")),
        ReviewError::Unfit(why) => (StatusCode::UNPROCESSABLE_ENTITY, "This edit cannot be sent".to_owned(), page::sentence(&why)),
        ReviewError::Incomplete(what) => (StatusCode::UNPROCESSABLE_ENTITY, "Nothing was decided yet".to_owned(), page::sentence(what)),
    };
    let banner = Banner { title, detail };
    if form.given("edit").is_some() {
        return with_draft(&form.by, state, id, status, banner, &Draft::of(form)).await;
    }
    with_banner(&form.by, state, id, status, Some(banner), form.typed()).await
}

/// Who or what was first.
fn first(call: &Call) -> String {
    match call_view::decided_by(call) {
        Some(who) => format!("Already {who}"),
        None => format!("This call is already settled: {}", Standing::of(call).label.to_lowercase()),
    }
}
