//! A request that waits for a person: the stream is open at once and kept alive until there is an answer, the
//! agent leaves or takes the request back, or it is time for the pending answer. A task of its own drives it,
//! so that a cancel counts even when the client closes the connection in the same moment.
//! Called by `call`; what the ends mean is decided by `gate`.

use super::events::{self, KEEP_ALIVE, Writer};
use super::message::Id;
use super::result;
use super::session::Entry;
use super::upstream::wire::quoted;
use crate::gate::{Delivery, Failure, Seat, TimeIsUp};
use axum::response::Response;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One waiting request.
pub(super) struct Waiting {
    pub seat: Seat,
    pub entry: Entry,
    pub id: Id,
    pub tool: String,
    /// JSON text.
    pub progress_token: Option<String>,
    pub keep_open: Duration,
    /// Fires when the client closes the connection; `None` when that would mean nothing.
    pub closed: Option<CancellationToken>,
    pub draining: CancellationToken,
}

enum End {
    Settled(Result<Delivery, Failure>),
    TimeIsUp,
    Cancelled,
    Gone,
}

/// Opens the stream.
pub(super) fn answer(waiting: Waiting, tasks: &TaskTracker) -> Response {
    let (writer, response) = events::open();
    tasks.spawn(drive(waiting, writer));
    response
}

async fn drive(mut waiting: Waiting, writer: Writer) {
    let end = wait(&mut waiting, &writer).await;
    let Waiting { seat, entry, id, closed, .. } = waiting;
    // A fault has its line in the log already; the agent's next identical call finds the call as it is.
    let _ = match end {
        End::Settled(Ok(delivery)) => hand_over(seat, entry, &id, &delivery, writer, closed).await,
        End::Settled(Err(failure)) => {
            writer.last(&result::failed(&id, failure)).await;
            Ok(())
        }
        End::TimeIsUp => match seat.time_is_up().await {
            Ok(TimeIsUp::Settled(delivery)) => hand_over(seat, entry, &id, &delivery, writer, closed).await,
            Ok(TimeIsUp::Pending(notice)) => {
                writer.last(&result::notice(&id, &notice)).await;
                Ok(())
            }
            Err(failure) => {
                writer.last(&result::failed(&id, failure)).await;
                Ok(())
            }
        },
        End::Cancelled => seat.cancel().await,
        End::Gone => {
            entry.leave(seat.call());
            Ok(())
        }
    };
}

/// Gives the outcome away. The stream ends only when it is on record that it was taken, and what sat here for the
/// request is gone before its connection is watched on.
async fn hand_over(seat: Seat, entry: Entry, id: &Id, delivery: &Delivery, writer: Writer, closed: Option<CancellationToken>) -> Result<(), Failure> {
    if !writer.last(&result::delivery(id, delivery)).await {
        return Ok(());
    }
    drop(entry);
    let Some(closed) = closed else { return seat.delivered().await };
    let grace = seat.delivered_over(closed).await?;
    drop((seat, writer));
    grace.watch().await
}

async fn wait(waiting: &mut Waiting, writer: &Writer) -> End {
    let Waiting { seat, entry, tool, progress_token, keep_open, draining, .. } = waiting;
    let message = quoted(&format!("Waiting for a person to approve {tool} ({})", seat.call()));
    let mut progress = 0u64;
    let mut tick = tokio::time::interval(KEEP_ALIVE);
    let mut late = std::pin::pin!(tokio::time::sleep(*keep_open));
    let mut settled = std::pin::pin!(seat.settled());
    loop {
        tokio::select! {
            biased;
            () = entry.cancel.cancelled() => return End::Cancelled,
            delivery = &mut settled => return End::Settled(delivery),
            () = writer.gone() => return End::Gone,
            () = entry.session().ended.cancelled() => return End::Gone,
            () = draining.cancelled() => return End::TimeIsUp,
            () = &mut late => return End::TimeIsUp,
            _ = tick.tick() => match progress_token {
                Some(token) => {
                    progress += 1;
                    writer.maybe(&format!(
                        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{progress},\"message\":{message}}}}}"
                    ));
                }
                None => writer.keep_alive(),
            },
        }
    }
}
