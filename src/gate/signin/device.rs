//! How a browser is known again that somebody was let in with before: a cookie that is signed for that person, after OWASP's
//! "Device Cookies". It opens nothing; it only gives the browser a budget of its own for wrong passwords, so that strangers
//! who guess cannot keep its owner out. It holds no address. Used by `signin`.

use crate::gate::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use std::time::Duration;

/// How long a browser is known, counted from the last sign-in.
pub const KNOWN_FOR: Duration = Duration::from_secs(400 * 24 * 3600);
/// Of this layout: version, milliseconds, random bytes, tag.
const VERSION: u8 = 1;
const RANDOM: usize = 16;
const SIGNED: usize = 1 + 8 + RANDOM;

/// One browser of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(pub(in crate::gate) [u8; RANDOM]);

/// What the cookies are signed with.
pub(super) struct DeviceKey([u8; 32]);

impl DeviceKey {
    /// Derived, so that one key in the data folder signs two things that cannot be taken for each other.
    pub(super) fn from_seed(seed: &[u8; 32]) -> DeviceKey {
        let mut mac = keyed(seed);
        mac.update(b"paraph device cookies");
        DeviceKey(mac.finalize().into_bytes().into())
    }

    /// The cookie for a browser that this person was just let in with; a browser that is known stays the same one.
    pub(super) fn issue(&self, clock: &dyn Clock, email: &str, known: Option<DeviceId>) -> String {
        let DeviceId(id) = known.unwrap_or_else(|| {
            let mut id = [0; RANDOM];
            clock.random(&mut id);
            DeviceId(id)
        });
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&clock.now().as_millisecond().to_be_bytes());
        bytes.extend_from_slice(&id);
        let tag = self.mac(&bytes, email).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Which browser this is, if the cookie was made here for this person and is not too old.
    pub(super) fn read(&self, cookie: &str, email: &str, now: Timestamp) -> Option<DeviceId> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (signed, tag) = bytes.split_at_checked(SIGNED)?;
        self.mac(signed, email).verify_slice(tag).ok()?;
        let [VERSION, rest @ ..] = signed else { return None };
        let at = Timestamp::from_millisecond(i64::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let id = rest.last_chunk::<RANDOM>()?;
        let age = now.duration_since(at);
        (age < SignedDuration::try_from(KNOWN_FOR).ok()?).then_some(DeviceId(*id))
    }

    fn mac(&self, signed: &[u8], email: &str) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0);
        mac.update(signed);
        mac.update(email.as_bytes());
        mac
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a shorter key with zeros up to the hash's block (RFC 2104, 2).
    let mut block = [0u8; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::SystemClock;

    #[test]
    fn a_cookie_counts_for_the_person_it_was_made_for_and_not_for_ever() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let now = SystemClock.now();
        let cookie = key.issue(&SystemClock, "ann@example.org", None);
        assert!(!cookie.contains("ann"));
        let id = key.read(&cookie, "ann@example.org", now).unwrap();
        assert_eq!(key.read(&cookie, "ben@example.org", now), None);
        assert_eq!(DeviceKey::from_seed(&[8; 32]).read(&cookie, "ann@example.org", now), None);
        assert_eq!(key.read(&cookie, "ann@example.org", now + KNOWN_FOR + Duration::from_secs(1)), None);
        let again = key.issue(&SystemClock, "ann@example.org", Some(id));
        assert_eq!(key.read(&again, "ann@example.org", now), Some(id));
        for forged in ["", "AA", "%%%", &cookie[1..], &cookie[..cookie.len() - 4], &format!("{cookie}AAAA"), &"A".repeat(5000)] {
            assert_eq!(key.read(forged, "ann@example.org", now), None, "{forged}");
        }
    }
}
