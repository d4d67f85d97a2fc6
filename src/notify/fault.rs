//! Why a mail did not leave by SMTP: at which step, and what was the matter. Sentences are ours and hold no address and
//! nothing that the server said, because they stand in logs and on pages; only `mail test` repeats the server's words.
//! Also says whose fault it is: that of the way, for which all mails wait, or of one mail to one person.
//! Made by `smtp` and `session`.

use lettre::transport::smtp::Error as LettreError;
use std::error::Error as _;
use std::io;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

/// A step of a delivery, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Finding the server's address.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The server's greeting and EHLO (RFC 5321, 3.1 and 3.2).
    Greeting,
    /// STARTTLS or TLS from the beginning.
    Tls,
    /// AUTH (RFC 4954).
    SignIn,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA and the mail itself.
    Text,
}

/// What was the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// No answer in time.
    TimedOut,
    /// Nobody listens, or no way leads there.
    Unreachable,
    /// The connection broke, or what came was no SMTP.
    Broke,
    /// The server said so (RFC 5321, 4.2: a code of 4yz or 5yz).
    Said(u16),
    /// The server does not offer what is needed.
    NotOffered,
    /// The password would have travelled readable.
    Readable,
    /// The other side does not speak TLS.
    NotTls,
    /// The certificate is for another name.
    OtherName,
    /// Nobody who is trusted signed the certificate.
    Untrusted,
    /// The certificate is out of its time.
    OutOfTime,
    /// The certificate is an authority's, and shown as a server's own.
    OfAuthority,
    /// The certificate is wrong in another way.
    BadCertificate,
    /// The certificates to trust could not be read.
    NoTrust,
}

/// One failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.cause())]
pub struct SmtpFault {
    /// Where.
    pub step: Step,
    /// What.
    pub matter: Matter,
    /// The server's own words, for the terminal of whoever asked; a stranger's text.
    pub words: Option<String>,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The way's: no other mail would leave now either.
    Way,
    /// This mail's to this person, for now.
    MailForNow,
    /// This mail's to this person, for good.
    MailForGood,
}

impl Step {
    /// The word in `mail test --json`.
    pub fn word(self) -> &'static str {
        match self {
            Step::Resolve => "resolve",
            Step::Connect => "connect",
            Step::Greeting => "greeting",
            Step::Tls => "tls",
            Step::SignIn => "sign_in",
            Step::Sender => "sender",
            Step::Recipient => "recipient",
            Step::Text => "text",
        }
    }
}

impl SmtpFault {
    /// Without words of the server.
    pub(super) fn new(step: Step, matter: Matter) -> SmtpFault {
        SmtpFault { step, matter, words: None }
    }

    /// From what lettre found.
    pub(super) fn of(step: Step, error: &LettreError) -> SmtpFault {
        if let Some(code) = error.status() {
            // What a server answers to a password may repeat it.
            let words = error.source().filter(|_| step != Step::SignIn).map(ToString::to_string);
            return SmtpFault { step, matter: Matter::Said(code.into()), words };
        }
        if error.is_client() {
            return SmtpFault::new(step, Matter::NotOffered);
        }
        SmtpFault::of_cause(step, error)
    }

