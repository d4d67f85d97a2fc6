//! One mail for `paraph mail test`: made like any other, sent by the same transport, and everything that was found out
//! on the way is told to whoever asked. Called by `serve`.

use super::fault::{Matter, SmtpFault};
use super::mail::{MailError, Writer};
use super::page::Parts;
use super::{Left, NotifySettings, Transport};
use askama::Template;
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "mail/test.txt", escape = "none")]
struct TestText<'a> {
    inbox: &'a str,
}

#[derive(Template)]
#[template(path = "mail/test.html")]
struct TestHtml<'a> {
    inbox: &'a str,
}

/// A mail that left.
#[derive(Debug, Clone)]
pub struct Tried {
    /// Its `Message-ID`.
    pub message_id: String,
    /// Where it is now.
    pub left: Left,
}

/// Why it did not.
#[derive(Debug)]
pub struct TryError {
    /// A sentence of ours.
    pub cause: String,
    /// What to do; may be empty.
    pub mend: &'static str,
    /// By SMTP: where and what.
    pub fault: Option<SmtpFault>,
}

impl TryError {
    /// Nobody answered, or not safely, so nothing was found out about the mail itself.
    pub fn is_unreachable(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.step <= super::Step::Tls || matches!(fault.matter, Matter::TimedOut | Matter::Broke))
    }
}

/// Sends one mail to this address; `id` makes its `Message-ID` its own.
pub async fn try_out(transport: &Transport, settings: &NotifySettings, address: &str, id: &str, now: Timestamp) -> Result<Tried, TryError> {
    let writer = Writer::new(settings)?;
    let inbox = format!("{}/", settings.public_url.trim_end_matches('/'));
    let text = TestText { inbox: &inbox }.render().map_err(MailError::from)?;
    let html = TestHtml { inbox: &inbox }.render().map_err(MailError::from)?;
    let parts = Parts { subject: "A test mail from Paraph".to_owned(), text, html };
    let mail = writer.about_nothing(&format!("test-{id}"), parts, address, now)?;
    let message_id = mail.message.headers().get_raw("Message-ID").unwrap_or_default().to_owned();
    let left = transport.deliver(mail).await;
    transport.rest().await;
    Ok(Tried { message_id, left: left? })
}

impl From<MailError> for TryError {
    fn from(error: MailError) -> TryError {
        match error {
            MailError::Smtp(fault) => TryError { cause: fault.cause().to_owned(), mend: fault.mend(), fault: Some(fault) },
            MailError::Address => TryError { cause: "this address cannot stand in a mail".to_owned(), mend: "Write one such as ann@example.org.", fault: None },
            other => TryError { cause: other.to_string(), mend: "", fault: None },
        }
    }
}
