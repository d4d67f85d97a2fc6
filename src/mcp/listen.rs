//! The GET stream of a session: what the server says outside any request. It ends when the session ends, the
//! process goes down or the agent's token stops counting.
//! Called by `http`.

use super::events::{self, KEEP_ALIVE, Writer};
use super::session::{Ear, Session};
use crate::gate::{Gate, Hint};
use axum::response::Response;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::task::TaskTracker;

/// One listener.
pub(super) struct Listener {
    pub gate: Gate,
    pub session: Arc<Session>,
    pub ear: Ear,
    pub token: String,
    pub events: Receiver<Arc<Box<RawValue>>>,
}

/// Opens the stream.
pub(super) fn answer(listener: Listener, tasks: &TaskTracker) -> Response {
    let (writer, response) = events::open();
    tasks.spawn(drive(listener, writer));
    response
}

async fn drive(listener: Listener, writer: Writer) {
    let Listener { gate, session, ear, token, mut events } = listener;
    let draining = gate.draining();
    let mut rows = gate.watch();
    let mut tick = tokio::time::interval(KEEP_ALIVE);
    loop {
        tokio::select! {
            biased;
            () = writer.gone() => break,
            () = draining.cancelled() => break,
            () = session.ended.cancelled() => break,
            _ = tick.tick() => {
                if !matches!(gate.agent_by_token(&token).await, Ok(Some(_))) {
                    break;
                }
                writer.keep_alive();
            }
            // The agent may have been revoked: its stream ends then, not at the next tick.
            hint = rows.recv() => {
                let ended = matches!(hint, Err(RecvError::Closed));
                let looks = !matches!(hint, Ok(Hint { call: Some(_) }));
                if ended || (looks && !matches!(gate.agent_by_token(&token).await, Ok(Some(_)))) {
                    break;
                }
            }
            event = events.recv() => match event {
                Ok(message) => {
                    if !writer.message(message.get()).await {
                        break;
                    }
                }
                // A slow reader lost some; the next ones count.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
        }
    }
    // Before the client can see the end: it may open the next stream at once.
    drop(ear);
}
