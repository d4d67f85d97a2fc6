//! TLS in the gateway itself: from end to end, what is refused, another certificate while streams are open, the end.

use super::*;
use crate::world::{Agent, Desk, Gateway, World, text_of, until};
use serde_json::json;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

const ANN: &str = "ann@example.org";
const OP: &str = "op@example.org";

/// A world whose gateway speaks https.
struct Secured {
    world: World,
    authority: Authority,
    certificate: Vec<u8>,
}

impl Secured {
    fn new() -> Secured {
        let (world, authority) = (World::with_demo_server(""), Authority::new());
        world.listen("tls = { cert = \"cert.pem\", key = \"key.pem\" }");
        let mut secured = Secured { world, authority, certificate: Vec::new() };
        secured.renew();
        secured
    }

    fn renew(&mut self) {
        self.certificate = self.authority.issue(&["127.0.0.1", "localhost"], &self.world.path("cert.pem"), &self.world.path("key.pem"));
    }

    fn agent<'a>(&self, gateway: &Gateway, token: &'a str) -> impl Future<Output = Agent> + use<'a> {
        let (client, url) = (self.authority.client(), gateway.mcp("demo"));
        async move { Agent::over(client, &url, token).await }
    }

    fn desk(&self, gateway: &Gateway, token: &str) -> Desk {
        Desk::over(self.authority.client(), &gateway.url, token)
    }

    /// A connection of its own, with these versions of TLS; the certificate that it was shown.
    async fn handshake(
        &self,
        gateway: &Gateway,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> std::io::Result<(TlsStream<TcpStream>, Vec<u8>)> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(address(gateway)).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        Ok((stream, shown))
    }

    async fn shown(&self, gateway: &Gateway) -> Vec<u8> {
        self.handshake(gateway, &[&TLS13], &[]).await.unwrap().1
    }
}

/// The first words of a client whose newest version is 3.`minor`, which is TLS 1.`minor - 1`.
fn hello(minor: u8) -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x09, 0xc0, 0x13];
    let extensions = [[0, 10, 0, 4, 0, 2, 0, 23].as_slice(), &[0, 11, 0, 2, 1, 0], &[0, 13, 0, 4, 0, 2, 4, 3]].concat();
    let body = [&[3, minor][..], &[7; 32], &[0, 0, suites.len() as u8], &suites, &[1, 0, 0, extensions.len() as u8], &extensions].concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
}

fn address(gateway: &Gateway) -> String {
    gateway.url.strip_prefix("https://").expect("it says https").to_owned()
}

