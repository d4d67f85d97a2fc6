//! The GET stream: what the server says outside any request. It is opened again whenever it ends, for as long as the
//! client is there; a gateway that has none says 405. Started by `mod`.

use super::bridge::Front;
use super::gateway::{self, Answer};
use super::pause::Pause;
use reqwest::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// Nobody waits for it, so it is never given up.
const EVER: Duration = Duration::from_secs(365 * 86_400);
const GET: Duration = Duration::from_secs(30);

pub(super) async fn listen(front: Arc<Front>) {
    front.initialized().await;
    let mut pause = Pause::new(EVER);
    let mut last_event = None::<String>;
    loop {
        let session = front.sessions.current().await;
        if let Ok(Ok(response)) = tokio::time::timeout(GET, front.gateway.get(last_event.as_deref(), &session.headers)).await {
            let status = response.status();
            match gateway::read(response).await {
                Answer::Events(mut events) => {
                    while let Some(Ok(event)) = events.next().await {
                        pause.well();
                        last_event = event.id.or(last_event);
                        if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                            front.say(&data).await;
                        }
                    }
                }
                Answer::Body(_) if status == StatusCode::METHOD_NOT_ALLOWED => return,
                Answer::Body(_) if status == StatusCode::NOT_FOUND => {
                    last_event = None;
                    // A request that comes meanwhile finds the new session; one that fails says why.
                    let _ = front.sessions.renew(&front, session.number).await;
                }
                Answer::Body(_) => {}
            }
        }
        if !pause.again().await {
            return;
        }
    }
}
