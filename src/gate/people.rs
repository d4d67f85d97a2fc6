//! Who may use the gate: agents with their tokens, people with their roles, one-time links and API tokens.
//! A secret is given out once, here; only its digest is kept. Called by `cli` (also over the control socket).

use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{CallId, State};
use crate::domain::digest::Digest;
use crate::domain::people::{Agent, Credential, CredentialKind, Person, Role};
use crate::store::{Change, CommitError, Kind, Query, Row};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// A one-time link's life (semantics.md 36).
pub const LINK_FOR: Duration = Duration::from_secs(15 * 60);

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
        /// "active agent" or "active person".
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

/// What `agent add` was told.
#[derive(Debug, Clone, Default)]
pub struct NewAgent {
    /// Its name.
    pub name: String,
    /// Granted servers; none means every one.
    pub servers: Vec<String>,
    /// Its owner's address.
    pub owner: Option<String>,
    /// Its own `keep_open`.
    pub keep_open: Option<Duration>,
    /// How long its token counts.
    pub expires_in: Option<Duration>,
}

impl Gate {
    /// Adds an agent and gives its token, once.
    pub async fn add_agent(&self, new: NewAgent) -> Result<String, PeopleError> {
        let ordinary = new.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if new.name.is_empty() || new.name.len() > 64 || !ordinary {
            return Err(PeopleError::BadName("an agent's name has 1 to 64 letters, digits, dots, dashes or underscores"));
        }
        let now = self.inner.clock.now();
        let token = self.secret("pa_");
        let agent = Agent {
            name: new.name.clone(),
            revision: 1,
            token: Digest::of_bytes(token.as_bytes()),
            servers: new.servers,
            owner: new.owner.map(|owner| owner.to_lowercase()),
            keep_open: new.keep_open,
            added_at: now,
            expires_at: new.expires_in.map(|span| now + span),
            revoked_at: None,
        };
        let fact = operator_fact("agent.added", json!({ "agent": agent.name, "servers": agent.servers, "expires_at": agent.expires_at }));
        let credential = Credential::new(&token, CredentialKind::AgentToken, &agent.name, now, agent.expires_at.unwrap_or(Timestamp::MAX));
        let change = Change { rows: vec![Row::Agent(agent), Row::Credential(credential)], ..Change::of_facts(now, vec![fact]) };
        self.write(change, &PeopleError::Exists { what: "an agent", name: new.name }).await?;
        Ok(token)
    }

    /// The agent whose token this is, if it still counts.
    pub async fn agent_by_token(&self, token: &str) -> Result<Option<Agent>, Failure> {
        let Some(credential) = self.credential(token, CredentialKind::AgentToken).await? else { return Ok(None) };
        let row = self.inner.store.row(Kind::Agent, &credential.email).await.map_err(|e| self.failed(&e))?;
        let now = self.inner.clock.now();
        Ok(match row {
            Some(Row::Agent(agent)) if agent.token == credential.secret && agent.is_active(now) => Some(agent),
            _ => None,
        })
    }

    /// Every agent, revoked ones too.
    pub async fn agents(&self) -> Result<Vec<Agent>, Failure> {
        let rows = self.all_rows(Kind::Agent).await?;
        Ok(rows.into_iter().filter_map(|row| if let Row::Agent(agent) = row { Some(agent) } else { None }).collect())
    }

    /// Ends an agent's token and withdraws its open calls; how many there were.
    pub async fn revoke_agent(&self, name: &str) -> Result<usize, PeopleError> {
        let unknown = || PeopleError::Unknown { what: "active agent", name: name.to_owned() };
        let found = self.inner.store.row(Kind::Agent, name).await.map_err(|e| self.failed(&e))?;
        let Some(Row::Agent(agent)) = found else { return Err(unknown()) };
        if agent.revoked_at.is_some() {
            return Err(unknown());
        }
        let now = self.inner.clock.now();
        let next = Agent { revision: agent.revision + 1, revoked_at: Some(now), ..agent };
        self.write_row(Row::Agent(next), operator_fact("agent.revoked", json!({ "agent": name })), &unknown()).await?;
        self.inner.upstream.close_agent(name).await;
        let mut withdrawn = 0;
        loop {
            let states = vec!["held".to_owned(), "approved".to_owned()];
            let query = Query { states, agent: Some(name.to_owned()), limit: 100, ..Query::default() };
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            if page.calls.is_empty() {
                return Ok(withdrawn);
            }
            for call in &page.calls {
                self.withdraw(&call.id, "its agent was revoked", "operator").await?;
                let after = self.inner.store.call(&call.id).await.map_err(|e| self.failed(&e))?;
                withdrawn += usize::from(after.is_some_and(|call| matches!(call.state, State::Withdrawn { .. })));
            }
        }
    }

    /// Adds a person.
    pub async fn add_person(&self, email: &str, name: Option<String>, groups: Vec<String>, role: Role) -> Result<Person, PeopleError> {
        let email = address(email)?;
        let person = Person::new(&email, name, groups, role, self.now());
        let fact = operator_fact("person.added", json!({ "person": email, "role": role, "groups": person.groups }));
        self.write_row(Row::Person(person.clone()), fact, &PeopleError::Exists { what: "a person", name: email }).await?;
        Ok(person)
    }

    /// Everybody, disabled people too.
    pub async fn people(&self) -> Result<Vec<Person>, Failure> {
        let rows = self.all_rows(Kind::Person).await?;
        Ok(rows.into_iter().filter_map(|row| if let Row::Person(person) = row { Some(person) } else { None }).collect())
    }

