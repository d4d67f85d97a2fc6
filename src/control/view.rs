//! Agents and API tokens as commands see them: everything but what would let somebody in.
//! Made by `answer`, printed by `cli`.

use crate::domain::people::Credential;
use crate::gate::agents::ListedAgent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An agent as commands see it: all but its token's digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// `active`, `revoked` or `expired`.
    pub state: String,
    /// Granted servers; none means every one.
    pub servers: Vec<String>,
    /// Its owner's address.
    pub owner: Option<String>,
    /// How long one request stays open, in milliseconds.
    pub keep_open_ms: Option<u64>,
    /// When it was added.
    pub added_at: Timestamp,
    /// From then on its token is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When its token was last used, to within some minutes.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
    /// Until then the token before the last rotation counts too.
    #[serde(default)]
    pub old_until: Option<Timestamp>,
}

impl AgentView {
    pub(super) fn of(listed: ListedAgent, now: Timestamp) -> AgentView {
        let ListedAgent { agent, used_at, .. } = listed;
        AgentView {
            state: agent.state(now).to_owned(),
            keep_open_ms: agent.keep_open.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            old_until: agent.old_token.filter(|old| now < old.until).map(|old| old.until),
            name: agent.name,
            servers: agent.servers,
            owner: agent.owner,
            added_at: agent.added_at,
            expires_at: agent.expires_at,
            revoked_at: agent.revoked_at,
            used_at,
        }
    }
}

/// An API token as commands see it: all but its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenView {
    /// Names it without telling it.
    pub id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was last used, to within some minutes.
    pub used_at: Option<Timestamp>,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

impl TokenView {
    pub(super) fn of(token: Credential) -> TokenView {
        TokenView { id: token.id().to_owned(), name: token.label, made_at: token.made_at, used_at: token.used_at, expires_at: token.expires_at }
    }
}
