//! One mail: its headers and its two parts. Ids are made from the letter and the person, so that a repeated
//! delivery is the same mail; all mails of one call name the same thread root. No text of an agent stands in a
//! header but its name and the tool's, cut to their alphabets, and not even they with `show = "link"`. Called by `outbox`.

use super::NotifySettings;
use super::fault::SmtpFault;
use super::page::{self, Desk, Parts};
use crate::domain::call::{Call, CallId};
use crate::domain::digest::Digest;
use crate::domain::people::Person;
use crate::gate::letters::DueLetter;
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use std::time::{Duration, SystemTime};

/// A mail ready to leave.
pub struct Mail {
    /// Stable over repeats; fit for a file name.
    pub key: String,
    /// The whole mail (RFC 5322).
    pub message: Message,
}

/// Why a mail could not be made or did not leave. The sentence holds no address and no text.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The template failed.
    #[error("the mail's text could not be made: {0}")]
    Template(#[from] askama::Error),
    /// The person's address cannot stand in a mail.
    #[error("a reviewer's address cannot stand in a mail: disable that reviewer and add them with a right address")]
    Address,
    /// The `From` of the config cannot be used.
    #[error("[mail] from is not a mailbox like `Paraph <paraph@example.org>`")]
    From,
    /// The headers do not fit together.
    #[error("the mail's headers could not be made")]
    Headers,
    /// The folder does not take it.
    #[error("the mail could not be written to the folder of [mail] path: {0}")]
    Folder(std::io::Error),
    /// It did not leave through the mail server.
    #[error(transparent)]
    Smtp(#[from] SmtpFault),
    /// The writing task ended.
    #[error("the mail could not be written: the writing task ended early")]
    Ended,
}

/// Makes mails.
pub(super) struct Writer {
    from: Mailbox,
    host: String,
    desk: Desk,
}

impl Writer {
    /// Fails when `from` is no mailbox.
    pub(super) fn new(settings: &NotifySettings) -> Result<Writer, MailError> {
        let from = settings.from.parse().map_err(|_| MailError::From)?;
        let host = settings.public_url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let desk = Desk { public_url: settings.public_url.trim_end_matches('/').to_owned(), show: settings.show };
        Ok(Writer { from, host, desk })
    }

    /// One call's mail, or the list of many.
    pub(super) fn about_calls(&self, letters: &[(&DueLetter, &Call)], person: &Person, now: Timestamp) -> Result<Mail, MailError> {
        let who = short(&person.email);
        let (key, parts, thread) = match letters {
            [(due, call)] => (format!("{}.{who}", plain(&due.letter.id)), page::one(due, call, &self.desk)?, self.thread(call)),
            _ => {
                let ids: Vec<&str> = letters.iter().map(|(due, _)| due.letter.id.as_str()).collect();
                (format!("list-{}.{who}", short(&ids.join("\n"))), page::list(letters, &self.desk)?, Vec::new())
            }
        };
        let message = self.message(&key, parts, &thread, person, now)?;
        Ok(Mail { key, message })
    }

    /// The way in that somebody asked for.
    pub(super) fn about_sign_in(&self, due: &DueLetter, secret: &str, person: &Person, now: Timestamp) -> Result<Mail, MailError> {
        let key = format!("{}.{}", plain(&due.letter.id), short(&person.email));
        let message = self.message(&key, page::sign_in(secret, &self.desk)?, &[], person, now)?;
        Ok(Mail { key, message })
    }

    /// What is wrong with the gateway.
    pub(super) fn about_troubles(&self, due: &DueLetter, person: &Person, now: Timestamp) -> Result<Mail, MailError> {
        let key = format!("{}.{}", plain(&due.letter.id), short(&person.email));
        let message = self.message(&key, page::troubles(&due.letter, &self.desk)?, &[], person, now)?;
        Ok(Mail { key, message })
    }

    /// The roots of the call's thread, the nearest last: of the version before it, and its own. No mail has them as
    /// its id, and mail programs join what names the same one.
    fn thread(&self, call: &Call) -> Vec<String> {
        let root = |id: &CallId| format!("<call-{}@paraph.{}>", plain(id.as_str()), self.host);
        call.revises.iter().chain([&call.id]).map(root).collect()
    }

    /// A mail that tells of nothing, to an address that need not be anybody's here.
    pub(super) fn about_nothing(&self, key: &str, parts: Parts, address: &str, now: Timestamp) -> Result<Mail, MailError> {
        let to = Mailbox::new(None, address.parse().map_err(|_| MailError::Address)?);
        Ok(Mail { key: key.to_owned(), message: self.to_mailbox(key, parts, &[], to, now)? })
    }

    fn message(&self, key: &str, parts: Parts, thread: &[String], person: &Person, now: Timestamp) -> Result<Message, MailError> {
        let address: Address = person.email.parse().map_err(|_| MailError::Address)?;
        let called = person.name.as_ref().map(|name| name.chars().filter(|c| !c.is_control()).collect::<String>());
        self.to_mailbox(key, parts, thread, Mailbox::new(called, address), now)
    }

    fn to_mailbox(&self, key: &str, parts: Parts, thread: &[String], to: Mailbox, now: Timestamp) -> Result<Message, MailError> {
        let seconds = u64::try_from(now.as_second()).map_err(|_| MailError::Headers)?;
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(parts.subject.trim())
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(format!("<{key}@paraph.{}>", self.host)))
            .raw_header(raw("List-Id", format!("Paraph held calls <held-calls.paraph.{}>", self.host)))
            // RFC 3834: no vacation notice may answer this.
            .raw_header(raw("Auto-Submitted", "auto-generated".into()))
            .raw_header(raw("X-Auto-Response-Suppress", "All".into()));
        if let Some(own) = thread.last() {
            builder = builder.in_reply_to(own.clone()).references(thread.join(" "));
        }
        // The call's id is drawn after its text is fixed, so no text can hold this boundary.
        let boundary = format!("paraph-{}", short(&format!("{key} boundary")));
        let body = MultiPart::alternative().boundary(boundary).singlepart(SinglePart::plain(parts.text)).singlepart(SinglePart::html(parts.html));
        builder.multipart(body).map_err(|_| MailError::Headers)
    }
}

fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// 64 bits that stand for an address without telling it.
fn short(text: &str) -> String {
    Digest::of_bytes(text.as_bytes()).as_str().trim_start_matches("sha256:").chars().take(16).collect()
}

/// Fit for a file name and a Message-ID.
fn plain(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}
