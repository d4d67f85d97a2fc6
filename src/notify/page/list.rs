//! Many calls in one mail: what waits, what somebody has to look into, what is settled since; each once, as it is by
//! now, with its first line. What waits stands in the order in which it expires. Called by `mail`.

use super::wording::Wording;
use super::{Desk, Page, Parts};
use crate::domain::call::{Call, State};
use crate::gate::letters::DueLetter;
use askama::Template;
use std::collections::HashSet;

#[derive(Template)]
#[template(path = "mail/list.txt", escape = "none")]
struct ListText<'a> {
    list: &'a List,
}

#[derive(Template)]
#[template(path = "mail/list.html")]
struct ListHtml<'a> {
    list: &'a List,
}

type Row = (Page, Wording);

/// What the list holds.
struct List {
    title: String,
    hold: Vec<Row>,
    unconfirmed: Vec<Row>,
    settled: Vec<Row>,
    inbox: String,
}

/// A mail that lists many calls.
pub(in crate::notify) fn list(letters: &[(&DueLetter, &Call)], desk: &Desk) -> Result<Parts, askama::Error> {
    let mut sorted: Vec<_> = letters.to_vec();
    sorted.sort_by_key(|(_, call)| (if let State::Held { expires_at } = &call.state { Some(*expires_at) } else { call.state.settled_at() }, call.held_at));
    let mut seen = HashSet::new();
    let mut list = List { title: String::new(), hold: Vec::new(), unconfirmed: Vec::new(), settled: Vec::new(), inbox: format!("{}/", desk.public_url) };
    for (due, call) in sorted {
        // One that was told of at first and then of its end, or of which somebody is reminded.
        if !seen.insert(&call.id) {
            continue;
        }
        let mut wording = Wording::of(due, call, desk.show);
        let rows = match &call.state {
            State::Held { .. } => {
                wording.lead.clear();
                &mut list.hold
            }
            State::Unconfirmed { .. } => {
                wording.lead.truncate(2);
                &mut list.unconfirmed
            }
            State::Approved { .. }
            | State::Sending { .. }
            | State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => {
                // Its heading says so for all of them.
                wording.lead.pop();
                &mut list.settled
            }
        };
        rows.push((Page::of(call, desk), wording));
    }
    list.title = title(list.hold.len(), list.unconfirmed.len(), list.settled.len());
    let subject = list.title.clone();
    Ok(Parts { subject, text: ListText { list: &list }.render()?, html: ListHtml { list: &list }.render()? })
}

impl List {
    fn sections(&self) -> [(&'static str, &[Row]); 3] {
        [
            ("Waiting for a decision", &self.hold),
            ("Perhaps sent: somebody has to look", &self.unconfirmed),
            ("Settled since: nothing is left to do", &self.settled),
        ]
    }

    fn settled_only(&self) -> bool {
        self.hold.is_empty() && self.unconfirmed.is_empty()
    }

    fn broken_links(&self) -> bool {
        let rows = || [&self.hold, &self.unconfirmed, &self.settled].into_iter().flatten();
        rows().any(|(page, said)| said.lead.iter().chain(&page.first_line).chain(page.shown(false)).any(|shown| shown.broken_links))
    }
}

/// "7 calls wait for you, 1 unconfirmed, 3 settled".
fn title(hold: usize, unconfirmed: usize, settled: usize) -> String {
    let calls = |count: usize| if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
    let mut parts = Vec::new();
    if hold > 0 {
        parts.push(format!("{} {} for you", calls(hold), if hold == 1 { "waits" } else { "wait" }));
    }
    for (count, word) in [(unconfirmed, "unconfirmed"), (settled, "settled")] {
        match (count, parts.is_empty()) {
            (0, _) => {}
            (_, true) => parts.push(format!("{} {} {word}", calls(count), if count == 1 { "is" } else { "are" })),
            (_, false) => parts.push(format!("{count} {word}")),
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_counts_what_there_is() {
        assert_eq!(title(7, 0, 0), "7 calls wait for you");
        assert_eq!(title(1, 1, 3), "1 call waits for you, 1 unconfirmed, 3 settled");
        assert_eq!(title(0, 2, 1), "2 calls are unconfirmed, 1 settled");
        assert_eq!(title(0, 0, 1), "1 call is settled");
    }
}
