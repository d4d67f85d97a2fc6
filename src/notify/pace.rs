//! How fast a person is told. More than ten held calls in a minute leave as one mail that lists them
//! (semantics.md 29), and at most one such list a minute. Kept in memory: after a restart the count starts
//! again, which costs a person at most ten mails. Called by `outbox`.

use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// The window.
const WINDOW: Duration = Duration::from_secs(60);
/// Single mails in a window.
const SINGLES: usize = 10;

/// How the letters for one person leave now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A mail each.
    Singly,
    /// One mail that lists them.
    Listed,
    /// Not before this instant.
    Later(Timestamp),
}

/// What each person got in the last minute.
#[derive(Default)]
pub(super) struct Pace {
    people: HashMap<String, Recent>,
}

#[derive(Default)]
struct Recent {
    singles: Vec<Timestamp>,
    list: Option<Timestamp>,
}

impl Pace {
    /// Decides for `waiting` letters.
    pub(super) fn form(&mut self, person: &str, waiting: usize, now: Timestamp) -> Form {
        self.people.retain(|_, recent| {
            recent.singles.retain(|at| *at + WINDOW > now);
            recent.list = recent.list.filter(|at| *at + WINDOW > now);
            !recent.singles.is_empty() || recent.list.is_some()
        });
        let recent = self.people.get(person);
        let singles = recent.map_or(0, |recent| recent.singles.len());
        match recent.and_then(|recent| recent.list) {
            _ if singles + waiting <= SINGLES => Form::Singly,
            Some(at) => Form::Later(at + WINDOW),
            None => Form::Listed,
        }
    }

    /// A mail about one call left.
    pub(super) fn single(&mut self, person: &str, now: Timestamp) {
        self.people.entry(person.to_owned()).or_default().singles.push(now);
    }

    /// A list left.
    pub(super) fn list(&mut self, person: &str, now: Timestamp) {
        self.people.entry(person.to_owned()).or_default().list = Some(now);
    }
}
