//! The body of a request on its way in, with a pace below which it is given up: a client that sends a byte now and then
//! keeps a connection, a handler and its buffers for ever otherwise. Also notes whether the body was read to its end,
//! because a connection that closes over unread bytes can swallow the answer. Put around every body by `conversation`.

use super::Patience;
use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A body that must keep coming.
pub(super) struct Paced {
    body: Incoming,
    patience: Patience,
    /// From the first time that somebody had to wait for more of it.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    received: u64,
    /// The end was seen.
    whole: bool,
    unread: Arc<AtomicBool>,
}

impl Paced {
    /// `unread` is set when the body is dropped before its end.
    pub(super) fn new(body: Incoming, patience: Patience, unread: Arc<AtomicBool>) -> Paced {
        let whole = body.is_end_stream();
        Paced { body, patience, waiting: None, received: 0, whole, unread }
    }

    /// Whether it is later than what has come so far allows.
    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / self.patience.body_rate.max(1));
        let (since, sleep) = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + self.patience.body)))
        });
        let deadline = *since + self.patience.body + earned;
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.received = self.received.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
                self.whole = self.body.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.whole = true;
                Poll::Ready(None)
            }
            Poll::Pending if self.is_too_slow(cx) => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if !self.whole {
            self.unread.store(true, Ordering::Relaxed);
        }
    }
}
