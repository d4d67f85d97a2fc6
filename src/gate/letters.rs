//! The durable outbox as `notify` sees it: which letters are due, to whom (resolved now, not when they were
//! written), and what became of them. A letter that by now tells nothing new is put away. Letters about calls wait
//! their turn by kind, so that a crowd of one kind keeps nobody's sign-in link back. `steps` writes them.

mod steps;
mod troubles;

pub(super) use troubles::Troubles;

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, State};
use crate::domain::letter::{Letter, Occasion};
use crate::domain::people::{MailChoice, Person, Role, entitled};
use crate::store::{Kind, Row};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// A sign-in letter that could not leave for so long is dropped.
const SIGN_IN_FOR: SignedDuration = SignedDuration::from_mins(15);
/// The same for one that says how a call ended: by then nobody waits to hear it.
const SETTLED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A letter that wants to go out.
#[derive(Debug, Clone)]
pub struct DueLetter {
    /// The letter.
    pub letter: Letter,
    /// What it is about, as it stands now.
    pub about: About,
    /// Who has not got it yet.
    pub to: Vec<Person>,
    /// What to call the people who ended the call, if people did.
    pub ended_by: Vec<String>,
}

/// What a letter tells of.
#[derive(Debug, Clone)]
pub enum About {
    /// A call, as it stands now, with its secrets masked; the letter's occasion says what of it.
    Call(Box<Call>),
    /// A way in, for its one reader; [`Gate::link_for`] makes it when the letter leaves.
    SignIn,
    /// The letter's troubles.
    Trouble,
}

/// What is due and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Due now.
    pub due: Vec<DueLetter>,
    /// The next time a letter becomes due.
    pub next: Option<Timestamp>,
}

impl Gate {
    /// The letters that are due, at most `most` of each kind.
    pub async fn outbox(&self, most: usize) -> Result<Outbox, Failure> {
        let now = self.inner.clock.now();
        let people = self.people().await?;
        let mut outbox = Outbox::default();
        let mut room = [most; 3];
        let mut after: Option<String> = None;
        loop {
            let rows = self.inner.store.rows(Kind::Letter, after.as_deref(), 256).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(outbox) };
            after = Some(last.key().to_owned());
            for row in rows {
                let Row::Letter(letter) = row else { continue };
                if letter.next_at > now {
                    outbox.next = Some(outbox.next.map_or(letter.next_at, |next| next.min(letter.next_at)));
                    continue;
                }
                let left = &mut room[turn(letter.occasion)];
                if *left == 0 {
                    continue;
                }
                let Some((about, readers)) = self.about(&letter, &people, now).await? else {
                    self.letter_done(&letter, "not_needed").await?;
                    continue;
                };
                *left -= 1;
                let done = |person: &Person| letter.delivered_to.contains(&person.email) || letter.refused_by.contains(&person.email);
                let to = readers.into_iter().filter(|person| !done(person)).collect();
                let ended_by = if let About::Call(call) = &about { ended_by(call, &people) } else { Vec::new() };
                outbox.due.push(DueLetter { letter, about, to, ended_by });
            }
        }
    }

    /// What the letter tells of by now and who reads it; `None` when nobody has to be told any more.
    async fn about(&self, letter: &Letter, people: &[Person], now: Timestamp) -> Result<Option<(About, Vec<Person>)>, Failure> {
        let age = now.duration_since(letter.written_at);
        match letter.occasion {
            Occasion::Held | Occasion::Reminder | Occasion::Settled | Occasion::Unconfirmed => {
                let Some(id) = &letter.call else { return Ok(None) };
                let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(None) };
                let owner = self.owner_of(&call.agent).await?;
                let readers = match (letter.occasion, &call.state) {
                    (Occasion::Held, State::Held { .. }) => Some(asked(people, &call, owner.as_deref())),
                    (Occasion::Reminder, State::Held { .. }) if call.views.is_empty() => Some(asked(people, &call, owner.as_deref())),
                    (Occasion::Unconfirmed, State::Unconfirmed { .. }) => Some(hear_of_end(people, &call, true)),
                    (Occasion::Settled, state) if state.settled_at().is_some() && age <= SETTLED_FOR => Some(hear_of_end(people, &call, false)),
                    _ => None,
                };
                let Some(readers) = readers.flatten() else { return Ok(None) };
                Ok(Some((About::Call(Box::new(self.for_people(call).await?.0)), readers)))
            }
            Occasion::SignIn => {
                // A link that comes too late surprises: whoever asked has asked again by then.
                let reader = people.iter().find(|person| person.disabled_at.is_none() && Some(&person.email) == letter.to.as_ref() && age <= SIGN_IN_FOR);
                Ok(reader.map(|person| (About::SignIn, vec![person.clone()])))
            }
            Occasion::Trouble => Ok(wanting(active(people).filter(|person| person.role == Role::Operator)).map(|readers| (About::Trouble, readers))),
        }
    }

    /// The letter reached everybody it was for; it leaves the outbox.
    pub async fn letter_sent(&self, letter: &Letter, to: &[Person]) -> Result<(), Failure> {
        // How many, not who: the chain outlives people's addresses.
        let fact = letter_fact("letter.sent", letter, json!({ "letter": letter.id, "people": to.len() }));
        let reached: Vec<String> = to.iter().map(|person| person.email.clone()).collect();
        self.delivered(letter, &reached, None, fact).await
    }

    /// Nobody has to be told any more, or there is nobody to tell.
    pub async fn letter_done(&self, letter: &Letter, why: &'static str) -> Result<(), Failure> {
        self.delivered(letter, &[], None, letter_fact("letter.dropped", letter, json!({ "letter": letter.id, "why": why }))).await
    }

    /// The letter could not be delivered to everybody; it is tried again at `next_at`.
    pub async fn letter_failed(&self, letter: &Letter, delivered_to: Vec<String>, next_at: Timestamp) -> Result<(), Failure> {
        let reached: Vec<String> = delivered_to.iter().filter(|person| !letter.delivered_to.contains(person)).cloned().collect();
        let next = Letter { revision: letter.revision + 1, attempts: letter.attempts.saturating_add(1), next_at, delivered_to, ..letter.clone() };
        let data = json!({ "letter": letter.id, "attempts": next.attempts, "next_at": next_at });
        self.delivered(letter, &reached, Some(next), letter_fact("letter.failed", letter, data)).await
    }
}

