//! Passkeys (W3C Web Authentication): alone, or after a link or a password for people who ask for both. A ceremony has
//! two halves; what is between them travels sealed with the browser. User verification is always required, so that a
//! passkey is more than a thing somebody found. Browsers offer passkeys over https and on `localhost`, never for an
//! address in numbers: elsewhere there are none, and the pages say so. Made by `serve`, called by `web`.

mod lost;
mod sealed;

use super::signin::{Arrival, Opened, Proof, Session};
use super::{Failure, Gate, Reviewer};
use crate::domain::audit::Fact;
use crate::domain::people::{CredentialKind, Passkey, Person, SignInMethod};
use crate::store::{Change, CommitError, Kind, Row};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealed::Seals;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, Passkey as Kept, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, WebauthnBuilder,
};

/// Passkeys of one person.
const MOST: usize = 20;
/// Characters of a passkey's name.
const NAME: usize = 60;

/// Why a passkey was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// What the browser sent does not fit, is too late, was used before, or is not known.
    #[error("the passkey was not accepted: the request was too old or was used before, or the passkey is not one of yours")]
    Refused,
    /// There are enough.
    #[error("you have {MOST} passkeys, and more are not kept: remove one first")]
    TooMany,
    /// The session is not fresh: somebody else may sit at the desk.
    #[error("sign in again first: passkeys are changed within ten minutes of signing in")]
    Stale,
    /// A fault on our side.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// What the page hands to the browser, and what has to come back beside its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// The options for `navigator.credentials`, JSON.
    pub options: String,
    /// Sealed; comes back unchanged.
    pub sealed: String,
}

/// The passkeys of a gate under one origin.
#[derive(Clone)]
pub struct Passkeys {
    gate: Gate,
    webauthn: Arc<Webauthn>,
    seals: Arc<Seals>,
}

impl Passkeys {
    /// `None` when no browser would offer passkeys under this URL.
    pub fn new(gate: Gate, public_url: &str) -> Option<Passkeys> {
        let origin = Url::parse(public_url).ok()?;
        let domain = origin.domain()?;
        let secure = origin.scheme() == "https" || domain == "localhost";
        let webauthn = WebauthnBuilder::new(domain, &origin).ok().filter(|_| secure)?.rp_name("Paraph").build().ok()?;
        let mut key = [0; 64];
        gate.clock().random(&mut key);
        Some(Passkeys { gate, webauthn: Arc::new(webauthn), seals: Arc::new(Seals::new(key)) })
    }

    /// Begins to make a passkey for a person who is signed in.
    pub async fn begin_adding(&self, by: &Reviewer) -> Result<Ceremony, PasskeyError> {
        let person = by.person();
        let known = self.gate.passkeys_of(&person.email).await?;
        if known.len() >= MOST {
            return Err(PasskeyError::TooMany);
        }
        // One handle for all passkeys of a person, so that a device replaces an older one. It tells nothing (13.6.1 there).
        let user = known.first().and_then(|passkey| passkey.user.parse().ok()).unwrap_or_else(|| self.fresh_user());
        let exclude = known.iter().filter_map(kept).map(|passkey| passkey.cred_id().clone()).collect();
        let begun = self.webauthn.start_passkey_registration(user, &person.email, person.display(), Some(exclude));
        let (options, state) = begun.map_err(|_| PasskeyError::Refused)?;
        let mut options = serde_json::to_value(&options).map_err(|_| PasskeyError::Refused)?;
        // Found by the device itself, so that signing in needs no address and the page need not say who exists.
        if let Some(selection) = options.pointer_mut("/publicKey/authenticatorSelection") {
            selection["residentKey"] = json!("required");
            selection["requireResidentKey"] = json!(true);
        }
        let state = json!({ "user": user, "state": state }).to_string();
        Ok(self.ceremony(&format!("add {}", person.email), &options, &state))
    }

