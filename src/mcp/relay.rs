//! A request on its way to the server: answered as plain JSON, or as a stream from the moment the server sends
//! a message of its own. Big plain results stay out of SSE, because clients bound one event. The work outlasts
//! its client: who leaves does not take the audit of what the server did along.
//! Called by `call` and `work`.

use super::answer::Answer;
use super::events::{KEEP_ALIVE, Writer};
use super::lasting::Lasting;
use super::session::Entry;
use crate::gate::upstream::Relay;
use serde_json::value::RawValue;
use std::future::Future;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Messages of the server that a slow client may lag behind.
const LAG: usize = 16;

/// Runs `work` and answers with the JSON-RPC text it gives.
pub(super) async fn answer<W, F>(entry: Entry, progress_token: Option<String>, tasks: &TaskTracker, work: W) -> Answer
where
    W: FnOnce(Relay, tokio_util::sync::CancellationToken) -> F,
    F: Future<Output = String> + Send + 'static,
{
    let (messages, mut heard) = mpsc::channel(LAG);
    let (cancel, session) = (entry.cancel.clone(), entry.session().clone());
    let work = work(Relay { progress_token, messages }, cancel.clone());
    let work = async move {
        let text = work.await;
        // The id is free again before the client can see the answer.
        drop(entry);
        text
    };
    let mut work = Lasting::new(tasks, work, drop);
    let (first, end) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Answer::Nothing,
        // From here on a slow client is waited for, and the work must not be.
        Some(first) = heard.recv() => (first, work.apart()),
        text = &mut work => {
            let Some(text) = text else { return Answer::Nothing };
            // Both may have come in one breath.
            let Ok(first) = heard.try_recv() else { return Answer::Text(text) };
            let (done, end) = oneshot::channel();
            let _ = done.send(text);
            (first, end)
        }
    };
    session.passes(&first);
    Answer::stream(async move |writer: Writer| {
        if writer.message(first.get()).await {
            stream(&writer, heard, end, &cancel, &session).await;
        }
    })
}

async fn stream(
    writer: &Writer,
    mut heard: mpsc::Receiver<Box<RawValue>>,
    mut end: oneshot::Receiver<String>,
    cancel: &tokio_util::sync::CancellationToken,
    session: &super::session::Session,
) {
    let mut tick = tokio::time::interval(KEEP_ALIVE);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = writer.gone() => return,
            Some(message) = heard.recv() => {
                session.passes(&message);
                if !writer.message(message.get()).await {
                    return;
                }
            }
            text = &mut end => {
                if let Ok(text) = text {
                    writer.last(None, &text).await;
                }
                return;
            }
            _ = tick.tick() => writer.keep_alive(),
        }
    }
}
