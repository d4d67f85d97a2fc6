//! A mail server as `[mail]` names it: `url`, `password`, `ca`, `connections`, `timeout`. What would send mails or a
//! password readable over a network is refused here, at the file's line. No mistake repeats the URL, because people
//! write passwords into it. Read by `mail`.

use super::Secret;
use super::address;
use super::read::{Node, Section};
use super::sections::set;
use super::source::Source;
use crate::domain::spelling::closest;
use http::uri::Authority;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use std::path::Path;
use std::time::Duration;

/// Bytes of a file with certificates.
const CA_BYTES: u64 = 1 << 20;
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
const MOST_CONNECTIONS: u64 = 50;
const URL: &str = "Write a URL such as \"smtp://user@mail.example.org:587\" or \"smtps://user@mail.example.org\".";
/// The keys that mean something with `transport = "smtp"` alone.
pub(super) const KEYS: [&str; 5] = ["url", "password", "ca", "connections", "timeout"];

/// A mail server and how to speak with it (RFC 5321, RFC 6409).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// A name, or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// When the connection is encrypted.
    pub tls: Encryption,
    /// Who signs in; nobody does without a password.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<Secret>,
    /// PEM certificates that are trusted instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Mails under way at once.
    pub connections: usize,
    /// How long one step of a delivery may take.
    pub timeout: Duration,
}

/// When a connection to the mail server is encrypted. Wherever it is, the certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte (`smtps`, RFC 8314).
    Implicit,
    /// By STARTTLS (RFC 3207), and no mail leaves without it.
    Required,
    /// By STARTTLS when the server offers it.
    Opportunistic,
    /// Never; only towards this machine.
    None,
}

/// Reads the keys, each with its mistakes.
pub(super) fn smtp(section: &mut Section<'_>, source: &mut Source<'_>) -> Option<SmtpServer> {
    let url = section.need(source, "url", URL);
    let password = section.take(source, "password");
    let secret = password.as_ref().and_then(|node| source.secret(node));
    let ca = section.take(source, "ca").and_then(|node| certificates(&node, source));
    let (mut connections, mut timeout) = (2, Duration::from_secs(30));
    if let Some(node) = section.take(source, "connections") {
        set(&mut connections, node.count(source, 1, MOST_CONNECTIONS).and_then(|count| usize::try_from(count).ok()));
    }
    if let Some(node) = section.take(source, "timeout") {
        set(&mut timeout, node.time(source, SHORTEST_TIMEOUT, LONGEST_TIMEOUT));
    }
    let node = url?;
    let text = node.text(source, URL)?;
    let (host, port, tls, user) = match taken_apart(text) {
        Ok(parts) => parts,
        Err((problem, mend)) => {
            node.mistake(source, problem, mend);
            // What is wrong besides the password is told at once, too.
            if let Some(Err((problem, mend))) = without_password(text).map(|url| taken_apart(&url)) {
                node.mistake(source, problem, mend);
            }
            return None;
        }
    };
    match (&user, &password) {
        (Some(_), None) => source.warn(
            "mail.url",
            "names a user, but there is no password: Paraph does not sign in to the mail server",
            "Write password = { env = \"NAME\" } or { file = \"PATH\" }, or leave the user out.",
        ),
        (None, Some(password)) => {
            password.mistake(source, "belongs to nobody: the url names no user", "Write the user into the url, smtp://USER@HOST, or leave the password out.");
        }
        _ => {}
    }
    if tls == Encryption::Opportunistic && !address::is_loopback(&with_port(&host, port)) {
        source.warn("mail.url", "with tls=opportunistic anybody on the way can switch the encryption off and read the mails", "Write tls=required.");
    }
    Some(SmtpServer { host, port, tls, user, password: secret, ca, connections, timeout })
}

/// Says which keys have no meaning with another transport.
pub(super) fn unused(section: &mut Section<'_>, source: &mut Source<'_>) {
    for key in KEYS {
        if section.take(source, key).is_some() {
            source.warn(&format!("mail.{key}"), "has no meaning without transport = \"smtp\"", "Leave it out, or write transport = \"smtp\".");
        }
    }
}

