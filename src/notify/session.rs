//! One connection to the mail server: from the name to a server that takes mails, and one mail over it. lettre speaks
//! SMTP; each step is a command of its own here, so that a failure has a place, and each has an end in time, which
//! lettre's own connections do not give. Made by `smtp`.

use super::fault::{Matter, SmtpFault, Step};
use crate::config::{Encryption, SmtpServer};
use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error as LettreError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Servers look at a mail before they take it: so many times the patience of another step (RFC 5321, 4.5.3.2).
const FOR_THE_TEXT: u32 = 4;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A server that takes mails.
pub(super) struct Session {
    connection: AsyncSmtpConnection,
    patience: Duration,
    pub(super) encrypted: bool,
    pub(super) signed_in: bool,
}

impl Session {
    /// Every step up to the first mail.
    pub(super) async fn open(server: &SmtpServer, tls: Option<TlsParameters>, hello: &ClientId) -> Result<Session, SmtpFault> {
        let patience = server.timeout;
        let addresses = resolve(server).await?;
        let (mut connection, encrypted) = match (server.tls, tls) {
            (Encryption::Implicit, Some(tls)) => {
                let connecting = AsyncSmtpConnection::connect_tokio1(&addresses[..], Some(patience), hello, Some(tls), None);
                // It spans the steps from connecting to the greeting.
                let connected = within(patience * 2, Step::Tls, connecting).await;
                let connection = connected.map_err(|fault| if fault.code().is_some() { SmtpFault { step: Step::Greeting, ..fault } } else { fault })?;
                (connection, true)
            }
            (Encryption::Implicit, None) => return Err(SmtpFault::new(Step::Tls, Matter::NoTrust)),
            (Encryption::Required | Encryption::Opportunistic | Encryption::None, tls) => {
                let stream = LineByLine::new(connect(&addresses, patience).await?);
                let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello);
                let mut connection = within(patience, Step::Greeting, greeted).await?;
                let offered = connection.can_starttls();
                match (server.tls, tls) {
                    (Encryption::Required | Encryption::Opportunistic, Some(tls)) if offered => {
                        within(patience, Step::Tls, connection.starttls(tls, hello)).await?;
                        (connection, true)
                    }
                    (Encryption::None, _) | (Encryption::Opportunistic, Some(_)) => (connection, false),
                    (_, tls) => {
                        let _said = timeout(GOODBYE, connection.quit()).await;
                        return Err(SmtpFault::new(Step::Tls, if tls.is_none() { Matter::NoTrust } else { Matter::NotOffered }));
                    }
                }
            }
        };
        let signed_in = match (&server.user, &server.password) {
            (Some(user), Some(password)) => {
                let local = addresses.iter().all(|address| address.ip().is_loopback());
                if !encrypted && !local {
                    return Err(SmtpFault::new(Step::SignIn, Matter::Readable));
                }
                let credentials = Credentials::new(user.clone(), password.expose().to_owned());
                within(patience, Step::SignIn, connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)).await?;
                true
            }
            _ => false,
        };
        Ok(Session { connection, patience, encrypted, signed_in })
    }

    /// One mail; what the server said when it took it. After a failure the session must not be used again.
    pub(super) async fn send(&mut self, envelope: &Envelope, mail: &[u8]) -> Result<Response, SmtpFault> {
        let mut parameters = Vec::new();
        let beyond_ascii = |address: &Address| !AsRef::<str>::as_ref(address).is_ascii();
        if envelope.to().iter().chain(envelope.from()).any(beyond_ascii) {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(SmtpFault::new(Step::Recipient, Matter::NotOffered));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let Session { connection, patience, .. } = self;
        within(*patience, Step::Sender, connection.command(Mail::new(envelope.from().cloned(), parameters))).await?;
        for recipient in envelope.to() {
            within(*patience, Step::Recipient, connection.command(Rcpt::new(recipient.clone(), Vec::new()))).await?;
        }
        within(*patience, Step::Text, connection.command(Data)).await?;
        within(*patience * FOR_THE_TEXT, Step::Text, connection.message(mail)).await
    }

    /// Says goodbye, without insisting on an answer.
    pub(super) async fn close(mut self) {
        let _said = timeout(GOODBYE, self.connection.quit()).await;
    }
}

async fn within<T>(patience: Duration, step: Step, doing: impl Future<Output = Result<T, LettreError>>) -> Result<T, SmtpFault> {
    match timeout(patience, doing).await {
        Ok(done) => done.map_err(|error| SmtpFault::of(step, &error)),
        Err(_) => Err(SmtpFault::new(step, Matter::TimedOut)),
    }
}

async fn resolve(server: &SmtpServer) -> Result<Vec<SocketAddr>, SmtpFault> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let found: Vec<SocketAddr> = match timeout(server.timeout, lookup_host((server.host.as_str(), server.port))).await {
        Ok(found) => found.map_err(|_| SmtpFault::new(Step::Resolve, Matter::Unreachable))?.collect(),
        Err(_) => return Err(SmtpFault::new(Step::Resolve, Matter::TimedOut)),
    };
    if found.is_empty() { Err(SmtpFault::new(Step::Resolve, Matter::Unreachable)) } else { Ok(found) }
}

async fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, SmtpFault> {
    let mut last = SmtpFault::new(Step::Connect, Matter::Unreachable);
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = SmtpFault::of_io(Step::Connect, &error),
            Err(_) => last = SmtpFault::new(Step::Connect, Matter::TimedOut),
        }
    }
    Err(last)
}

/// Hands on at most one line at a time. lettre keeps what it has read beyond a line across STARTTLS; somebody on the way
/// could put answers there that would then count as the server's own, said under encryption (CVE-2011-0411). This way
/// they reach the TLS handshake instead, which breaks on them.
#[derive(Debug)]
struct LineByLine {
    tcp: TcpStream,
    read: Vec<u8>,
    given: usize,
}

impl LineByLine {
    fn new(tcp: TcpStream) -> LineByLine {
        LineByLine { tcp, read: Vec::new(), given: 0 }
    }
}

impl AsyncTokioStream for LineByLine {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

impl AsyncRead for LineByLine {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given == this.read.len() {
            let mut room = [0; 4096];
            let mut fresh = ReadBuf::new(&mut room);
            std::task::ready!(Pin::new(&mut this.tcp).poll_read(context, &mut fresh))?;
            this.read = fresh.filled().to_vec();
            this.given = 0;
        }
        let ahead = this.read.get(this.given..).unwrap_or_default();
        let line = ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |end| end + 1).min(wanted.remaining());
        wanted.put_slice(ahead.get(..line).unwrap_or_default());
        this.given += line;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LineByLine {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
