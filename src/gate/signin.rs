//! How a person proves who they are: a one-time link becomes a session, a session cookie or an API token
//! becomes a `Reviewer`. The person's record is read every time, so disabling somebody works at once.
//! Called by `web`.

use super::people::PeopleError;
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::Via;
use crate::domain::digest::Digest;
use crate::domain::people::{Credential, CredentialKind, Person, SignInMethod};
use crate::store::{Change, CommitError, Kind, Row};
use serde_json::json;
use std::time::Duration;

/// How long a browser stays signed in.
pub const SESSION_FOR: Duration = Duration::from_secs(12 * 3600);

/// A fresh session: the secret goes into the cookie.
pub struct Session {
    /// The cookie's value.
    pub secret: String,
    /// For `Max-Age`.
    pub life: Duration,
}

impl Gate {
    /// Whether a link would let somebody in; looking does not use it up (mail scanners fetch links).
    pub async fn link_is_good(&self, secret: &str) -> Result<bool, Failure> {
        Ok(self.credential(secret, CredentialKind::Link).await?.is_some())
    }

    /// Uses a one-time link up and opens a session. `None`: unknown, used, expired, or the person is disabled.
    pub async fn redeem_link(&self, secret: &str) -> Result<Option<Session>, Failure> {
        let Some(link) = self.credential(secret, CredentialKind::Link).await? else { return Ok(None) };
        let Some(person) = self.person_of(&link).await? else { return Ok(None) };
        let removed = vec![(Kind::Credential, link.secret.to_string())];
        self.open_session(&person, SignInMethod::Link, None, removed).await
    }

    /// Opens a session for somebody who has just proven who they are; what they proved it with goes in the same change.
    /// `None`: somebody else used it up in the same moment.
    pub(super) async fn open_session(
        &self,
        person: &Person,
        method: SignInMethod,
        label: Option<String>,
        removed: Vec<(Kind, String)>,
    ) -> Result<Option<Session>, Failure> {
        let now = self.inner.clock.now();
        let secret = self.secret("ps_");
        let fresh = Credential::new(&secret, CredentialKind::Session, &person.email, now, now + SESSION_FOR);
        let row = Credential { label, method: Some(method), ..fresh };
        let fact = Fact { kind: "signed_in", call: None, actor: format!("person:{}", person.email), data: json!({ "how": method.word() }) };
        let change = Change { removed, ..Change::of_row(now, Row::Credential(row), fact) };
        match self.inner.store.commit(change).await {
            Ok(_) => Ok(Some(Session { secret, life: SESSION_FOR })),
            Err(CommitError::Conflict) => Ok(None),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => Err(self.failed(&error)),
        }
    }

    /// The person behind a session cookie.
    pub async fn by_session(&self, secret: &str) -> Result<Option<Reviewer>, Failure> {
        self.by_credential(secret, CredentialKind::Session, Via::Page).await
    }

    /// The person behind an API token.
    pub async fn by_api_token(&self, secret: &str) -> Result<Option<Reviewer>, Failure> {
        self.by_credential(secret, CredentialKind::ApiToken, Via::Api).await
    }

    /// The form token of a session (CSRF): only who has the cookie's value can know it.
    pub fn form_token(session: &str) -> String {
        Digest::of_bytes(format!("paraph form {session}").as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
    }

    /// Ends a session.
    pub async fn sign_out(&self, secret: &str) -> Result<(), Failure> {
        let Some(session) = self.credential(secret, CredentialKind::Session).await? else { return Ok(()) };
        let fact = Fact { kind: "signed_out", call: None, actor: format!("person:{}", session.email), data: json!({}) };
        let change = Change { removed: vec![(Kind::Credential, session.secret.to_string())], ..Change::of_facts(self.inner.clock.now(), vec![fact]) };
        match self.inner.store.commit(change).await {
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => Err(self.failed(&error)),
        }
    }

    async fn by_credential(&self, secret: &str, kind: CredentialKind, via: Via) -> Result<Option<Reviewer>, Failure> {
        let Some(credential) = self.credential(secret, kind).await? else { return Ok(None) };
        Ok(self.person_of(&credential).await?.map(|person| Reviewer::new(self.clone(), person, via)))
    }

    async fn person_of(&self, credential: &Credential) -> Result<Option<Person>, Failure> {
        match self.active_person(&credential.email).await {
            Ok(person) => Ok(Some(person)),
            Err(PeopleError::Failure(failure)) => Err(failure),
            Err(PeopleError::Exists { .. } | PeopleError::Unknown { .. } | PeopleError::BadName(_) | PeopleError::LastOperator) => Ok(None),
        }
    }

    /// Looked up by its digest, so comparing needs no constant time: nobody can aim at a digest.
    pub(super) async fn credential(&self, secret: &str, kind: CredentialKind) -> Result<Option<Credential>, Failure> {
        let key = Digest::of_bytes(secret.as_bytes());
        let row = self.inner.store.row(Kind::Credential, key.as_str()).await.map_err(|e| self.failed(&e))?;
        Ok(match row {
            Some(Row::Credential(found)) if found.kind == kind && self.inner.clock.now() < found.expires_at => Some(found),
            _ => None,
        })
    }
}
