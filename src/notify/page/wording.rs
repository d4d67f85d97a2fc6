//! What a mail says of a call, by its occasion and the state that the call is in by now: that it waits, that it waits
//! still, how it ended, or that somebody has to find out. Sentences are ours; what a person or a rule wrote is quoted
//! and goes through `shown`. Called by `page` and `list`.

use super::{Page, utc};
use crate::config::Show;
use crate::domain::call::{Call, OutcomeKind, State};
use crate::domain::letter::Occasion;
use crate::gate::letters::DueLetter;
use crate::notify::shown::{Shown, lines, of_ours, one_line};

/// The words around one call.
pub(super) struct Wording {
    /// Before the subject that all mails of the call share.
    pub(super) subject_begins: &'static str,
    /// Of the label; with `tone` as its colour.
    pub(super) chip: &'static str,
    /// `wait`, `good`, `bad` or nothing.
    pub(super) tone: &'static str,
    /// One line.
    pub(super) title: String,
    /// Under it.
    pub(super) lead: Vec<Shown>,
    /// What a person wrote about it.
    pub(super) quote: Option<(&'static str, Shown)>,
    /// What to do, in order.
    pub(super) steps: &'static [&'static str],
    /// On the link.
    pub(super) button: &'static str,
    /// Whether the text stands in the mail.
    pub(super) whole: bool,
    /// Whether somebody has to decide.
    pub(super) waits: bool,
    /// Whether somebody has to do anything.
    pub(super) asks: bool,
}

impl Wording {
    pub(super) fn of(due: &DueLetter, call: &Call, show: Show) -> Wording {
        let what = match (show, &call.message) {
            (Show::Link, _) => "A call",
            (Show::Message, Some(_)) => "A message",
            (Show::Message, None) => "An action",
        };
        match &call.state {
            State::Held { .. } => waits(due.letter.occasion, call, what),
            State::Unconfirmed { why, .. } => unconfirmed(call, what, why),
            State::Approved { .. }
            | State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => ended(call, what, &people(&due.ended_by), show),
        }
    }

    pub(super) fn text<'a>(&self, page: &'a Page) -> Option<&'a Shown> {
        page.text.as_ref().filter(|_| self.whole)
    }

    /// What it is known again by, where the text is left out.
    pub(super) fn first_line<'a>(&self, page: &'a Page) -> Option<&'a Shown> {
        page.first_line.as_ref().filter(|_| !self.whole)
    }

    pub(super) fn arguments<'a>(&self, page: &'a Page) -> Option<&'a Shown> {
        page.arguments.as_ref().filter(|_| self.whole)
    }

    fn quoted(&self) -> impl Iterator<Item = &Shown> {
        self.lead.iter().chain(self.quote.iter().map(|(_, words)| words))
    }

    pub(super) fn broken_links(&self, page: &Page) -> bool {
        page.shown(self.whole).chain(self.first_line(page)).chain(self.quoted()).any(|shown| shown.broken_links)
    }

    pub(super) fn named(&self, page: &Page) -> bool {
        page.shown(self.whole).chain(self.first_line(page)).chain(self.quoted()).any(|shown| shown.named)
    }
}

fn waits(occasion: Occasion, call: &Call, what: &str) -> Wording {
    let done = done(call);
    let reminder = occasion == Occasion::Reminder;
    let title = if reminder { format!("{what} still waits for a decision") } else { format!("{what} waits for a decision") };
    let expires = if let State::Held { expires_at } = &call.state { utc(*expires_at) } else { String::new() };
    let mut lead = vec![of_ours(&format!("Nothing was {done} yet."))];
    if reminder {
        lead.push(of_ours("Half of its time is over and nobody has opened it."));
    }
    lead.push(of_ours(&format!("If nobody decides by {expires}, it is not {done}.")));
    Wording {
        subject_begins: if reminder { "Re: Held: " } else { "Held: " },
        chip: if reminder { "Reminder" } else { "Waiting" },
        tone: "wait",
        title,
        lead,
        quote: None,
        steps: &[],
        button: "Read and decide",
        whole: true,
        waits: true,
        asks: true,
    }
}

fn unconfirmed(call: &Call, what: &str, why: &str) -> Wording {
    let done = done(call);
    Wording {
        subject_begins: "Unconfirmed: ",
        chip: "Needs a person",
        tone: "bad",
        title: format!("{what} was perhaps {done}"),
        lead: vec![of_ours(&format!("Nobody knows whether it was {done}:")), one_line(&format!("{why}.")), of_ours("It does not go out again by itself.")],
        quote: None,
        steps: &[
            "Look at the receiving side: has it arrived?",
            "Open the call and say what you found. Until then the agent is told that a person is checking, and not to send it again.",
        ],
        button: "Say what happened",
        whole: true,
        waits: false,
        asks: true,
    }
}

