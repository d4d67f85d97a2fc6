//! `POST /calls/{id}/resolution`: somebody looked at the other side and says whether an unconfirmed call was
//! sent. The two answers are buttons of one form, so it works without a script.

use super::WebState;
use super::call_page::{Banner, with_banner};
use super::decision::refused;
use super::form::Submitted;
use crate::domain::call::CallId;
use crate::gate::resolve::Resolution;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

/// The form was sent.
pub async fn resolve(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let id = CallId(id);
    let sent = match form.field("sent") {
        "yes" => true,
        "no" => false,
        _ => {
            let banner = Banner { title: "Nothing was changed".into(), detail: "The form did not say whether it was sent. Choose one of the two.".into() };
            return with_banner(&form.by, &state, &id, StatusCode::UNPROCESSABLE_ENTITY, Some(banner), form.field("note")).await;
        }
    };
    // A version that is no number is no version that was ever shown.
    let resolution = Resolution { sent, version: form.field("version").parse().unwrap_or(0), note: Some(form.field("note").to_owned()) };
    match form.by.reviewer.resolve(&id, resolution).await {
        Ok(listed) => Redirect::to(&format!("/calls/{}", listed.call.id)).into_response(),
        Err(error) => refused(&state, &form, &id, error).await,
    }
}
