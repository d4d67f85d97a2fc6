//! What stands in a mail: the templates' values, made from a call. Everything of the agent goes through `shown`.
//! A mail only links to the page, where signing in is needed; no link in it decides anything. Called by `mail`.

use super::json::lay_out;
use super::shown::{Shown, lines, one_line};
use crate::domain::call::{Call, State};
use crate::gate::people::LINK_FOR;
use askama::Template;
use jiff::Timestamp;

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

#[derive(Template)]
#[template(path = "mail/held.subject.txt", escape = "none")]
struct HeldSubject<'a> {
    page: &'a Held,
}

#[derive(Template)]
#[template(path = "mail/held.txt", escape = "none")]
struct HeldText<'a> {
    page: &'a Held,
}

#[derive(Template)]
#[template(path = "mail/held.html")]
struct HeldHtml<'a> {
    page: &'a Held,
}

#[derive(Template)]
#[template(path = "mail/list.subject.txt", escape = "none")]
struct ListSubject<'a> {
    rows: &'a [Held],
}

#[derive(Template)]
#[template(path = "mail/list.txt", escape = "none")]
struct ListText<'a> {
    rows: &'a [Held],
    inbox: &'a str,
}

#[derive(Template)]
#[template(path = "mail/list.html")]
struct ListHtml<'a> {
    rows: &'a [Held],
    inbox: &'a str,
}

#[derive(Template)]
#[template(path = "mail/sign_in.txt", escape = "none")]
struct SignInText<'a> {
    link: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "mail/sign_in.html")]
struct SignInHtml<'a> {
    link: &'a str,
    minutes: u64,
}

/// One held call as mails show it.
struct Held {
    is_message: bool,
    guessed: bool,
    to: Shown,
    text: Shown,
    arguments: Option<Shown>,
    too_large: bool,
    first_line: Shown,
    agent: Shown,
    server: Shown,
    tool: Shown,
    rule: Shown,
    reason: Option<Shown>,
    approvals: u32,
    expires: String,
    digest: String,
    link: String,
    subject_agent: String,
    subject_tool: String,
}

/// A mail about one call.
pub(super) fn one(call: &Call, public_url: &str) -> Result<Parts, askama::Error> {
    let page = Held::of(call, public_url);
    let subject = HeldSubject { page: &page }.render()?;
    Ok(Parts { subject, text: HeldText { page: &page }.render()?, html: HeldHtml { page: &page }.render()? })
}

/// A mail that lists many calls.
pub(super) fn list(calls: &[&Call], public_url: &str) -> Result<Parts, askama::Error> {
    let rows: Vec<Held> = calls.iter().map(|call| Held::of(call, public_url)).collect();
    let inbox = format!("{public_url}/");
    let subject = ListSubject { rows: &rows }.render()?;
    Ok(Parts { subject, text: ListText { rows: &rows, inbox: &inbox }.render()?, html: ListHtml { rows: &rows, inbox: &inbox }.render()? })
}

/// A mail with a one-time link to sign in.
pub(super) fn sign_in(secret: &str, public_url: &str) -> Result<Parts, askama::Error> {
    let (link, minutes) = (format!("{public_url}/sign-in/{secret}"), LINK_FOR.as_secs() / 60);
    let (text, html) = (SignInText { link: &link, minutes }.render()?, SignInHtml { link: &link, minutes }.render()?);
    Ok(Parts { subject: "Your sign-in link for Paraph".to_owned(), text, html })
}

impl Held {
    fn of(call: &Call, public_url: &str) -> Held {
        let message = call.message.as_ref();
        let text = message.map_or("", |message| message.text.as_str());
        let too_large = text.len() > SHOWN_WHOLE || call.arguments.len() > SHOWN_WHOLE;
        let first = message.map_or(call.arguments.as_str(), |message| message.text.trim_start()).lines().next().unwrap_or("");
        Held {
            is_message: message.is_some(),
            guessed: message.is_some_and(|message| message.guessed),
            // A recipient beyond any real address is on the page with the rest.
            to: message.map(|message| one_line(if too_large { cut(&message.to, FIRST_LINE) } else { &message.to })).unwrap_or_default(),
            text: if too_large { Shown::default() } else { lines(text) },
            arguments: (!too_large && !says_it_all(call)).then(|| lines(&lay_out(&call.arguments))),
            too_large,
            first_line: one_line(cut(first, FIRST_LINE)),
            agent: one_line(&call.agent),
            server: one_line(&call.server),
            tool: one_line(&call.tool),
            rule: one_line(&call.rule),
            reason: call.reason.as_deref().map(one_line),
            approvals: call.approvals,
            expires: if let State::Held { expires_at } = &call.state { utc(*expires_at) } else { String::new() },
            digest: call.digest.short(),
            link: format!("{public_url}/calls/{}", call.id),
            subject_agent: name(&call.agent),
            subject_tool: name(&call.tool),
        }
    }

    fn broken_links(&self) -> bool {
        [&self.to, &self.text, &self.tool].into_iter().chain(&self.arguments).chain(&self.reason).any(|shown| shown.broken_links)
    }

    fn named(&self) -> bool {
        [&self.to, &self.text, &self.tool].into_iter().chain(&self.arguments).chain(&self.reason).any(|shown| shown.named)
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
