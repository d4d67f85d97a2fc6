//! Sessions: opened by somebody who has just proven who they are, in one change with what they proved it with; used, idle,
//! ended. Their time is the wall clock or the machine's uninterrupted time, whichever says later, so that a clock that is set
//! back makes none of them live longer; after a restart a session that was made in the future is refused.
//! Called by `link`, `password`, the pages, and whatever opens sessions next.

use super::{AHEAD, Arrival, Opened};
use crate::domain::audit::Fact;
use crate::domain::people::{Credential, CredentialKind, Person, SignInMethod};
use crate::gate::{Failure, Gate};
use crate::store::{Change, CommitError, Kind, Row, Seen};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;

/// How long somebody has to finish a sign-in with a passkey.
pub const HALF_WAY_FOR: Duration = Duration::from_secs(300);
/// Sessions of one person; one more ends the oldest.
const SESSIONS: usize = 50;
/// How often at most a use is written down.
const NOTED: Duration = Duration::from_secs(300);
/// How often a sign-in is tried again because something it takes away has just gone.
const TRIES: usize = 4;

/// A fresh session: the secret goes into the cookie.
#[derive(Debug)]
pub struct Session {
    /// The cookie's value.
    pub secret: String,
    /// For `Max-Age`.
    pub life: Duration,
    /// The cookie by which the browser is known again, for [`super::device::KNOWN_FOR`].
    pub device: String,
}

/// What a sign-in rests on and what it uses up.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Rows that go with it, such as the link.
    pub spent: Vec<(Kind, String)>,
    /// Rows that must be as they were when they were looked at, such as the password.
    pub seen: Vec<Seen>,
}

