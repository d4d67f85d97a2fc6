//! Agents and their bearer tokens: added, changed, given another token, revoked. A token is given out once, here; only
//! its digest is kept. What an agent may not do any more is taken back at once: its calls, its sessions, the approvals
//! of a new owner. Called by `mcp` for every request, by `web` and by `control`.

use super::open::OpenCalls;
use super::people::{PeopleError, address};
use super::registrar::{Registrar, RegistrarError, again};
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::call::{Call, State};
use crate::domain::digest::Digest;
use crate::domain::people::{Agent, Credential, CredentialKind, OldToken};
use crate::store::{Change, Kind, Row};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// How long the old token counts after a rotation (semantics.md 36).
pub const OLD_TOKEN_FOR: Duration = Duration::from_secs(3600);
/// Why the calls of an agent that was revoked are withdrawn.
pub(super) const REVOKED: &str = "its agent was revoked";
/// Why calls of a server that their agent lost are withdrawn.
const NO_GRANT: &str = "its agent may not use this server any more";
/// The longest time of its own that one request of an agent stays open.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

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

/// What is to be another; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct AgentEdit {
    /// Granted servers; none means every one.
    pub servers: Option<Vec<String>>,
    /// Its owner's address, or nobody's.
    pub owner: Option<Option<String>>,
    /// Its own `keep_open`, or the one of the config.
    pub keep_open: Option<Option<Duration>>,
    /// The revision that was shown; another one now is a conflict.
    pub shown: Option<u64>,
}

/// An agent with what else is known of it.
#[derive(Debug, Clone)]
pub struct ListedAgent {
    /// The record.
    pub agent: Agent,
    /// When one of its tokens was last used, to within some minutes.
    pub used_at: Option<Timestamp>,
    /// Its calls that wait for a person or to leave: what a revocation withdraws.
    pub open: usize,
}

impl Gate {
    /// Adds an agent and gives its token, once.
    pub async fn add_agent(&self, new: NewAgent) -> Result<String, PeopleError> {
        self.registrar().add_agent(new).await.map_err(|error| self.plain(error))
    }

    /// Ends an agent's tokens and withdraws its open calls; how many there were.
    pub async fn revoke_agent(&self, name: &str) -> Result<usize, PeopleError> {
        self.registrar().revoke_agent(name).await.map_err(|error| self.plain(error))
    }

    /// The agent whose token this is, if it still counts.
    pub async fn agent_by_token(&self, token: &str) -> Result<Option<Agent>, Failure> {
        let Some(credential) = self.credential(token, CredentialKind::AgentToken).await? else { return Ok(None) };
        let row = self.inner.store.row(Kind::Agent, &credential.email).await.map_err(|e| self.failed(&e))?;
        Ok(match row {
            Some(Row::Agent(agent)) if agent.has_token(&credential.secret, self.inner.clock.now()) => {
                self.note_token_use(&credential);
                Some(agent)
            }
            _ => None,
        })
    }

    /// Every agent, revoked ones too.
    pub async fn agents(&self) -> Result<Vec<Agent>, Failure> {
        let rows = self.all_rows(Kind::Agent).await?;
        Ok(rows.into_iter().filter_map(|row| if let Row::Agent(agent) = row { Some(agent) } else { None }).collect())
    }

    /// The same with when each was last used and what waits of it.
    pub async fn listed_agents(&self) -> Result<Vec<ListedAgent>, Failure> {
        let agents = self.agents().await?;
        let open = self.inner.store.open_of_agents().await.map_err(|e| self.failed(&e))?;
        let mut used = HashMap::new();
        for row in self.all_rows(Kind::Credential).await? {
            let Row::Credential(token) = row else { continue };
            if token.kind == CredentialKind::AgentToken {
                used.insert(token.secret.clone(), self.last_use(&token));
            }
        }
        let last_use = |token: &Digest| used.get(token).copied().flatten();
        let listed = |agent: Agent| ListedAgent {
            used_at: last_use(&agent.token).max(agent.old_token.as_ref().and_then(|old| last_use(&old.token))),
            open: open.get(&agent.name).copied().unwrap_or(0),
            agent,
        };
        Ok(agents.into_iter().map(listed).collect())
    }

    /// Withdraws what revocations left open that were cut short by a crash or a fault.
    pub(super) async fn finish_revocations(&self) -> Result<(), Failure> {
        let agents = self.inner.store.open_of_agents().await.map_err(|e| self.failed(&e))?;
        for name in agents.into_keys() {
            let row = self.inner.store.row(Kind::Agent, &name).await.map_err(|e| self.failed(&e))?;
            if matches!(row, Some(Row::Agent(agent)) if agent.revoked_at.is_some()) {
                let mut open = OpenCalls::of_agent(&name);
                while let Some(id) = open.next_id(self).await? {
                    self.withdraw(&id, REVOKED, "paraph").await?;
                }
            }
        }
        Ok(())
    }

