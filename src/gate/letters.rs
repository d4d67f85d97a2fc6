//! The durable outbox as `notify` sees it: which letters are due, to whom (resolved now, not when they were
//! written), and what became of them. A letter about a call that nobody has to decide any more is put away.

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, State};
use crate::domain::letter::{Letter, Occasion};
use crate::domain::people::{Person, Role};
use crate::store::{Change, CommitError, Kind, Row};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::HashMap;

/// A sign-in letter that could not leave for so long is dropped.
const SIGN_IN_FOR: SignedDuration = SignedDuration::from_mins(15);

/// A letter that wants to go out.
#[derive(Debug, Clone)]
pub struct DueLetter {
    /// The letter.
    pub letter: Letter,
    /// What it is about, as it stands now.
    pub about: About,
    /// Who has not got it yet.
    pub to: Vec<Person>,
}

/// What a letter tells of.
#[derive(Debug, Clone)]
pub enum About {
    /// A call that waits for a person.
    Call(Box<Call>),
    /// A way in, for its one reader; [`Gate::link_for`] makes it when the letter leaves.
    SignIn,
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
    /// The letters that are due, at most `most`, without those that `skip` names. First ways in, for which somebody waits at
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
        due.sort_by_key(|letter| (letter.occasion != Occasion::SignIn, letter.attempts));
        let people = self.people().await?;
        for letter in due {
            if outbox.due.len() >= most {
                outbox.more = true;
                break;
            }
            let Some((about, readers)) = self.about(&letter, &people, now).await? else {
                outbox.waiting -= 1;
                self.letter_done(&letter, "not_needed").await?;
                continue;
            };
            let done = |person: &Person| letter.delivered_to.contains(&person.email) || letter.refused_by.contains(&person.email);
            let to = readers.into_iter().filter(|person| !done(person)).collect();
            outbox.due.push(DueLetter { letter, about, to });
        }
        Ok(outbox)
    }

    /// What the letter tells of by now and who reads it; `None` when nobody has to be told any more.
    async fn about(&self, letter: &Letter, people: &[Person], now: Timestamp) -> Result<Option<(About, Vec<Person>)>, Failure> {
        match letter.occasion {
            Occasion::Held => {
                let Some(id) = &letter.call else { return Ok(None) };
                let call = self.inner.store.call(id).await.map_err(|e| self.failed(&e))?;
                Ok(call.filter(|call| matches!(call.state, State::Held { .. })).map(|call| {
                    let readers = readers(people, &call);
                    (About::Call(Box::new(call)), readers)
                }))
            }
            Occasion::SignIn => {
                // A link that comes too late surprises: whoever asked has asked again by then.
                let late = now.duration_since(letter.written_at) > SIGN_IN_FOR;
                let reader = people.iter().find(|person| person.disabled_at.is_none() && Some(&person.email) == letter.to.as_ref() && !late);
                Ok(reader.map(|person| (About::SignIn, vec![person.clone()])))
            }
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
        let data = json!({ "letter": letter.id, "attempts": attempts, "next_at": next_at });
        self.put_back(letter, attempts, told, next_at, Some(("letter.failed", data))).await
    }

    /// The letter reached some and waits for the next list of others.
    pub async fn letter_waits(&self, letter: &Letter, told: &Told, next_at: Timestamp) -> Result<(), Failure> {
        let data = json!({ "letter": letter.id, "people": told.reached.len(), "next_at": next_at });
        self.put_back(letter, letter.attempts, told, next_at, (!told.reached.is_empty()).then_some(("letter.waits", data))).await
    }

    async fn put_back(
        &self,
        letter: &Letter,
        attempts: u32,
        told: &Told,
        next_at: Timestamp,
        fact: Option<(&'static str, serde_json::Value)>,
    ) -> Result<(), Failure> {
        let delivered_to = letter.delivered_to.iter().chain(&told.reached).cloned().collect();
        let refused_by = letter.refused_by.iter().chain(&told.refused).cloned().collect();
        let next = Letter { revision: letter.revision + 1, attempts, next_at, delivered_to, refused_by, ..letter.clone() };
        let mut facts = refusals(letter, told);
        facts.extend(fact.map(|(kind, data)| Fact { kind, call: letter.call.clone(), actor: "paraph".into(), data }));
        self.settle(Change { rows: vec![Row::Letter(next)], ..Change::of_facts(self.inner.clock.now(), facts) }).await
    }

    async fn put_away(&self, letter: &Letter, told: &Told, kind: &'static str, data: serde_json::Value) -> Result<(), Failure> {
        let mut facts = refusals(letter, told);
        facts.push(Fact { kind, call: letter.call.clone(), actor: "paraph".into(), data });
        let change = Change { removed: vec![(Kind::Letter, letter.id.clone())], ..Change::of_facts(self.inner.clock.now(), facts) };
        self.settle(change).await
    }

    async fn settle(&self, change: Change) -> Result<(), Failure> {
        match self.inner.store.commit(change).await {
            // Another process was faster, or it is already written: the outbox is read again anyway.
            Ok(_) | Err(CommitError::Conflict | CommitError::Lost) => Ok(()),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => Err(self.failed(&error)),
        }
    }
}

fn refusals(letter: &Letter, told: &Told) -> Vec<Fact> {
    let data = json!({ "letter": letter.id, "people": told.refused.len() });
    let fact = Fact { kind: "letter.refused", call: letter.call.clone(), actor: "paraph".into(), data };
    if told.refused.is_empty() { Vec::new() } else { vec![fact] }
}

/// Who is told: everybody active who may decide; the operators when the rule's groups hold nobody
/// (semantics.md 16).
fn readers(people: &[Person], call: &Call) -> Vec<Person> {
    let active = |person: &&Person| person.disabled_at.is_none() && person.role != Role::Auditor;
    let asked: Vec<Person> = people.iter().filter(active).filter(|person| person.is_asked(&call.reviewers)).cloned().collect();
    if asked.is_empty() { people.iter().filter(active).filter(|person| person.role == Role::Operator).cloned().collect() } else { asked }
}
