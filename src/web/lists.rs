//! The lists of the inbox and their tabs: what needs a person, what leaves soon, what waits for its agent, what
//! nobody knows, what is done. The tabs' numbers are the store's own counts: ten thousand held calls are not read to be
//! counted. Used by `inbox`.

use crate::gate::{Failure, Page, Query, Reviewer, Tally};

/// Rows on one page.
const ROWS: usize = 50;
/// Reads for one page of what is over: it has no index by groups, so a reviewer's page may lie behind many calls of others.
const READS: usize = 4;

/// The states of "Done" with their filter's label.
pub const DONE: [(&str, &str); 6] = [
    ("answered", "Sent"),
    ("rejected", "Rejected"),
    ("changes_requested", "Changes asked for"),
    ("expired", "Expired"),
    ("withdrawn", "Taken back"),
    ("lapsed", "Lapsed"),
];

/// One list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Held.
    Needs,
    /// Approved, or on its way.
    Soon,
    /// Approved, and its agent took it back.
    Agent,
    /// Nobody knows whether it left.
    Unknown,
    /// Settled, in one state or in all.
    Done(Option<usize>),
}

impl List {
    /// The list that an address names; any other word is the first one.
    pub fn named(show: &str) -> List {
        match show {
            "soon" => List::Soon,
            "agent" => List::Agent,
            "unconfirmed" => List::Unknown,
            "done" => List::Done(None),
            _ => DONE.iter().position(|(word, _)| *word == show).map_or(List::Needs, |at| List::Done(Some(at))),
        }
    }

    /// Its word in an address.
    pub fn word(self) -> &'static str {
        match self {
            List::Needs => "needs",
            List::Soon => "soon",
            List::Agent => "agent",
            List::Unknown => "unconfirmed",
            List::Done(None) => "done",
            List::Done(Some(at)) => DONE.get(at).map_or("done", |(word, _)| word),
        }
    }

    /// Its heading.
    pub fn heading(self) -> &'static str {
        match self {
            List::Needs => "Needs you",
            List::Soon => "Sending soon",
            List::Agent => "Waiting for agent",
            List::Unknown => "Unknown whether sent",
            List::Done(None) => "Done",
            List::Done(Some(at)) => DONE.get(at).map_or("Done", |(_, label)| label),
        }
    }

    fn states(self) -> Vec<String> {
        let words: Vec<&str> = match self {
            List::Needs => vec!["held"],
            List::Soon => vec!["approved", "sending"],
            List::Agent => vec!["approved"],
            List::Unknown => vec!["unconfirmed"],
            List::Done(None) => DONE.iter().map(|(word, _)| *word).collect(),
            List::Done(Some(_)) => vec![self.word()],
        };
        words.into_iter().map(str::to_owned).collect()
    }

    fn permit(self) -> Option<bool> {
        match self {
            List::Soon => Some(false),
            List::Agent => Some(true),
            List::Needs | List::Unknown | List::Done(_) => None,
        }
    }

    /// How many are on it; `None` where nobody counts.
    pub fn count(self, tally: &Tally) -> Option<usize> {
        match self {
            List::Needs => Some(tally.held),
            List::Soon => Some(tally.leaving),
            List::Agent => Some(tally.permits),
            List::Unknown => Some(tally.unconfirmed),
            List::Done(_) => None,
        }
    }

    /// One page of it. What is open comes oldest first, so that rows keep their places.
    pub async fn page(self, reviewer: &Reviewer, cursor: Option<String>) -> Result<Page, Failure> {
        let newest_first = matches!(self, List::Done(_));
        let mut found = Page { calls: Vec::new(), next: cursor };
        for _ in 0..READS {
            let limit = ROWS - found.calls.len();
            let query = Query { states: self.states(), permit: self.permit(), newest_first, limit, cursor: found.next.take(), ..Query::default() };
            let page = reviewer.calls(query).await?;
            found.calls.extend(page.calls);
            found.next = page.next;
            if found.next.is_none() || found.calls.len() >= ROWS {
                break;
            }
        }
        Ok(found)
    }
}
