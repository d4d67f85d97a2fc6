//! The outbox loop: first listen for hints, then look, deliver what is due, sleep until the next letter, a hint
//! or the end. A letter that fails comes back later and later, with the people it already reached on record; one
//! that nobody may read stays, so that a reviewer added later is still told. Logs hold letter ids and counts only.

use super::deliver::{Fate, Job, Round};
use super::mail::Writer;
use super::pace::{Pace, Plan};
use super::way::{FIRST, Way, backoff};
use super::{NotifySettings, Transport};
use crate::domain::call::State;
use crate::domain::people::Person;
use crate::gate::letters::{About, DueLetter, Skip, Told};
use crate::gate::{Failure, Gate};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// Letters in one round; their calls are in memory with their texts.
const ROUND: usize = 128;
/// Mails in one round, so that whoever waits for a way in waits no longer than for these.
const MAILS: usize = 32;
/// The first wait of a letter that nobody may read.
const NOBODY: Duration = Duration::from_secs(60);
/// Looked again at the latest, should a hint be missed.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers letters until the gate drains. Ends early only when `from` is no mailbox, after saying so.
pub async fn run(gate: Gate, transport: Transport, settings: NotifySettings) {
    run_until(gate, transport, settings, &mut Pace::default(), CancellationToken::new()).await;
}

/// The same until `stop` is cancelled; mails that are under way then are finished first. `pace` knows what people got
/// before, and afterwards what they got.
pub async fn run_until(gate: Gate, transport: Transport, settings: NotifySettings, pace: &mut Pace, stop: CancellationToken) {
    let mut way = Way::new(gate.mailing().clone());
    let writer = match Writer::new(&settings) {
        Ok(writer) => writer,
        Err(error) => {
            way.failed("", &error, "", gate.clock().now());
            return;
        }
    };
    let mut hints = gate.watch();
    let draining = gate.draining();
    let (drained, stopped) = (draining.clone(), stop.clone());
    let ending = async move {
        tokio::select! {
            () = drained.cancelled_owned() => {}
            () = stopped.cancelled_owned() => {}
        }
    };
    tokio::pin!(ending);
    pace.lists_every(settings.digest, gate.clock().now());
    let mut outbox = Outbox { gate: gate.clone(), transport, writer, pace, way, skip: Skip::default(), digest: settings.digest, stop: stop.clone() };
    while !draining.is_cancelled() && !stop.is_cancelled() {
        let wait = match outbox.round().await {
            Ok(None) => LOOK,
            Ok(Some(next)) => Duration::try_from(next.duration_since(gate.clock().now())).unwrap_or_default().min(LOOK),
            // The gate has logged the cause.
            Err(_) => FIRST,
        };
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        outbox.transport.rest().await;
        let woken = tokio::time::timeout(wait, async {
            tokio::select! {
                () = &mut ending => false,
                hint = hints.recv() => hint != Err(RecvError::Closed),
            }
        });
        if woken.await == Ok(false) {
            break;
        }
    }
    outbox.transport.rest().await;
}

struct Outbox<'p> {
    gate: Gate,
    transport: Transport,
    writer: Writer,
    pace: &'p mut Pace,
    way: Way,
    /// Letters that wait for a list or for a mailbox; no more than there are letters.
    skip: Skip,
    digest: Duration,
    stop: CancellationToken,
}

/// What becomes of each letter of a round, by letter and address; without an entry it stays due.
#[derive(Default)]
struct Fates(HashMap<(String, String), Fate>);

