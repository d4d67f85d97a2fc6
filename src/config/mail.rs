//! `[mail]`: how people are told, from whom, and how much stands in a mail. Without the table nobody is mailed.
//! Read by `Config::parse`; a reload can change all of it.

use super::read::{Node, Section};
use super::sections::{TABLE, folder, set};
use super::smtp::{self, SmtpServer};
use super::source::Source;
use super::{Listen, address};
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
    /// Through a mail server.
    Smtp(SmtpServer),
}

/// The words for `transport`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Smtp,
    File,
    Off,
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
    let transport = section.need(source, "transport", "Write transport = \"smtp\", transport = \"file\" or transport = \"off\".");
    let way = transport.and_then(|node| node.choice(source, "a way to send mail", &[("smtp", Way::Smtp), ("file", Way::File), ("off", Way::Off)], &[]));
    let path = section.take(source, "path").map(|node| folder(&node, source));
    match section.take(source, "from") {
        Some(node) => set(&mut mail.from, mailbox(&node, source)),
        None if way == Some(Way::Smtp) => source.mistake("mail.from", "is missing", MAILBOX),
        None => {}
    }
    if let Some(node) = section.take(source, "show") {
        set(&mut mail.show, node.choice(source, "a way to show calls in mails", &[("message", Show::Message), ("link", Show::Link)], &[]));
    }
    if let Some(node) = section.take(source, "digest") {
        set(&mut mail.digest, node.time(source, SHORTEST_DIGEST, LONGEST_DIGEST));
    }
    match way {
        Some(Way::Smtp) => mail.transport = smtp::smtp(&mut section, source).map_or(MailTransport::Off, MailTransport::Smtp),
        Some(Way::File | Way::Off) => smtp::unused(&mut section, source),
        // The mistake is about `transport`; what else stands there cannot be judged.
        None => smtp::KEYS.iter().for_each(|key| drop(section.take(source, key))),
    }
    section.finish(source);
    if way == Some(Way::File) {
        if path.is_none() {
            source.mistake("mail.path", "is missing", "Write the folder for the mails, such as path = \"data/mail\".");
        }
        mail.transport = MailTransport::File { path: path.flatten().unwrap_or_default() };
    }
    mail
}

/// People read mails elsewhere: a link to this machine leads them nowhere.
pub(super) fn check_links(mail: &Mail, listen: &Listen, source: &mut Source<'_>) {
    if !matches!(mail.transport, MailTransport::Smtp(_)) {
        return;
    }
    let host = |url: &str| {
        url.split_once("://").map(|(_, rest)| if rest.rsplit(']').next().unwrap_or(rest).contains(':') { rest.to_owned() } else { format!("{rest}:80") })
    };
    let (key, local) = match &listen.public_url {
        Some(url) => ("listen.public_url", host(url).is_some_and(|host| address::is_loopback(&host))),
        None => ("listen.address", address::is_loopback(&listen.address)),
    };
    if local {
        let problem = "links in mails would point at this machine, where whoever reads them elsewhere finds nothing";
        source.warn(key, problem, "Set public_url to the address at which people reach the gateway, such as \"https://paraph.example.org\".");
    }
}

const MAILBOX: &str = "Write a mailbox such as \"Paraph <paraph@example.org>\".";

fn mailbox(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    let text = node.text(source, MAILBOX)?;
    if text.parse::<Mailbox>().is_ok() && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    node.mistake(source, "is not a mailbox", MAILBOX);
    None
}
