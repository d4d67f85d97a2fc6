//! Bodies on their way: one that goes out is handed over when there is a connection to write to, before the first byte,
//! and not at all when its request was kept back meanwhile (semantics.md 19); one that comes in is read with a cap.
//! Called by `http` and `listen`, and for reading by `front`.

use super::leave::Leave;
use ::http::HeaderMap;
use ::http::header::CONTENT_TYPE;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a request carries.
pub(super) struct Outgoing {
    /// Empty when it was handed over.
    text: Bytes,
    leave: Option<Arc<Leave>>,
}

impl Outgoing {
    /// No body.
    pub(super) fn none() -> Outgoing {
        Outgoing::of(String::new())
    }

    /// This text, whatever happens.
    pub(super) fn of(text: String) -> Outgoing {
        Outgoing { text: text.into(), leave: None }
    }

    /// This text, unless it is kept back. Connecting may take longer than the request has.
    pub(super) fn with_leave(text: String, leave: &Arc<Leave>) -> Outgoing {
        Outgoing { text: text.into(), leave: Some(Arc::clone(leave)) }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.text.is_empty() {
            return Poll::Ready(None);
        }
        let text = std::mem::take(&mut self.text);
        let goes = self.leave.as_ref().is_none_or(|leave| leave.go());
        Poll::Ready(Some(if goes { Ok(Frame::data(text)) } else { Err(io::Error::other("kept back")) }))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64)
    }
}

/// Whether a response with these headers is a stream of events.
pub(in crate::mcp) fn is_events(headers: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().trim_ascii_start());
    kind.and_then(|kind| kind.get(..EVENTS.len())).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENTS))
}

/// The next bytes of a body; `None` at its end.
pub(in crate::mcp) async fn chunk<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?.map(Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            // Trailers; nobody here has a use for them.
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// The body; `None` when it breaks off or is larger than the cap. Most come in one piece, which is not copied.
pub(in crate::mcp) async fn capped<B: Body<Data = Bytes> + Unpin>(mut body: B, cap: usize) -> Option<Bytes> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(data) = chunk(&mut body).await {
        let data = data.ok()?;
        if first.len() + all.len() + data.len() > cap {
            return None;
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all = std::mem::take(&mut first).into();
            }
            all.extend_from_slice(&data);
        }
    }
    Some(if all.is_empty() { first } else { all.into() })
}
