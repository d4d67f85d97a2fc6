//! How a connection to a server is made: straight, or through the proxy that the environment names for it (`HTTP_PROXY`,
//! `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, as curl reads them), with TLS that trusts whom this system trusts. A proxy
//! forwards requests to http servers and lets a tunnel through to https servers. Called by the pool of `client`.

use super::client::{CONNECT, USER_AGENT};
use ::http::uri::Scheme;
use ::http::{HeaderMap, HeaderValue, Uri, header};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError};
use tower_service::Service;

/// Until a silent connection is asked whether its other end lives, between two such questions, and their number.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(15), 3);
/// For what was written to be received by the other system.
#[cfg(target_os = "linux")]
const UNRECEIVED: Duration = Duration::from_secs(30);

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Straight = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The way to every server; clones share it.
#[derive(Clone)]
pub(super) struct Routes(Arc<Ways>);

struct Ways {
    tcp: HttpConnector,
    tls: Arc<ClientConfig>,
    /// The same for a proxy, which is told of no protocol.
    tls_to_proxy: Arc<ClientConfig>,
    proxies: Matcher,
}

/// A connection.
pub(super) struct Line {
    stream: MaybeHttpsStream<Straight>,
    /// The other end is a proxy that reads the requests.
    forwarded: bool,
}

impl Routes {
    /// Reads which authorities this system trusts.
    pub(super) fn new(proxies: Matcher) -> Result<Routes, TlsError> {
        let provider = CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let trusted = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_platform_verifier()?;
        let tls_to_proxy = trusted.with_no_client_auth();
        let mut tls = tls_to_proxy.clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEPALIVE.0));
        tcp.set_keepalive_interval(Some(KEEPALIVE.1));
        tcp.set_keepalive_retries(Some(KEEPALIVE.2));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNRECEIVED));
        Ok(Routes(Arc::new(Ways { tcp, tls: Arc::new(tls), tls_to_proxy: Arc::new(tls_to_proxy), proxies })))
    }

    /// For a proxy that reads the requests to this server.
    pub(super) fn credentials(&self, server: &Uri) -> Option<HeaderValue> {
        if is_https(server) {
            return None;
        }
        self.0.proxies.intercept(server)?.basic_auth().cloned()
    }
}

impl Ways {
    async fn connect(&self, server: Uri) -> Result<Line, Failed> {
        let Some(proxy) = self.proxies.intercept(&server) else {
            let stream = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.tls))).call(server).await?;
            return Ok(Line { stream: MaybeHttpsStream::Http(stream), forwarded: false });
        };
        if is_https(&server) {
            let stream = HttpsConnector::from((self.tunnel(&proxy), Arc::clone(&self.tls))).call(server).await?;
            return Ok(Line { stream, forwarded: false });
        }
        let stream = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.tls))).call(proxy.uri().clone()).await?;
        Ok(Line { stream: MaybeHttpsStream::Http(stream), forwarded: true })
    }

    fn tunnel(&self, proxy: &Intercept) -> Tunnel<HttpsConnector<HttpConnector>> {
        let to_proxy = HttpsConnector::from((self.tcp.clone(), Arc::clone(&self.tls_to_proxy)));
        let tunnel = Tunnel::new(proxy.uri().clone(), to_proxy).with_headers(HeaderMap::from_iter([(header::USER_AGENT, USER_AGENT)]));
        match proxy.basic_auth() {
            Some(credentials) => tunnel.with_auth(credentials.clone()),
            None => tunnel,
        }
    }
}

fn is_https(server: &Uri) -> bool {
    server.scheme() == Some(&Scheme::HTTPS)
}

impl Service<Uri> for Routes {
    type Response = Line;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Line, Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let ways = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT, ways.connect(server)).await;
            connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        })
    }
}

impl Connection for Line {
    /// Not what the stream tells of itself: its addresses would be kept beside every response.
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.forwarded)
    }
}

impl Read for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
