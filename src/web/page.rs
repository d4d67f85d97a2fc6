//! What all pages share: the frame around them, rendering, and pages that say what went wrong in a fixed
//! sentence with a reference. Used by every page.

use super::notices::Notices;
use super::session::SignedIn;
use super::{WebState, api, assets};
use crate::gate::Failure;
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

/// The frame around a page.
pub struct Frame {
    /// The signed-in person's name and role.
    pub who: Option<(String, &'static str)>,
    /// The form token; empty without a session.
    pub form_token: String,
    /// Which entry of the navigation is the current one.
    pub here: &'static str,
    /// What stands above the page.
    pub notices: Notices,
    /// The server's time, from which countdowns run.
    pub now: String,
    /// The operator allowed unencrypted HTTP from outside.
    pub insecure: bool,
    /// Paraph's version.
    pub version: &'static str,
    /// Addresses of the stylesheet, script and icon, changing with their content.
    pub css: String,
    /// See `css`.
    pub script: String,
    /// See `css`.
    pub icon: String,
}

impl Frame {
    /// The frame for this person with what they are to be told, or for nobody.
    pub async fn new(state: &WebState, by: Option<&SignedIn>, here: &'static str) -> Frame {
        let notices = match by {
            Some(by) => Notices::of(state, by).await,
            None => Notices::default(),
        };
        Frame { notices, ..Frame::bare(state, by, here) }
    }

    /// The frame alone, for when the store does not answer.
    fn bare(state: &WebState, by: Option<&SignedIn>, here: &'static str) -> Frame {
        let person = by.map(|by| by.reviewer.person());
        Frame {
            who: person.map(|person| (person.display().to_owned(), person.role.word())),
            form_token: by.map(SignedIn::form_token).unwrap_or_default(),
            here,
            notices: Notices::default(),
            now: state.gate.clock().now().to_string(),
            insecure: state.settings.insecure_http,
            version: state.settings.version,
            css: assets::address("app.css"),
            script: assets::address("live.js"),
            icon: assets::address("icon.svg"),
        }
    }
}

/// A rendered template with a status.
pub fn html(state: &WebState, status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(body) => (status, [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], body).into_response(),
        Err(error) => {
            let reference = state.gate.reference();
            tracing::error!(reference, cause = %error, "a page could not be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("Paraph could not make this page. Reference {reference}.")).into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    frame: Frame,
    title: &'a str,
    detail: &'a str,
    reference: &'a str,
}

/// A page that says what went wrong and what to do.
pub async fn problem(state: &WebState, by: Option<&SignedIn>, status: StatusCode, title: &str, detail: &str) -> Response {
    let reference = state.gate.reference();
    tracing::debug!(reference, status = status.as_u16(), title, "a page refused something");
    html(state, status, &Problem { frame: Frame::new(state, by, "").await, title, detail, reference: &reference })
}

/// The page for a fault on our side; the log has the cause under the same reference.
pub fn failure(state: &WebState, by: Option<&SignedIn>, failure: &Failure) -> Response {
    let detail = "Paraph could not finish this because of a fault on its side. Nothing was sent by this request. Try again; if it stays, give an operator the reference.";
    let problem = Problem { frame: Frame::bare(state, by, ""), title: "This did not work", detail, reference: &failure.reference };
    html(state, StatusCode::SERVICE_UNAVAILABLE, &problem)
}

/// The page for a call that is not there for this person.
pub async fn no_such_call(state: &WebState, by: &SignedIn) -> Response {
    let detail = "It does not exist, or its rule asks for people of another group.";
    problem(state, Some(by), StatusCode::NOT_FOUND, "There is no such call", detail).await
}

/// The page for a query that its path does not take.
pub async fn wrong_query(state: &WebState, by: &SignedIn) -> Response {
    let detail = "The part of the address after the question mark is not one that a page of Paraph made. Open the page from the navigation.";
    problem(state, Some(by), StatusCode::UNPROCESSABLE_ENTITY, "This cannot be asked this way", detail).await
}

/// Every path that no route takes.
pub async fn not_found(State(state): State<WebState>, uri: Uri) -> Response {
    refusal(&state, &uri, StatusCode::NOT_FOUND, "There is nothing here", "No page has this address.").await
}

/// A known path asked in a way it does not take.
pub async fn wrong_method(State(state): State<WebState>, uri: Uri) -> Response {
    refusal(&state, &uri, StatusCode::METHOD_NOT_ALLOWED, "This cannot be asked this way", "The address is right, the method is not.").await
}

/// A page or a problem document, by what the path belongs to.
pub async fn refusal(state: &WebState, uri: &Uri, status: StatusCode, title: &str, detail: &str) -> Response {
    if uri.path().starts_with("/api/") { api::problem(state, status, detail) } else { problem(state, None, status, title, detail).await }
}

/// Words as a sentence: a capital at its beginning, a full stop at its end.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
