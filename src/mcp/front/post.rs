//! Messages that nobody waits for, one after the other in the client's order: notifications, and answers to what the
//! server asked. One that did not arrive is posted again; one that may have is not. Started by `mod`.

use super::bridge::Front;
use super::gateway::{self, Answer, Failure};
use super::line;
use super::line::{Kind, Message};
use super::pause::Pause;
use reqwest::{Response, StatusCode};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Until the client is gone.
pub(super) async fn drive(front: Arc<Front>, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        if let Some(response) = arrives(&front, &message).await {
            told(&front, response).await;
        }
        if message.kind == Kind::Initialized {
            front.initialized_is_told();
        }
    }
}

/// What it was answered with; `None` when it was lost.
pub(super) async fn arrives(front: &Front, message: &Message) -> Option<Response> {
    let mut pause = Pause::new(front.patience);
    loop {
        let session = front.sessions.current().await;
        match front.gateway.tell(message.text.clone(), &session.headers).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND && session.headers.session.is_some() => {
                if front.sessions.renew(front, session.number).await.is_err() || !pause.again().await {
                    return None;
                }
            }
            Ok(response) => return Some(response),
            Err(Failure::NeverLeft) if pause.again().await => {}
            Err(Failure::NeverLeft | Failure::Broke) => {
                front.note("a notification did not reach the gateway");
                return None;
            }
        }
    }
}

/// What the gateway says to a message that it cannot read is for the client; every other refusal is not.
async fn told(front: &Front, response: Response) {
    let status = response.status();
    let Answer::Body(Some(body)) = gateway::read(response).await else { return };
    if status.is_success() || (status == StatusCode::BAD_REQUEST && line::error_code(&body).is_some()) {
        if !body.trim().is_empty() {
            front.say(&body).await;
        }
    } else {
        front.note(&super::session::sentence(status, &body));
    }
}
