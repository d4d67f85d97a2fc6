//! Agents (here), people (`person`) and what they sign in with (`credential`). Secrets never live here: only SHA-256
//! of a 256-bit random token, which needs no slow hash because it cannot be guessed, and argon2id of a password.
//! Rights are answered in one place, `Person`; how many people that leaves for a rule, in `quorum`. Called by `gate`,
//! stored as rows.

mod credential;
mod person;
mod quorum;

pub use credential::{Credential, CredentialKind, Passkey, Password, SignInMethod};
pub use person::{MailChoice, Person, Role};
pub use quorum::{Gap, entitled, gap};

use super::call::millis;
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
    /// The token before it, which counts for a while after a rotation.
    #[serde(default)]
    pub old_token: Option<OldToken>,
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

/// A token that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldToken {
    /// Of the token.
    pub token: Digest,
    /// From then on it is refused.
    pub until: Timestamp,
}

impl Agent {
    /// Whether this is a token of the agent that counts now.
    pub fn has_token(&self, token: &Digest, now: Timestamp) -> bool {
        let old = self.old_token.as_ref().is_some_and(|old| old.token == *token && now < old.until);
        self.is_active(now) && (self.token == *token || old)
    }

    /// `active`, `revoked` or `expired`, for commands and pages.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match self.revoked_at {
            Some(_) => "revoked",
            None if self.is_active(now) => "active",
            None => "expired",
        }
    }

    /// Whether its tokens still count.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether the agent may use this server.
    pub fn may_use(&self, server: &str) -> bool {
        self.servers.is_empty() || self.servers.iter().any(|granted| granted == server)
    }
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
