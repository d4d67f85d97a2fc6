//! How a person proves who they are and stays known: a one-time link (`link`) or a password (`password`) opens a session
//! (`session`), a session cookie or an API token becomes a `Reviewer`. Whoever fails is counted (`failures`, `attempts`) and
//! learns nothing about who exists. The person's record is read every time, so disabling somebody works at once.
//! Called by `web`; `account` is what a signed-in person does about it.

pub mod device;
mod failures;
mod link;
mod password;
mod session;

pub use password::Refused;
pub use session::{HALF_WAY_FOR, Proof, Session};

use super::attempts::{Attempts, Name, Trier};
use super::passwords::Passwords;
use super::people::PeopleError;
use super::reviewer::Reviewer;
use super::{Failure, Gate};
use crate::domain::call::Via;
use crate::domain::client::Client;
use crate::domain::digest::Digest;
use crate::domain::people::{Credential, CredentialKind, Person};
use crate::store::{Kind, Row};
use device::{DeviceId, DeviceKey};
use failures::Failures;
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Requests for a link that are looked at behind their answers; more at one moment come to nothing.
const ASKING: usize = 64;
/// A credential that was made so far in the future is not believed: the clock was set back.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// What a browser brings along when somebody signs in with it. All of it is what a stranger says.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// From where.
    pub client: Client,
    /// What the session is called in the list of its owner.
    pub label: Option<String>,
    /// The cookie of a session that it has already: that one ends with this sign-in.
    pub session: Option<String>,
    /// The cookie it was given at the last sign-in.
    pub device: Option<String>,
}

/// What a right link or password opens.
#[derive(Debug)]
pub enum Opened {
    /// The person is in.
    In(Session),
    /// A passkey has to finish it ([`Person::second_factor`]); `secret` names the begun sign-in for [`HALF_WAY_FOR`].
    HalfWay(Session),
}

/// What `gate` remembers of those who sign in, as long as the process lives.
pub(super) struct Entrance {
    attempts: Attempts,
    pub(super) passwords: Passwords,
    failures: Failures,
    devices: OnceLock<DeviceKey>,
    asking: Arc<Semaphore>,
    /// The clock's time and the machine's uninterrupted time at the same moment.
    begun: (Timestamp, tokio::time::Instant),
}

impl Entrance {
    pub(super) fn new(now: Timestamp) -> Entrance {
        Entrance {
            attempts: Attempts::default(),
            passwords: Passwords::default(),
            failures: Failures::default(),
            devices: OnceLock::new(),
            asking: Arc::new(Semaphore::new(ASKING)),
            begun: (now, tokio::time::Instant::now()),
        }
    }
}

impl Gate {
    /// Recognises browsers by this key also after a restart. Without it, or later than the first sign-in, by one that this
    /// process draws.
    pub fn know_devices_by(&self, seed: &[u8; 32]) {
        let _ = self.inner.entrance.devices.set(DeviceKey::from_seed(seed));
    }

    /// The person behind a session cookie. Asking is no use of the session: open pages ask once a minute.
    pub async fn by_session(&self, secret: &str) -> Result<Option<Reviewer>, Failure> {
        let found = self.credential(secret, CredentialKind::Session).await?;
        self.reviewer_of(found.as_ref(), Via::Page).await
    }

    /// The same, and it is a use: the session does not lie idle.
    pub async fn use_session(&self, secret: &str) -> Result<Option<Reviewer>, Failure> {
        let found = self.credential(secret, CredentialKind::Session).await?;
        let reviewer = self.reviewer_of(found.as_ref(), Via::Page).await?;
        if let Some(session) = found.filter(|_| reviewer.is_some()) {
            self.note_session_use(session).await;
        }
        Ok(reviewer)
    }

    /// The person behind an API token.
    pub async fn by_api_token(&self, secret: &str) -> Result<Option<Reviewer>, Failure> {
        let found = self.credential(secret, CredentialKind::ApiToken).await?;
        let reviewer = self.reviewer_of(found.as_ref(), Via::Api).await?;
        if let Some(token) = found.filter(|_| reviewer.is_some()) {
            self.note_token_use(&token);
        }
        Ok(reviewer)
    }

    /// The form token of a session (CSRF): only who has the cookie's value can know it.
    pub fn form_token(session: &str) -> String {
        Digest::of_bytes(format!("paraph form {session}").as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
    }

    /// How many passwords were compared with a hash since the start; names that nobody has are compared too.
    pub fn passwords_compared(&self) -> u64 {
        self.inner.entrance.passwords.compared()
    }

    async fn reviewer_of(&self, credential: Option<&Credential>, via: Via) -> Result<Option<Reviewer>, Failure> {
        let Some(credential) = credential else { return Ok(None) };
        Ok(self.person_of(credential).await?.map(|person| Reviewer::new(self.clone(), person, via)))
    }

    pub(super) async fn person_of(&self, credential: &Credential) -> Result<Option<Person>, Failure> {
        self.somebody(&credential.email).await
    }

    /// The active person of this address; `None` for everybody else.
    pub(super) async fn somebody(&self, email: &str) -> Result<Option<Person>, Failure> {
        match self.active_person(email).await {
            Ok(person) => Ok(Some(person)),
            Err(PeopleError::Failure(failure)) => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// Looked up by its digest, so comparing needs no constant time: nobody can aim at a digest.
    pub(super) async fn credential(&self, secret: &str, kind: CredentialKind) -> Result<Option<Credential>, Failure> {
        let key = Digest::of_bytes(secret.as_bytes());
        let row = self.inner.store.row(Kind::Credential, key.as_str()).await.map_err(|e| self.failed(&e))?;
        let Some(Row::Credential(found)) = row else { return Ok(None) };
        Ok((found.kind == kind && self.counts(&found)).then_some(found))
    }

    /// Whether a credential's time is not over.
    pub(super) fn counts(&self, found: &Credential) -> bool {
        match found.kind {
            CredentialKind::Session | CredentialKind::HalfWay => self.session_counts(found),
            CredentialKind::Link => {
                let now = self.inner.clock.now();
                now < found.expires_at && found.made_at.duration_since(now) < AHEAD
            }
            CredentialKind::ApiToken | CredentialKind::AgentToken => self.inner.clock.now() < found.expires_at,
        }
    }

    /// Who tries, as the budgets of `attempts` know them.
    fn trier(&self, typed: &str, arrival: &Arrival) -> Trier {
        Trier { from: arrival.client.address, name: Name::of(typed), device: self.known_device(typed, arrival) }
    }

    fn known_device(&self, typed: &str, arrival: &Arrival) -> Option<DeviceId> {
        let email = typed.trim().to_lowercase();
        arrival.device.as_deref().and_then(|cookie| self.devices().read(cookie, &email, self.inner.clock.now()))
    }

    fn devices(&self) -> &DeviceKey {
        self.inner.entrance.devices.get_or_init(|| {
            let mut seed = [0; 32];
            self.inner.clock.random(&mut seed);
            DeviceKey::from_seed(&seed)
        })
    }
}
