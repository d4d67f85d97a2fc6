//! Passwords: argon2id with the parameters of RFC 9106 as OWASP gives them (19 MiB, 2 passes, 1 lane), off the runtime and
//! behind seats, because every guess costs memory and time. A name that nobody has costs the same as one that somebody has.
//! What is too easy to guess is not taken (NIST SP 800-63B-4, 3.1.1.2: a length and a list of known ones, no rules about
//! kinds of characters). Called by `signin` and `account`.

use super::Clock;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Characters that a password has at least.
pub const LEAST: usize = 12;
/// Bytes that a password has at most: more only costs time.
pub const MOST: usize = 1024;
/// Passwords looked at in one moment; each takes 19 MiB.
const TURNS: usize = 2;
/// Passwords that wait for their turn: of known browsers, and of all others together.
const SEATS: usize = 16;
/// Characters that a password has at least beside its owner's name and address.
const LEFT: usize = 6;
/// Of zxcvbn's five grades: more than 10^8 guesses.
const GRADE: u8 = 3;

/// Why nothing was compared or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unable {
    /// Too many passwords are being looked at.
    Busy,
    /// The hash could not be made or read; the cause is in the log.
    Broken,
}

/// Where passwords are hashed.
#[derive(Debug)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// Of nothing: compared for those who have no password.
    dummy: Arc<OnceLock<String>>,
    compared: Arc<AtomicU64>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let seats = |count| Arc::new(Semaphore::new(count));
        Passwords { turns: seats(TURNS), known: seats(SEATS), strangers: seats(SEATS), dummy: Arc::default(), compared: Arc::default() }
    }
}

impl Passwords {
    /// Whether the password is the one of this hash. Without a hash another one is compared, and it never is.
    pub(super) async fn fits(&self, clock: &dyn Clock, password: String, hash: Option<String>, known: bool) -> Result<bool, Unable> {
        let (salt, dummy, compared) = (salt(clock), self.dummy.clone(), self.compared.clone());
        let seats = if known { &self.known } else { &self.strangers };
        self.in_turn(seats, move || {
            // Made for everybody's first time alike.
            let dummy = dummy.get_or_init(|| hashed("", &salt).unwrap_or_default());
            let wanted = PasswordHash::new(hash.as_deref().unwrap_or(dummy)).map_err(|cause| broken(&cause))?;
            compared.fetch_add(1, Ordering::Relaxed);
            let fits = Argon2::default().verify_password(password.as_bytes(), &wanted).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    /// The hash of a new password, in the PHC string format.
    pub(super) async fn hash(&self, clock: &dyn Clock, password: String) -> Result<String, Unable> {
        let salt = salt(clock);
        self.in_turn(&self.known, move || hashed(&password, &salt)).await
    }

    /// How many passwords were compared with a hash since the start, of people who have one and of those who have none.
    pub(super) fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    async fn in_turn<T: Send + 'static>(&self, seats: &Arc<Semaphore>, work: impl FnOnce() -> Result<T, Unable> + Send + 'static) -> Result<T, Unable> {
        let Ok(_seat) = seats.try_acquire() else { return Err(Unable::Busy) };
        // It goes with the work: whoever leaves meanwhile does not make room for another 19 MiB.
        let Ok(turn) = self.turns.clone().acquire_owned().await else { return Err(Unable::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.unwrap_or_else(|cause| Err(broken(&cause)))
    }
}

fn broken(cause: &(dyn std::error::Error + Send + Sync)) -> Unable {
    tracing::error!(cause = %cause, "a password could not be compared or hashed");
    Unable::Broken
}

fn salt(clock: &dyn Clock) -> [u8; 16] {
    let mut salt = [0; 16];
    clock.random(&mut salt);
    salt
}

fn hashed(password: &str, salt: &[u8]) -> Result<String, Unable> {
    let params = Params::new(19_456, 2, 1, None).map_err(|cause| broken(&cause))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password_with_salt(password.as_bytes(), salt).map_err(|cause| broken(&cause))?;
    Ok(hash.to_string())
}

/// What is wrong with a password that somebody wants, in words for them; `about` is what others know of them.
pub(super) fn weakness(password: &str, about: &[&str]) -> Option<&'static str> {
    if password.chars().count() < LEAST {
        return Some("A password has at least 12 characters; a few words in a row are easy to remember. Nothing was changed.");
    }
    if password.len() > MOST {
        return Some("A password has at most 1024 bytes. Nothing was changed.");
    }
    // The parts of an address are guessed like the whole.
    let parts: Vec<&str> = about.iter().flat_map(|text| text.split(['@', '.', ' ', '-', '_']).chain([*text])).chain(["paraph"]).collect();
    let grade = u8::from(zxcvbn::zxcvbn(password, &parts).score());
    (grade < GRADE || left_of(password, &parts) < LEFT).then_some(
        "This password is among the first that somebody would guess: it is common, repeats itself, or is made of your name or address. Take another one. Nothing was changed.",
    )
}

/// Characters of a password that do not stand in what others know.
fn left_of(password: &str, parts: &[&str]) -> usize {
    let mut known: Vec<String> = parts.iter().map(|part| part.to_lowercase()).filter(|part| part.chars().count() >= 3).collect();
    known.sort_by_key(|part| std::cmp::Reverse(part.len()));
    known.iter().fold(password.to_lowercase(), |left, part| left.replace(part.as_str(), "")).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::SystemClock;
    use std::time::Duration;

    #[test]
    fn what_is_short_common_or_about_oneself_is_refused_and_long_words_pass() {
        let about = ["ann.abel@example.org", "Ann Abel"];
        for weak in [
            "short",
            "password1234",
            "qwertyuiop12",
            "aaaaaaaaaaaaaaaa",
            "ann.abel@example.org",
            "annabelexample",
            "Ann.Abel.Example9",
            "paraphparaph",
            "123456789012345",
            "abcabcabcabcabc",
        ] {
            assert!(weakness(weak, &about).is_some(), "{weak}");
        }
        assert!(weakness(&"x7 ".repeat(400), &about).is_some(), "longer than 1024 bytes");
        for strong in ["correct horse battery staple", "wintermantel fuchs 9", "\u{20ac}uro-k\u{fc}hlschrank-mond"] {
            assert_eq!(weakness(strong, &about), None, "{strong}");
        }
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_of_nineteen_mebibytes_and_fits_its_password_alone() {
        let (passwords, clock) = (Passwords::default(), SystemClock);
        let hash = passwords.hash(&clock, "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let fits = |password: &str, hash: Option<String>| passwords.fits(&clock, password.to_owned(), hash, false);
        assert_eq!(fits("correct horse", Some(hash.clone())).await, Ok(true));
        assert_eq!(fits("correct horsf", Some(hash.clone())).await, Ok(false));
        assert_eq!(fits("", None).await, Ok(false), "not even what the dummy was made of");
        assert_eq!(passwords.compared(), 3);
        assert_eq!(fits("x", Some("no hash".into())).await, Err(Unable::Broken));
        assert_ne!(passwords.hash(&clock, "correct horse".into()).await.unwrap(), hash, "each has a salt of its own");
    }

    #[tokio::test]
    async fn strangers_take_no_seat_from_known_browsers() {
        let passwords = Passwords::default();
        let _all = passwords.strangers.clone().try_acquire_many_owned(u32::try_from(SEATS).unwrap()).unwrap();
        assert_eq!(passwords.fits(&SystemClock, "x".into(), None, false).await, Err(Unable::Busy));
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), passwords.fits(&SystemClock, "x".into(), None, true)).await, Ok(Ok(false)));
    }
}
