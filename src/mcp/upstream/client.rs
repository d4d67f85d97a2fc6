//! The HTTP client of all instances: hyper-util's pool over connections of our own making, because what a client of
//! higher level wraps around them costs more than the exchange itself. It repeats only what provably no byte of was
//! written, follows nothing and unpacks nothing. Made by `instances`, used by `http`.

use super::body::Outgoing;
use super::route::Routes;
use ::http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::io;
use std::time::Duration;

/// For a connection, from the look-up of its name to the end of its handshake.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Shorter than the 5 s after which common servers close an idle connection: a request that meets a closing
/// connection ends as unknown, and nobody wants that for a message.
const POOL_IDLE: Duration = Duration::from_secs(3);
/// What servers and proxies are told of who asks.
pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("paraph/", env!("CARGO_PKG_VERSION")));

/// Why there is no response.
pub(super) type Error = legacy::Error;

/// A connection that one agent's call leaves free takes the next call of another, so that there are no more of them than
/// calls under way. What belongs to an agent is in each request.
pub(super) struct Client {
    pool: legacy::Client<Routes, Outgoing>,
    routes: Routes,
}

impl Client {
    /// With the proxies that the environment names. The error is a sentence for people.
    pub(super) fn new() -> Result<Client, String> {
        Client::through(Matcher::from_system())
    }

    fn through(proxies: Matcher) -> Result<Client, String> {
        let routes = Routes::new(proxies).map_err(|_| "The HTTP client for servers could not be made.".to_owned())?;
        let mut pool = legacy::Client::builder(TokioExecutor::new());
        pool.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(POOL_IDLE);
        Ok(Client { pool: pool.build(routes.clone()), routes })
    }

    /// What a proxy on the way wants to see in each request; one that only lets a tunnel through sees it at its beginning.
    pub(super) fn proxy_credentials(&self, server: &Uri) -> Option<HeaderValue> {
        self.routes.credentials(server)
    }

    /// Sends one request and waits for the head of its answer. No time limit but that for a connection.
    pub(super) async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Error> {
        self.pool.request(request).await
    }
}

/// Whether a connection was waited for too long, by us or by the system.
pub(super) fn is_timeout(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let late = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout);
        if late || error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::upstream::body::capped;
    use crate::mcp::upstream::leave::Leave;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    async fn behind(credentials: &str, not: &str) -> (Client, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxies = Matcher::builder().all(format!("http://{credentials}{}", listener.local_addr().unwrap())).no(not.to_owned()).build();
        (Client::through(proxies).unwrap(), listener)
    }

    fn post(uri: &str) -> Request<Outgoing> {
        Request::post(uri).body(Outgoing::of("{}".to_owned())).unwrap()
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(read).unwrap()
    }

    fn innermost(error: &Error) -> String {
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string()
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_whole_address_of_an_http_server() {
        let (client, listener) = behind("ann:secret@", "").await;
        let proxy = async {
            let mut stream = listener.accept().await.unwrap().0;
            let asked = head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            asked
        };
        let (answer, asked) = tokio::join!(client.send(post("http://mcp.example.org/mcp?key=1")), proxy);
        assert_eq!(answer.unwrap().status(), 200);
        assert!(asked.starts_with("POST http://mcp.example.org/mcp?key=1 HTTP/1.1\r\n") && asked.contains("host: mcp.example.org\r\n"), "{asked}");
        let credentials = client.proxy_credentials(&Uri::from_static("http://mcp.example.org/mcp"));
        assert_eq!(credentials.unwrap(), "Basic YW5uOnNlY3JldA==");
        assert!(client.proxy_credentials(&Uri::from_static("https://mcp.example.org/mcp")).is_none(), "they are for the proxy alone");
    }

    #[tokio::test]
    async fn an_https_server_is_reached_through_a_tunnel_and_must_prove_who_it_is() {
        let (client, listener) = behind("ann:secret@", "").await;
        let pair = rcgen::generate_simple_self_signed(["mcp.example.org".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
        let proxy = async {
            let mut stream = listener.accept().await.unwrap().0;
            let asked = head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let refused = TlsAcceptor::from(Arc::new(tls)).accept(stream).await.unwrap_err();
            (asked, refused.to_string())
        };
        let (answer, (asked, refused)) = tokio::join!(client.send(post("https://mcp.example.org/mcp")), proxy);
        assert!(asked.starts_with("CONNECT mcp.example.org:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_ascii_lowercase().contains("proxy-authorization: basic yw5uonnly3jlda==\r\n") && asked.contains("user-agent: paraph/"), "{asked}");
        let error = answer.unwrap_err();
        assert!(error.is_connect() && !is_timeout(&error) && innermost(&error).contains("certificate"), "{}", innermost(&error));
        assert!(refused.contains("UnknownCA"), "{refused}");
    }

    #[tokio::test]
    async fn a_tunnel_that_is_refused_is_no_connection() {
        let (client, listener) = behind("", "").await;
        let proxy = async {
            let mut stream = listener.accept().await.unwrap().0;
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        };
        let (answer, ()) = tokio::join!(client.send(post("https://mcp.example.org/mcp")), proxy);
        let error = answer.unwrap_err();
        assert!(error.is_connect() && innermost(&error).contains("proxy authorization required"), "{}", innermost(&error));
    }

    #[tokio::test]
    async fn a_server_that_no_proxy_names_is_reached_straight() {
        let (client, proxy) = behind("ann:secret@", "127.0.0.1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/mcp", listener.local_addr().unwrap());
        let server = async {
            let mut stream = listener.accept().await.unwrap().0;
            let asked = head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            asked
        };
        let (answer, asked) = tokio::join!(client.send(post(&uri)), server);
        let answer = answer.unwrap();
        assert!(answer.status() == 200 && asked.starts_with("POST /mcp HTTP/1.1\r\n"), "{asked}");
        assert!(client.proxy_credentials(&uri.parse().unwrap()).is_none());
        drop(proxy);
    }

    #[tokio::test]
    async fn of_a_request_that_was_kept_back_not_a_byte_arrives_be_the_connection_new_or_used() {
        let client = Client::through(Matcher::builder().build()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/mcp", listener.local_addr().unwrap());
        let kept = || {
            let leave = Arc::new(Leave::default());
            assert!(leave.stay());
            Request::post(&uri).body(Outgoing::with_leave("{}".to_owned(), &leave)).unwrap()
        };
        let server = async {
            let (mut new, mut used) = (Vec::new(), Vec::new());
            listener.accept().await.unwrap().0.read_to_end(&mut new).await.unwrap();
            let mut stream = listener.accept().await.unwrap().0;
            head(&mut stream).await;
            assert_eq!(stream.read_u16().await.unwrap().to_be_bytes(), *b"{}");
            stream.write_all(OK).await.unwrap();
            stream.read_to_end(&mut used).await.unwrap();
            (new, used)
        };
        let asking = async {
            let error = client.send(kept()).await.unwrap_err();
            assert!(!error.is_connect() && innermost(&error) == "kept back", "{}", innermost(&error));
            let answer = client.send(post(&uri)).await.unwrap();
            assert_eq!(capped(answer.into_body(), 2).await.unwrap(), "ok");
            client.send(kept()).await.unwrap_err();
        };
        let ((new, used), ()) = tokio::join!(server, asking);
        assert_eq!((new, used), (Vec::new(), Vec::new()));
    }
}
