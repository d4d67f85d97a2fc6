//! Signing in with a password. Every try takes from its budget before anything is compared, a name that nobody has costs the
//! same as one that somebody has, and every refusal of one kind is the same for all. Called by `web`.

use super::session::Proof;
use super::{Arrival, Opened};
use crate::domain::people::{Password, SignInMethod};
use crate::gate::passwords::{MOST, Unable};
use crate::gate::{Failure, Gate};
use crate::store::{Kind, Row, Seen};
use jiff::Timestamp;

/// Why nobody was let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Name and password do not belong together: no such person, no password, another one, or disabled.
    #[error("address and password do not belong together")]
    Wrong,
    /// Too many were wrong before.
    #[error("too many wrong passwords")]
    TooMany {
        /// When to come again.
        until: Timestamp,
    },
    /// Too many passwords are being looked at in this moment.
    #[error("too many people sign in at this moment")]
    Busy,
    /// The operator does not let anybody in with a password.
    #[error("passwords are switched off")]
    Off,
    /// A fault on our side.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Gate {
    /// Lets somebody in who knows the password.
    pub async fn sign_in_with_password(&self, typed: &str, password: &str, arrival: &Arrival) -> Result<Opened, Refused> {
        if !self.settings().sign_in.passwords {
            return Err(Refused::Off);
        }
        let who = self.trier(typed, arrival);
        let known = who.device.is_some();
        // Both are read for every name that is typed, and before any budget is asked.
        let person = self.somebody(typed).await?;
        let kept = self.password_of(person.as_ref().map_or("", |person| &person.email)).await?;
        let (at, entrance) = (self.inner.clock.now(), &self.inner.entrance);
        let whose = person.as_ref().map(|person| person.email.as_str());
        let taken = match entrance.attempts.begin(who.clone(), at) {
            Ok(taken) => taken,
            Err(until) => {
                entrance.failures.refused(whose, &who.name, at);
                return Err(Refused::TooMany { until });
            }
        };
        let hash = kept.as_ref().map(|password| password.hash.clone());
        let tried: String = if password.len() <= MOST { password.to_owned() } else { String::new() };
        let fits = entrance.passwords.fits(self.inner.clock.as_ref(), tried, hash, known).await;
        let (Some(person), Some(kept)) = (&person, kept.filter(|_| fits == Ok(true))) else {
            return Err(match fits {
                Ok(_) => {
                    entrance.failures.wrong(whose, &who.name, at);
                    Refused::Wrong
                }
                Err(unable) => {
                    entrance.attempts.give_back(taken);
                    self.unable(unable)
                }
            });
        };
        entrance.attempts.give_back(taken);
        // Changed, removed or shut out while the hash was made: then it is another password.
        let seen = vec![
            Seen { kind: Kind::Password, key: kept.email.clone(), revision: kept.revision },
            Seen { kind: Kind::Person, key: person.email.clone(), revision: person.revision },
        ];
        let opened = self.open_session(person, SignInMethod::Password, arrival, Proof { seen, ..Proof::default() }).await?;
        opened.ok_or(Refused::Wrong)
    }

    pub(in crate::gate) fn unable(&self, unable: Unable) -> Refused {
        match unable {
            Unable::Busy => Refused::Busy,
            Unable::Broken => Refused::Failure(Failure { reference: self.reference() }),
        }
    }

    pub(in crate::gate) async fn password_of(&self, email: &str) -> Result<Option<Password>, Failure> {
        let row = self.inner.store.row(Kind::Password, email).await.map_err(|e| self.failed(&e))?;
        Ok(if let Some(Row::Password(password)) = row { Some(password) } else { None })
    }

    /// Compares a signed-in person's password once more, within the budget of this session.
    pub(in crate::gate) async fn password_fits(&self, kept: &Password, password: &str, arrival: &Arrival, id: super::DeviceId) -> Result<(), Refused> {
        let entrance = &self.inner.entrance;
        let who = super::Trier { device: Some(id), ..self.trier(&kept.email, arrival) };
        let taken = entrance.attempts.begin(who.clone(), self.inner.clock.now()).map_err(|until| Refused::TooMany { until })?;
        let tried: String = if password.len() <= MOST { password.to_owned() } else { String::new() };
        match entrance.passwords.fits(self.inner.clock.as_ref(), tried, Some(kept.hash.clone()), true).await {
            Ok(true) => {
                entrance.attempts.give_back(taken);
                Ok(())
            }
            Ok(false) => {
                entrance.failures.wrong(Some(&kept.email), &who.name, self.inner.clock.now());
                Err(Refused::Wrong)
            }
            Err(unable) => {
                entrance.attempts.give_back(taken);
                Err(self.unable(unable))
            }
        }
    }
}
