//! Whom a mail and a password are given to: wrong certificates, a STARTTLS that somebody took out, answers that somebody
//! put in. Each is tried with `mail test`, which takes the same way as every mail.

use super::certificates::{Authority, self_signed, self_signed_authority};
use super::{ANN, SECRET, Server, configure, world};
use crate::world::World;
use serde_json::{Value, json};
use std::process::Output;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

async fn tried(world: &World) -> (i32, Value, Output) {
    let output = world.run(&["mail", "test", ANN, "--json"]).await;
    let view = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), view, output)
}

async fn refused(asked: Value, world: &World, ca: &str, step: &str, problem: &str) {
    let mut asked = asked;
    asked["user"] = json!("paraph");
    asked["password"] = json!(SECRET);
    let server = Server::start(&world.path("mails"), asked).await;
    configure(world, &format!("smtp://paraph@localhost:{}", server.port), &format!("password = \"{SECRET}\"\n{ca}"));
    let (code, view, _) = tried(world).await;
    assert_eq!((code, view["step"].as_str(), &view["sent"]), (3, Some(step), &json!(false)), "{view}");
    assert!(view["problem"].as_str().unwrap().contains(problem), "{view}");
    for kind in ["sign_in", "sender", "mail"] {
        assert_eq!(server.noted(kind), Vec::<Value>::new(), "nothing was said to a server that could be another: {kind}");
    }
}

#[tokio::test]
async fn no_mail_and_no_password_is_given_to_a_server_with_a_wrong_certificate() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let ca = format!("ca = \"{}\"", authority.file);
    refused(authority.server(&world, "starttls", "other.example.org"), &world, &ca, "tls", "for another name").await;
    refused(authority.expired(&world), &world, &ca, "tls", "has expired").await;
    refused(self_signed(&world), &world, &ca, "tls", "nobody who is trusted").await;
    refused(authority.server(&world, "starttls", "localhost"), &world, "", "tls", "nobody who is trusted").await;
}

#[tokio::test]
async fn without_starttls_nothing_is_said_when_encryption_is_required() {
    let world = world("smtp://localhost:1", "");
    refused(json!({"tls": "none"}), &world, "", "tls", "does not offer encryption").await;
}

#[tokio::test]
async fn a_certificate_that_signed_itself_can_be_trusted_by_name() {
    let world = world("smtp://localhost:1", "");
    let server = Server::start(&world.path("mails"), self_signed(&world)).await;
    configure(&world, &format!("smtp://localhost:{}", server.port), "ca = \"cert.pem\"");
    let (code, view, _) = tried(&world).await;
    assert_eq!((code, &view["encryption"]), (0, &json!("starttls")), "{view}");
    server.mails(1).await;
}

#[tokio::test]
async fn an_authoritys_certificate_as_a_servers_own_is_told_with_how_to_make_a_right_one() {
    let world = world("smtp://localhost:1", "");
    refused(self_signed_authority(&world), &world, "ca = \"cert.pem\"", "tls", "certificate of an authority (CA:TRUE)").await;
    let server = Server::start(&world.path("mails"), self_signed_authority(&world)).await;
    configure(&world, &format!("smtp://localhost:{}", server.port), "ca = \"cert.pem\"");
    let (_, view, _) = tried(&world).await;
    assert!(view.to_string().contains("-addext basicConstraints=critical,CA:FALSE"), "{view}");
}

#[tokio::test]
async fn the_certificates_of_the_system_are_trusted_when_none_are_named() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let server = Server::start(&world.path("mails"), authority.server(&world, "implicit", "localhost")).await;
    configure(&world, &format!("smtps://localhost:{}", server.port), "");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_paraph"));
    command.args(["mail", "test", ANN, "--json", "--config"]).arg(world.path("config.toml")).env("SSL_CERT_FILE", &authority.file);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &view["encryption"]), (Some(0), &json!("tls")), "{view}");
    assert_eq!(server.mails(1).await[0]["encrypted"], json!(true));
}

#[tokio::test]
async fn opportunistic_takes_encryption_where_it_is_offered() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let offers = Server::start(&world.path("offers"), authority.server(&world, "starttls", "localhost")).await;
    let offers_none = Server::start(&world.path("offers-none"), json!({"tls": "none"})).await;
    for (server, encryption) in [(&offers, "starttls"), (&offers_none, "none")] {
        configure(&world, &format!("smtp://localhost:{}?tls=opportunistic", server.port), &format!("ca = \"{}\"", authority.file));
        let (code, view, _) = tried(&world).await;
        assert_eq!((code, view["encryption"].as_str()), (0, Some(encryption)), "{view}");
        assert_eq!(server.mails(1).await[0]["encrypted"], json!(encryption == "starttls"));
    }
}

/// CVE-2011-0411: what somebody on the way puts behind the answer to STARTTLS must not count as said under encryption.
/// The server behind them is the right one, with the right certificate.
#[tokio::test]
async fn answers_put_in_before_the_encryption_end_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    authority.server(&world, "starttls", "localhost");
    let tls = acceptor(&world);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.test\r\n").await.unwrap();
        for answer in [&b"250-mail.test\r\n250 STARTTLS\r\n"[..], b"220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 signed in\r\n"] {
            stream.read_until(b'\n', &mut Vec::new()).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
        let Ok(encrypted) = tls.accept(stream).await else { return };
        let (mut encrypted, mut line) = (BufReader::new(encrypted), Vec::new());
        while encrypted.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
            hears.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    let further = format!("password = \"{SECRET}\"\ntimeout = \"5s\"\nca = \"{}\"", authority.file);
    configure(&world, &format!("smtp://paraph@localhost:{port}"), &further);
    let (code, view, _) = tried(&world).await;
    let heard = heard.lock().unwrap().concat();
    assert_eq!(heard, "", "the encryption never began");
    assert_eq!((code, view["step"].as_str()), (3, Some("tls")), "{view}");
}

/// With the certificate that was written last.
fn acceptor(world: &World) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(world.path("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(world.path("key.pem")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}