fn letter_fact(kind: &'static str, letter: &Letter, data: serde_json::Value) -> Fact {
    Fact { kind, call: letter.call.clone(), actor: "paraph".into(), data }
}

/// Which letters wait for each other: people wait for links, and what is settled must not wait for what is held back.
fn turn(occasion: Occasion) -> usize {
    match occasion {
        Occasion::SignIn | Occasion::Trouble => 0,
        Occasion::Held | Occasion::Reminder => 1,
        Occasion::Settled | Occasion::Unconfirmed => 2,
    }
}

fn active(people: &[Person]) -> impl Iterator<Item = &Person> {
    people.iter().filter(|person| person.disabled_at.is_none())
}

/// Those who want mails; `None` when there is nobody among them who does.
fn wanting<'a>(people: impl Iterator<Item = &'a Person>) -> Option<Vec<Person>> {
    let wanting: Vec<Person> = people.filter(|person| person.mail != MailChoice::Off).cloned().collect();
    (!wanting.is_empty()).then_some(wanting)
}

/// Who is asked to decide: the people the rule asks for; the operators too when these are fewer than it needs
/// (semantics.md 16). Nobody at all is no reason to forget the letter: somebody may be added.
fn asked(people: &[Person], call: &Call, owner: Option<&str>) -> Option<Vec<Person>> {
    let asked: Vec<&Person> = entitled(people, &call.reviewers, call.approvals, owner).collect();
    let enough = usize::try_from(call.approvals.max(1)).is_ok_and(|needed| asked.len() >= needed);
    let operator = |person: &Person| !enough && person.role == Role::Operator;
    let told: Vec<&Person> = active(people).filter(|person| operator(person) || asked.iter().any(|asked| asked.email == person.email)).collect();
    if told.is_empty() { Some(Vec::new()) } else { wanting(told.into_iter()) }
}

/// Who hears how it ended, as far as they may still see it; of what a person has to look into, the operators too.
fn hear_of_end(people: &[Person], call: &Call, operators: bool) -> Option<Vec<Person>> {
    let hear = call.hear_of_end();
    let hears = |person: &&Person| (person.may_see(call) && hear.contains(&person.email.as_str())) || (operators && person.role == Role::Operator);
    wanting(active(people).filter(hears))
}

/// What to call the people whose word ended it.
fn ended_by(call: &Call, people: &[Person]) -> Vec<String> {
    let name = |email: &str| people.iter().find(|person| person.email == email).map_or(email, Person::display).to_owned();
    let told = if let State::Answered { outcome, .. } = &call.state { outcome.as_told() } else { None };
    told.map_or_else(|| call.ended_by().into_iter().map(name).collect(), |told| vec![name(&told.by)])
}