    /// A call that was judged before its agent was revoked, or lost the server, and held after it is seen by nobody else.
    pub(super) async fn if_its_agent_left(&self, call: &Call) -> Result<(), Failure> {
        let row = self.inner.store.row(Kind::Agent, &call.agent).await.map_err(|e| self.failed(&e))?;
        match row {
            Some(Row::Agent(agent)) if agent.revoked_at.is_some() => self.withdraw(&call.id, REVOKED, "paraph").await,
            Some(Row::Agent(agent)) if !agent.may_use(&call.server) => self.withdraw(&call.id, NO_GRANT, "paraph").await,
            _ => Ok(()),
        }
    }

    /// Who owns the agent, as far as there is such an agent.
    pub(super) async fn owner_of(&self, agent: &str) -> Result<Option<String>, Failure> {
        let row = self.inner.store.row(Kind::Agent, agent).await.map_err(|e| self.failed(&e))?;
        Ok(if let Some(Row::Agent(agent)) = row { agent.owner } else { None })
    }
}

impl Reviewer {
    /// Who owns the agent of a call that this person was shown.
    pub async fn owner_of(&self, agent: &str) -> Result<Option<String>, Failure> {
        self.gate().owner_of(agent).await
    }

    /// Every agent, for operators and auditors.
    pub async fn agents(&self) -> Result<Vec<ListedAgent>, RegistrarError> {
        if !self.may_oversee() {
            return Err(RegistrarError::NotOperator);
        }
        Ok(self.gate().listed_agents().await?)
    }
}

impl Registrar {
    /// Adds an agent and gives its token, once.
    pub async fn add_agent(&self, new: NewAgent) -> Result<String, RegistrarError> {
        let ordinary = new.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        // Dots alone would be another page's address.
        if new.name.len() > 64 || !ordinary || new.name.chars().all(|c| c == '.') {
            return Err(PeopleError::BadName("an agent's name has 1 to 64 letters, digits, dots, dashes or underscores").into());
        }
        self.known_servers(&new.servers, &[])?;
        let owner = new.owner.as_deref().map(address).transpose()?;
        let now = self.gate.inner.clock.now();
        let token = self.gate.secret("pa_");
        let agent = Agent {
            name: new.name,
            revision: 1,
            token: Digest::of_bytes(token.as_bytes()),
            old_token: None,
            servers: new.servers,
            owner,
            keep_open: kept_open(new.keep_open)?,
            added_at: now,
            expires_at: new.expires_in.map(|span| now + span),
            revoked_at: None,
        };
        let data = json!({ "agent": agent.name, "servers": agent.servers, "owner": agent.owner, "expires_at": agent.expires_at });
        let credential = Credential::new(&token, CredentialKind::AgentToken, &agent.name, now, agent.expires_at.unwrap_or(Timestamp::MAX));
        let rows = vec![Row::Agent(agent), Row::Credential(credential)];
        self.write_new(Change { rows, ..Change::of_facts(now, vec![self.fact("agent.added", data)]) }, "an agent").await?;
        Ok(token)
    }

    /// Gives another token, once. The one before it counts for an hour more; the one before that one no longer.
    pub async fn rotate_agent(&self, name: &str) -> Result<String, RegistrarError> {
        again(None, || self.rotate_agent_once(name)).await
    }

    async fn rotate_agent_once(&self, name: &str) -> Result<String, RegistrarError> {
        let now = self.gate.inner.clock.now();
        let agent = self.agent(name).await?;
        if !agent.is_active(now) {
            return Err(unknown(name));
        }
        let token = self.gate.secret("pa_");
        let end = agent.expires_at.unwrap_or(Timestamp::MAX);
        let until = (now + OLD_TOKEN_FOR).min(end);
        let mut rows = vec![Row::Credential(Credential::new(&token, CredentialKind::AgentToken, name, now, end))];
        if let Some(Row::Credential(old)) = self.row(Kind::Credential, agent.token.as_str()).await? {
            rows.push(Row::Credential(Credential { revision: old.revision + 1, expires_at: until, ..old }));
        }
        let mut removed = Vec::new();
        if let Some(oldest) = &agent.old_token
            && self.row(Kind::Credential, oldest.token.as_str()).await?.is_some()
        {
            removed.push((Kind::Credential, oldest.token.to_string()));
        }
        let old_token = Some(OldToken { token: agent.token, until });
        rows.push(Row::Agent(Agent { revision: agent.revision + 1, token: Digest::of_bytes(token.as_bytes()), old_token, ..agent }));
        let fact = self.fact("agent.rotated", json!({ "agent": name, "old_until": until }));
        self.write(Change { rows, removed, ..Change::of_facts(now, vec![fact]) }).await?;
        Ok(token)
    }