impl Outbox<'_> {
    /// Delivers what is due; when to look again.
    async fn round(&mut self) -> Result<Option<Timestamp>, Failure> {
        let now = self.gate.clock().now();
        self.skip.parked.retain(|_, until| *until > now);
        // While nothing leaves, only somebody who has just asked for a way in is reason enough to try.
        self.skip.all_but_new_ways_in = self.way.closed_until(now).is_some();
        let most = if self.way.is_failing() { 1 } else { ROUND };
        let outbox = self.gate.outbox(most, &self.skip).await?;
        self.way.waiting(outbox.waiting);

        let mut fates = Fates::default();
        let (jobs, left_out) = self.plan(&outbox.due, &mut fates, now);
        let round = Round { gate: &self.gate, transport: &self.transport, writer: &self.writer, stop: self.stop.clone() };
        let (delivered, failed) = round.deliver(jobs).await?;
        for done in delivered {
            self.note(done.job, done.fault, &mut fates);
        }
        for due in &outbox.due {
            self.record(due, &fates).await?;
        }
        if self.pace.was_hurried() {
            self.skip.parked.clear();
        }
        let now = self.gate.clock().now();
        let closed = self.way.closed_until(now);
        // What is due while nothing leaves must not make it spin.
        let again = (closed.is_none() && (outbox.more || left_out || failed)).then_some(now);
        let next = [outbox.next, self.skip.parked.values().min().copied(), again].into_iter().flatten().min();
        Ok(match (next, closed) {
            (Some(next), Some(closed)) => Some(next.max(closed)),
            (None, closed) => closed,
            (next, None) => next,
        })
    }

    /// The mails of this round, and whether there are more.
    fn plan<'a>(&mut self, due: &'a [DueLetter], fates: &mut Fates, now: Timestamp) -> (Vec<Job<'a>>, bool) {
        let mut jobs = Vec::new();
        let mut people: BTreeMap<&str, (&Person, Vec<&DueLetter>)> = BTreeMap::new();
        for due in due {
            for person in &due.to {
                match &due.about {
                    // Somebody waits for it: it is neither listed nor held back.
                    About::SignIn | About::Trouble => jobs.push(Job { person, letters: vec![due], listed: false }),
                    About::Call(_) => people.entry(&person.email).or_insert_with(|| (person, Vec::new())).1.push(due),
                }
            }
        }
        for (person, letters) in people.into_values() {
            if let Some(until) = self.way.mailbox_closed_until(&person.email, now) {
                letters.iter().for_each(|due| fates.set(due, person, Fate::Later(until)));
                continue;
            }
            let expiries: Vec<Option<Timestamp>> = letters.iter().map(|due| expires_at(due)).collect();
            match self.pace.plan(&person.email, person.mail, self.digest, &expiries, now) {
                Plan::Listed => jobs.push(Job { person, letters, listed: true }),
                Plan::Singly(count, later) => {
                    let (now, rest) = letters.split_at_checked(count).unwrap_or((&letters, &[]));
                    jobs.extend(now.iter().map(|due| Job { person, letters: vec![*due], listed: false }));
                    if let Some(later) = later {
                        rest.iter().for_each(|due| fates.set(due, person, Fate::Later(later)));
                    }
                }
            }
        }
        let left_out = jobs.len() > MAILS;
        jobs.truncate(MAILS);
        (jobs, left_out)
    }

    fn note(&mut self, job: Job<'_>, fault: Option<super::mail::MailError>, fates: &mut Fates) {
        let now = self.gate.clock().now();
        let Job { person, letters, listed } = job;
        let Some(error) = fault else {
            self.way.worked(&person.email);
            let paced = letters.iter().all(|due| matches!(due.about, About::Call(_)));
            if paced && listed {
                self.pace.list(&person.email, letters.len(), now);
            } else if paced {
                self.pace.single(&person.email, now);
            }
            letters.iter().for_each(|due| fates.set(due, person, Fate::Reached));
            return;
        };
        let first = letters.first().map_or("", |due| due.letter.id.as_str());
        let until = self.way.failed(&person.email, &error, first, now);
        match (error.whose(), &letters[..]) {
            (super::fault::Whose::MailForGood, letters) => letters.iter().for_each(|due| fates.set(due, person, Fate::Refused)),
            // On record, with its attempts; a list would fill the audit with what one line says.
            (_, [due]) => fates.set(due, person, Fate::Failed(until)),
            (super::fault::Whose::MailForNow, letters) => letters.iter().for_each(|due| fates.set(due, person, Fate::Later(until))),
            (super::fault::Whose::Way, _) => {}
        }
    }

    async fn record(&mut self, due: &DueLetter, fates: &Fates) -> Result<(), Failure> {
        let letter = &due.letter;
        let now = self.gate.clock().now();
        let known = !letter.delivered_to.is_empty() || !letter.refused_by.is_empty();
        if due.to.is_empty() && !known {
            if letter.attempts == 0 {
                tracing::warn!(letter = letter.id, "a letter has no reader: no active reviewer or operator may decide this call; add one");
            }
            return self.gate.letter_failed(letter, &Told::default(), now + backoff(NOBODY, letter.attempts)).await;
        }
        let (mut told, mut due_still, mut later, mut failed) = (Told::default(), false, None::<Timestamp>, None::<Timestamp>);
        for person in &due.to {
            match fates.of(due, person) {
                Some(Fate::Reached) => told.reached.push(person.email.clone()),
                Some(Fate::Refused) => told.refused.push(person.email.clone()),
                Some(Fate::Later(until)) => later = Some(later.map_or(until, |earlier| earlier.min(until))),
                Some(Fate::Failed(until)) => failed = Some(failed.map_or(until, |earlier| earlier.min(until))),
                None => due_still = true,
            }
        }
        let news = !told.reached.is_empty() || !told.refused.is_empty();
        let anybody = !told.reached.is_empty() || !letter.delivered_to.is_empty();
        match (due_still, failed, later) {
            (_, Some(until), _) => self.gate.letter_failed(letter, &told, if due_still { now } else { until }).await,
            (true, None, _) if news => self.gate.letter_waits(letter, &told, now).await,
            (true, None, _) => Ok(()),
            (false, None, Some(until)) if news => self.gate.letter_waits(letter, &told, until).await,
            (false, None, Some(until)) => {
                // Nothing has to be written: after a restart it is due, and asked for again.
                self.skip.parked.insert(letter.id.clone(), until);
                Ok(())
            }
            (false, None, None) if anybody => {
                tracing::debug!(letter = letter.id, people = told.reached.len(), "a letter was delivered");
                self.gate.letter_sent(letter, &told).await
            }
            (false, None, None) => self.gate.letter_refused(letter, &told).await,
        }
    }
}

impl Fates {
    fn set(&mut self, due: &DueLetter, person: &Person, fate: Fate) {
        self.0.insert((due.letter.id.clone(), person.email.clone()), fate);
    }

    fn of(&self, due: &DueLetter, person: &Person) -> Option<Fate> {
        self.0.get(&(due.letter.id.clone(), person.email.clone())).copied()
    }
}

/// When nobody needs to be told any more.
fn expires_at(due: &DueLetter) -> Option<Timestamp> {
    match &due.about {
        About::Call(call) => {
            if let State::Held { expires_at } = call.state {
                Some(expires_at)
            } else {
                None
            }
        }
        About::SignIn | About::Trouble => None,
    }
}
