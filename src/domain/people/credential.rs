//! What people and agents show to be let in: links, sessions, tokens, passwords, passkeys. None of these records lets
//! anybody in who reads the store: they hold digests, slow hashes and public keys.
//! Made and compared by `gate`, stored as rows.

use crate::domain::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// From then on it is refused, whatever happens; a session also ends when it lies idle.
    pub expires_at: Timestamp,
    /// When it was last used, to within some minutes; `None` for one that never was.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
    /// What its owner calls it: the name of an API token, the browser of a session. Text of a stranger.
    #[serde(default)]
    pub label: Option<String>,
    /// How a session was opened.
    #[serde(default)]
    pub method: Option<SignInMethod>,
}

impl Credential {
    /// For a secret that was just drawn.
    pub fn new(secret: &str, kind: CredentialKind, whose: &str, made_at: Timestamp, expires_at: Timestamp) -> Credential {
        let secret = Digest::of_bytes(secret.as_bytes());
        Credential { secret, revision: 1, kind, email: whose.to_owned(), made_at, expires_at, used_at: None, label: None, method: None }
    }

    /// Names it on pages and commands without telling the secret: the first 12 hexadecimal digits of its digest.
    pub fn id(&self) -> &str {
        let hex = self.secret.as_str().trim_start_matches("sha256:");
        hex.get(..12).unwrap_or(hex)
    }
}

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInMethod {
    /// A one-time link.
    Link,
    /// A password.
    Password,
    /// A passkey alone.
    Passkey,
    /// A link or a password, and a passkey after it.
    SecondFactor,
}

impl SignInMethod {
    /// The word in the audit and on pages.
    pub fn word(self) -> &'static str {
        match self {
            SignInMethod::Link => "link",
            SignInMethod::Password => "password",
            SignInMethod::Passkey => "passkey",
            SignInMethod::SecondFactor => "second_factor",
        }
    }
}

/// A person's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// Whose.
    pub email: String,
    /// Compared by the engines.
    pub revision: u64,
    /// argon2id in the PHC string format (RFC 9106).
    pub hash: String,
    /// When it was set.
    pub set_at: Timestamp,
}

/// A passkey (W3C Web Authentication). Only its public half is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// The credential id, base64url; the key of the row.
    pub id: String,
    /// Compared by the engines.
    pub revision: u64,
    /// Whose.
    pub email: String,
    /// What devices call the person: a random UUID, the same for all passkeys of one.
    pub user: String,
    /// What its owner calls it.
    pub name: String,
    /// As the WebAuthn library keeps it, JSON.
    pub state: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

/// The kinds of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// One-time sign-in link; removed when used.
    Link,
    /// Browser session cookie.
    Session,
    /// A sign-in by link or password that a passkey has to finish ([`Person::second_factor`](super::Person)).
    HalfWay,
    /// API token.
    ApiToken,
    /// An agent's bearer token; `email` holds the agent's name.
    AgentToken,
}
