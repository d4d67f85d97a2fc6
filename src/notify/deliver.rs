//! The mails of one round, as many at once as the transport takes. When the way itself fails, no further mail of the
//! round is begun; when the gateway ends, those under way are finished. Called by `outbox`.

use super::Transport;
use super::fault::Whose;
use super::mail::{Mail, MailError, Writer};
use crate::domain::call::Call;
use crate::domain::people::Person;
use crate::gate::letters::{About, DueLetter};
use crate::gate::{Failure, Gate};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// What becomes of a letter for one person.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// It left.
    Reached,
    /// The person's mail server refused it for good.
    Refused,
    /// It was not tried and waits until then.
    Later(Timestamp),
    /// It was tried and is tried again then.
    Failed(Timestamp),
}

/// One mail to one person.
pub(super) struct Job<'a> {
    pub(super) person: &'a Person,
    pub(super) letters: Vec<&'a DueLetter>,
    /// It counts as a list, even of one.
    pub(super) listed: bool,
}

/// A mail that was tried.
pub(super) struct Done<'a> {
    pub(super) job: Job<'a>,
    /// Why it did not leave.
    pub(super) fault: Option<MailError>,
}

/// What the mails of a round are made and sent with.
pub(super) struct Round<'a> {
    pub(super) gate: &'a Gate,
    pub(super) transport: &'a Transport,
    pub(super) writer: &'a Writer,
    pub(super) stop: CancellationToken,
}

impl Round<'_> {
    /// What was tried, and whether something was not.
    pub(super) async fn deliver<'a>(&self, jobs: Vec<Job<'a>>) -> Result<(Vec<Done<'a>>, bool), Failure> {
        let (failing, all) = (AtomicBool::new(false), jobs.len());
        let (mut jobs, mut under_way, mut done) = (jobs.into_iter(), FuturesUnordered::new(), Vec::new());
        loop {
            while under_way.len() < self.transport.width()
                && let Some(job) = jobs.next()
            {
                under_way.push(self.one(job, &failing));
            }
            match under_way.next().await {
                Some(Ok(tried)) => done.extend(tried),
                Some(Err(failure)) => return Err(failure),
                None => break,
            }
        }
        let some_left = done.len() < all;
        Ok((done, some_left))
    }

    async fn one<'a>(&self, job: Job<'a>, failing: &AtomicBool) -> Result<Option<Done<'a>>, Failure> {
        if failing.load(Ordering::Relaxed) || self.stop.is_cancelled() || self.gate.draining().is_cancelled() {
            return Ok(None);
        }
        let left = match self.written(&job).await {
            // The person is not let in any more: nothing is left to tell.
            Ok(None) => Ok(()),
            Ok(Some(mail)) => self.transport.deliver(mail).await.map(drop),
            Err(Fault::Mail(error)) => Err(error),
            Err(Fault::Store(failure)) => return Err(failure),
        };
        if left.as_ref().is_err_and(|error| error.whose() == Whose::Way) {
            failing.store(true, Ordering::Relaxed);
        }
        Ok(Some(Done { job, fault: left.err() }))
    }

    async fn written(&self, job: &Job<'_>) -> Result<Option<Mail>, Fault> {
        let now = self.gate.clock().now();
        let mut calls: Vec<(&DueLetter, &Call)> = Vec::new();
        for due in &job.letters {
            match &due.about {
                About::Call(call) => calls.push((due, call)),
                About::Trouble => return self.writer.about_troubles(due, job.person, now).map(Some).map_err(Fault::Mail),
                About::SignIn => {
                    let Some(secret) = self.gate.link_for(job.person).await.map_err(Fault::Store)? else { return Ok(None) };
                    return self.writer.about_sign_in(due, &secret, job.person, now).map(Some).map_err(Fault::Mail);
                }
            }
        }
        self.writer.about_calls(&calls, job.person, now).map(Some).map_err(Fault::Mail)
    }
}

enum Fault {
    Mail(MailError),
    Store(Failure),
}
