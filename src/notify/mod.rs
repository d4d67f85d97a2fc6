//! The edge towards inboxes: takes letters from the gate's durable outbox and delivers them as mails.
//! At least once, de-duplicated by letter id: a crash between delivery and record repeats a mail with the same
//! Message-ID and, for files, the same file name. `run` is started by `serve`; the gate alone writes.

mod deliver;
mod fault;
mod json;
mod mail;
mod outbox;
mod pace;
mod page;
mod session;
mod shown;
mod smtp;
mod transport;
mod trial;
mod way;

pub use fault::{Matter, SmtpFault, Step, Whose};
pub use mail::MailError;
pub use outbox::{run, run_until};
pub use pace::Pace;
pub use smtp::{Smtp, Taken};
pub use transport::{Left, Transport};
pub use trial::{Tried, TryError, try_out};

use crate::config::Show;
use std::time::Duration;

/// What mails need to know about this gateway.
#[derive(Debug, Clone)]
pub struct NotifySettings {
    /// What links point at, without a trailing slash.
    pub public_url: String,
    /// The `From` mailbox (RFC 5322).
    pub from: String,
    /// How much of a call stands in its mail.
    pub show: Show,
    /// How often what did not get a mail of its own leaves as one list.
    pub digest: Duration,
}