    /// Keeps the passkey that the browser made; `session` is the cookie that asks.
    pub async fn finish_adding(&self, by: &Reviewer, session: &str, sealed: &str, answer: &str, name: &str) -> Result<(), PasskeyError> {
        by.needs_fresh(session).await?;
        let person = by.person();
        let state: Value = self.opened(&format!("add {}", person.email), sealed)?;
        let user = state["user"].as_str().ok_or(PasskeyError::Refused)?.to_owned();
        let state: PasskeyRegistration = serde_json::from_value(state["state"].clone()).map_err(|_| PasskeyError::Refused)?;
        let answer: RegisterPublicKeyCredential = read(answer)?;
        let made = self.webauthn.finish_passkey_registration(&answer, &state).map_err(|_| PasskeyError::Refused)?;
        if !self.seals.spend(sealed, self.gate.inner.clock.now()) {
            return Err(PasskeyError::Refused);
        }
        if self.gate.passkeys_of(&person.email).await?.len() >= MOST {
            return Err(PasskeyError::TooMany);
        }
        let now = self.gate.inner.clock.now();
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(NAME).collect();
        let row = Passkey {
            id: URL_SAFE_NO_PAD.encode(made.cred_id()),
            revision: 1,
            email: person.email.clone(),
            user,
            name: if name.is_empty() { "Passkey".to_owned() } else { name },
            state: serde_json::to_string(&made).map_err(|_| PasskeyError::Refused)?,
            made_at: now,
            used_at: None,
        };
        let fact = Fact { kind: "passkey.added", call: None, actor: by.actor(), data: json!({}).into() };
        match self.gate.inner.store.commit(Change::of_row(now, Row::Passkey(row), fact)).await {
            Ok(_) => Ok(()),
            // The same credential is registered already, for whomever.
            Err(CommitError::Conflict) => Err(PasskeyError::Refused),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                Err(self.gate.failed(&error).into())
            }
        }
    }

    /// Begins to sign in with a passkey alone; the device says whose.
    pub fn begin_sign_in(&self) -> Result<Ceremony, PasskeyError> {
        let (mut options, state) = self.webauthn.start_discoverable_authentication().map_err(|_| PasskeyError::Refused)?;
        // A button asks for it, no autofill.
        options.mediation = None;
        let options = serde_json::to_value(&options).map_err(|_| PasskeyError::Refused)?;
        let state = serde_json::to_string(&state).map_err(|_| PasskeyError::Refused)?;
        Ok(self.ceremony("sign-in", &options, &state))
    }

    /// Opens a session for whose passkey answered.
    pub async fn finish_sign_in(&self, sealed: &str, answer: &str, arrival: &Arrival) -> Result<Session, PasskeyError> {
        let state: DiscoverableAuthentication = self.opened("sign-in", sealed)?;
        let answer: PublicKeyCredential = read(answer)?;
        let id = URL_SAFE_NO_PAD.encode(answer.get_credential_id());
        let (passkey, person) = self.gate.passkey_and_person(&id).await?.ok_or(PasskeyError::Refused)?;
        let key = kept(&passkey).ok_or(PasskeyError::Refused)?;
        let used = self.webauthn.finish_discoverable_authentication_v2(&answer, state, &key).map_err(|_| PasskeyError::Refused)?;
        self.used(passkey, key, &used, sealed).await?;
        self.let_in(&person, SignInMethod::Passkey, arrival, Proof::default()).await
    }

    /// Begins the second half of a sign-in that a link or a password began; `None` when `pending` is none, or is over.
    pub async fn begin_second(&self, pending: &str) -> Result<Option<Ceremony>, PasskeyError> {
        let Some(person) = self.gate.pending_person(pending).await? else { return Ok(None) };
        let known: Vec<Kept> = self.gate.passkeys_of(&person.email).await?.iter().filter_map(kept).collect();
        let (options, state) = self.webauthn.start_passkey_authentication(&known).map_err(|_| PasskeyError::Refused)?;
        let options = serde_json::to_value(&options).map_err(|_| PasskeyError::Refused)?;
        let state = serde_json::to_string(&state).map_err(|_| PasskeyError::Refused)?;
        Ok(Some(self.ceremony(&format!("second {}", person.email), &options, &state)))
    }

    /// Ends it.
    pub async fn finish_second(&self, pending: &str, sealed: &str, answer: &str, arrival: &Arrival) -> Result<Session, PasskeyError> {
        let Some(waiting) = self.gate.credential(pending, CredentialKind::HalfWay).await? else { return Err(PasskeyError::Refused) };
        let Some(person) = self.gate.person_of(&waiting).await? else { return Err(PasskeyError::Refused) };
        let state: PasskeyAuthentication = self.opened(&format!("second {}", person.email), sealed)?;
        let answer: PublicKeyCredential = read(answer)?;
        let used = self.webauthn.finish_passkey_authentication(&answer, &state).map_err(|_| PasskeyError::Refused)?;
        let id = URL_SAFE_NO_PAD.encode(answer.get_credential_id());
        let found = self.gate.passkey_and_person(&id).await?.filter(|(_, owner)| owner.email == person.email);
        let (passkey, _) = found.ok_or(PasskeyError::Refused)?;
        let key = kept(&passkey).ok_or(PasskeyError::Refused)?;
        self.used(passkey, key, &used, sealed).await?;
        let proof = Proof { spent: vec![(Kind::Credential, waiting.secret.to_string())], seen: Vec::new() };
        self.let_in(&person, SignInMethod::SecondFactor, arrival, proof).await
    }

    async fn let_in(&self, person: &Person, method: SignInMethod, arrival: &Arrival, proof: Proof) -> Result<Session, PasskeyError> {
        match self.gate.open_session(person, method, arrival, proof).await? {
            Some(Opened::In(session)) => Ok(session),
            Some(Opened::HalfWay(_)) | None => Err(PasskeyError::Refused),
        }
    }

    /// The counter of the device and the time are kept; a counter that did not grow is a copy and was refused before.
    async fn used(&self, passkey: Passkey, mut key: Kept, used: &AuthenticationResult, sealed: &str) -> Result<(), PasskeyError> {
        let now = self.gate.inner.clock.now();
        if !self.seals.spend(sealed, now) {
            return Err(PasskeyError::Refused);
        }
        key.update_credential(used);
        let state = serde_json::to_string(&key).map_err(|_| PasskeyError::Refused)?;
        let next = Passkey { revision: passkey.revision + 1, state, used_at: Some(now), ..passkey };
        match self.gate.inner.store.commit(Change { rows: vec![Row::Passkey(next)], ..Change::of_facts(now, Vec::new()) }).await {
            Ok(_) => Ok(()),
            // Removed, or used elsewhere in the same moment.
            Err(CommitError::Conflict) => Err(PasskeyError::Refused),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                Err(self.gate.failed(&error).into())
            }
        }
    }

    fn ceremony(&self, what: &str, options: &Value, state: &str) -> Ceremony {
        Ceremony { options: options["publicKey"].to_string(), sealed: self.seals.seal(what, state, self.gate.inner.clock.now()) }
    }

    fn opened<T: DeserializeOwned>(&self, what: &str, sealed: &str) -> Result<T, PasskeyError> {
        let state = self.seals.open(what, sealed, self.gate.inner.clock.now()).ok_or(PasskeyError::Refused)?;
        read(&state)
    }

    fn fresh_user(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.gate.inner.clock.random(&mut bytes);
        Uuid::from_bytes(bytes)
    }
}

