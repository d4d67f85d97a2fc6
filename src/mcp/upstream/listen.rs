//! The GET stream of an HTTP server: its messages outside any request. Many servers have none (405), which is
//! fine; one that breaks is opened again with back-off, from the last event on if it gave ids.
//! Started by `http` after initialize; ends with the link.

use super::board::Board;
use super::body::is_events;
use super::http::{HttpLink, PAUSE};
use super::sse::Events;
use ::http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn listen(link: Arc<HttpLink>, board: Arc<Board>) {
    let ended = link.ended.clone();
    tokio::select! {
        () = ended.cancelled() => {}
        () = keep_open(&link, &board) => {}
    }
}

async fn keep_open(link: &HttpLink, board: &Board) {
    let (mut last_event, mut pause) = (None::<String>, PAUSE.0);
    loop {
        let session = link.session();
        match link.get(last_event.as_deref()).await {
            Ok(response) if response.status().is_success() && is_events(response.headers()) => {
                pause = PAUSE.0;
                let mut events = Events::new(response.into_body(), link.cap);
                while let Some(Ok(event)) = events.next().await {
                    last_event = event.id.or(last_event);
                    pause = event.retry.map_or(pause, |retry| Duration::from_millis(retry).clamp(PAUSE.0, PAUSE.1));
                    link.heard(board, event.data.as_deref(), None).await;
                }
            }
            // The session is gone; the next request makes a new one, whose events have other ids.
            Ok(response) if response.status() == StatusCode::NOT_FOUND && session.is_some() => {
                last_event = None;
                pause = (pause * 2).min(PAUSE.1);
            }
            Ok(response) if response.status().is_client_error() => return,
            _ => pause = (pause * 2).min(PAUSE.1),
        }
        tokio::time::sleep(pause).await;
    }
}
