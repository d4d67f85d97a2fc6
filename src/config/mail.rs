//! `[mail]`: how people are told, from whom, and how much stands in a mail. Without the table nobody is mailed.
//! Read by `Config::parse`; a reload can change all of it.

use super::read::{Node, Section};
use super::sections::{TABLE, folder, set};
use super::source::Source;
use lettre::message::Mailbox;
use std::path::PathBuf;
use std::time::Duration;

const SHORTEST_DIGEST: Duration = Duration::from_secs(1);
const LONGEST_DIGEST: Duration = Duration::from_secs(24 * 3600);

/// `[mail]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// How mails leave.
    pub transport: MailTransport,
    /// The `From` mailbox (RFC 5322, 3.4).
    pub from: String,
    /// How much of a call stands in its mail.
    pub show: Show,
    /// How often what did not get a mail of its own leaves as one list.
    pub digest: Duration,
}

/// How mails leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailTransport {
    /// They do not.
    Off,
    /// One `.eml` file per mail.
    File {
        /// The folder.
        path: PathBuf,
    },
}

/// How much of a call stands in its mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The whole message.
    Message,
    /// Nothing that the agent wrote: who asks, and the link to the page.
    Link,
}

impl Default for Mail {
    fn default() -> Mail {
        Mail { transport: MailTransport::Off, from: "Paraph <paraph@localhost>".to_owned(), show: Show::Message, digest: Duration::from_secs(300) }
    }
}

pub(super) fn mail(file: &mut Section<'_>, source: &mut Source<'_>) -> Mail {
    let mut mail = Mail::default();
    let Some(mut section) = file.take(source, "mail").and_then(|node| node.section(source, TABLE)) else { return mail };
    let transport = section.need(source, "transport", "Write transport = \"file\" or transport = \"off\".");
    let to_files = transport.and_then(|node| node.choice(source, "a way to send mail", &[("file", true), ("off", false)], &["smtp"]));
    let path = section.take(source, "path").map(|node| folder(&node, source));
    if let Some(node) = section.take(source, "from") {
        set(&mut mail.from, mailbox(&node, source));
    }
    if let Some(node) = section.take(source, "show") {
        set(&mut mail.show, node.choice(source, "a way to show calls in mails", &[("message", Show::Message), ("link", Show::Link)], &[]));
    }
    if let Some(node) = section.take(source, "digest") {
        set(&mut mail.digest, node.time(source, SHORTEST_DIGEST, LONGEST_DIGEST));
    }
    section.later(source, "url");
    section.later(source, "password");
    section.finish(source);
    if to_files == Some(true) {
        if path.is_none() {
            source.mistake("mail.path", "is missing", "Write the folder for the mails, such as path = \"data/mail\".");
        }
        mail.transport = MailTransport::File { path: path.flatten().unwrap_or_default() };
    }
    mail
}

fn mailbox(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    const MEND: &str = "Write a mailbox such as \"Paraph <paraph@example.org>\".";
    let text = node.text(source, MEND)?;
    if text.parse::<Mailbox>().is_ok() && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    node.mistake(source, "is not a mailbox", MEND);
    None
}