#[tokio::test]
async fn agents_and_reviewers_speak_https_from_end_to_end() {
    let secured = Secured::new();
    let (token, ann) = (secured.world.agent("support-bot").await, secured.world.reviewer(ANN).await);
    let gateway = secured.world.serve().await;
    let (agent, desk) = (secured.agent(&gateway, &token).await, secured.desk(&gateway, &ann));
    let asked = agent.begin("send_dm", json!({"to": "@bob", "text": "over TLS"}));
    desk.approve(&desk.held("over TLS").await).await;
    let answer = asked.await.unwrap().unwrap();
    assert!(text_of(&answer["result"]).contains("@bob"), "{answer}");

    // The link says https, and the cookie is for https alone.
    let link = secured.world.told(&["reviewer", "link", ANN]).await;
    assert!(link.starts_with(&gateway.url), "{link}");
    let client = secured.authority.client();
    let signed_in = client.post(&link).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-paraph_session=") && cookie.ends_with("; Secure"), "{cookie}");

    // The terminal's commands find it too.
    let listed = secured.world.run(&["agent", "list"]).await;
    assert!(listed.status.success());
    assert!(crate::world::http().get(&gateway.url).send().await.is_err(), "nobody vouches for it there");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn old_versions_other_protocols_and_plain_http_are_turned_away() {
    let secured = Secured::new();
    let gateway = secured.world.serve().await;
    for version in [&TLS12, &TLS13] {
        let (mut stream, _) = secured.handshake(&gateway, &[version], &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let port = address(&gateway);
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {port}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("ok\n"), "{said}");
    }
    assert!(secured.handshake(&gateway, &[&TLS13], &[b"h2"]).await.is_err());

    // A client that speaks TLS 1.1 at most hears "protocol version" (RFC 5246, E.1); the same client one version later is
    // answered with a hello.
    for (version, kind, what) in [(2, 21, 70), (3, 22, 2)] {
        let mut line = TcpStream::connect(address(&gateway)).await.unwrap();
        line.write_all(&hello(version)).await.unwrap();
        let mut record = [0; 7];
        line.read_exact(&mut record).await.unwrap();
        let said = if kind == 21 { record[6] } else { record[5] };
        assert_eq!((record[0], said), (kind, what), "{record:?}");
    }

    let mut line = TcpStream::connect(address(&gateway)).await.unwrap();
    line.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let said = to_end(&mut line).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.ends_with("This address speaks https: write https:// in front of it.\n"), "{said}");

    // Handshakes that never go on keep nobody from theirs, and the gateway from its end neither.
    let mut stalled = Vec::new();
    for number in 0..50 {
        let mut line = TcpStream::connect(address(&gateway)).await.unwrap();
        line.write_all(&[22, 3, 1, 2, 0][..number % 6]).await.unwrap();
        stalled.push(line);
    }
    assert_eq!(secured.shown(&gateway).await, secured.certificate);
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_open_streams_stay() {
    let mut secured = Secured::new();
    let token = secured.world.agent("support-bot").await;
    secured.world.told(&["reviewer", "add", OP, "--role", "operator"]).await;
    let operator = secured.world.told(&["reviewer", "token", OP]).await;
    let gateway = secured.world.serve().await;
    let desk = secured.desk(&gateway, &operator);
    assert_eq!(secured.shown(&gateway).await, secured.certificate);
    let agent = secured.agent(&gateway, &token).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "asked before"}));
    let held = desk.held("asked before").await;

    let first = secured.certificate.clone();
    secured.renew();
    assert_ne!(first, secured.certificate);
    let now = &secured;
    until("new connections see the new certificate", || async { (now.shown(&gateway).await == now.certificate).then_some(()) }).await;
    assert!(gateway.log().contains("the certificate was read again"));

    // One that is no certificate changes nothing, and operators are told at the line.
    std::fs::write(secured.world.path("cert.pem"), "not a certificate\n").unwrap();
    let config = until("the mistake is told", || async {
        let (_, config) = desk.get("/config").await;
        config["mistakes"].as_array().is_some_and(|mistakes| mistakes.len() == 1).then_some(config)
    })
    .await;
    assert_eq!(config["mistakes"][0]["key"], "listen.tls.cert", "{config}");
    assert_eq!(secured.shown(&gateway).await, secured.certificate);
    secured.renew();
    let now = &secured;
    until("the mended one is shown", || async { (now.shown(&gateway).await == now.certificate).then_some(()) }).await;

    // The stream that was opened under the first certificate carries the answer.
    desk.approve(&held).await;
    let answer = waiting.await.unwrap().unwrap();
    assert!(text_of(&answer["result"]).contains("@bob"), "{answer}");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn told_to_stop_it_answers_who_waits_over_tls() {
    let secured = Secured::new();
    let (token, ann) = (secured.world.agent("support-bot").await, secured.world.reviewer(ANN).await);
    let gateway = secured.world.serve().await;
    let agent = secured.agent(&gateway, &token).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "this one waits"}));
    secured.desk(&gateway, &ann).held("this one waits").await;
    let idle = secured.handshake(&gateway, &[&TLS13], &[]).await.unwrap();
    let stopping = tokio::spawn(gateway.stop());
    let pending = waiting.await.unwrap().unwrap();
    assert!(text_of(&pending["result"]).starts_with("NOT SENT YET."), "{pending}");
    assert!(stopping.await.unwrap(), "the exit code is 0");
    drop(idle);
}

#[tokio::test]
async fn pages_say_that_they_travel_unencrypted_when_they_do() {
    let open = World::with_demo_server("");
    open.listen("insecure_http = true");
    let mut secured = Secured::new();
    secured.world.listen("insecure_http = true");
    secured.renew();
    for (world, client, expected) in [(&open, crate::world::http(), true), (&secured.world, secured.authority.client(), false)] {
        let gateway = world.serve().await;
        let page = client.get(format!("{}/sign-in", gateway.url)).send().await.unwrap().text().await.unwrap();
        assert_eq!(page.contains("This page travels unencrypted"), expected, "{page}");
        assert!(gateway.stop().await);
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_stops_the_start_at_its_line() {
    let secured = Secured::new();
    let (cert, key) = (secured.world.path("other.pem"), secured.world.path("key.pem"));
    secured.authority.issue(&["localhost"], &cert, &key);
    for command in ["check", "serve"] {
        let ran = secured.world.run(&[command]).await;
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains("config.toml:2: listen.tls.key: this is the key of another certificate"), "{said}");
    }
}