/// The URL without the password that it carries, if it does.
fn without_password(url: &str) -> Option<String> {
    let (before, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let (scheme, rest) = before.split_once("://")?;
    let (user, server) = rest.rsplit_once('@')?;
    let (name, _) = user.split_once(':')?;
    Some(format!("{scheme}://{name}@{server}{query}"))
}

type Parts = (String, u16, Encryption, Option<String>);
type Wrong = (&'static str, &'static str);

fn taken_apart(url: &str) -> Result<Parts, Wrong> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(("holds a blank or another character that no URL has", URL));
    }
    let (scheme, rest) = url.split_once("://").ok_or(("is not a URL", URL))?;
    let implicit = match scheme.to_ascii_lowercase().as_str() {
        "smtp" => false,
        "smtps" => true,
        _ => return Err(("is not an smtp or smtps URL", URL)),
    };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    // Before anything else: whatever else is wrong, this is what must be told.
    let (user, server) = rest.rsplit_once('@').map_or((None, rest), |(user, server)| (Some(user), server));
    if user.is_some_and(|user| user.contains(':')) {
        return Err((
            "carries a password",
            "Take it out and write password = { env = \"NAME\" } or { file = \"PATH\" }; who has read this file knows it, so change it.",
        ));
    }
    if url.contains('#') {
        return Err(("has a fragment", URL));
    }
    let user = user.map(user_name).transpose()?;
    let server = server.strip_suffix('/').unwrap_or(server);
    let authority: Authority = server.parse().map_err(|_| ("names no host that can be reached", URL))?;
    if !address::is_host(server) || authority.port_u16() == Some(0) {
        return Err(("names no host that can be reached", URL));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let tls = encryption(query, implicit)?;
    let port = authority.port_u16().unwrap_or(match tls {
        Encryption::Implicit => 465,
        Encryption::Required | Encryption::Opportunistic => 587,
        Encryption::None => 25,
    });
    if tls == Encryption::None && !address::is_loopback(&with_port(&host, port)) {
        return Err((
            "with tls=none mails would travel readable",
            "Only a mail server on this machine may be spoken to without encryption: write tls=required.",
        ));
    }
    Ok((host, port, tls, user))
}

fn encryption(query: Option<&str>, implicit: bool) -> Result<Encryption, Wrong> {
    const MEND: &str = "The only one is tls: required, opportunistic, or none towards this machine.";
    let mut words = query.into_iter().flat_map(|query| query.split('&'));
    let (first, more) = (words.next(), words.next());
    if more.is_some() {
        return Err(("has more than one parameter after the question mark", MEND));
    }
    let Some(word) = first else { return Ok(if implicit { Encryption::Implicit } else { Encryption::Required }) };
    let Some(word) = word.strip_prefix("tls=") else { return Err(("has a parameter that is not known", MEND)) };
    match (word, implicit) {
        ("required", true) => Ok(Encryption::Implicit),
        ("required", false) => Ok(Encryption::Required),
        ("opportunistic", false) => Ok(Encryption::Opportunistic),
        ("none", false) => Ok(Encryption::None),
        ("opportunistic" | "none", true) => {
            Err(("says smtps, which is encrypted from the first byte, and tls=opportunistic or tls=none", "Write smtp:// or leave tls out."))
        }
        _ => Err(match closest(word, &["required", "opportunistic", "none"]) {
            Some("required") => ("has a tls that is not known", "Did you mean tls=required? One of: required, opportunistic, none."),
            _ => ("has a tls that is not known", "One of: required, opportunistic, none."),
        }),
    }
}