    /// Shuts a person out: sessions, links and tokens stop counting at once.
    pub async fn disable_person(&self, email: &str) -> Result<(), PeopleError> {
        let person = self.active_person(email).await?;
        let others = self.people().await?.into_iter().filter(|p| p.role == Role::Operator && p.disabled_at.is_none() && p.email != person.email).count();
        if person.role == Role::Operator && others == 0 {
            return Err(PeopleError::LastOperator);
        }
        let email = person.email.clone();
        let next = Person { revision: person.revision + 1, disabled_at: Some(self.inner.clock.now()), ..person };
        let unknown = PeopleError::Unknown { what: "active person", name: email.clone() };
        self.write_row(Row::Person(next), operator_fact("person.disabled", json!({ "person": email })), &unknown).await?;
        Ok(self.void_approvals(&email).await?)
    }

    /// What this person approved and has not left goes back to held (semantics.md 21).
    async fn void_approvals(&self, email: &str) -> Result<(), Failure> {
        let mut query = Query { states: vec!["held".to_owned(), "approved".to_owned()], limit: 100, ..Query::default() };
        loop {
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            for call in &page.calls {
                self.void_approval(&call.id, email, "operator").await?;
            }
            if page.next.is_none() {
                return Ok(());
            }
            query.cursor = page.next;
        }
    }

    /// One call's share of it.
    pub(super) async fn void_approval(&self, id: &CallId, email: &str, actor: &str) -> Result<(), Failure> {
        self.rewrite(id, |call| {
            let next = call.without(email, self.now())?;
            let fact = self.call_fact("call.undone", &next, actor, json!({ "why": "person.disabled" }));
            Some((next, fact))
        })
        .await
        .map(drop)
    }

    /// Makes a one-time sign-in secret; the caller puts it into a link.
    pub async fn make_link(&self, email: &str) -> Result<String, PeopleError> {
        self.make_credential(email, CredentialKind::Link, "pl_", LINK_FOR, "link.made").await
    }

    /// Makes the link of a sign-in letter that is about to leave; `None` when the person was shut out meanwhile.
    pub async fn link_for(&self, person: &Person) -> Result<Option<String>, Failure> {
        match self.make_credential(&person.email, CredentialKind::Link, "pl_", LINK_FOR, "link.mailed").await {
            Ok(secret) => Ok(Some(secret)),
            Err(PeopleError::Failure(failure)) => Err(failure),
            Err(PeopleError::Exists { .. } | PeopleError::Unknown { .. } | PeopleError::BadName(_) | PeopleError::LastOperator) => Ok(None),
        }
    }

    /// Makes an API token.
    pub async fn make_api_token(&self, email: &str, expires_in: Duration) -> Result<String, PeopleError> {
        self.make_credential(email, CredentialKind::ApiToken, "pt_", expires_in, "token.made").await
    }

    async fn make_credential(&self, email: &str, kind: CredentialKind, prefix: &str, life: Duration, told: &'static str) -> Result<String, PeopleError> {
        let person = self.active_person(email).await?;
        let now = self.inner.clock.now();
        let secret = self.secret(prefix);
        let credential = Credential::new(&secret, kind, &person.email, now, now + life);
        let fact = operator_fact(told, json!({ "person": person.email, "expires_at": credential.expires_at }));
        let twice = PeopleError::Exists { what: "a credential", name: person.email };
        self.write_row(Row::Credential(credential), fact, &twice).await?;
        Ok(secret)
    }

    pub(super) async fn active_person(&self, email: &str) -> Result<Person, PeopleError> {
        let email = address(email)?;
        match self.inner.store.row(Kind::Person, &email).await.map_err(|e| self.failed(&e))? {
            Some(Row::Person(person)) if person.disabled_at.is_none() => Ok(person),
            _ => Err(PeopleError::Unknown { what: "active person", name: email }),
        }
    }

    /// 256 random bits as text.
    pub(super) fn secret(&self, prefix: &str) -> String {
        let mut bits = [0u8; 32];
        self.inner.clock.random(&mut bits);
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits))
    }

    async fn write_row(&self, row: Row, fact: Fact, conflict: &PeopleError) -> Result<(), PeopleError> {
        self.write(Change::of_row(self.now(), row, fact), conflict).await
    }

    async fn write(&self, change: Change, conflict: &PeopleError) -> Result<(), PeopleError> {
        let first = change.rows.first().cloned();
        match (self.inner.store.commit(change).await, first) {
            (Ok(_), _) => Ok(()),
            // All or nothing: one row stands for the change. What follows a written one must still be done.
            (Err(CommitError::Lost), Some(row)) if self.is_written(&row).await? => Ok(()),
            (Err(CommitError::Conflict), _) => Err(conflict.clone()),
            (Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)), _) => {
                Err(self.failed(&error).into())
            }
        }
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

fn operator_fact(kind: &'static str, data: serde_json::Value) -> Fact {
    Fact { kind, call: None, actor: "operator".into(), data }
}

/// A plain address: one `@`, no blanks, no control characters (RFC 5321 allows 254 octets).
fn address(email: &str) -> Result<String, PeopleError> {
    let email = email.trim().to_lowercase();
    let plain = email.len() <= 254 && email.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',' | ';' | '(' | ')' | '\\'));
    let parts: Vec<&str> = email.split('@').collect();
    if plain && parts.len() == 2 && parts.iter().all(|part| !part.is_empty()) {
        Ok(email)
    } else {
        Err(PeopleError::BadName("a person is named by a mail address such as ann@example.org"))
    }
}
