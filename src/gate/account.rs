//! What a signed-in person does about their own account: which mails they want, their password, their sessions, their API
//! tokens. Nothing here reaches another person's rows. What would let a thief of a session stay, a new password or a token,
//! asks for a proof that is fresh. Called by `web`.

use super::passwords::weakness;
use super::people::PeopleError;
use super::reviewer::Reviewer;
use super::signin::device::DeviceId;
use super::signin::{Arrival, Refused};
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::digest::Digest;
use crate::domain::people::{Credential, CredentialKind, MailChoice, Password, Person};
use crate::store::{Change, CommitError, Kind, Row};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;

pub use super::passwords::{LEAST as LEAST_PASSWORD, MOST as MOST_PASSWORD};

/// A session that was opened so lately proves who is there.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// API tokens of one person.
const TOKENS: usize = 50;
/// Characters of a token's name.
pub const TOKEN_NAME: usize = 64;
/// No API token lasts longer, days.
pub const TOKEN_DAYS: u64 = 366;
/// Rows taken away in one change.
const TOGETHER: usize = 50;
/// How often a change is made anew because the record moved meanwhile.
const AGAIN: usize = 8;

/// Everything about the account that is not in [`Person`].
#[derive(Debug, Clone)]
pub struct Account {
    /// When the password was set; `None` without one.
    pub password: Option<Timestamp>,
    /// The session that asks was opened so lately that no old password is asked for.
    pub fresh: bool,
    /// Open sessions, newest first; the first member says whether it is the one that asks.
    pub sessions: Vec<(bool, Credential)>,
    /// API tokens, newest first.
    pub tokens: Vec<Credential>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// What was asked for cannot be done; the sentence is for the person.
    #[error("{0}")]
    NotSo(&'static str),
    /// The old password was not right, or was not looked at.
    #[error(transparent)]
    Password(#[from] Refused),
    /// A fault on our side.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Reviewer {
    /// The account as it stands; `session` is the cookie that asks.
    pub async fn account(&self, session: &str) -> Result<Account, Failure> {
        let gate = self.gate();
        let own = Digest::of_bytes(session.as_bytes());
        let mut all = gate.credentials_of(&self.person().email).await?;
        all.sort_by_key(|credential| std::cmp::Reverse(credential.made_at));
        let fresh = all.iter().any(|credential| credential.secret == own && self.is_fresh(credential));
        let (sessions, rest): (Vec<Credential>, Vec<Credential>) = all.into_iter().partition(|its| its.kind == CredentialKind::Session);
        let tokens = rest.into_iter().filter(|its| its.kind == CredentialKind::ApiToken);
        Ok(Account {
            password: gate.password_of(&self.person().email).await?.map(|password| password.set_at),
            fresh,
            sessions: sessions.into_iter().map(|session| (session.secret == own, session)).collect(),
            tokens: tokens.map(|its| Credential { used_at: gate.last_use(&its), ..its }).collect(),
        })
    }

    fn is_fresh(&self, session: &Credential) -> bool {
        self.gate().session_time().duration_since(session.made_at) < FRESH
    }

    /// Which mails this person wants from now on.
    pub async fn choose_mail(&self, mail: MailChoice) -> Result<(), AccountError> {
        for _ in 0..AGAIN {
            let person = self.gate().active_person(&self.person().email).await.map_err(gone)?;
            if person.mail == mail {
                return Ok(());
            }
            let next = Person { revision: person.revision + 1, mail, ..person };
            let row = Row::Person(next);
            let change = Change::of_row(self.now(), row.clone(), self.fact("person.mail_chosen", json!({ "mail": mail })));
            if self.written(change, &row).await? {
                return Ok(());
            }
        }
        Err(BUSY)
    }

    /// Sets or changes the password and ends every other session, unused link and begun sign-in; how many sessions there
    /// were. The old password is asked for unless this session was opened within ten minutes.
    pub async fn set_password(&self, session: &str, old: &str, new: String, arrival: &Arrival) -> Result<usize, AccountError> {
        if !self.gate().settings().sign_in.passwords {
            return Err(Refused::Off.into());
        }
        let kept = self.proven(session, old, arrival, LATE_FOR_A_PASSWORD).await?;
        let person = self.person();
        let (email, name) = (person.email.clone(), person.name.clone().unwrap_or_default());
        let checked = new.clone();
        let weak = tokio::task::spawn_blocking(move || weakness(&checked, &[&email, &name])).await;
        if let Some(why) = weak.map_err(|cause| self.gate().failed(&cause))? {
            return Err(AccountError::NotSo(why));
        }
        let gate = self.gate();
        let hash = gate.inner.entrance.passwords.hash(gate.inner.clock.as_ref(), new).await.map_err(|unable| gate.unable(unable))?;
        let revision = kept.map_or(0, |kept| kept.revision) + 1;
        let row = Row::Password(Password { email: person.email.clone(), revision, hash, set_at: self.now() });
        let others = self.ways_in(Some(session)).await?;
        let ended = others.iter().filter(|its| its.kind == CredentialKind::Session).count();
        let removed = others.into_iter().take(TOGETHER).map(|its| (Kind::Credential, its.secret.to_string())).collect();
        let fact = self.fact("password.set", json!({ "sessions_ended": ended }));
        if !self.written(Change { removed, ..Change::of_row(self.now(), row.clone(), fact) }, &row).await? {
            return Err(BUSY);
        }
        self.end_ways_in(Some(session)).await?;
        Ok(ended)
    }

    /// Takes the password away; links, and passkeys, still let the person in.
    pub async fn remove_password(&self, session: &str, old: &str, arrival: &Arrival) -> Result<(), AccountError> {
        let kept = self.proven(session, old, arrival, LATE_FOR_A_PASSWORD).await?;
        let Some(kept) = kept else { return Ok(()) };
        let change = Change { removed: vec![(Kind::Password, kept.email)], ..Change::of_facts(self.now(), vec![self.fact("password.removed", json!({}))]) };
        match self.gate().inner.store.commit(change).await {
            Ok(_) | Err(CommitError::Conflict) => Ok(()),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                Err(self.gate().failed(&error).into())
            }
        }
    }

    /// The password as it stands, if this session is fresh, or whoever sits at it knows the password: a session that was
    /// found open, or stolen, must not make itself permanent. `late`: what to tell who has no password.
    async fn proven(&self, session: &str, old: &str, arrival: &Arrival, late: &'static str) -> Result<Option<Password>, AccountError> {
        let gate = self.gate();
        let own = Digest::of_bytes(session.as_bytes());
        let sessions = gate.sessions_of(&self.person().email).await?;
        let fresh = sessions.iter().any(|its| its.secret == own && self.is_fresh(its));
        let kept = gate.password_of(&self.person().email).await?;
        match &kept {
            _ if fresh => {}
            None => return Err(AccountError::NotSo(late)),
            // The form was made when the session was fresh. It is no guess.
            Some(_) if old.is_empty() => return Err(AccountError::NotSo(LATE)),
            Some(kept) => {
                let mut id = [0; 16];
                for (byte, letter) in id.iter_mut().zip(own.as_str().trim_start_matches("sha256:").bytes()) {
                    *byte = letter;
                }
                gate.password_fits(kept, old, arrival, DeviceId(id)).await?;
            }
        }
        Ok(kept)
    }

    /// What this person can get in with, or has got in with, but for this session, API tokens and what they know.
    async fn ways_in(&self, session: Option<&str>) -> Result<Vec<Credential>, Failure> {
        let own = session.map(|session| Digest::of_bytes(session.as_bytes()));
        let all = self.gate().credentials_of(&self.person().email).await?.into_iter();
        let ends = |its: &Credential| matches!(its.kind, CredentialKind::Session | CredentialKind::HalfWay | CredentialKind::Link);
        Ok(all.filter(|its| ends(its) && own.as_ref() != Some(&its.secret)).collect())
    }

    /// Ends all of it.
    async fn end_ways_in(&self, session: Option<&str>) -> Result<(), AccountError> {
        for _ in 0..AGAIN {
            let ends = self.ways_in(session).await?;
            if ends.is_empty() {
                return Ok(());
            }
            let keys = ends.into_iter().take(TOGETHER).map(|its| its.secret.to_string()).collect();
            // When one of them has just gone the rest is looked at again.
            self.gate().end_credentials(&self.person().email, keys, "signed_out").await?;
        }
        Err(BUSY)
    }

    /// Whether this session was opened so lately that it may do what a stolen one must not.
    pub async fn is_freshly_signed_in(&self, session: &str) -> Result<bool, Failure> {
        let own = Digest::of_bytes(session.as_bytes());
        Ok(self.gate().sessions_of(&self.person().email).await?.iter().any(|its| its.secret == own && self.is_fresh(its)))
    }

    /// Ends the session with this [`Credential::id`], if it is one of theirs.
    pub async fn end_session(&self, id: &str) -> Result<(), AccountError> {
        let sessions = self.gate().sessions_of(&self.person().email).await?;
        let Some(session) = sessions.into_iter().find(|its| its.id() == id) else {
            return Err(AccountError::NotSo("This session has ended already."));
        };
        self.gate().end_credentials(&self.person().email, vec![session.secret.to_string()], "signed_out").await?;
        Ok(())
    }

    /// Ends every session of this person, this one too, and with them unused links and begun sign-ins.
    pub async fn sign_out_everywhere(&self) -> Result<(), AccountError> {
        self.end_ways_in(None).await
    }

    /// Makes an API token with this person's rights, which is shown once. It outlives the session, so it asks for the same
    /// proof as a new password.
    pub async fn make_token(&self, session: &str, old: &str, arrival: &Arrival, name: &str, days: u64) -> Result<String, AccountError> {
        let (name, gate) = (name.trim(), self.gate());
        if name.is_empty() || name.chars().count() > TOKEN_NAME || name.chars().any(char::is_control) {
            return Err(AccountError::NotSo("A token needs a name of at most 64 characters, so that you know it again. No token was made."));
        }
        if !(1..=TOKEN_DAYS).contains(&days) {
            return Err(AccountError::NotSo("A token lasts from 1 to 366 days. No token was made."));
        }
        let tokens = gate.credentials_of(&self.person().email).await?.into_iter().filter(|its| its.kind == CredentialKind::ApiToken).count();
        if tokens >= TOKENS {
            return Err(AccountError::NotSo("You have 50 tokens. Revoke one that you no longer use first."));
        }
        self.proven(session, old, arrival, LATE_FOR_A_TOKEN).await?;
        let (now, secret) = (self.now(), gate.secret("pt_"));
        let fresh = Credential::new(&secret, CredentialKind::ApiToken, &self.person().email, now, now + Duration::from_secs(days * 24 * 3600));
        let row = Row::Credential(Credential { label: Some(name.to_owned()), ..fresh });
        let fact = self.fact("token.made", json!({ "person": self.person().email, "expires_at": now + Duration::from_secs(days * 24 * 3600) }));
        if self.written(Change::of_row(now, row.clone(), fact), &row).await? { Ok(secret) } else { Err(BUSY) }
    }

    /// Ends the token with this [`Credential::id`], if it is one of theirs.
    pub async fn revoke_token(&self, id: &str) -> Result<(), AccountError> {
        let all = self.gate().credentials_of(&self.person().email).await?;
        let Some(token) = all.into_iter().find(|its| its.kind == CredentialKind::ApiToken && its.id() == id) else {
            return Err(AccountError::NotSo("This token has ended already."));
        };
        self.gate().end_credentials(&self.person().email, vec![token.secret.to_string()], "token.revoked").await?;
        Ok(())
    }

    /// `false`: something in it moved meanwhile.
    async fn written(&self, change: Change, row: &Row) -> Result<bool, Failure> {
        let gate: &Gate = self.gate();
        match gate.inner.store.commit(change).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Lost) if gate.is_written(row).await? => Ok(true),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => Err(gate.failed(&error)),
        }
    }

    fn fact(&self, kind: &'static str, data: serde_json::Value) -> Fact {
        Fact { kind, call: None, actor: self.actor(), data: data.into() }
    }

    fn now(&self) -> Timestamp {
        self.gate().inner.clock.now()
    }
}

fn gone(error: PeopleError) -> AccountError {
    match error {
        PeopleError::Failure(failure) => failure.into(),
        PeopleError::Exists { .. } | PeopleError::Unknown { .. } | PeopleError::BadName(_) | PeopleError::LastOperator => {
            AccountError::NotSo("Your account has just been disabled. Nothing was changed.")
        }
    }
}

const LATE: &str = "You have been signed in for more than ten minutes: give the password you have, or sign out and sign in again. Nothing was changed.";
const LATE_FOR_A_PASSWORD: &str = "You have been signed in for more than ten minutes. Sign out, sign in again with a link, and set the password then: so nobody sets one at a desk you have left.";
const LATE_FOR_A_TOKEN: &str = "You have been signed in for more than ten minutes. Sign out, sign in again, and make the token then: so nobody makes one at a desk you have left. No token was made.";
const BUSY: AccountError = AccountError::NotSo("Something about your account changed at the same moment. Nothing was changed; try again.");
