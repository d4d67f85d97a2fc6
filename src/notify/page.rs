//! What stands in a mail: the templates' values, made from a call. Everything of the agent goes through `shown`.
//! A mail only links to the page, where signing in is needed; no link in it decides anything. `wording` says what
//! happened to the call, `list` and `notes` make the other mails. Called by `mail`.

mod list;
mod notes;
mod wording;

pub(super) use list::list;
pub(super) use notes::{sign_in, troubles};

use super::json::lay_out;
use super::shown::{Shown, lines, one_line};
use crate::config::Show;
use crate::domain::call::{Call, State};
use crate::domain::mask::{imitates, looks_like, stands_at};
use crate::domain::message::Message;
use crate::gate::letters::DueLetter;
use askama::Template;
use jiff::Timestamp;
use wording::Wording;

/// Texts above this stay on the page, in bytes.
const SHOWN_WHOLE: usize = 64 * 1024;
/// Characters of a first line in a list.
const FIRST_LINE: usize = 120;

/// The three parts of a mail.
pub(super) struct Parts {
    /// One line.
    pub(super) subject: String,
    /// text/plain.
    pub(super) text: String,
    /// text/html.
    pub(super) html: String,
}

/// Where mails point at, and how much they show.
pub(super) struct Desk {
    /// Without a trailing slash.
    pub(super) public_url: String,
    /// Of a call.
    pub(super) show: Show,
}

#[derive(Template)]
#[template(path = "mail/call.txt", escape = "none")]
struct CallText<'a> {
    page: &'a Page,
    mail: &'a Wording,
}

#[derive(Template)]
#[template(path = "mail/call.html")]
struct CallHtml<'a> {
    page: &'a Page,
    mail: &'a Wording,
}

/// One call as mails show it. With `show = "link"` everything that an agent can write is left out.
struct Page {
    hidden: bool,
    is_message: bool,
    guessed: bool,
    to: Option<Shown>,
    text: Option<Shown>,
    arguments: Option<Shown>,
    /// What in the text looks like a secret.
    secrets: Vec<&'static str>,
    /// A mark stands for a value in what is shown.
    masked: bool,
    /// Recipient or text look like a mark and are the agent's own.
    imitates: bool,
    too_large: bool,
    first_line: Option<Shown>,
    agent: Shown,
    server: Shown,
    tool: Option<Shown>,
    rule: Shown,
    reason: Option<Shown>,
    approvals: u32,
    held: String,
    expires: Option<String>,
    digest: String,
    link: String,
    subject: String,
}

/// A mail about one call.
pub(super) fn one(due: &DueLetter, call: &Call, desk: &Desk) -> Result<Parts, askama::Error> {
    let (page, mail) = (&Page::of(call, desk), &Wording::of(due, call, desk.show));
    let subject = format!("{}{}", mail.subject_begins, page.subject);
    Ok(Parts { subject, text: CallText { page, mail }.render()?, html: CallHtml { page, mail }.render()? })
}

impl Page {
    fn of(call: &Call, desk: &Desk) -> Page {
        let hidden = desk.show == Show::Link;
        let message = call.message.as_ref().filter(|_| !hidden);
        let too_large = message.is_some_and(|message| message.text.len() > SHOWN_WHOLE) || call.arguments.len() > SHOWN_WHOLE;
        let whole = !hidden && !too_large;
        let is_message = call.message.is_some();
        let stands_for = |pointer: &str| stands_at(&call.arguments, pointer).is_some();
        let is_masked = |message: &Message| stands_for(&message.to_pointer) || stands_for(&message.text_pointer);
        let own =
            |message: &Message| (imitates(&message.to) && !stands_for(&message.to_pointer)) || (imitates(&message.text) && !stands_for(&message.text_pointer));
        Page {
            hidden,
            is_message,
            guessed: message.is_some_and(|message| message.guessed),
            // A recipient beyond any real address is on the page with the rest.
            to: message.map(|message| one_line(if too_large { cut(&message.to, FIRST_LINE) } else { &message.to })),
            text: message.filter(|_| whole).map(|message| lines(&message.text)),
            arguments: (whole && !says_it_all(call)).then(|| arguments(call)),
            secrets: message.filter(|_| whole).map(|message| looks_like(&message.text)).unwrap_or_default(),
            masked: !hidden && call.arguments.contains("\"$masked") && (whole || message.is_some_and(is_masked)),
            imitates: message.is_some_and(own),
            too_large: too_large && !hidden,
            first_line: (!hidden && call.erased_at.is_none()).then(|| first_line(call)),
            agent: one_line(&call.agent),
            server: one_line(&call.server),
            // A tool's name is what the agent wrote, if a rule's pattern fits it.
            tool: (!hidden).then(|| one_line(&call.tool)),
            rule: one_line(&call.rule),
            reason: call.reason.as_deref().map(one_line),
            approvals: call.approvals,
            held: utc(call.held_at),
            expires: if let State::Held { expires_at } = &call.state { Some(utc(*expires_at)) } else { None },
            digest: call.digest.words(),
            link: format!("{}/calls/{}", desk.public_url, call.id),
            subject: subject(call, hidden, is_message),
        }
    }

    fn shown(&self, whole: bool) -> impl Iterator<Item = &Shown> {
        let body = self.text.iter().chain(&self.arguments).filter(move |_| whole);
        [&self.agent, &self.server, &self.rule].into_iter().chain(&self.to).chain(&self.tool).chain(&self.reason).chain(body)
    }
}

/// The arguments as a mail lays them out: the one place where they become text.
fn arguments(call: &Call) -> Shown {
    lines(&lay_out(&call.arguments))
}

fn first_line(call: &Call) -> Shown {
    let first = match &call.message {
        Some(message) => message.text.trim_start().lines().next().unwrap_or("").to_owned(),
        None => arguments(call).flat().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let begins = cut(&first, FIRST_LINE);
    if begins.len() < first.len() { one_line(&format!("{begins}…")) } else { one_line(begins) }
}

/// From the names' own alphabets alone. It stays the same for all mails about a call: some mail programs make one
/// thread only of mails with one subject.
fn subject(call: &Call, hidden: bool, is_message: bool) -> String {
    let (agent, tool) = (name(&call.agent), name(&call.tool));
    match (hidden, is_message) {
        (true, _) => {
            format!("a call waits for a decision ({})", call.id.as_str().chars().filter(char::is_ascii_alphanumeric).skip(1).take(6).collect::<String>())
        }
        (false, true) => format!("a message by {agent} ({tool})"),
        (false, false) => format!("{agent} wants to use {tool}"),
    }
}

/// Whether recipient and text are all there is in the arguments.
fn says_it_all(call: &Call) -> bool {
    let Some(message) = &call.message else { return false };
    let top = |pointer: &str| pointer.matches('/').count() == 1;
    let members = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&call.arguments).map_or(0, |members| members.len());
    members == 2 && top(&message.to_pointer) && top(&message.text_pointer) && message.to_pointer != message.text_pointer
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A name fit for a header: what is not of the names' own alphabet becomes a question mark.
fn name(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/') { c } else { '?' }).collect()
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
