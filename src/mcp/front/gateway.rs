//! The gateway over HTTP, as far as the front needs it: one POST per message, GET for streams, DELETE at the end. A
//! body that was never asked for has provably not arrived, so the same message may be posted again; nothing else may.
//! It follows no redirect, since the token must not travel on. Called by `session`, `request`, `post` and `listen`.

use super::Notes;
use crate::mcp::upstream::body::{capped, is_events};
use crate::mcp::upstream::leave::Leave;
use crate::mcp::upstream::sse::Events;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

const CONNECT: Duration = Duration::from_secs(10);
/// Longer than the two seconds in which a closed connection takes a delivery back (semantics.md 8), shorter than any
/// server's patience with an idle one.
const POOL_IDLE: Duration = Duration::from_secs(3);
/// For messages that have no answer of their own.
const POST: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_millis(500);
/// The gateway's streams say every 15 s that they live; one that is silent for so long has lost its other end, as after
/// the sleep of a laptop.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of one answer.
pub(super) const ANSWER: usize = 64 << 20;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// What goes with every message of a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    pub session: Option<HeaderValue>,
    pub revision: Option<HeaderValue>,
}

/// What an answer is.
pub(super) enum Answer {
    Events(Events),
    /// A body; `None` when it broke off or is too large.
    Body(Option<String>),
}

/// Why there is no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not a byte of the message arrived.
    NeverLeft,
    /// It arrived, or may have.
    Broke,
}

pub(super) struct Gateway {
    client: Client,
    url: Url,
    token: HeaderValue,
    down: AtomicBool,
    notes: Notes,
}

impl Gateway {
    /// Connects to nothing yet; the error is a sentence.
    pub(super) fn new(url: Url, token: &str, notes: Notes) -> Result<Gateway, String> {
        let mut token = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "the token has characters that HTTP does not allow".to_owned())?;
        token.set_sensitive(true);
        let builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent(concat!("paraph-connect/", env!("CARGO_PKG_VERSION")));
        // No proxy leads to this computer; and without TLS its certificates, which are slow to load, are not needed.
        let builder = if super::is_this_computer(&url) { builder.no_proxy() } else { builder };
        let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(|_| "the HTTP client could not be made".to_owned())?;
        Ok(Gateway { client, url, token, down: AtomicBool::new(false), notes })
    }

    fn ask(&self, method: Method, headers: &Headers) -> RequestBuilder {
        let mut request = self.client.request(method, self.url.clone()).header(AUTHORIZATION, self.token.clone());
        if let Some(session) = &headers.session {
            request = request.header(SESSION, session.clone());
        }
        if let Some(revision) = &headers.revision {
            request = request.header(REVISION, revision.clone());
        }
        request
    }

    /// Posts a message once. `leave` says afterwards whether it can have arrived.
    pub(super) async fn post(&self, text: Bytes, headers: &Headers, leave: &Arc<Leave>) -> Result<Response, Failure> {
        let (length, leaving) = (text.len(), Arc::clone(leave));
        let body = async move { if leaving.go() { Ok(text) } else { Err(std::io::Error::other("kept back")) } };
        let body = reqwest::Body::wrap_stream(futures_util::stream::once(body));
        let request = self.ask(Method::POST, headers).header(ACCEPT, "application/json, text/event-stream");
        let sent = request.header(CONTENT_TYPE, "application/json").header(CONTENT_LENGTH, length).body(body).send().await;
        sent.inspect(|_| self.up()).map_err(|error| {
            self.is_down(&error);
            if leave.stay() { Failure::NeverLeft } else { Failure::Broke }
        })
    }

    /// Posts a message that has no answer of its own.
    pub(super) async fn tell(&self, text: Bytes, headers: &Headers) -> Result<Response, Failure> {
        let leave = Arc::new(Leave::default());
        let sent = tokio::time::timeout(POST, self.post(text, headers, &leave)).await;
        sent.unwrap_or(if leave.stay() { Err(Failure::NeverLeft) } else { Err(Failure::Broke) })
    }

    /// Opens or resumes a stream.
    pub(super) async fn get(&self, last_event: Option<&str>, headers: &Headers) -> Result<Response, Failure> {
        let mut request = self.ask(Method::GET, headers).header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header(LAST_EVENT, id);
        }
        request.send().await.inspect(|_| self.up()).map_err(|error| {
            self.is_down(&error);
            Failure::Broke
        })
    }

    /// Ends the session, if the gateway is there to hear it.
    pub(super) async fn end(&self, headers: &Headers) {
        if headers.session.is_some() {
            let _ = tokio::time::timeout(GOODBYE, self.ask(Method::DELETE, headers).send()).await;
        }
    }

    /// Says it once, however many requests find out.
    fn is_down(&self, error: &reqwest::Error) {
        if !self.down.swap(true, Ordering::AcqRel) {
            (self.notes)(&format!("the gateway does not answer ({}); trying again", why(error)));
        }
    }

    fn up(&self) {
        if self.down.swap(false, Ordering::AcqRel) {
            (self.notes)("the gateway answers again");
        }
    }
}

/// The innermost cause says most, and never the URL; what TLS found is told in words.
fn why(error: &reqwest::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(TlsError::InvalidCertificate(matter)) = cause.downcast_ref() {
            return certificate(matter).to_owned();
        }
        // An error of the system passes over what it wraps when it is asked for its source.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| cause.source()) {
            Some(inner) => cause = inner,
            None => return cause.to_string(),
        }
    }
}

fn certificate(matter: &CertificateError) -> &'static str {
    match matter {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "its certificate is for another name than the URL's",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody who is trusted here signed its certificate; SSL_CERT_FILE names a file with an authority of your own"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } | CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate has expired or is not valid yet"
        }
        // rustls has no name for this one.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of an authority (CA:TRUE); it needs one with CA:FALSE"
        }
        _ => "its certificate is not in order",
    }
}

/// Reads what an answer is; a body is read whole.
pub(super) async fn read(response: Response) -> Answer {
    if response.status().is_success() && is_events(response.headers()) {
        let heard = futures_util::stream::unfold(Some(response), |response| async move {
            let mut response = response?;
            match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
                Ok(Ok(None)) => None,
                Ok(Err(error)) => Some((Err(io::Error::other(error)), None)),
                Err(_) => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
            }
        });
        return Answer::Events(Events::read(heard, ANSWER));
    }
    let body = capped(reqwest::Body::from(response), ANSWER).await;
    Answer::Body(body.and_then(|body| String::from_utf8(body.into()).ok()))
}

/// What `initialize` got for a session.
pub(super) fn session_of(response: &Response) -> Option<HeaderValue> {
    response.headers().get(&SESSION).cloned().map(|mut id| {
        id.set_sensitive(true);
        id
    })
}

/// A gateway that is starting, or a proxy that has lost its own.
pub(super) fn is_away(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}
