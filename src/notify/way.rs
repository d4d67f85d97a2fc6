//! Patience with the way to people's inboxes and with single mailboxes: after a failure nothing is tried for a while that
//! doubles from five seconds to a quarter of an hour. Says each change of state once, to the log (without an address) and
//! to `gate::Mailing`. Kept in memory, with letters left as they are: a mail server that is down for a day costs one
//! attempt every quarter of an hour, however many letters wait. Called by `outbox`.

use super::fault::Whose;
use super::mail::MailError;
use crate::gate::Mailing;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// The first wait after a failure; it doubles.
pub(super) const FIRST: Duration = Duration::from_secs(5);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Mailboxes whose failures are remembered; one that is not is tried at every occasion.
const REMEMBERED: usize = 10_000;

/// How it went lately.
pub(super) struct Way {
    mailing: Mailing,
    failures: Failures,
    mailboxes: HashMap<String, Failures>,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    until: Option<Timestamp>,
}

impl Failures {
    fn another(&mut self, now: Timestamp) -> Timestamp {
        let until = now + backoff(FIRST, self.count);
        *self = Failures { count: self.count.saturating_add(1), until: Some(until) };
        until
    }
}

impl Way {
    pub(super) fn new(mailing: Mailing) -> Way {
        mailing.begin_anew();
        Way { mailing, failures: Failures::default(), mailboxes: HashMap::new() }
    }

    /// The way failed and has not been seen to work since.
    pub(super) fn is_failing(&self) -> bool {
        self.failures.count > 0
    }

    /// Nothing is tried before this instant.
    pub(super) fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.failures.until.filter(|until| *until > now)
    }

    /// Nothing is tried for this person before this instant.
    pub(super) fn mailbox_closed_until(&self, person: &str, now: Timestamp) -> Option<Timestamp> {
        self.mailboxes.get(person).and_then(|failures| failures.until).filter(|until| *until > now)
    }

    /// A mail to this person left.
    pub(super) fn worked(&mut self, person: &str) {
        self.open();
        self.mailboxes.remove(person);
        if self.mailing.reached(person) {
            tracing::info!("a person whose mail had been put off or refused is reached again");
        }
    }

    /// A mail did not leave; when to try again. `letter` is the id that the log may name.
    pub(super) fn failed(&mut self, person: &str, error: &MailError, letter: &str, now: Timestamp) -> Timestamp {
        let code = if let MailError::Smtp(fault) = error { fault.code() } else { None };
        match error.whose() {
            Whose::Way => {
                let until = self.failures.another(now);
                let (cause, mend) = error.told();
                if self.mailing.failed(now, cause, mend) {
                    tracing::error!(letter, code, cause = %error, "no mail leaves: {mend} Letters wait, and the way is tried again for as long as it takes");
                }
                until
            }
            Whose::MailForNow => {
                self.open();
                if self.mailboxes.len() >= REMEMBERED && !self.mailboxes.contains_key(person) {
                    return now + LONGEST;
                }
                if self.mailing.unreached(person, now, false) {
                    tracing::warn!(letter, code, cause = %error, "a mail to one person was put off; it is tried again");
                }
                self.mailboxes.entry(person.to_owned()).or_default().another(now)
            }
            Whose::MailForGood => {
                self.open();
                self.mailboxes.remove(person);
                self.mailing.unreached(person, now, true);
                tracing::warn!(letter, code, cause = %error, "a mail to one person was refused for good; it is not tried again");
                now
            }
        }
    }

    /// Letters that are there.
    pub(super) fn waiting(&self, letters: usize) {
        self.mailing.waiting(letters);
    }

    fn open(&mut self) {
        self.failures = Failures::default();
        if self.mailing.works() {
            tracing::info!("mails leave again");
        }
    }
}

/// Doubles from `first` up to a quarter of an hour.
pub(super) fn backoff(first: Duration, attempts: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(LONGEST)
}
