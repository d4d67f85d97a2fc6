//! People: added, changed, shut out and let in again, with the links, sessions and tokens that let them in. A secret
//! is given out once, here; only its digest is kept. Whoever may not decide a call any more takes their unsent
//! approval of it along (semantics.md 21). Called by `control`, `web`, `signin` and `notify`.

use super::account::TOKEN_NAME;
pub use super::agents::NewAgent;
use super::open::{OpenCalls, UNSENT};
use super::registrar::{Registrar, RegistrarError, again};
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId};
use crate::domain::letter::Letter;
use crate::domain::people::{Credential, CredentialKind, Person, Role};
use crate::domain::reveal::{Run, reveal_line};
use crate::store::{Change, Kind, Row, Seen};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// A one-time link's life (semantics.md 36).
pub const LINK_FOR: Duration = Duration::from_secs(15 * 60);
/// Characters of a name or of a group.
pub const MAX_NAME: usize = 100;
/// Groups of one person.
const MAX_GROUPS: usize = 50;
/// Rows removed in one change.
const TOGETHER: usize = 60;
/// The life of the first operator's link (semantics.md 36).
pub const FIRST_LINK_FOR: Duration = Duration::from_secs(60 * 60);

/// Why a command about people did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// The name is taken.
    #[error("there is already {what} called {name}")]
    Exists {
        /// "an agent" or "a person".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name is unknown.
    #[error("there is no {what} called {name}")]
    Unknown {
        /// "active agent", "active person" or "API token of this person".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name cannot be used.
    #[error("{0}")]
    BadName(&'static str),
    /// It would leave nobody who can manage the gate.
    #[error("this is the last operator: make another one first")]
    LastOperator,
    /// A fault on our side.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What is to be another; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct PersonEdit {
    /// Shown instead of the address, or nothing.
    pub name: Option<Option<String>>,
    /// What the person may do.
    pub role: Option<Role>,
    /// Groups that rules name.
    pub groups: Option<Vec<String>>,
    /// The revision that was shown; another one now is a conflict.
    pub shown: Option<u64>,
}

/// A person with what else is known of them.
#[derive(Debug, Clone)]
pub struct ListedPerson {
    /// The record.
    pub person: Person,
    /// Open sessions.
    pub sessions: usize,
    /// API tokens that count.
    pub tokens: Vec<Credential>,
    /// The latest sign-in or use of a token that is still on record.
    pub seen_at: Option<Timestamp>,
}

impl Gate {
    /// Adds a person.
    pub async fn add_person(&self, email: &str, name: Option<String>, groups: Vec<String>, role: Role) -> Result<Person, PeopleError> {
        self.registrar().add_person(email, name, groups, role).await.map_err(|error| self.plain(error))
    }

    /// Everybody, disabled people too.
    pub async fn people(&self) -> Result<Vec<Person>, Failure> {
        let rows = self.all_rows(Kind::Person).await?;
        Ok(rows.into_iter().filter_map(|row| if let Row::Person(person) = row { Some(person) } else { None }).collect())
    }

    /// The same with their sessions and tokens.
    pub async fn listed_people(&self) -> Result<Vec<ListedPerson>, Failure> {
        let people = self.people().await?.into_iter();
        let mut listed: HashMap<String, ListedPerson> =
            people.map(|person| (person.email.clone(), ListedPerson { person, sessions: 0, tokens: Vec::new(), seen_at: None })).collect();
        for row in self.all_rows(Kind::Credential).await? {
            let Row::Credential(found) = row else { continue };
            let Some(person) = listed.get_mut(&found.email) else { continue };
            let counts = self.counts(&found);
            match found.kind {
                CredentialKind::Session => {
                    person.seen_at = person.seen_at.max(Some(found.made_at)).max(found.used_at);
                    person.sessions += usize::from(counts);
                }
                CredentialKind::ApiToken => {
                    let used_at = self.last_use(&found);
                    person.seen_at = person.seen_at.max(used_at);
                    person.tokens.extend(counts.then_some(Credential { used_at, ..found }));
                }
                CredentialKind::Link | CredentialKind::HalfWay | CredentialKind::AgentToken => {}
            }
        }
        let mut listed: Vec<ListedPerson> = listed.into_values().collect();
        listed.iter_mut().for_each(|one| one.tokens.sort_by_key(|token| token.made_at));
        listed.sort_by(|one, other| one.person.email.cmp(&other.person.email));
        Ok(listed)
    }

    /// Shuts a person out: sessions, links and tokens stop counting at once.
    pub async fn disable_person(&self, email: &str) -> Result<(), PeopleError> {
        self.registrar().disable_person(email, None).await.map_err(|error| self.plain(error))
    }

    /// What of this person's approvals may not count any more, and has not left, goes back to held (semantics.md 21).
    pub(super) async fn void_approvals(&self, email: &str, mut open: OpenCalls, actor: &str, why: &str) -> Result<(), Failure> {
        while let Some(call) = open.next(self).await? {
            let decided = call.decisions.iter().any(|decision| !decision.void && decision.by == email);
            if decided && self.still_entitled(email, &call).await?.is_none() {
                self.void_approval(&call.id, email, actor, why).await?;
            }
        }
        Ok(())
    }

    /// One call's share of it.
    pub(super) async fn void_approval(&self, id: &CallId, email: &str, actor: &str, why: &str) -> Result<(), Failure> {
        self.rewrite(id, |call| {
            let next = call.without(email, self.now())?;
            let fact = self.call_fact("call.undone", &next, actor, json!({ "why": why }));
            Some((next, fact))
        })
        .await
        .map(drop)
    }

    /// The record of somebody who may still decide this call, for a change that must not happen once they may not.
    pub(super) async fn still_entitled(&self, email: &str, call: &Call) -> Result<Option<Seen>, Failure> {
        let Some(Row::Person(person)) = self.inner.store.row(Kind::Person, email).await.map_err(|e| self.failed(&e))? else { return Ok(None) };
        let owner = self.owner_of(&call.agent).await?;
        let may = person.disabled_at.is_none() && person.may_decide(call, owner.as_deref());
        Ok(may.then_some(Seen { kind: Kind::Person, key: person.email, revision: person.revision }))
    }

    /// Makes a one-time sign-in secret; the caller puts it into a link.
    pub async fn make_link(&self, email: &str) -> Result<String, PeopleError> {
        self.make_link_for(email, LINK_FOR).await
    }

    /// The same with a life of its own.
    pub async fn make_link_for(&self, email: &str, life: Duration) -> Result<String, PeopleError> {
        self.registrar().make_credential(email, CredentialKind::Link, None, life, "link.made").await.map_err(|error| self.plain(error))
    }

    /// Makes the link of a sign-in letter that is about to leave; `None` when the person was shut out meanwhile.
    pub async fn link_for(&self, person: &Person) -> Result<Option<String>, Failure> {
        match self.registrar().make_credential(&person.email, CredentialKind::Link, None, LINK_FOR, "link.mailed").await.map_err(|error| self.plain(error)) {
            Ok(secret) => Ok(Some(secret)),
            Err(PeopleError::Failure(failure)) => Err(failure),
            Err(PeopleError::Exists { .. } | PeopleError::Unknown { .. } | PeopleError::BadName(_) | PeopleError::LastOperator) => Ok(None),
        }
    }

    /// Makes an API token; `name`: so that its owner knows it again.
    pub async fn make_api_token(&self, email: &str, name: &str, expires_in: Duration) -> Result<String, PeopleError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > TOKEN_NAME || !can_be_read(name) {
            return Err(PeopleError::BadName("a token's name has 1 to 64 characters, on one line, and none that is not seen or looks like another one"));
        }
        let made = self.registrar().make_credential(email, CredentialKind::ApiToken, Some(name), expires_in, "token.made").await;
        made.map_err(|error| self.plain(error))
    }

    pub(super) async fn active_person(&self, email: &str) -> Result<Person, PeopleError> {
        match self.person(email).await? {
            person if person.disabled_at.is_none() => Ok(person),
            person => Err(PeopleError::Unknown { what: "active person", name: person.email }),
        }
    }

    pub(super) async fn person(&self, email: &str) -> Result<Person, PeopleError> {
        let email = address(email)?;
        match self.inner.store.row(Kind::Person, &email).await.map_err(|e| self.failed(&e))? {
            Some(Row::Person(person)) => Ok(person),
            _ => Err(PeopleError::Unknown { what: "active person", name: email }),
        }
    }

    /// What somebody may sign in or ask with, of these kinds, also what does not count any more.
    pub(super) async fn every_credential_of(&self, email: &str, kinds: &[CredentialKind]) -> Result<Vec<Credential>, Failure> {
        let rows = self.all_rows(Kind::Credential).await?.into_iter();
        let all = rows.filter_map(|row| if let Row::Credential(credential) = row { Some(credential) } else { None });
        Ok(all.filter(|credential| credential.email == email && kinds.contains(&credential.kind)).collect())
    }

    /// A person's API tokens that count, the oldest first.
    pub async fn api_tokens(&self, email: &str) -> Result<Vec<Credential>, PeopleError> {
        let (email, now) = (self.person(email).await?.email, self.inner.clock.now());
        let found = self.every_credential_of(&email, &[CredentialKind::ApiToken]).await?.into_iter().filter(|token| now < token.expires_at);
        let mut tokens: Vec<Credential> = found.map(|token| Credential { used_at: self.last_use(&token), ..token }).collect();
        tokens.sort_by_key(|token| token.made_at);
        Ok(tokens)
    }

    /// 256 random bits as text.
    pub(super) fn secret(&self, prefix: &str) -> String {
        let mut bits = [0u8; 32];
        self.inner.clock.random(&mut bits);
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits))
    }

    pub(super) async fn all_rows(&self, kind: Kind) -> Result<Vec<Row>, Failure> {
        let mut all: Vec<Row> = Vec::new();
        loop {
            let after = all.last().map(|row| row.key().to_owned());
            let rows = self.inner.store.rows(kind, after.as_deref(), 500).await.map_err(|e| self.failed(&e))?;
            if rows.is_empty() {
                return Ok(all);
            }
            all.extend(rows);
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

impl Reviewer {
    /// Everybody, for operators and auditors.
    pub async fn people(&self) -> Result<Vec<ListedPerson>, RegistrarError> {
        if !self.may_oversee() {
            return Err(RegistrarError::NotOperator);
        }
        Ok(self.gate().listed_people().await?)
    }
}

impl Registrar {
    /// Adds a person.
    pub async fn add_person(&self, email: &str, name: Option<String>, groups: Vec<String>, role: Role) -> Result<Person, RegistrarError> {
        let email = address(email)?;
        // Programs take such a word for an option. One that is there already can still be named, so that it can be shut out.
        if email.starts_with('-') {
            return Err(PeopleError::BadName("a mail address that begins with - is not taken: programs would read it as an option").into());
        }
        let now = self.gate.now();
        let person = Person::new(&email, shown_name(name)?, group_names(groups)?, role, now);
        let fact = self.fact("person.added", json!({ "person": email, "role": role, "groups": person.groups }));
        self.write_new(Change::of_row(now, Row::Person(person.clone()), fact), "a person").await?;
        Ok(person)
    }

    /// Changes a name, a role, groups. What the person may not decide any more does not count on their approval.
    pub async fn set_person(&self, email: &str, edit: PersonEdit) -> Result<Person, RegistrarError> {
        again(edit.shown, || self.set_person_once(email, edit.clone())).await
    }

    async fn set_person_once(&self, email: &str, edit: PersonEdit) -> Result<Person, RegistrarError> {
        let person = self.gate.person(email).await?;
        if edit.shown.is_some_and(|shown| shown != person.revision) {
            return Err(RegistrarError::Changed);
        }
        let name = edit.name.map_or_else(|| Ok(person.name.clone()), shown_name)?;
        let groups = edit.groups.map_or_else(|| Ok(person.groups.clone()), group_names)?;
        let next = Person { revision: person.revision + 1, name, groups, role: edit.role.unwrap_or(person.role), ..person.clone() };
        let seen = if next.role == Role::Operator { None } else { self.another_operator(&person).await? };
        let fact = self.fact("person.changed", json!({ "person": next.email, "role": next.role, "groups": next.groups }));
        let change = Change::of_row(self.gate.now(), Row::Person(next.clone()), fact);
        self.write(Change { seen: seen.into_iter().collect(), ..change }).await?;
        self.gate.void_approvals(&next.email, OpenCalls::of(UNSENT), &self.actor, "person.changed").await?;
        Ok(next)
    }

    /// Shuts a person out: sessions, links and tokens stop counting at once and are gone.
    pub async fn disable_person(&self, email: &str, shown: Option<u64>) -> Result<(), RegistrarError> {
        again(shown, || self.disable_person_once(email, shown)).await
    }

    async fn disable_person_once(&self, email: &str, shown: Option<u64>) -> Result<(), RegistrarError> {
        let person = self.gate.active_person(email).await?;
        if shown.is_some_and(|shown| shown != person.revision) {
            return Err(RegistrarError::Changed);
        }
        let seen = self.another_operator(&person).await?;
        let email = person.email.clone();
        let next = Person { revision: person.revision + 1, disabled_at: Some(self.gate.now()), ..person };
        let change = Change::of_row(self.gate.now(), Row::Person(next), self.fact("person.disabled", json!({ "person": email })));
        self.write(Change { seen: seen.into_iter().collect(), ..change }).await?;
        self.gate.void_approvals(&email, OpenCalls::of(UNSENT), &self.actor, "person.disabled").await?;
        self.remove_credentials(&email, &[CredentialKind::Session, CredentialKind::Link, CredentialKind::HalfWay, CredentialKind::ApiToken], None).await?;
        Ok(())
    }

    /// Lets a person in again; what they had before to get in is gone, but for a password and passkeys. No passkey has to finish
    /// their sign-ins any more: this is how somebody who lost all of theirs comes back, by an operator who knows them.
    pub async fn enable_person(&self, email: &str) -> Result<Person, RegistrarError> {
        let person = self.gate.person(email).await?;
        if person.disabled_at.is_none() {
            return Err(PeopleError::Unknown { what: "disabled person", name: person.email }.into());
        }
        // Shutting out may have been cut short, and nothing of it may come back to life.
        self.remove_credentials(&person.email, &[CredentialKind::Session, CredentialKind::Link, CredentialKind::HalfWay, CredentialKind::ApiToken], None)
            .await?;
        let next = Person { revision: person.revision + 1, disabled_at: None, ..person };
        let fact = self.fact("person.enabled", json!({ "person": next.email }));
        self.write(Change::of_row(self.gate.now(), Row::Person(next.clone()), fact)).await?;
        Ok(next)
    }

    /// Ends every session and link of a person; how many there were.
    pub async fn sign_out_person(&self, email: &str) -> Result<usize, RegistrarError> {
        let email = self.gate.person(email).await?.email;
        self.remove_credentials(&email, &[CredentialKind::Session, CredentialKind::Link, CredentialKind::HalfWay], Some("person.signed_out")).await
    }

    /// Ends one API token, by the id that lists show.
    pub async fn revoke_token(&self, email: &str, id: &str) -> Result<(), RegistrarError> {
        for _ in 0..super::REWRITES {
            let unknown = || PeopleError::Unknown { what: "API token of this person", name: id.to_owned() };
            let token = self.gate.api_tokens(email).await?.into_iter().find(|token| token.id() == id).ok_or_else(unknown)?;
            let fact = self.fact("token.revoked", json!({ "person": token.email, "token": token.id() }));
            let removed = vec![(Kind::Credential, token.secret.to_string())];
            match self.write(Change { removed, ..Change::of_facts(self.gate.now(), vec![fact]) }).await {
                Err(RegistrarError::Changed) => {}
                written => return written,
            }
        }
        Err(RegistrarError::Changed)
    }

    /// Makes a one-time sign-in secret; the caller puts it into a link.
    pub async fn make_link(&self, email: &str) -> Result<String, RegistrarError> {
        self.make_credential(email, CredentialKind::Link, None, LINK_FOR, "link.made").await
    }

    /// Has a one-time link mailed; it is made when the letter leaves.
    pub async fn mail_link(&self, email: &str) -> Result<(), RegistrarError> {
        let person = self.gate.active_person(email).await?;
        let now = self.gate.now();
        let letter = Letter::about_sign_in(&self.gate.secret(""), &person.email, now);
        let fact = self.fact("link.asked", json!({ "person": person.email, "letter": letter.id }));
        self.write(Change::of_row(now, Row::Letter(letter), fact)).await
    }

    async fn make_credential(
        &self,
        email: &str,
        kind: CredentialKind,
        label: Option<&str>,
        life: Duration,
        told: &'static str,
    ) -> Result<String, RegistrarError> {
        let person = self.gate.active_person(email).await?;
        let now = self.gate.now();
        let secret = self.gate.secret(if kind == CredentialKind::ApiToken { "pt_" } else { "pl_" });
        let label = label.map(str::to_owned);
        let credential = Credential { label, ..Credential::new(&secret, kind, &person.email, now, now + life) };
        let fact = self.fact(told, json!({ "person": person.email, "expires_at": credential.expires_at }));
        self.write(Change::of_row(now, Row::Credential(credential), fact)).await?;
        Ok(secret)
    }

    /// Removes what somebody gets in with; how many there were. `told`: the kind of the fact, when there is one besides
    /// what shut the person out.
    async fn remove_credentials(&self, email: &str, kinds: &[CredentialKind], told: Option<&'static str>) -> Result<usize, RegistrarError> {
        let (mut count, mut conflicts) = (0, 0);
        loop {
            let found = self.gate.every_credential_of(email, kinds).await?;
            if found.is_empty() && (count > 0 || told.is_none()) {
                return Ok(count);
            }
            let some: Vec<_> = found.iter().take(TOGETHER).map(|credential| (Kind::Credential, credential.secret.to_string())).collect();
            let facts: Vec<Fact> = told.map(|kind| self.fact(kind, json!({ "person": email, "count": some.len() }))).into_iter().collect();
            let number = some.len();
            match self.write(Change { removed: some, ..Change::of_facts(self.gate.now(), facts) }).await {
                Ok(()) if found.len() <= TOGETHER => return Ok(count + number),
                Ok(()) => count += number,
                // One of them was used, or used up, in the same moment.
                Err(RegistrarError::Changed) if conflicts < super::REWRITES => conflicts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// An active operator beside this person, for a change after which they are none: of two operators who demote each
    /// other exactly one is first.
    async fn another_operator(&self, person: &Person) -> Result<Option<Seen>, RegistrarError> {
        if person.role != Role::Operator || person.disabled_at.is_some() {
            return Ok(None);
        }
        let people = self.gate.people().await?;
        let other = people.into_iter().find(|other| other.role == Role::Operator && other.disabled_at.is_none() && other.email != person.email);
        let other = other.ok_or(PeopleError::LastOperator)?;
        Ok(Some(Seen { kind: Kind::Person, key: other.email, revision: other.revision }))
    }
}

/// A plain address: one `@`, no blanks, no control characters (RFC 5321 allows 254 octets).
pub(super) fn address(email: &str) -> Result<String, PeopleError> {
    // Letters of ASCII only, also before: the Kelvin sign becomes a k.
    let email = email.trim().to_ascii_lowercase();
    let plain = email.len() <= 254 && email.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',' | ';' | '(' | ')' | '\\'));
    let parts: Vec<&str> = email.split('@').collect();
    if plain && parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) {
        Ok(email)
    } else {
        Err(PeopleError::BadName("a person is named by a mail address such as ann@example.org"))
    }
}

/// A name that can be read: it stands in mails, on pages and in terminals. An empty one is none.
fn shown_name(name: Option<String>) -> Result<Option<String>, PeopleError> {
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    match name {
        Some(name) if !can_be_read(&name) => {
            Err(PeopleError::BadName("a name has at most 100 characters, on one line, and none that is not seen or looks like another one"))
        }
        name => Ok(name),
    }
}

/// Groups as rules name them, each once.
fn group_names(groups: Vec<String>) -> Result<Vec<String>, PeopleError> {
    let mut names: Vec<String> = Vec::new();
    for group in groups {
        let group = group.trim().to_owned();
        if group.is_empty() || group.contains(',') || !can_be_read(&group) {
            return Err(PeopleError::BadName("a group has 1 to 100 characters, no comma, and none that is not seen or looks like another one"));
        }
        if !names.contains(&group) {
            names.push(group);
        }
    }
    if names.len() > MAX_GROUPS {
        return Err(PeopleError::BadName("a person is in at most 50 groups"));
    }
    Ok(names)
}

fn can_be_read(name: &str) -> bool {
    name.chars().count() <= MAX_NAME && reveal_line(name).iter().all(|run| matches!(run, Run::Plain(_)))
}
