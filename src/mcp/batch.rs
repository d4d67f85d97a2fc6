//! A JSON-RPC batch, which revision 2025-03-26 alone has: each message is judged by itself, and none waits for
//! another. The answers are one JSON array when all are there at once; when one of them takes time, waits for a
//! person or has messages of the server before it, they come over one stream, each as soon as it is ready.
//! Every message is a task of its own: a client that leaves takes no call along. Called by `http`.

use super::answer::Answer;
use super::error::Refusal;
use super::events::{self, Writer};
use super::http::Caller;
use super::message::{self, Message};
use super::session::Session;
use super::work::Work;
use ::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Messages in one batch.
const MOST: usize = 50;
/// How long plain answers are waited for before a stream is opened.
const QUICK: Duration = Duration::from_millis(250);

/// Takes up every message, then carries all out at once.
pub(super) async fn answer(caller: Caller, session: Arc<Session>, elements: Vec<(&RawValue, Value)>) -> Result<Response, Refusal> {
    let refuse = |why: String| Err(Refusal::new(StatusCode::BAD_REQUEST, -32600, why));
    if !session.revision.batches() {
        return refuse("The body is a batch; since revision 2025-06-18 a body is one message, so send each by itself.".to_owned());
    }
    if elements.is_empty() {
        return refuse("The batch is empty; it needs one message or more.".to_owned());
    }
    if elements.len() > MOST {
        return refuse(format!(
            "The batch has {} messages, and at most {MOST} are taken at once; none of them was looked at. Send it in parts.",
            elements.len()
        ));
    }
    // All of them first, so that a cancel finds the request beside it.
    let mut ids = HashSet::new();
    let taken = elements.into_iter().enumerate().map(|(at, element)| take_up(&caller, &session, &mut ids, element).map_err(|refusal| refusal.inside(at)));
    let taken: Vec<Result<Work, Refusal>> = taken.collect();
    let (caller, (writer, answers)) = (Arc::new(caller), events::joint());
    let tasks = &caller.state.tasks;
    let (mut asked, mut told) = (false, Vec::new());
    for work in taken {
        let (caller, session) = (caller.clone(), session.clone());
        if work.as_ref().is_ok_and(|work| !work.wants_answer()) {
            let Ok(work) = work else { continue };
            // A fault has its line in the log; nobody waits for an answer.
            told.push(tasks.spawn(async move { drop(caller.carry_out(&session, work).await) }));
            continue;
        }
        asked = true;
        let part = writer.another();
        tasks.spawn(async move {
            let answer = match work {
                Ok(work) => caller.carry_out(&session, work).await,
                Err(refusal) => Err(refusal),
            };
            send(answer, part).await;
        });
    }
    drop(writer);
    if asked {
        return Ok(answers.response(QUICK).await);
    }
    for done in told {
        let _ = done.await;
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Takes up one of them. `ids` are those of the requests before it: one that was refused still had its id.
fn take_up(caller: &Caller, session: &Arc<Session>, ids: &mut HashSet<String>, (text, value): (&RawValue, Value)) -> Result<Work, Refusal> {
    let read = message::one(text.get(), value)?;
    if let Message::Request { id, method, .. } = &read.message {
        if !ids.insert(id.key.clone()) {
            return Err(Refusal::call(-32600, "An earlier request of this batch has the same id; this one was not judged.").of(Some(id)));
        }
        caller.speaks(id, method, &read.value)?;
        if method == "initialize" {
            let why = "initialize must not be part of a batch (MCP 2025-03-26, lifecycle); send it by itself, without a session.";
            return Err(Refusal::call(-32600, why).of(Some(id)));
        }
    }
    caller.take_up(session, read)
}

async fn send(answer: Result<Answer, Refusal>, part: Writer) {
    match answer {
        Ok(Answer::Text(text)) => part.plain(text).await,
        Ok(Answer::Nothing) => {}
        Ok(Answer::Stream(drive)) => {
            part.streams().await;
            drive(part).await;
        }
        Err(refusal) => part.plain(refusal.text()).await,
    }
}