    /// Changes what an agent may do and whose it is. Calls of servers it may not use any more are withdrawn, and a new
    /// owner's approvals go back where a rule asks for two.
    pub async fn set_agent(&self, name: &str, edit: AgentEdit) -> Result<Agent, RegistrarError> {
        again(edit.shown, || self.set_agent_once(name, edit.clone())).await
    }

    async fn set_agent_once(&self, name: &str, edit: AgentEdit) -> Result<Agent, RegistrarError> {
        let agent = self.agent(name).await?;
        if agent.revoked_at.is_some() {
            return Err(unknown(name));
        }
        if edit.shown.is_some_and(|shown| shown != agent.revision) {
            return Err(RegistrarError::Changed);
        }
        let servers = edit.servers.unwrap_or_else(|| agent.servers.clone());
        self.known_servers(&servers, &agent.servers)?;
        let owner = match edit.owner {
            Some(owner) => owner.as_deref().map(address).transpose()?,
            None => agent.owner.clone(),
        };
        let keep_open = edit.keep_open.map_or(Ok(agent.keep_open), kept_open)?;
        let next = Agent { revision: agent.revision + 1, servers, owner, keep_open, ..agent };
        let data = json!({ "agent": name, "servers": next.servers, "owner": next.owner });
        self.write(Change::of_row(self.gate.inner.clock.now(), Row::Agent(next.clone()), self.fact("agent.changed", data))).await?;
        let mut open = OpenCalls::of_agent(name);
        while let Some(call) = open.next(&self.gate).await? {
            if !next.may_use(&call.server) {
                self.gate.withdraw(&call.id, NO_GRANT, &self.actor).await?;
            }
        }
        if let Some(owner) = &next.owner {
            self.gate.void_approvals(owner, OpenCalls::of_agent(name), &self.actor, "agent.changed").await?;
        }
        Ok(next)
    }

    /// Ends an agent's tokens and withdraws its open calls; how many there were.
    pub async fn revoke_agent(&self, name: &str) -> Result<usize, RegistrarError> {
        again(None, || self.revoke_agent_once(name)).await?;
        Ok(self.end_agent(name).await?)
    }

    async fn revoke_agent_once(&self, name: &str) -> Result<(), RegistrarError> {
        let agent = self.agent(name).await?;
        if agent.revoked_at.is_some() {
            return Err(unknown(name));
        }
        let now = self.gate.inner.clock.now();
        let next = Agent { revision: agent.revision + 1, revoked_at: Some(now), ..agent };
        self.write(Change::of_row(now, Row::Agent(next), self.fact("agent.revoked", json!({ "agent": name })))).await
    }

    /// What follows a revocation.
    async fn end_agent(&self, name: &str) -> Result<usize, Failure> {
        let gate = &self.gate;
        gate.inner.upstream.close_agent(name).await;
        let (mut open, mut withdrawn) = (OpenCalls::of_agent(name), 0);
        while let Some(id) = open.next_id(gate).await? {
            gate.withdraw(&id, REVOKED, &self.actor).await?;
            let after = gate.inner.store.call(&id).await.map_err(|e| gate.failed(&e))?;
            withdrawn += usize::from(after.is_some_and(|call| matches!(call.state, State::Withdrawn { .. })));
        }
        Ok(withdrawn)
    }

    async fn agent(&self, name: &str) -> Result<Agent, RegistrarError> {
        match self.row(Kind::Agent, name).await? {
            Some(Row::Agent(agent)) => Ok(agent),
            _ => Err(unknown(name)),
        }
    }

    /// A grant for a server that is not in the config is a slip when somebody picks it from a page.
    fn known_servers(&self, servers: &[String], granted: &[String]) -> Result<(), PeopleError> {
        let settings = self.gate.settings();
        let known = |server: &String| settings.servers.contains_key(server) || granted.contains(server);
        if self.is_person() && !servers.iter().all(known) {
            return Err(PeopleError::BadName("the configuration has no server of this name"));
        }
        Ok(())
    }
}

fn unknown(name: &str) -> RegistrarError {
    PeopleError::Unknown { what: "active agent", name: name.to_owned() }.into()
}

fn kept_open(time: Option<Duration>) -> Result<Option<Duration>, PeopleError> {
    match time {
        Some(time) if time.is_zero() || time > LONGEST => Err(PeopleError::BadName("a request stays open for more than nothing and at most 3650 days")),
        time => Ok(time),
    }
}
