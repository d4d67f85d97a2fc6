//! "Look again", pushed to open pages and to the API as server-sent events. An event names a call and its state
//! and nothing else; the receiver reads the rest with its own rights. A stream asks at every event, and once a
//! minute, whether its person may still be there; it ends when they may not and when the process goes down.

use super::WebState;
use super::page;
use super::session::SignedIn;
use crate::domain::call::{CallId, State as CallState};
use crate::gate::{Hint, Reviewer};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

/// How often a silent stream asks whether its person may still be there.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How often a comment keeps proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a stream was opened with.
pub enum Credential {
    /// A session cookie.
    Session(String),
    /// An API token.
    Token(String),
}

/// `GET /live`: for open pages.
pub async fn stream(by: SignedIn, State(state): State<WebState>) -> Response {
    match open(&state, Credential::Session(by.secret.clone())) {
        Some(response) => response,
        None => {
            let detail = "The page works without live updates; load it again to see what is new. An operator can raise bounds.live_pages.";
            let mut response = page::problem(&state, Some(&by), StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open", detail);
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("30"));
            response
        }
    }
}

/// Opens a stream; `None` when there are too many.
pub fn open(state: &WebState, credential: Credential) -> Option<Response> {
    let permit = state.streams.clone().try_acquire_owned().ok()?;
    // The hints are subscribed to before the first event tells the receiver to look, so nothing is missed.
    let feed = Feed { state: state.clone(), credential, hints: state.gate.watch(), greeted: false, _permit: permit };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<Event, Infallible>(event), feed))
    });
    Some(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Feed {
    state: WebState,
    credential: Credential,
    hints: broadcast::Receiver<Hint>,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(look_at_everything());
        }
        let draining = self.state.gate.draining();
        loop {
            let hint = tokio::select! {
                () = draining.cancelled() => return None,
                hint = self.hints.recv() => Some(hint),
                () = tokio::time::sleep(ASK_AGAIN) => None,
            };
            let reviewer = self.reviewer().await?;
            match hint {
                None => {}
                Some(Ok(Hint { call: Some(id) })) => {
                    if let Some(event) = about(&reviewer, &id).await {
                        return Some(event);
                    }
                }
                Some(Ok(Hint { call: None })) => {}
                Some(Err(broadcast::error::RecvError::Lagged(_))) => return Some(look_at_everything()),
                Some(Err(broadcast::error::RecvError::Closed)) => return None,
            }
        }
    }

    /// The person, if they may still be there.
    async fn reviewer(&self) -> Option<Reviewer> {
        let gate = &self.state.gate;
        let found = match &self.credential {
            Credential::Session(secret) => gate.by_session(secret).await,
            Credential::Token(secret) => gate.by_api_token(secret).await,
        };
        found.ok().flatten()
    }
}

fn look_at_everything() -> Event {
    Event::default().event("look").data("{}")
}

/// The event about one call, if this person may see it.
async fn about(reviewer: &Reviewer, id: &CallId) -> Option<Event> {
    let call = reviewer.visible(id).await.ok()?;
    let name = if matches!(call.state, CallState::Held { .. }) { "call.held" } else { "call.changed" };
    Some(Event::default().event(name).data(json!({ "id": call.id, "state": call.state.word() }).to_string()))
}
