//! Agents, people and their credentials. Secrets never live here: only SHA-256 of a 256-bit random token,
//! which needs no slow hash because it cannot be guessed. Rights are answered in one place, `Person`.
//! Called by `gate`, stored as rows.

use super::call::{Call, millis};
use super::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An MCP client with a credential of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Unique name.
    pub name: String,
    /// Compared by the engines.
    pub revision: u64,
    /// Of its bearer token.
    pub token: Digest,
    /// Servers it may use; empty means every one.
    pub servers: Vec<String>,
    /// Never decides on this agent's calls where a rule asks for two.
    pub owner: Option<String>,
    /// Its own `keep_open`.
    #[serde(default, with = "option_millis")]
    pub keep_open: Option<Duration>,
    /// When it was added.
    pub added_at: Timestamp,
    /// From then on its token is refused.
    pub expires_at: Option<Timestamp>,
    /// Revoked agents stay on record.
    pub revoked_at: Option<Timestamp>,
}

impl Agent {
    /// Whether the token still counts.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether the agent may use this server.
    pub fn may_use(&self, server: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|granted| granted == server)
    }
}

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Address and identity, lower case.
    pub email: String,
    /// Compared by the engines.
    pub revision: u64,
    /// Shown instead of the address.
    pub name: Option<String>,
    /// Groups that rules name.
    pub groups: Vec<String>,
    /// What the person may do.
    pub role: Role,
    /// Disabled people stay on record.
    pub disabled_at: Option<Timestamp>,
    /// When the person was added.
    pub added_at: Timestamp,
}

/// What a person may do (desk.md 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides for their groups.
    Reviewer,
    /// Sees and decides everything, manages agents and people.
    Operator,
    /// Reads everything, decides nothing.
    Auditor,
}

impl Role {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Role::Reviewer => "reviewer",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        }
    }
}

impl Person {
    /// What to call the person on a page.
    pub fn display(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.email)
    }

    /// Whether the person may see the call (semantics.md 17).
    pub fn may_see(&self, call: &Call) -> bool {
        match self.role {
            Role::Operator | Role::Auditor => true,
            Role::Reviewer => self.is_asked(&call.reviewers),
        }
    }

    /// Whether the person may decide the call; `owner` is the owner of the agent that asked.
    pub fn may_decide(&self, call: &Call, owner: Option<&str>) -> bool {
        let owns = call.approvals > 1 && owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&self.email));
        self.role != Role::Auditor && self.may_see(call) && !owns
    }

    /// Whether the person belongs to one of the groups; no group means everybody.
    pub fn is_asked(&self, groups: &[String]) -> bool {
        groups.is_empty() || groups.iter().any(|group| self.groups.contains(group))
    }
}

/// Something a person shows to be let in. The secret itself is never kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Of the secret; the key of the row.
    pub secret: Digest,
    /// Compared by the engines.
    pub revision: u64,
    /// What it opens.
    pub kind: CredentialKind,
    /// Whose: a person's address.
    pub email: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// One-time sign-in link; removed when used.
    Link,
    /// Browser session cookie.
    Session,
    /// API token.
    ApiToken,
    /// An agent's bearer token; `email` holds the agent's name.
    AgentToken,
}

/// An optional duration as whole milliseconds.
mod option_millis {
    use super::{Duration, millis};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => millis::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|ms| ms.map(Duration::from_millis))
    }
}
