//! Session ids that prove themselves: made here for one agent and server, when, and with which revision. So a
//! session outlives the process that made it: a client whose stream broke with the gateway goes on where it was
//! instead of starting anew. Whoever has `DATA/session.key` can make such an id; the bearer token is asked first.
//! Used by `session`.

use super::revisions::Revision;
use crate::gate::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use std::fmt;

const PREFIX: &str = "ms_";
/// Of this layout: version, revision, milliseconds, random bytes, tag.
const VERSION: u8 = 1;
const RANDOM: usize = 16;
const SIGNED: usize = 2 + 8 + RANDOM;
const TAG: usize = 16;

/// What session ids are signed with.
#[derive(Clone)]
pub struct SessionKey(pub [u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// What an id of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Issued {
    pub revision: Revision,
    pub at: Timestamp,
}

impl SessionKey {
    /// A new id, which never says that it is older than `not_before`.
    pub(super) fn issue(&self, clock: &dyn Clock, not_before: Timestamp, revision: Revision, agent: &str, server: &str) -> String {
        let mut bits = [0u8; RANDOM];
        clock.random(&mut bits);
        let mut bytes = vec![VERSION, revision.number()];
        bytes.extend_from_slice(&clock.now().max(not_before).as_millisecond().to_be_bytes());
        bytes.extend_from_slice(&bits);
        let tag = self.mac(&bytes, agent, server).finalize().into_bytes();
        bytes.extend(tag.iter().take(TAG));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What an id says, if it was made with this key for this agent and server.
    pub(super) fn read(&self, id: &str, agent: &str, server: &str) -> Option<Issued> {
        let bytes = URL_SAFE_NO_PAD.decode(id.strip_prefix(PREFIX)?).ok()?;
        let (signed, tag) = bytes.split_at_checked(SIGNED).filter(|(_, tag)| tag.len() == TAG)?;
        self.mac(signed, agent, server).verify_truncated_left(tag).ok()?;
        let [VERSION, revision, rest @ ..] = signed else { return None };
        let at = Timestamp::from_millisecond(i64::from_be_bytes(*rest.first_chunk()?)).ok()?;
        Some(Issued { revision: Revision::numbered(*revision)?, at })
    }

    fn mac(&self, signed: &[u8], agent: &str, server: &str) -> Hmac<Sha256> {
        // HMAC pads a shorter key with zeros up to the hash's block (RFC 2104, 2).
        let mut block = [0u8; 64];
        for (to, from) in block.iter_mut().zip(self.0) {
            *to = from;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in [signed, agent.as_bytes(), server.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::SystemClock;

    #[test]
    fn an_id_says_when_and_what_for_and_only_to_who_it_was_made_for() {
        let key = SessionKey([7; 32]);
        let later = SystemClock.now() + std::time::Duration::from_secs(3600);
        let id = key.issue(&SystemClock, later, Revision::V2025_06_18, "bot", "demo");
        let (head, encoded) = id.split_at(3);
        assert_eq!((head, encoded.len()), ("ms_", 56));
        assert_eq!(key.read(&id, "bot", "demo"), Some(Issued { revision: Revision::V2025_06_18, at: later }));
        assert_ne!(id, key.issue(&SystemClock, later, Revision::V2025_06_18, "bot", "demo"));
        assert_eq!(key.read(&id, "eve", "demo"), None);
        assert_eq!(key.read(&id, "bot", "other"), None);
        assert_eq!(key.read(&id, "botd", "emo"), None);
        assert_eq!(SessionKey([8; 32]).read(&id, "bot", "demo"), None);
    }

    #[test]
    fn no_byte_of_an_id_can_be_changed() {
        let key = SessionKey([7; 32]);
        let id = key.issue(&SystemClock, Timestamp::UNIX_EPOCH, Revision::V2025_11_25, "bot", "demo");
        let bytes = URL_SAFE_NO_PAD.decode(&id[3..]).unwrap();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(key.read(&format!("ms_{}", URL_SAFE_NO_PAD.encode(&other)), "bot", "demo"), None, "{at}");
        }
        for wrong in ["", "ms_", "ms_AAAA", &id[..id.len() - 1], &format!("{id}A"), &id[3..]] {
            assert_eq!(key.read(wrong, "bot", "demo"), None, "{wrong}");
        }
    }
}