impl Gate {
    /// A person's passkeys, oldest first.
    pub async fn passkeys_of(&self, email: &str) -> Result<Vec<Passkey>, Failure> {
        let rows = self.all_rows(Kind::Passkey).await?;
        let mut mine: Vec<Passkey> = rows.into_iter().filter_map(|row| if let Row::Passkey(key) = row { Some(key) } else { None }).collect();
        mine.retain(|passkey| passkey.email == email);
        mine.sort_by_key(|passkey| passkey.made_at);
        Ok(mine)
    }

    async fn passkey_and_person(&self, id: &str) -> Result<Option<(Passkey, Person)>, Failure> {
        let row = self.inner.store.row(Kind::Passkey, id).await.map_err(|e| self.failed(&e))?;
        let Some(Row::Passkey(passkey)) = row else { return Ok(None) };
        let person = self.inner.store.row(Kind::Person, &passkey.email).await.map_err(|e| self.failed(&e))?;
        Ok(match person {
            Some(Row::Person(person)) if person.disabled_at.is_none() => Some((passkey, person)),
            _ => None,
        })
    }

    /// Whose sign-in waits for its second half.
    async fn pending_person(&self, pending: &str) -> Result<Option<Person>, Failure> {
        let Some(waiting) = self.credential(pending, CredentialKind::HalfWay).await? else { return Ok(None) };
        self.person_of(&waiting).await
    }
}

impl Reviewer {
    /// Removes one of the person's own passkeys. Without the last one none can be asked for any more, so the second factor
    /// goes with it.
    pub async fn remove_own_passkey(&self, session: &str, id: &str) -> Result<(), PasskeyError> {
        self.needs_fresh(session).await?;
        let gate = self.gate();
        let mine = gate.passkeys_of(&self.person().email).await?;
        if !mine.iter().any(|passkey| passkey.id == id) {
            return Err(PasskeyError::Refused);
        }
        let now = gate.inner.clock.now();
        let fact = Fact { kind: "passkey.removed", call: None, actor: self.actor(), data: json!({ "left": mine.len() - 1 }).into() };
        let mut change = Change { removed: vec![(Kind::Passkey, id.to_owned())], ..Change::of_facts(now, vec![fact]) };
        if let (1, Some(person)) = (mine.len(), gate.somebody(&self.person().email).await?) {
            change.rows.push(Row::Person(Person { revision: person.revision + 1, second_factor: false, ..person }));
        }
        self.done(change).await
    }

    /// Whether a link or a password only begins a sign-in of this person from now on.
    pub async fn ask_for_second_factor(&self, session: &str, on: bool) -> Result<(), PasskeyError> {
        self.needs_fresh(session).await?;
        let gate = self.gate();
        if on && gate.passkeys_of(&self.person().email).await?.is_empty() {
            return Err(PasskeyError::Refused);
        }
        let Some(person) = gate.somebody(&self.person().email).await? else { return Err(PasskeyError::Refused) };
        let next = Person { revision: person.revision + 1, second_factor: on, ..person };
        let fact = Fact { kind: "second_factor.set", call: None, actor: self.actor(), data: json!({ "on": on }).into() };
        self.done(Change::of_row(gate.inner.clock.now(), Row::Person(next), fact)).await
    }

    async fn needs_fresh(&self, session: &str) -> Result<(), PasskeyError> {
        if self.is_freshly_signed_in(session).await? { Ok(()) } else { Err(PasskeyError::Stale) }
    }

    async fn done(&self, change: Change) -> Result<(), PasskeyError> {
        match self.gate().inner.store.commit(change).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict) => Err(PasskeyError::Refused),
            Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_) | CommitError::Lost)) => {
                Err(self.gate().failed(&error).into())
            }
        }
    }
}

/// The library's half of a record; `None` when it can no longer read it.
fn kept(passkey: &Passkey) -> Option<Kept> {
    serde_json::from_str(&passkey.state).ok()
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, PasskeyError> {
    serde_json::from_str(text).map_err(|_| PasskeyError::Refused)
}
