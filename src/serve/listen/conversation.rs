//! One connection from its first byte to its last: the handshake where there is TLS, then HTTP/1.1 with patience that has
//! an end, every request marked with its connection and its client. Started by `Listening` as a task of its own, so that
//! nobody's slowness is anybody else's.

use super::body::Paced;
use super::crowd::Place;
use super::watched::Watched;
use super::{Patience, Tls};
use crate::domain::client::Client;
use crate::domain::proxies::Proxies;
use crate::mcp::connection::Connection;
use crate::serve::site::Site;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's first line and headers.
const HEAD: usize = 64 << 10;
/// Lines of headers; more are refused with 431.
const HEADERS: usize = 100;
/// Bytes that are read and thrown away behind an answer, so that it is not lost in the reset of the connection.
const LINGER: usize = 8 << 20;
/// The first byte of a TLS connection: a record of the handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// To who speaks HTTP where TLS is spoken.
const NOT_HTTPS: &str = "This address speaks https: write https:// in front of it.\n";

/// What every connection is given; clones share it.
#[derive(Clone)]
pub(super) struct Host {
    pub site: Arc<Site>,
    pub proxies: Arc<Proxies>,
    pub patience: Patience,
    /// Fires when no new requests are taken.
    pub leaving: CancellationToken,
}

impl Host {
    /// Until the connection is over; `place` is given back then. What a connection needs only once, or only with TLS,
    /// stands apart: the room of this future is taken by everybody who waits for a person.
    pub(super) async fn converse(self, stream: TcpStream, peer: IpAddr, tls: Option<Tls>, place: Place) {
        // Small answers and events are not kept back for more to come; a stream that refuses is over anyway.
        let _over = stream.set_nodelay(true);
        match tls {
            None => self.serve(Watched::new(stream), peer).await,
            Some(tls) => Box::pin(self.serve_secured(stream, peer, tls)).await,
        }
        drop(place);
    }

    async fn serve_secured(self, stream: TcpStream, peer: IpAddr, tls: Tls) {
        let leaving = self.leaving.clone();
        let handshake = async {
            let mut first = [0];
            // Nothing is taken from the stream, so that the handshake finds it whole.
            match stream.peek(&mut first).await {
                Ok(1) if first == [HANDSHAKE] => tls.acceptor().accept(stream).await.ok(),
                Ok(1) => {
                    say_https(stream).await;
                    None
                }
                Ok(_) | Err(_) => None,
            }
        };
        let handshake = Box::pin(timeout(self.patience.handshake, handshake));
        let secured = tokio::select! {
            secured = handshake => secured.ok().flatten(),
            () = leaving.cancelled() => None,
        };
        if let Some(stream) = secured {
            self.serve(Watched::new(stream), peer).await;
        }
    }

    /// Not `async` itself: such a function has room for its arguments beside what it makes of them.
    fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: Watched<S>, peer: IpAddr) -> impl Future<Output = ()> + Send {
        let Host { site, proxies, patience, leaving } = self;
        let (connection, unread) = (Connection::new(stream.closed()), Arc::new(AtomicBool::new(false)));
        let left = unread.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let lines = request.headers().get_all("x-forwarded-for").iter().map(|line| line.to_str().ok());
            let client = Client { address: proxies.client(peer, lines) };
            left.store(false, Ordering::Relaxed);
            let request = request.map(|body| Body::new(Paced::new(body, patience, left.clone())));
            let answering = site.answer(request, client, connection.clone());
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(patience.head).max_headers(HEADERS).max_header_size(HEAD);
        let mut conversation = http.serve_connection(TokioIo::new(stream), service);
        async move {
            let mut told = false;
            loop {
                tokio::select! {
                    // How a connection ended is nobody's fault worth a line: clients go as they like.
                    _ = &mut conversation => break,
                    () = leaving.cancelled(), if !told => {
                        told = true;
                        std::pin::Pin::new(&mut conversation).graceful_shutdown();
                    }
                }
            }
            if unread.load(Ordering::Relaxed) && !told {
                Box::pin(linger(conversation.into_parts().io.into_inner(), patience)).await;
            }
        }
    }
}

/// Reads what a client still sends behind its answer. Without it the system resets the connection, and the client finds
/// a broken pipe instead of what it was told.
async fn linger<S: AsyncRead + Unpin>(mut stream: Watched<S>, patience: Patience) {
    let mut thrown = vec![0; 16 << 10];
    let reading = async {
        let mut seen = 0;
        while seen < LINGER {
            match stream.read(&mut thrown).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => seen += bytes,
            }
        }
    };
    let _given_up = timeout(patience.linger, reading).await;
}

async fn say_https(mut stream: TcpStream) {
    let length = NOT_HTTPS.len();
    let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // What they asked is taken first, else closing would reset the answer away; its end is not waited for.
    let _read = stream.read(&mut [0; 4096]).await;
    let _gone = stream.write_all(format!("{head}{NOT_HTTPS}").as_bytes()).await;
    let _closed = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room<A, B, C, D, E, F: Future>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_has_no_room_for_a_handshake_that_it_does_not_need() {
        assert!(room(Host::converse) <= 3_072, "{} bytes for each of ten thousand", room(Host::converse));
    }
}
