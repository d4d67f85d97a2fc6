//! The address that anybody can reach: slow clients, many clients, certificates, proxies. Patience is tested on the real
//! listener with times of the test's own; everything else on the real program.

mod crowds;
mod headers;
mod patience;
mod proxies;
mod recipes;
mod tls;
mod ways;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use paraph::config::Bounds;
use paraph::domain::client::Client;
use paraph::serve::listen::{Listening, Patience};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Who signs certificates in these tests.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients trust, in PEM.
    pub pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate for these names and its key; the certificate in DER.
    pub fn issue(&self, names: &[&str], cert: &Path, key: &Path) -> Vec<u8> {
        let its = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let made = params.signed_by(&its, &self.issuer).unwrap();
        // The key first: between the two writes the files do not fit, and the gateway must bear that.
        std::fs::write(key, its.serialize_pem()).unwrap();
        std::fs::write(cert, made.pem()).unwrap();
        made.der().to_vec()
    }

    /// A client that trusts this authority and nobody else.
    pub fn client(&self) -> reqwest::Client {
        crate::world::https(&[reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap()])
    }
}

/// The listener before a few routes.
struct Site {
    address: SocketAddr,
    leaving: CancellationToken,
    _ends: DropGuard,
}

impl Site {
    async fn open(prepared: impl FnOnce(Listening) -> Listening, bounds: &Bounds) -> Site {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/", get(|| async { "here" }))
            .route("/client", get(|client: axum::Extension<Client>| async move { client.address.to_string() }))
            .route("/read", post(read_all))
            .route("/refuse", post(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "too much") }));
        let leaving = CancellationToken::new();
        tokio::spawn(prepared(Listening::new(listener, bounds)).serve(app, leaving.clone()));
        Site { address, leaving: leaving.clone(), _ends: leaving.drop_guard() }
    }

    async fn impatient() -> Site {
        let hurry = Duration::from_millis(400);
        let patience = Patience { handshake: hurry, head: hurry, body: hurry, body_rate: 8 << 10, linger: Duration::from_secs(20) };
        Site::open(|listening| listening.with_patience(patience), &Bounds::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The body of a page.
    async fn page(&self, path: &str) -> String {
        let mut line = self.connect().await;
        line.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        to_end(&mut line).await.rsplit("\r\n").next().unwrap().to_owned()
    }
}

async fn read_all(body: Body) -> Response<Body> {
    let read = axum::body::to_bytes(body, 1 << 20).await;
    let (status, text) = match read {
        Ok(bytes) => (StatusCode::OK, format!("{} bytes", bytes.len())),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "broke off".to_owned()),
    };
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

/// Everything until the other side closes; also what came before a reset.
async fn to_end(line: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let reading = async { while line.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::time::timeout(crate::world::SOON, reading).await.expect("the connection ends");
    String::from_utf8_lossy(&read).into_owned()
}