    /// From what the system or TLS found.
    fn of_cause(step: Step, error: &LettreError) -> SmtpFault {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
                return tls.map_or_else(|| SmtpFault::of_io(step, io), |tls| SmtpFault::new(Step::Tls, matter_of(tls)));
            }
            next = cause.source();
        }
        SmtpFault::new(step, Matter::Broke)
    }

    /// From what the system found.
    pub(super) fn of_io(step: Step, error: &io::Error) -> SmtpFault {
        match error.kind() {
            io::ErrorKind::TimedOut => SmtpFault::new(step, Matter::TimedOut),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
                SmtpFault::new(step.min(Step::Connect), Matter::Unreachable)
            }
            _ => SmtpFault::new(step, Matter::Broke),
        }
    }

    /// Whose fault it is. A server that wants a sign-in says so to every mail; one that hangs up on a mail may do so to
    /// this one alone, and must not keep the others from leaving.
    pub fn whose(&self) -> Whose {
        match (self.step, self.matter) {
            (Step::Recipient | Step::Text, Matter::Said(421 | 530 | 534 | 535 | 538)) => Whose::Way,
            (Step::Recipient | Step::Text, Matter::Said(500..=599)) => Whose::MailForGood,
            (Step::Recipient, Matter::NotOffered) => Whose::MailForGood,
            (Step::Recipient | Step::Text, _) => Whose::MailForNow,
            _ => Whose::Way,
        }
    }

    /// The user, the password, or that there is none.
    pub fn is_about_sign_in(&self) -> bool {
        matches!(
            (self.step, self.matter),
            (Step::SignIn, Matter::Said(500..=599) | Matter::NotOffered | Matter::Readable) | (_, Matter::Said(530 | 534 | 535 | 538))
        )
    }

    /// The code, when the server said one.
    pub fn code(&self) -> Option<u16> {
        if let Matter::Said(code) = self.matter { Some(code) } else { None }
    }

    /// What is the matter.
    pub fn cause(&self) -> &'static str {
        match (self.step, self.matter) {
            (Step::Resolve, _) => "the mail server's name could not be resolved",
            (Step::Connect, Matter::TimedOut) => "the mail server did not answer in time",
            (Step::Connect, _) => "the mail server could not be reached",
            (Step::Greeting, Matter::TimedOut) => "the mail server took the connection and said nothing in time",
            (Step::Greeting, Matter::Said(_)) => "the mail server does not serve this gateway now",
            (Step::Greeting, _) => "what answers there does not speak SMTP, or hung up",
            (Step::Tls, Matter::NotOffered) => "the mail server does not offer encryption (STARTTLS); no mail was sent",
            (Step::Tls, Matter::OtherName) => "the mail server's certificate is for another name",
            (Step::Tls, Matter::Untrusted) => "nobody who is trusted signed the mail server's certificate",
            (Step::Tls, Matter::OutOfTime) => "the mail server's certificate has expired or is not valid yet",
            (Step::Tls, Matter::OfAuthority) => "the mail server shows a certificate of an authority (CA:TRUE) as its own, which is not accepted",
            (Step::Tls, Matter::BadCertificate) => "the mail server's certificate is not in order",
            (Step::Tls, Matter::NoTrust) => "the certificates to trust could not be read from this system",
            (Step::Tls, Matter::NotTls) => "what answers there does not speak TLS",
            (Step::Tls, Matter::TimedOut) => "the encryption was not agreed on in time",
            (Step::Tls, _) => "the encryption could not be agreed on",
            (Step::SignIn, Matter::Readable) => "the password was not sent, because the connection is not encrypted",
            (Step::SignIn, Matter::NotOffered) => "the mail server offers no way to sign in that Paraph knows (PLAIN, LOGIN)",
            (Step::SignIn, Matter::Said(500..=599)) => "the mail server refused the user or the password",
            (Step::SignIn, _) => "signing in to the mail server did not work",
            (Step::Sender, Matter::Said(530 | 534 | 535 | 538)) | (Step::Recipient | Step::Text, Matter::Said(530 | 534 | 535 | 538)) => {
                "the mail server wants somebody to sign in first"
            }
            (Step::Sender, Matter::Said(500..=599)) => "the mail server refused the sender",
            (Step::Sender, Matter::Said(_)) => "the mail server takes no mail now",
            (Step::Sender, _) => "the mail server hung up or did not answer before it was told the recipient",
            (Step::Recipient | Step::Text, Matter::Said(421)) => "the mail server takes no mail now",
            (Step::Recipient, Matter::Said(500..=599)) => "the mail server refused the recipient",
            (Step::Recipient, Matter::NotOffered) => "the mail server takes no addresses beyond ASCII",
            (Step::Recipient, Matter::Said(_)) => "the mail server puts mail for this recipient off",
            (Step::Recipient, _) => "the mail server hung up or did not answer when it was told the recipient",
            (Step::Text, Matter::Said(500..=599)) => "the mail server refused the mail itself",
            (Step::Text, Matter::Said(_)) => "the mail server puts the mail off",
            (Step::Text, _) => "the mail server hung up or did not answer while it was given the mail; it may have it",
        }
    }

    /// What to do.
    pub fn mend(&self) -> &'static str {
        match (self.step, self.matter) {
            (Step::Resolve, _) => "Look at the host in [mail] url and at this machine's DNS.",
            (Step::Connect, _) => "Look at host and port in [mail] url, whether the server runs, and whether a firewall is between.",
            (Step::Greeting, Matter::TimedOut) => {
                "If the port expects TLS from the first byte (465), write smtps:// in [mail] url; a slow server needs a longer [mail] timeout."
            }
            (Step::Greeting, _) => "Look at the port in [mail] url and at the mail server's log.",
            (Step::Tls, Matter::NotOffered) => {
                "If the port expects TLS from the first byte (465), write smtps:// in [mail] url. If it should offer STARTTLS, somebody on the way may be taking it out."
            }
            (Step::Tls, Matter::OtherName) => "Write the name into [mail] url for which the certificate was made.",
            (Step::Tls, Matter::Untrusted) => "If the server's certificate was signed by an authority of your own, name its certificate in [mail] ca.",
            (Step::Tls, Matter::OutOfTime) => "Renew the mail server's certificate, or set this machine's clock right.",
            (Step::Tls, Matter::OfAuthority) => {
                "Make the mail server's certificate with CA:FALSE: openssl req -x509 … -addext basicConstraints=critical,CA:FALSE. Without that openssl makes an authority's."
            }
            (Step::Tls, Matter::BadCertificate) => "Give the mail server a certificate for its name, signed by an authority.",
            (Step::Tls, Matter::NoTrust) => "Install the system's certificates (ca-certificates), or name a file in [mail] ca.",
            (Step::Tls, Matter::NotTls) => "If the port speaks plain SMTP first (25, 587), write smtp:// in [mail] url.",
            (Step::Tls, _) => "Look at scheme and port in [mail] url and at the mail server's log.",
            (Step::SignIn, Matter::Readable) => "Write tls=required in [mail] url.",
            (Step::SignIn, _) | (_, Matter::Said(530 | 534 | 535 | 538)) => "Look at the user in [mail] url and at [mail] password.",
            (Step::Sender, Matter::Said(500..=599)) => "Look at [mail] from: the mail server must let this user send in that name.",
            (Step::Sender, _) => "It is tried again. If it stays, look at the mail server's log.",
            (Step::Recipient, Matter::Said(500..=599) | Matter::NotOffered) => "Look at the address; if it is right, ask whoever runs the mail server.",
            (Step::Text, Matter::Said(500..=599)) => "Ask whoever runs the mail server why.",
            (Step::Recipient | Step::Text, _) => "It is tried again. If it stays, look at the mail server's log.",
        }
    }
}

fn matter_of(error: &TlsError) -> Matter {
    match error {
        TlsError::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Matter::OtherName,
            // A bad signature: an authority of the same name and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Matter::Untrusted,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Matter::OutOfTime,
            // The one cause among others that its users make again and again; rustls has no name for it.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => Matter::OfAuthority,
            _ => Matter::BadCertificate,
        },
        TlsError::InvalidMessage(_) => Matter::NotTls,
        _ => Matter::Broke,
    }
}
