//! One-time links: asked for on the page and mailed, or made by an operator; looked at as often as one likes, used once.
//! Whoever asks is answered before anybody looks whether the address is somebody's, so the answer and its time tell nothing.
//! Called by `web`.

use super::session::Proof;
use super::{Arrival, Opened};
use crate::domain::audit::Fact;
use crate::domain::letter::Letter;
use crate::domain::people::{CredentialKind, SignInMethod};
use crate::gate::attempts::Trier;
use crate::gate::{Failure, Gate};
use crate::store::{Change, Kind, Row};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

impl Gate {
    /// Somebody wants a link mailed to this address. The one thing they are told is that too many were asked for from where
    /// they are, and when to come again. Everything else happens behind the answer: unknown and disabled people, and those
    /// who have just got three, get none.
    pub fn ask_for_link(&self, typed: &str, arrival: &Arrival) -> Result<(), Timestamp> {
        let who = self.trier(typed, arrival);
        self.inner.entrance.attempts.ask(&who, self.inner.clock.now())?;
        let Ok(seat) = self.inner.entrance.asking.clone().try_acquire_owned() else {
            tracing::warn!("too many sign-in links were asked for at once; some were not made");
            return Ok(());
        };
        let (gate, typed) = (self.clone(), typed.to_owned());
        self.inner.lives.tasks.spawn(async move {
            let _seat = seat;
            // A failure is in the log; whoever waits for the mail asks again.
            let _ = gate.write_link_letter(&typed, &who).await;
        });
        Ok(())
    }

    async fn write_link_letter(&self, typed: &str, who: &Trier) -> Result<(), Failure> {
        let now = self.inner.clock.now();
        let person = self.somebody(typed).await?.filter(|_| self.settings().letters);
        let Some(person) = person else { return Ok(()) };
        if !self.inner.entrance.attempts.mail(who, now) {
            return Ok(());
        }
        let mut bits = [0; 12];
        self.inner.clock.random(&mut bits);
        let letter = Letter::about_sign_in(&URL_SAFE_NO_PAD.encode(bits), &person.email, now);
        let fact = Fact { kind: "link.asked", call: None, actor: "paraph".into(), data: json!({ "person": person.email }).into() };
        self.inner.store.commit(Change::of_row(now, Row::Letter(letter), fact)).await.map(drop).map_err(|e| self.failed(&e))
    }

    /// Whether a link would let somebody in; looking does not use it up (mail scanners fetch links).
    pub async fn link_is_good(&self, secret: &str) -> Result<bool, Failure> {
        let Some(link) = self.credential(secret, CredentialKind::Link).await? else { return Ok(false) };
        Ok(self.person_of(&link).await?.is_some())
    }

    /// Uses a one-time link up and opens a session. `None`: unknown, used, expired, or the person is disabled.
    pub async fn redeem_link(&self, secret: &str, arrival: &Arrival) -> Result<Option<Opened>, Failure> {
        let Some(link) = self.credential(secret, CredentialKind::Link).await? else { return Ok(None) };
        let Some(person) = self.person_of(&link).await? else { return Ok(None) };
        let proof = Proof { spent: vec![(Kind::Credential, link.secret.to_string())], ..Proof::default() };
        self.open_session(&person, SignInMethod::Link, arrival, proof).await
    }
}
