//! The connections of agents and reviewers, watched: whether one was seen closed decides if an answer that it took
//! counts as delivered (semantics.md 8). hyper takes a broken connection down without telling the handler whose
//! answer it had just accepted, so the stream itself says when it ends.
//! `serve` listens with it; `held` asks the request's connection.

use ::http::request::Parts;
use ::http::{HeaderMap, Version, header};
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A TCP listener whose connections are watched.
pub struct Listener(TcpListener);

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub struct Connection {
    closed: CancellationToken,
}

/// A stream that says when it is over.
pub struct Watched<S> {
    stream: S,
    closed: CancellationToken,
    /// Dropping the stream closes the connection, whoever drops it.
    _over: DropGuard,
}

impl Listener {
    /// Watches what this listener accepts.
    pub fn new(listener: TcpListener) -> Listener {
        Listener(listener)
    }
}

impl axum::serve::Listener for Listener {
    type Io = Watched<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // Its accept waits and tries again when the process has no file descriptor left.
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        (Watched::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Connection {
        Connection { closed: stream.io().closed.clone() }
    }
}

/// Fires when the client of this request closes its connection. `None` when that would mean nothing: the connection
/// is not watched, or it is ours to close after this one answer (RFC 9112, 9.3 and 9.6).
pub(super) fn closed_by_client(parts: &Parts) -> Option<CancellationToken> {
    let ours = parts.version < Version::HTTP_11 || says_close(&parts.headers);
    let ConnectInfo(connection) = parts.extensions.get::<ConnectInfo<Connection>>()?;
    (!ours).then(|| connection.closed.clone())
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}

impl<S> Watched<S> {
    fn new(stream: S) -> Watched<S> {
        let closed = CancellationToken::new();
        Watched { stream, _over: closed.clone().drop_guard(), closed }
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
    use ::http::Request;
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

    #[tokio::test]
    async fn a_connection_that_is_ours_to_close_says_nothing_of_the_client() {
        let connection = Connection { closed: CancellationToken::new() };
        let asks = |version, options: &[&str]| {
            let mut request = Request::builder().version(version).extension(ConnectInfo(connection.clone()));
            for option in options {
                request = request.header("connection", *option);
            }
            closed_by_client(&request.body(()).unwrap().into_parts().0)
        };
        assert!(asks(Version::HTTP_11, &[]).is_some());
        assert!(asks(Version::HTTP_11, &["keep-alive"]).is_some());
        assert!(asks(Version::HTTP_11, &["Close"]).is_none());
        assert!(asks(Version::HTTP_11, &["x", "te , close"]).is_none());
        assert!(asks(Version::HTTP_10, &["keep-alive"]).is_none());
        assert!(closed_by_client(&Request::new(()).into_parts().0).is_none());
    }
}
