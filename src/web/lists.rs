//! The lists of the inbox and their tabs: what needs a person, what leaves soon, what waits for its agent, what
//! nobody knows, what is done. A permit is an approved call like any other to the store, so two of the lists are
//! told apart here, over a bounded stretch. Used by `inbox`.

use crate::domain::call::Call;
use crate::gate::{Failure, Page, Query, Reviewer};

/// Rows on one page.
const ROWS: usize = 50;
/// Reads for one page of a list that shows only a part of what is read.
const READS: usize = 4;
/// More calls than this are shown as "99+".
const COUNTED: usize = 100;

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

/// A tab's number.
#[derive(Debug, Clone)]
pub struct Count {
    /// None are there.
    pub none: bool,
    /// As it is shown.
    pub shown: String,
}

/// The numbers of the tabs.
pub struct Counts {
    /// Held.
    pub needs: Count,
    /// Leaving soon.
    pub soon: Count,
    /// Permits.
    pub agent: Count,
    /// Unconfirmed.
    pub unknown: Count,
}

impl Count {
    fn of(count: usize, more: bool) -> Count {
        let shown = if more || count >= COUNTED { format!("{}+", count.min(COUNTED - 1)) } else { count.to_string() };
        Count { none: count == 0 && !more, shown }
    }
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

    fn shows(self, call: &Call) -> bool {
        match self {
            List::Needs | List::Unknown | List::Done(_) => true,
            List::Soon => !call.is_permit(),
            List::Agent => call.is_permit(),
        }
    }

    /// One page of it. What is open comes oldest first, so that rows keep their places.
    pub async fn page(self, reviewer: &Reviewer, cursor: Option<String>) -> Result<Page, Failure> {
        let newest_first = matches!(self, List::Done(_));
        let mut found = Page { calls: Vec::new(), next: cursor };
        for _ in 0..READS {
            let query = Query { states: self.states(), newest_first, limit: ROWS, cursor: found.next.take(), ..Query::default() };
            let page = reviewer.calls(query).await?;
            found.calls.extend(page.calls.into_iter().filter(|call| self.shows(call)));
            found.next = page.next;
            if found.next.is_none() || found.calls.len() >= ROWS / 2 {
                break;
            }
        }
        Ok(found)
    }
}

impl Counts {
    /// What this person may see of each.
    pub async fn of(reviewer: &Reviewer) -> Result<Counts, Failure> {
        let read = async |list: List| {
            let query = Query { states: list.states(), limit: COUNTED, ..Query::default() };
            reviewer.calls(query).await
        };
        let held = read(List::Needs).await?;
        let moving = read(List::Soon).await?;
        let unknown = read(List::Unknown).await?;
        let permits = moving.calls.iter().filter(|call| call.is_permit()).count();
        let more = moving.next.is_some();
        Ok(Counts {
            needs: Count::of(held.calls.len(), held.next.is_some()),
            soon: Count::of(moving.calls.len() - permits, more),
            agent: Count::of(permits, more && permits > 0),
            unknown: Count::of(unknown.calls.len(), unknown.next.is_some()),
        })
    }
}
