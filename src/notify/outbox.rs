//! The outbox loop: first listen for hints, then look, deliver what is due, sleep until the next letter, a hint
//! or the end. A letter that fails comes back later and later, with the people it already reached on record; one
//! that nobody may read stays, so that a reviewer added later is still told. Logs hold letter ids and counts only.

use super::mail::{Mail, MailError, Writer};
use super::pace::{Form, Pace};
use super::{NotifySettings, Transport};
use crate::domain::call::Call;
use crate::domain::people::Person;
use crate::gate::letters::{About, DueLetter};
use crate::gate::{Failure, Gate};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Letters in one round; their calls are in memory with their texts.
const ROUND: usize = 64;
/// The first wait after a failure; it doubles.
const FIRST: Duration = Duration::from_secs(5);
/// The first wait of a letter that nobody may read.
const NOBODY: Duration = Duration::from_secs(60);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Looked again at the latest, should a hint be missed.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers letters until the gate drains. Ends early only when `from` is no mailbox, after saying so.
pub async fn run(gate: Gate, transport: Transport, settings: NotifySettings) {
    let writer = match Writer::new(&settings) {
        Ok(writer) => writer,
        Err(error) => {
            tracing::error!(cause = %error, "no mail can be sent");
            return;
        }
    };
    let mut hints = gate.watch();
    let draining = gate.draining();
    let mut rounds = Rounds { gate: gate.clone(), transport, writer, pace: Pace::default() };
    while !draining.is_cancelled() {
        let wait = match rounds.round().await {
            Ok(None) => LOOK,
            Ok(Some(next)) => Duration::try_from(next.duration_since(gate.clock().now())).unwrap_or_default().min(LOOK),
            // The gate has logged the cause.
            Err(_) => FIRST,
        };
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        let woken = tokio::time::timeout(wait, async {
            tokio::select! {
                () = draining.cancelled() => false,
                hint = hints.recv() => hint != Err(RecvError::Closed),
            }
        });
        if woken.await == Ok(false) {
            return;
        }
    }
}

/// A letter about a call, and the call.
type CallLetter<'a> = (&'a DueLetter, &'a Call);

struct Rounds {
    gate: Gate,
    transport: Transport,
    writer: Writer,
    pace: Pace,
}

/// What one round did.
#[derive(Default)]
struct Done {
    /// Letter and address.
    reached: HashSet<(String, String)>,
    /// Letters that failed for somebody.
    failed: HashSet<String>,
    /// When what was held back may leave.
    later: Option<Timestamp>,
}

impl Rounds {
    /// Delivers what is due; when to look again.
    async fn round(&mut self) -> Result<Option<Timestamp>, Failure> {
        let outbox = self.gate.outbox(ROUND).await?;
        let mut people: BTreeMap<&str, (&Person, Vec<CallLetter<'_>>)> = BTreeMap::new();
        let mut done = Done::default();
        for due in &outbox.due {
            for person in &due.to {
                match &due.about {
                    About::Call(call) => people.entry(&person.email).or_insert_with(|| (person, Vec::new())).1.push((due, call)),
                    // Somebody waits at the page for it: it is neither listed nor held back.
                    About::SignIn => self.let_in(due, person, &mut done).await?,
                    About::Trouble => {
                        let mail = self.writer.about_troubles(due, person, self.gate.clock().now());
                        self.leave(mail, &[due], person, &mut done).await;
                    }
                }
            }
        }
        for (person, letters) in people.into_values() {
            if self.gate.draining().is_cancelled() {
                break;
            }
            self.tell(person, &letters, &mut done).await;
        }
        for due in &outbox.due {
            self.record(due, &done).await?;
        }
        // A full round may have left due letters behind, but held-back ones must not make it spin.
        let full = (outbox.due.len() >= ROUND && done.later.is_none()).then(|| self.gate.clock().now());
        Ok([outbox.next, done.later, full].into_iter().flatten().min())
    }

    async fn let_in(&self, due: &DueLetter, person: &Person, done: &mut Done) -> Result<(), Failure> {
        let Some(secret) = self.gate.link_for(person).await? else { return Ok(()) };
        let mail = self.writer.about_sign_in(due, &secret, person, self.gate.clock().now());
        self.leave(mail, &[due], person, done).await;
        Ok(())
    }

    async fn tell(&mut self, person: &Person, letters: &[CallLetter<'_>], done: &mut Done) {
        let now = self.gate.clock().now();
        match self.pace.form(&person.email, letters.len(), now) {
            Form::Later(at) => done.later = Some(done.later.map_or(at, |earlier| earlier.min(at))),
            Form::Listed => {
                if self.deliver(person, letters, now, done).await {
                    self.pace.list(&person.email, now);
                }
            }
            Form::Singly => {
                for letter in letters {
                    if self.deliver(person, &[*letter], now, done).await {
                        self.pace.single(&person.email, now);
                    }
                }
            }
        }
    }

    async fn deliver(&self, person: &Person, letters: &[CallLetter<'_>], now: Timestamp, done: &mut Done) -> bool {
        let mail = self.writer.about_calls(letters, person, now);
        let letters: Vec<&DueLetter> = letters.iter().map(|(due, _)| *due).collect();
        self.leave(mail, &letters, person, done).await
    }

    async fn leave(&self, mail: Result<Mail, MailError>, letters: &[&DueLetter], person: &Person, done: &mut Done) -> bool {
        let ids = letters.iter().map(|due| due.letter.id.clone());
        let left = match mail {
            Ok(mail) => self.transport.deliver(mail).await,
            Err(error) => Err(error),
        };
        match left {
            Ok(()) => {
                done.reached.extend(ids.map(|id| (id, person.email.clone())));
                true
            }
            Err(error) => {
                let first = letters.first().map(|due| due.letter.id.as_str());
                tracing::warn!(letter = first, letters = letters.len(), cause = %error, "a mail could not be delivered; it is tried again");
                done.failed.extend(ids);
                false
            }
        }
    }

    async fn record(&self, due: &DueLetter, done: &Done) -> Result<(), Failure> {
        let letter = &due.letter;
        let now = self.gate.clock().now();
        let reached: Vec<Person> = due.to.iter().filter(|person| done.reached.contains(&(letter.id.clone(), person.email.clone()))).cloned().collect();
        let all = letter.delivered_to.iter().cloned().chain(reached.iter().map(|person| person.email.clone())).collect();
        if due.to.is_empty() && letter.delivered_to.is_empty() {
            if letter.attempts == 0 {
                tracing::warn!(letter = letter.id, "a letter has no reader: no active reviewer or operator may decide this call; add one");
            }
            self.gate.letter_failed(letter, Vec::new(), now + backoff(NOBODY, letter.attempts)).await
        } else if reached.len() == due.to.len() {
            tracing::debug!(letter = letter.id, people = reached.len(), "a letter was delivered");
            self.gate.letter_sent(letter, &reached).await
        } else if done.failed.contains(&letter.id) {
            self.gate.letter_failed(letter, all, now + backoff(FIRST, letter.attempts)).await
        } else if reached.is_empty() {
            // Held back: it stays due and nothing has to be written.
            Ok(())
        } else {
            self.gate.letter_failed(letter, all, done.later.unwrap_or(now + FIRST)).await
        }
    }
}

/// Doubles from `first` up to a quarter of an hour.
fn backoff(first: Duration, attempts: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(LONGEST)
}
