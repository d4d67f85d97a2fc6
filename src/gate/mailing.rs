//! How the way to people's inboxes stands: whether mails leave, since when they do not and why, whose mail is put off
//! or refused. Told by `notify`, which alone knows the mail server; shown to operators by `web` and counted by whoever
//! watches the process. Kept in memory: a gateway that starts anew finds out anew.

use super::Gate;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::sync::watch;

/// People whose mail does not arrive are listed up to here.
const LISTED: usize = 100;
/// A mailbox that puts mails off is worth a word after this long: many do so once, to keep bulk senders away.
const PUT_OFF_SHOWN: SignedDuration = SignedDuration::from_mins(10);

/// A handle; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Mailing(Arc<watch::Sender<MailStanding>>);

/// How it stands at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailStanding {
    /// No mail leaves.
    pub failing: Option<MailFailing>,
    /// Letters in the outbox, told or not yet told of, at the last look.
    pub waiting: usize,
    /// Whose mail does not arrive although others' does, by address.
    pub unreached: Vec<Unreached>,
}

/// Why no mail leaves: sentences of ours without any address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFailing {
    /// Since the first mail that did not leave.
    pub since: Timestamp,
    /// What is the matter.
    pub cause: &'static str,
    /// What to do.
    pub mend: &'static str,
}

/// Somebody whom no mail reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// The person's address.
    pub person: String,
    /// Since when.
    pub since: Timestamp,
    /// The mail server refused the mail for good; otherwise it was put off and is tried again.
    pub refused: bool,
}

impl Mailing {
    /// How it stands now.
    pub fn now(&self) -> MailStanding {
        self.0.borrow().clone()
    }

    /// Tells of every change from now on, except of how many letters wait.
    pub fn subscribe(&self) -> watch::Receiver<MailStanding> {
        self.0.subscribe()
    }

    /// Counts what waits.
    pub fn waiting(&self, letters: usize) {
        self.0.send_if_modified(|standing| {
            standing.waiting = letters;
            false
        });
    }

    /// No mail leaves; whether that is news.
    pub fn failed(&self, at: Timestamp, cause: &'static str, mend: &'static str) -> bool {
        self.0.send_if_modified(|standing| {
            let before = standing.failing.take();
            let since = before.as_ref().map_or(at, |failing| failing.since);
            let now = MailFailing { since, cause, mend };
            let news = before.as_ref() != Some(&now);
            standing.failing = Some(now);
            news
        })
    }

    /// Mails leave; whether that is news.
    pub fn works(&self) -> bool {
        self.0.send_if_modified(|standing| standing.failing.take().is_some())
    }

    /// A mail to this person was refused or put off; whether that is news.
    pub fn unreached(&self, person: &str, at: Timestamp, refused: bool) -> bool {
        self.0.send_if_modified(|standing| {
            if let Some(known) = standing.unreached.iter_mut().find(|known| known.person == person) {
                return std::mem::replace(&mut known.refused, refused) != refused;
            }
            if standing.unreached.len() < LISTED {
                standing.unreached.push(Unreached { person: person.to_owned(), since: at, refused });
            }
            true
        })
    }

    /// A mail to this person left; whether that is news.
    pub fn reached(&self, person: &str) -> bool {
        self.0.send_if_modified(|standing| {
            let before = standing.unreached.len();
            standing.unreached.retain(|known| known.person != person);
            standing.unreached.len() != before
        })
    }

    /// Another way is used from now on: nothing is known of it.
    pub fn begin_anew(&self) {
        self.0.send_if_modified(|standing| {
            let known = standing.failing.take().is_some() || !standing.unreached.is_empty();
            standing.unreached.clear();
            known
        });
    }
}

impl MailStanding {
    /// Whom an operator has to be told of.
    pub fn unreached_to_show(&self, now: Timestamp) -> impl Iterator<Item = &Unreached> {
        self.unreached.iter().filter(move |known| known.refused || now.duration_since(known.since) >= PUT_OFF_SHOWN)
    }
}

impl Gate {
    /// How the way to people's inboxes stands.
    pub fn mailing(&self) -> &Mailing {
        &self.inner.mailing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_way_keeps_its_beginning_and_is_news_once_for_each_cause() {
        let (mailing, at) = (Mailing::default(), |seconds| Timestamp::from_second(seconds).unwrap());
        assert!(mailing.failed(at(10), "a", "b"));
        assert!(!mailing.failed(at(20), "a", "b"));
        assert!(mailing.failed(at(30), "c", "d"));
        assert_eq!(mailing.now().failing.unwrap().since, at(10));
        assert!(mailing.works() && !mailing.works());
    }

    #[test]
    fn who_is_not_reached_is_listed_up_to_a_bound_and_gone_with_the_next_mail() {
        let (mailing, at) = (Mailing::default(), Timestamp::UNIX_EPOCH);
        for person in 0..LISTED + 50 {
            mailing.unreached(&format!("{person}@example.org"), at, person == 0);
        }
        assert_eq!(mailing.now().unreached.len(), LISTED);
        assert_eq!(mailing.now().unreached_to_show(at).count(), 1);
        assert_eq!(mailing.now().unreached_to_show(at + PUT_OFF_SHOWN).count(), LISTED);
        assert!(mailing.unreached("1@example.org", at, true) && !mailing.unreached("1@example.org", at, true));
        assert!(mailing.reached("0@example.org") && !mailing.reached("0@example.org"));
    }
}
