//! Server-sent events of a server, with a cap on the bytes of one event, which the parser itself lacks.
//! Called by `http` for answers and for the GET stream, and by `front`.

use super::body::chunk;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::body::Incoming;
use sse_stream::{Sse, SseByteStream};
use std::io;
use std::pin::Pin;

/// The events of one response.
pub(in crate::mcp) struct Events(Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>);

/// Why no further event comes.
pub(in crate::mcp) enum Broken {
    /// One event was larger than the cap.
    TooLarge,
    /// The connection broke or the text is no event stream.
    Lost,
}

impl Events {
    pub(super) fn new(body: Incoming, cap: usize) -> Events {
        let chunks = futures_util::stream::unfold(body, |mut body| async move {
            let next = chunk(&mut body).await?;
            Some((next.map_err(io::Error::other), body))
        });
        Events::read(chunks, cap)
    }

    /// The same of any bytes.
    pub(in crate::mcp) fn read<S: Stream<Item = io::Result<Bytes>> + Send + 'static>(bytes: S, cap: usize) -> Events {
        let mut size = Size::default();
        let capped = bytes.map(move |chunk| {
            let chunk = chunk?;
            if size.largest(&chunk) > cap { Err(io::Error::from(io::ErrorKind::FileTooLarge)) } else { Ok(chunk) }
        });
        Events(Box::pin(SseByteStream::new(capped)))
    }

    /// The next event; `None` at the end.
    pub(in crate::mcp) async fn next(&mut self) -> Option<Result<Sse, Broken>> {
        Some(self.0.next().await?.map_err(|error| match &error {
            sse_stream::Error::Body(inner) if inner.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge) => {
                Broken::TooLarge
            }
            _ => Broken::Lost,
        }))
    }
}

/// Counts the bytes since the last empty line, which ends an event.
#[derive(Default)]
struct Size {
    bytes: usize,
    line: usize,
    after_return: bool,
}

impl Size {
    /// The largest size any event reached within the chunk.
    fn largest(&mut self, chunk: &[u8]) -> usize {
        let mut largest = 0;
        for byte in chunk {
            self.bytes += 1;
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' if self.line == 0 => self.bytes = 0,
                b'\n' | b'\r' => self.line = 0,
                _ => self.line += 1,
            }
            self.after_return = *byte == b'\r';
            largest = largest.max(self.bytes);
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_event_over_the_cap_is_too_large_however_long_the_stream_is() {
        let chunks = std::iter::repeat_n(&b"data: 12345\r\n\r\n: keep-alive\n\n"[..], 50).chain([&b"data: 123456789\n"[..], b"data: 123456789\n\n"]);
        let mut events = Events::read(futures_util::stream::iter(chunks.map(|chunk| Ok(Bytes::from_static(chunk)))), 24);
        for _ in 0..50 {
            assert_eq!(events.next().await.unwrap().ok().unwrap().data.as_deref(), Some("12345"));
        }
        assert!(matches!(events.next().await, Some(Err(Broken::TooLarge))));
    }
}
