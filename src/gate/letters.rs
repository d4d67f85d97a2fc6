//! The durable outbox as `notify` sees it: which letters are due, to whom (resolved now, not when they were
//! written), and what became of them. A letter that by now tells nothing new is put away. Ways in and troubles
//! come first, so that a crowd of letters about calls keeps nobody's sign-in link back. `steps` writes them.

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
use std::collections::HashMap;

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

/// Which due letters are left where they are.
#[derive(Debug, Clone, Default)]
pub struct Skip {
    /// These, by id, until then.
    pub parked: HashMap<String, Timestamp>,
    /// All but ways in that were not tried yet.
    pub all_but_new_ways_in: bool,
}

impl Skip {
    fn skips(&self, letter: &Letter) -> bool {
        let new_way_in = letter.occasion == Occasion::SignIn && letter.attempts == 0;
        self.parked.contains_key(&letter.id) || (self.all_but_new_ways_in && !new_way_in)
    }
}

/// Who was told by one round of deliveries, by address.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Their mail servers have it.
    pub reached: Vec<String>,
    /// Their mail servers refused it for good (RFC 5321, 4.2.1: 5yz).
    pub refused: Vec<String>,
}

impl Told {
    /// Everybody of them.
    pub fn all(people: &[Person]) -> Told {
        Told { reached: people.iter().map(|person| person.email.clone()).collect(), refused: Vec::new() }
    }
}

/// What is due and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Due now.
    pub due: Vec<DueLetter>,
    /// The next time a letter becomes due.
    pub next: Option<Timestamp>,
    /// Letters that are there, due or not.
    pub waiting: usize,
    /// There are further due letters.
    pub more: bool,
}

impl Gate {
    /// The letters that are due, at most `most` of each kind, without those that `skip` names. First ways in, for which somebody waits at
    /// the page; then what failed least often, so that a letter that always fails keeps no other from leaving.
    pub async fn outbox(&self, most: usize, skip: &Skip) -> Result<Outbox, Failure> {
        let now = self.inner.clock.now();
        let (mut outbox, mut due) = (Outbox::default(), Vec::new());
        let mut after: Option<String> = None;
        loop {
            let rows = self.inner.store.rows(Kind::Letter, after.as_deref(), 256).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key().to_owned());
            for row in rows {
                let Row::Letter(letter) = row else { continue };
                outbox.waiting += 1;
                if letter.next_at > now {
                    outbox.next = Some(outbox.next.map_or(letter.next_at, |next| next.min(letter.next_at)));
                } else if !skip.skips(&letter) {
                    due.push(letter);
                }
            }
        }
        due.sort_by_key(|letter| (turn(letter.occasion) != 0, letter.attempts));
        let people = self.people().await?;
        let mut room = [most; 3];
        for letter in due {
            let left = &mut room[turn(letter.occasion)];
            if *left == 0 {
                outbox.more = true;
                continue;
            }
            let Some((about, readers)) = self.about(&letter, &people, now).await? else {
                outbox.waiting -= 1;
                self.letter_done(&letter, "not_needed").await?;
                continue;
            };
            *left -= 1;
            let done = |person: &Person| letter.delivered_to.contains(&person.email) || letter.refused_by.contains(&person.email);
            let to = readers.into_iter().filter(|person| !done(person)).collect();
            let ended_by = if let About::Call(call) = &about { ended_by(call, &people) } else { Vec::new() };
            outbox.due.push(DueLetter { letter, about, to, ended_by });
        }
        Ok(outbox)
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

    /// The letter reached everybody it was for whose mail server takes it; it leaves the outbox.
    pub async fn letter_sent(&self, letter: &Letter, told: &Told) -> Result<(), Failure> {
        // How many, not who: the chain outlives people's addresses.
        self.put_away(letter, told, "letter.sent", json!({ "letter": letter.id, "people": told.reached.len() })).await
    }

    /// Nobody has to be told any more, or there is nobody to tell.
    pub async fn letter_done(&self, letter: &Letter, why: &'static str) -> Result<(), Failure> {
        self.put_away(letter, &Told::default(), "letter.dropped", json!({ "letter": letter.id, "why": why })).await
    }

    /// Nobody is left whose mail server takes the letter; it leaves the outbox.
    pub async fn letter_refused(&self, letter: &Letter, told: &Told) -> Result<(), Failure> {
        self.put_away(letter, told, "letter.dropped", json!({ "letter": letter.id, "why": "refused" })).await
    }

    /// The letter could not be delivered to everybody; it is tried again at `next_at`.
    pub async fn letter_failed(&self, letter: &Letter, told: &Told, next_at: Timestamp) -> Result<(), Failure> {
        let attempts = letter.attempts.saturating_add(1);
        let fact = letter_fact("letter.failed", letter, json!({ "letter": letter.id, "attempts": attempts, "next_at": next_at }));
        self.put_back(letter, attempts, told, next_at, Some(fact)).await
    }

    /// The letter reached some, or was refused by some, and waits for the next list of others.
    pub async fn letter_waits(&self, letter: &Letter, told: &Told, next_at: Timestamp) -> Result<(), Failure> {
        let fact = letter_fact("letter.waits", letter, json!({ "letter": letter.id, "people": told.reached.len(), "next_at": next_at }));
        self.put_back(letter, letter.attempts, told, next_at, (!told.reached.is_empty()).then_some(fact)).await
    }

    async fn put_back(&self, letter: &Letter, attempts: u32, told: &Told, next_at: Timestamp, fact: Option<Fact>) -> Result<(), Failure> {
        let delivered_to = letter.delivered_to.iter().chain(&told.reached).cloned().collect();
        let refused_by = letter.refused_by.iter().chain(&told.refused).cloned().collect();
        let next = Letter { revision: letter.revision + 1, attempts, next_at, delivered_to, refused_by, ..letter.clone() };
        let facts = refusals(letter, told).into_iter().chain(fact).collect();
        self.delivered(letter, &told.reached, Some(next), facts).await
    }

    async fn put_away(&self, letter: &Letter, told: &Told, kind: &'static str, data: serde_json::Value) -> Result<(), Failure> {
        let facts = refusals(letter, told).into_iter().chain([letter_fact(kind, letter, data)]).collect();
        self.delivered(letter, &told.reached, None, facts).await
    }
}

fn letter_fact(kind: &'static str, letter: &Letter, data: serde_json::Value) -> Fact {
    Fact { kind, call: letter.call.clone(), actor: "paraph".into(), data: data.into() }
}

fn refusals(letter: &Letter, told: &Told) -> Option<Fact> {
    let data = json!({ "letter": letter.id, "people": told.refused.len() });
    (!told.refused.is_empty()).then(|| letter_fact("letter.refused", letter, data))
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
