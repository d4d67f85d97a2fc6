//! A request that waits for a person: the stream is open at once and kept alive until there is an answer, the
//! agent leaves or takes the request back, or it is time for the pending answer. A task of its own drives it,
//! so that a cancel counts even when the client closes the connection in the same moment.
//! Called by `call` and `resume`; what the ends mean is decided by `gate`.

use super::answer::Answer;
use super::events::{KEEP_ALIVE, Writer};
use super::http::Caller;
use super::message::Id;
use super::session::Entry;
use super::upstream::wire::quoted;
use super::{result, resume};
use crate::gate::{Delivery, Failure, Seat, TimeIsUp};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One waiting request.
pub(super) struct Waiting {
    pub seat: Seat,
    pub entry: Entry,
    pub id: Id,
    /// What it asked to hear meanwhile. A resumed request hears nothing: what it had asked for went with its connection.
    pub progress: Option<Progress>,
}

/// Progress notifications.
pub(super) struct Progress {
    /// JSON text.
    pub token: String,
    pub message: String,
}

/// What its connection and its agent allow.
struct Terms {
    keep_open: Duration,
    /// Fires when the client closes the connection; `None` when that would mean nothing.
    closed: Option<CancellationToken>,
    draining: CancellationToken,
    /// Of the answer, where the revision has such ids.
    last_id: Option<String>,
}

enum End {
    Settled(Result<Delivery, Failure>),
    TimeIsUp,
    Cancelled,
    /// It goes on under another connection.
    Superseded,
    Gone,
}

/// The stream, which begins at once; it may be shared with the other requests of a batch.
pub(super) fn answer(caller: &Caller, waiting: Waiting) -> Answer {
    let gate = &caller.state.gate;
    let resumes = waiting.entry.session().revision.resumes();
    let terms = Terms {
        keep_open: caller.agent.keep_open.unwrap_or(gate.settings().hold.keep_open),
        closed: caller.closed.clone(),
        draining: gate.draining(),
        last_id: resumes.then(|| resume::last(waiting.seat.call(), &waiting.id)),
    };
    Answer::stream(move |writer| {
        if resumes {
            writer.begin(&resume::first(waiting.seat.call(), &waiting.id));
        }
        drive(waiting, terms, writer)
    })
}

async fn drive(mut waiting: Waiting, terms: Terms, writer: Writer) {
    let end = wait(&mut waiting, &terms, &writer).await;
    // Apart, so that its room is taken when it ends and not by everybody who waits.
    Box::pin(finish(end, waiting, terms, writer)).await;
}

async fn finish(end: End, waiting: Waiting, terms: Terms, writer: Writer) {
    let Waiting { mut seat, entry, id, .. } = waiting;
    let last_id = terms.last_id.as_deref();
    // A fault has its line in the log already; the agent's next identical call finds the call as it is.
    let _ = match end {
        End::Settled(Ok(delivery)) => hand_over(seat, entry, &id, &delivery, writer, terms).await,
        End::Settled(Err(failure)) => {
            writer.last(last_id, &result::failed(&id, failure)).await;
            Ok(())
        }
        End::TimeIsUp => match seat.time_is_up().await {
            Ok(TimeIsUp::Settled(delivery)) => hand_over(seat, entry, &id, &delivery, writer, terms).await,
            Ok(TimeIsUp::Pending(notice)) => {
                writer.last(last_id, &result::notice(&id, &notice)).await;
                Ok(())
            }
            Err(failure) => {
                writer.last(last_id, &result::failed(&id, failure)).await;
                Ok(())
            }
        },
        End::Cancelled => seat.cancel().await,
        End::Superseded => Ok(()),
        End::Gone => {
            // A request that was taken back before cannot be taken back once more.
            if seat.waits() {
                entry.leave(seat.call());
            }
            Ok(())
        }
    };
}

/// Gives the outcome away. The stream ends only when it is on record that it was taken, and what sat here for the
/// request is gone before its connection is watched on.
async fn hand_over(seat: Seat, entry: Entry, id: &Id, delivery: &Delivery, writer: Writer, terms: Terms) -> Result<(), Failure> {
    let text = result::delivery(id, delivery);
    let taken = tokio::select! {
        biased;
        () = entry.superseded.cancelled() => false,
        taken = writer.last(terms.last_id.as_deref(), &text) => taken,
    };
    if !taken {
        return Ok(());
    }
    drop(entry);
    if !seat.waits() {
        // It only listened; the request that asked again has its own answer.
        return Ok(());
    }
    let Some(closed) = terms.closed else { return seat.delivered().await };
    let grace = seat.delivered_over(closed).await?;
    drop((seat, writer));
    grace.watch().await
}

async fn wait(waiting: &mut Waiting, terms: &Terms, writer: &Writer) -> End {
    let Waiting { seat, entry, progress, .. } = waiting;
    let mut heard = 0u64;
    let mut tick = tokio::time::interval(KEEP_ALIVE);
    let mut late = std::pin::pin!(tokio::time::sleep(terms.keep_open));
    let mut settled = std::pin::pin!(seat.settled());
    loop {
        tokio::select! {
            biased;
            () = entry.cancel.cancelled() => return End::Cancelled,
            () = entry.superseded.cancelled() => return End::Superseded,
            delivery = &mut settled => return End::Settled(delivery),
            () = writer.gone() => return End::Gone,
            () = entry.session().ended.cancelled() => return End::Gone,
            () = terms.draining.cancelled() => return End::TimeIsUp,
            () = &mut late => return End::TimeIsUp,
            _ = tick.tick() => match progress {
                Some(Progress { token, message }) => {
                    heard += 1;
                    let message = quoted(message);
                    writer.maybe(&format!(
                        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{heard},\"message\":{message}}}}}"
                    ));
                }
                None => writer.keep_alive(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;

    fn room<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_that_waits_has_no_room_for_what_comes_when_it_ends() {
        assert!(room(drive) <= 2_048, "{} bytes for each of ten thousand", room(drive));
    }
}