/// RFC 3986, 2.1.
fn user_name(written: &str) -> Result<String, Wrong> {
    const MEND: &str = "Write smtp://USER@HOST; in USER, @ is %40 and % is %25.";
    if written.contains('@') {
        return Err(("has an @ in the user's name", MEND));
    }
    let mut bytes = Vec::new();
    let mut rest = written.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)).and_then(|digit| u8::try_from(digit).ok()));
        let [Some(high), Some(low)] = digits else { return Err(("has a % in the user's name that no two digits follow", MEND)) };
        bytes.push(high << 4 | low);
    }
    let name = String::from_utf8(bytes).map_err(|_| ("has a user's name that is not UTF-8", MEND))?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(("has a user's name that is empty or not a text", MEND));
    }
    Ok(name)
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn certificates(node: &Node<'_>, source: &mut Source<'_>) -> Option<Vec<u8>> {
    const MEND: &str = "Write the path of a PEM file with the certificate of the authority that signed the mail server's.";
    let name = node.text(source, MEND)?;
    let path = source.resolve(name);
    source.note_file(path.clone());
    match read_certificates(&path) {
        Ok(pem) => Some(pem),
        Err(problem) => {
            node.mistake(source, format!("the file {name:?} {problem}"), MEND);
            None
        }
    }
}

fn read_certificates(path: &Path) -> Result<Vec<u8>, &'static str> {
    let size = std::fs::metadata(path).map_err(|_| "cannot be read")?;
    if !size.is_file() || size.len() > CA_BYTES {
        return Err("is not a file of at most 1 MiB");
    }
    let pem = std::fs::read(path).map_err(|_| "cannot be read")?;
    if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
        return Err("holds no certificate");
    }
    let usable = Certificate::from_pem(&pem).and_then(|certificate| {
        TlsParameters::builder("localhost".into()).certificate_store(CertificateStore::None).add_root_certificate(certificate).build_rustls()
    });
    usable.map(|_| pem).map_err(|_| "holds a certificate that cannot be used")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_port_encryption_and_user() {
        for (url, expected) in [
            ("smtp://mail.example.org", ("mail.example.org", 587, Encryption::Required, None)),
            ("SMTPS://mail.example.org/", ("mail.example.org", 465, Encryption::Implicit, None)),
            ("smtps://mail.example.org?tls=required", ("mail.example.org", 465, Encryption::Implicit, None)),
            (
                "smtp://paraph%40example.org@mail.example.org:2525?tls=opportunistic",
                ("mail.example.org", 2525, Encryption::Opportunistic, Some("paraph@example.org")),
            ),
            ("smtp://localhost?tls=none", ("localhost", 25, Encryption::None, None)),
            ("smtp://[::1]:1025/?tls=none", ("::1", 1025, Encryption::None, None)),
        ] {
            let (host, port, tls, user) = taken_apart(url).unwrap_or_else(|wrong| panic!("{url}: {wrong:?}"));
            assert_eq!((host.as_str(), port, tls, user.as_deref()), expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_could_mean_something_else_is_refused_without_being_repeated() {
        for (url, part) in [
            ("mail.example.org:587", "is not a URL"),
            ("http://mail.example.org", "is not an smtp"),
            ("smtp://user:hunter2@mail.example.org", "carries a password"),
            ("smtps://user:hunter2/?#@mail.example.org", "fragment"),
            ("smtp://user:hunter2#x@mail.example.org", "carries a password"),
            ("smtp://a@b@mail.example.org", "an @"),
            ("smtp://@mail.example.org", "empty"),
            ("smtp://a%zz@mail.example.org", "%"),
            ("smtp://a%00b@mail.example.org", "not a text"),
            ("smtp://", "no host"),
            ("smtp://mail.example.org:0", "no host"),
            ("smtp://mail.example.org:99999", "no host"),
            ("smtp://mail.example.org/inbox", "no host"),
            ("smtp://mail.example.org#x", "fragment"),
            ("smtp://mail example.org", "blank"),
            ("smtp://mail.example.org?tls=none", "readable"),
            ("smtp://localhost.example.org?tls=none", "readable"),
            ("smtps://localhost?tls=none", "smtps"),
            ("smtp://mail.example.org?tls=off", "not known"),
            ("smtp://mail.example.org?ssl=true", "not known"),
            ("smtp://mail.example.org?tls=required&x=1", "more than one"),
        ] {
            let (problem, mend) = taken_apart(url).expect_err(url);
            assert!(problem.contains(part), "{url}: {problem}");
            assert!(!problem.contains("hunter2") && !mend.contains("hunter2"));
        }
    }
}
