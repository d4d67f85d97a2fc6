//! Mails through a mail server: at most `connections` at once, counted here because lettre's pool bounds only what it
//! keeps, not what it opens. A connection that took a mail takes the next one of the same round; then it is closed.
//! Called by `transport`.

use super::fault::{Matter, SmtpFault, Step};
use super::session::Session;
use crate::config::{Encryption, SmtpServer};
use lettre::Message;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// A mail server, and the connections that wait for a further mail.
pub struct Smtp {
    server: SmtpServer,
    hello: ClientId,
    seats: Semaphore,
    idle: Mutex<Vec<Session>>,
    tls: OnceCell<TlsParameters>,
}

/// How a mail was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The connection was encrypted, and the certificate right.
    pub encrypted: bool,
    /// As the configured user.
    pub signed_in: bool,
    /// The server's words; a stranger's text.
    pub words: String,
}

impl Smtp {
    /// `own_host` is what links point at: with that name the gateway introduces itself.
    pub fn new(server: SmtpServer, own_host: &str) -> Smtp {
        let seats = Semaphore::new(server.connections);
        Smtp { server, hello: introduction(own_host), seats, idle: Mutex::default(), tls: OnceCell::new() }
    }

    /// Mails under way at once.
    pub(super) fn width(&self) -> usize {
        self.server.connections
    }

    /// Returns when the server has the mail.
    pub(super) async fn send(&self, message: &Message) -> Result<Taken, SmtpFault> {
        let Ok(_seat) = self.seats.acquire().await else { return Err(SmtpFault::new(Step::Connect, Matter::Unreachable)) };
        let (envelope, mail) = (message.envelope(), message.formatted());
        let waiting = self.idle().pop();
        if let Some(mut session) = waiting {
            match session.send(envelope, &mail).await {
                Ok(said) => return Ok(self.taken(session, &said.message().collect::<Vec<_>>().join(" "))),
                // It was closed in the meantime: no word of this mail was heard.
                Err(SmtpFault { step: Step::Sender, matter: Matter::Broke | Matter::Said(421), .. }) => {}
                Err(fault) => {
                    session.close().await;
                    return Err(fault);
                }
            }
        }
        let mut session = Session::open(&self.server, self.tls().await?, &self.hello).await?;
        match session.send(envelope, &mail).await {
            Ok(said) => Ok(self.taken(session, &said.message().collect::<Vec<_>>().join(" "))),
            Err(fault) => {
                session.close().await;
                Err(fault)
            }
        }
    }

    /// Closes the connections that wait.
    pub(super) async fn rest(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for session in idle {
            session.close().await;
        }
    }

    fn taken(&self, session: Session, words: &str) -> Taken {
        let taken = Taken { encrypted: session.encrypted, signed_in: session.signed_in, words: words.to_owned() };
        self.idle().push(session);
        taken
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to trust; read once, for it may take many files.
    async fn tls(&self) -> Result<Option<TlsParameters>, SmtpFault> {
        if self.server.tls == Encryption::None {
            return Ok(None);
        }
        let made = self.tls.get_or_try_init(|| async {
            let (host, ca) = (self.server.host.clone(), self.server.ca.clone());
            let built = tokio::task::spawn_blocking(move || {
                let builder = TlsParameters::builder(host);
                match ca {
                    Some(pem) => builder.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(&pem)?),
                    None => builder,
                }
                .build_rustls()
            });
            built.await.ok().and_then(Result::ok).ok_or_else(|| SmtpFault::new(Step::Tls, Matter::NoTrust))
        });
        made.await.map(|tls| Some(tls.clone()))
    }
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("server", &self.server).finish_non_exhaustive()
    }
}

/// EHLO names a host that can be looked up (RFC 5321, 4.1.4): the one people reach the gateway at, else this machine's
/// if it has a whole name, else an address literal.
fn introduction(own_host: &str) -> ClientId {
    let whole = |name: &str| {
        let labels = || name.split('.');
        name.len() <= 253
            && labels().count() > 1
            && labels().all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
            && labels().next_back().is_some_and(|label| label.bytes().any(|byte| byte.is_ascii_alphabetic()))
    };
    if whole(own_host) {
        return ClientId::Domain(own_host.to_owned());
    }
    match ClientId::default() {
        ClientId::Domain(name) if whole(&name) => ClientId::Domain(name),
        _ => ClientId::Ipv4(Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_introduces_itself_with_a_name_that_can_be_looked_up() {
        assert_eq!(introduction("desk.example.org"), ClientId::Domain("desk.example.org".into()));
        for name in ["localhost", "127.0.0.1", "", "a b.example", "x.\r\nMAIL FROM:<a@b>"] {
            assert_ne!(introduction(name), ClientId::Domain(name.into()), "{name}");
        }
    }
}
