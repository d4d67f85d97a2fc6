//! A stream that says when it is over, whoever ends it: hyper takes a broken connection down without telling the handler
//! whose answer it had just accepted, and whether such an answer counts as delivered hangs on that (semantics.md 8).
//! Put around every connection by `conversation`, over TLS where there is TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A stream that says when it is over.
pub(super) struct Watched<S> {
    stream: S,
    closed: CancellationToken,
    /// Dropping the stream closes the connection, whoever drops it.
    _over: DropGuard,
}

impl<S> Watched<S> {
    /// Watches this stream.
    pub(super) fn new(stream: S) -> Watched<S> {
        let closed = CancellationToken::new();
        Watched { stream, _over: closed.clone().drop_guard(), closed }
    }

    /// Fires when the stream is over: at its end, at an error, when it is dropped.
    pub(super) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    fn seen<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(result, Poll::Ready(Err(_))) {
            self.closed.cancel();
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (room, before) = (buf.remaining() > 0, buf.filled().len());
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        // Nothing read into a buffer with room: the end of the stream.
        if room && matches!(result, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            self.closed.cancel();
        }
        self.seen(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.seen(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.seen(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.seen(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.seen(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn an_end_of_file_a_failed_write_and_a_drop_are_each_seen() {
        let (ours, theirs) = tokio::io::duplex(64);
        let mut watched = Watched::new(ours);
        let (mut theirs, closed) = (theirs, watched.closed.clone());
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(watched.read_u8().await.unwrap(), b'x');
        assert!(!closed.is_cancelled());
        drop(theirs);
        assert_eq!(watched.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(closed.is_cancelled());

        let (ours, theirs) = tokio::io::duplex(64);
        let mut watched = Watched::new(ours);
        drop(theirs);
        assert!(watched.write_all(b"x").await.is_err());
        assert!(watched.closed.is_cancelled());

        let (ours, _theirs) = tokio::io::duplex(64);
        let watched = Watched::new(ours);
        let closed = watched.closed.clone();
        drop(watched);
        assert!(closed.is_cancelled());
    }
}