impl Gate {
    /// Opens a session for somebody who has just proven who they are, or begins one that a passkey has to finish. What they
    /// proved it with goes in the same change, and so does the session that the browser had before. `None`: somebody else
    /// used it up in the same moment.
    pub(in crate::gate) async fn open_session(
        &self,
        person: &Person,
        method: SignInMethod,
        arrival: &Arrival,
        proof: Proof,
    ) -> Result<Option<Opened>, Failure> {
        let half_way = person.second_factor && matches!(method, SignInMethod::Link | SignInMethod::Password);
        let (kind, prefix, life) = match half_way {
            true => (CredentialKind::HalfWay, "ph_", HALF_WAY_FOR),
            false => (CredentialKind::Session, "ps_", self.settings().sign_in.session),
        };
        let (now, at) = (self.session_time(), self.inner.clock.now());
        let secret = self.secret(prefix);
        let row = Credential { label: arrival.label.clone(), method: Some(method), ..Credential::new(&secret, kind, &person.email, now, now + life) };
        // A begun sign-in lets nobody in; that a password or a link was right is worth knowing when no passkey follows.
        let kind_of_fact = if half_way { "signed_in.half_way" } else { "signed_in" };
        let fact = Fact { kind: kind_of_fact, call: None, actor: format!("person:{}", person.email), data: json!({ "how": method.word() }).into() };
        let facts = vec![fact];
        for _ in 0..TRIES {
            let mut removed = proof.spent.clone();
            if !half_way {
                removed.extend(self.gives_way(person, arrival).await?);
            }
            let change = Change { rows: vec![Row::Credential(row.clone())], removed, seen: proof.seen.clone(), ..Change::of_facts(at, facts.clone()) };
            match self.inner.store.commit(change).await {
                Ok(_) => {}
                Err(CommitError::Lost) if self.is_written(&Row::Credential(row.clone())).await? => {}
                Err(CommitError::Conflict) => continue,
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                    return Err(self.failed(&error));
                }
            }
            let device = self.devices().issue(self.inner.clock.as_ref(), &person.email, self.known_device(&person.email, arrival));
            let session = Session { secret, life, device };
            return Ok(Some(if half_way { Opened::HalfWay(session) } else { Opened::In(session) }));
        }
        Ok(None)
    }

    /// The sessions that end with this sign-in: the browser's earlier one, and the oldest when there are too many.
    async fn gives_way(&self, person: &Person, arrival: &Arrival) -> Result<Vec<(Kind, String)>, Failure> {
        let mut all = self.sessions_of(&person.email).await?;
        all.sort_by_key(|session| session.made_at);
        let many = all.len().saturating_sub(SESSIONS - 1).min(SESSIONS);
        let mut ends: Vec<String> = all.iter().take(many).map(|session| session.secret.to_string()).collect();
        let earlier = match &arrival.session {
            Some(secret) => self.credential(secret, CredentialKind::Session).await?,
            None => None,
        };
        ends.extend(earlier.map(|session| session.secret.to_string()).filter(|key| !ends.contains(key)));
        Ok(ends.into_iter().map(|key| (Kind::Credential, key)).collect())
    }

    /// Everything of this person that still opens something, sessions and tokens alike.
    pub(in crate::gate) async fn credentials_of(&self, email: &str) -> Result<Vec<Credential>, Failure> {
        let (mut found, mut after): (Vec<Credential>, Option<String>) = (Vec::new(), None);
        loop {
            let rows = self.inner.store.rows(Kind::Credential, after.as_deref(), 500).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = Some(last.key().to_owned());
            let credentials = rows.into_iter().filter_map(|row| if let Row::Credential(credential) = row { Some(credential) } else { None });
            // An agent may be called like a person.
            found.extend(credentials.filter(|its| its.email == email && its.kind != CredentialKind::AgentToken && self.counts(its)));
        }
    }

    /// This person's open sessions.
    pub(in crate::gate) async fn sessions_of(&self, email: &str) -> Result<Vec<Credential>, Failure> {
        let all = self.credentials_of(email).await?;
        Ok(all.into_iter().filter(|credential| credential.kind == CredentialKind::Session).collect())
    }

    /// Ends a session.
    pub async fn sign_out(&self, secret: &str) -> Result<(), Failure> {
        let Some(session) = self.credential(secret, CredentialKind::Session).await? else { return Ok(()) };
        self.end_credentials(&session.email, vec![session.secret.to_string()], "signed_out").await.map(drop)
    }

    /// Takes a person's credentials away, by their own will; `false` when one of them had just gone.
    pub(in crate::gate) async fn end_credentials(&self, email: &str, keys: Vec<String>, told: &'static str) -> Result<bool, Failure> {
        let fact = Fact { kind: told, call: None, actor: format!("person:{email}"), data: json!({ "count": keys.len() }).into() };
        let removed = keys.into_iter().map(|key| (Kind::Credential, key)).collect();
        match self.inner.store.commit(Change { removed, ..Change::of_facts(self.inner.clock.now(), vec![fact]) }).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => Err(self.failed(&error)),
        }
    }

    /// Whether a session is not over: neither its own limit nor the present settings', neither idle nor from the future.
    pub(super) fn session_counts(&self, session: &Credential) -> bool {
        let (now, settings) = (self.session_time(), self.settings());
        let used = session.used_at.map_or(session.made_at, |used| used.max(session.made_at));
        let within = |from: Timestamp, most: Duration| SignedDuration::try_from(most).is_ok_and(|most| now.duration_since(from) < most);
        now < session.expires_at
            && within(session.made_at, settings.sign_in.session)
            && (session.kind == CredentialKind::HalfWay || within(used, settings.sign_in.idle))
            && session.made_at.duration_since(now) < AHEAD
    }

    /// The time that sessions are measured by.
    pub(in crate::gate) fn session_time(&self) -> Timestamp {
        let (begun, uninterrupted) = self.inner.entrance.begun;
        let elapsed = begun + uninterrupted.elapsed();
        let now = self.inner.clock.now();
        Timestamp::from_millisecond(elapsed.as_millisecond()).unwrap_or(now).max(now)
    }

    /// Writes down that a session is used, now and then. It is no fact for the audit, and a store that takes nothing more
    /// still lets people read: a failure costs nothing but the note.
    pub(super) async fn note_session_use(&self, credential: Credential) {
        let now = self.session_time();
        let last = credential.used_at.unwrap_or(credential.made_at);
        let often = NOTED.min(self.settings().sign_in.idle / 4);
        if SignedDuration::try_from(often).is_ok_and(|often| now.duration_since(last) < often) {
            return;
        }
        let next = Credential { revision: credential.revision + 1, used_at: Some(now), ..credential };
        let change = Change { rows: vec![Row::Credential(next)], ..Change::of_facts(self.inner.clock.now(), Vec::new()) };
        if let Err(cause) = self.inner.store.commit(change).await {
            tracing::debug!(%cause, "the use of a credential was not noted");
        }
    }
}