/// How a call ended: label, colour, the words after "A message ", what else there is to say.
struct End {
    chip: &'static str,
    tone: &'static str,
    was: &'static str,
    lead: Vec<Shown>,
    quote: Option<(&'static str, Shown)>,
}

fn ended(call: &Call, what: &str, who: &str, show: Show) -> Wording {
    let End { chip, tone, was, mut lead, quote } = end(call, who);
    lead.push(of_ours("Nothing is left to do for you."));
    Wording {
        subject_begins: "Re: Held: ",
        chip,
        tone,
        title: format!("{what} {was}"),
        lead,
        // A reason may repeat what the agent wrote.
        quote: quote.filter(|_| show == Show::Message),
        steps: &[],
        button: "Open the call",
        whole: false,
        waits: false,
        asks: false,
    }
}

fn end(call: &Call, who: &str) -> End {
    let done = done(call);
    let message = call.message.is_some();
    let at = call.state.settled_at().map(utc).unwrap_or_default();
    let edited = if call.is_edited() { ", with changes" } else { "" };
    let plain = |chip, tone, was, sentence: String| End { chip, tone, was, lead: vec![of_ours(&sentence)], quote: None };
    match &call.state {
        State::Answered { outcome, .. } => match outcome.kind {
            OutcomeKind::Ok if message => plain("Sent", "good", "was sent", format!("{who} approved it{edited}, and it was sent on {at}.")),
            OutcomeKind::Ok => plain("Done", "good", "was carried out", format!("{who} approved it{edited}, and it was carried out on {at}.")),
            OutcomeKind::ToolError | OutcomeKind::ProtocolError => plain(
                "Refused by the server",
                "bad",
                "was approved, and its server refused it",
                format!("{who} approved it{edited}. The server answered with an error on {at}; the agent is told."),
            ),
            OutcomeKind::Told => {
                let told = outcome.as_told();
                let sent = told.as_ref().is_some_and(|told| told.sent);
                let (chip, was, not) = match (sent, message) {
                    (true, true) => ("Sent", "was sent", ""),
                    (true, false) => ("Done", "was carried out", ""),
                    (false, true) => ("Not sent", "was not sent", "not "),
                    (false, false) => ("Not done", "was not carried out", "not "),
                };
                let note = told.and_then(|told| told.note).map(|note| ("What they found", lines(&note)));
                End { quote: note, ..plain(chip, "", was, format!("Nobody knew for a time. {who} found out that it was {not}{done}, on {at}.")) }
            }
        },
        State::Rejected { reason, .. } => {
            End { quote: quoted("The reason", reason), ..plain("Rejected", "bad", "was rejected", format!("{who} rejected it on {at}. It was not {done}.")) }
        }
        State::ChangesRequested { reason, .. } => End {
            quote: quoted("What should change", reason),
            ..plain(
                "Changes asked for",
                "",
                "has to be changed",
                format!("{who} asked for changes on {at}. It was not {done}; the agent may come with another version, about which you get a mail."),
            )
        },
        State::Expired { .. } => plain("Expired", "bad", "has expired", format!("Nobody decided in time. It was not {done}, and the agent is told.")),
        State::Withdrawn { why, .. } => End {
            lead: vec![of_ours(&format!("It was taken back on {at}:")), one_line(&format!("{why}.")), of_ours(&format!("It was not {done}."))],
            ..plain("Taken back", "", "was taken back", String::new())
        },
        State::Lapsed { .. } => {
            plain("Lapsed", "bad", "was approved, and did not leave in time", format!("It could not leave by {at}. It was not {done}, and the agent is told."))
        }
        State::Held { .. } | State::Approved { .. } | State::Sending { .. } | State::Unconfirmed { .. } => plain("Decided", "", "was decided", String::new()),
    }
}

fn quoted(label: &'static str, words: &str) -> Option<(&'static str, Shown)> {
    (!words.is_empty()).then(|| (label, lines(words)))
}

fn done(call: &Call) -> &'static str {
    if call.message.is_some() { "sent" } else { "done" }
}

/// "Ann", "Ann and Ben", "Ann, Ben and Cleo".
fn people(names: &[String]) -> String {
    match names {
        [] => "A person".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
