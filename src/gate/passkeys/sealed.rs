//! What a ceremony has to remember between its two halves, sealed and given to the browser: a stranger who opens the
//! sign-in page a million times costs no memory. The seal says when and what for; one that was used is remembered until
//! it would have ended, so that it counts once (W3C Web Authentication, 13.4.3: challenges are random and not reused).
//! Called by `passkeys`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a person may take for one ceremony.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Used seals remembered at most; each was a signature by a known passkey, so strangers cannot fill it.
const USED: usize = 10_000;

/// Seals and opens. The key lives as long as the process: ceremonies do not outlive a restart.
pub(super) struct Seals {
    /// As long as the hash's block (RFC 2104, 2).
    key: [u8; 64],
    used: Mutex<HashMap<String, Timestamp>>,
}

impl Seals {
    pub(super) fn new(key: [u8; 64]) -> Seals {
        Seals { key, used: Mutex::new(HashMap::new()) }
    }

    /// `what` names the ceremony and whose it is: a seal for another one does not open.
    pub(super) fn seal(&self, what: &str, state: &str, now: Timestamp) -> String {
        let until = (now + LIFE).as_millisecond();
        let body = format!("{}.{until}", URL_SAFE_NO_PAD.encode(state));
        let tag = URL_SAFE_NO_PAD.encode(self.tag(what, &body));
        format!("{body}.{tag}")
    }

    /// The state, if the seal is ours, for this, and not over.
    pub(super) fn open(&self, what: &str, sealed: &str, now: Timestamp) -> Option<String> {
        let (body, tag) = sealed.rsplit_once('.')?;
        let (state, until) = body.split_once('.')?;
        let mut mac = self.mac(what);
        mac.update(body.as_bytes());
        mac.verify_slice(&URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let until = Timestamp::from_millisecond(until.parse().ok()?).ok()?;
        // A clock that was set back must not lengthen a ceremony without end.
        let fits = now < until && until <= now + LIFE;
        fits.then(|| String::from_utf8(URL_SAFE_NO_PAD.decode(state).ok()?).ok())?
    }

    /// Whether this is the first use.
    pub(super) fn spend(&self, sealed: &str, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| now < *until);
        if used.len() >= USED || used.contains_key(sealed) {
            return false;
        }
        used.insert(sealed.to_owned(), now + LIFE).is_none()
    }

    fn mac(&self, what: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(what.as_bytes());
        mac.update(b"\0");
        mac
    }

    fn tag(&self, what: &str, body: &str) -> Vec<u8> {
        let mut mac = self.mac(what);
        mac.update(body.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_seal_opens_for_its_ceremony_only_and_only_in_its_time() {
        let seals = Seals::new([7; 64]);
        let sealed = seals.seal("sign-in", "the state", at(0));
        assert_eq!(seals.open("sign-in", &sealed, at(299)).as_deref(), Some("the state"));
        assert_eq!(seals.open("sign-in", &sealed, at(300)), None, "over");
        assert_eq!(seals.open("sign-in", &sealed, at(-10)), None, "from a later time than now");
        assert_eq!(seals.open("add ann@example.org", &sealed, at(1)), None, "another ceremony");
        assert_eq!(Seals::new([8; 64]).open("sign-in", &sealed, at(1)), None, "another process");
        for at_byte in 0..sealed.len() {
            let mut touched = sealed.clone().into_bytes();
            touched[at_byte] ^= 1;
            let opened = String::from_utf8(touched).ok().and_then(|touched| seals.open("sign-in", &touched, at(1)));
            assert_eq!(opened, None, "byte {at_byte}");
        }
    }

    #[test]
    fn a_seal_counts_once() {
        let seals = Seals::new([7; 64]);
        let sealed = seals.seal("sign-in", "s", at(0));
        assert!(seals.spend(&sealed, at(1)));
        assert!(!seals.spend(&sealed, at(2)));
    }
}
