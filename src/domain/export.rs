//! The audit as a file: one canonical JSON line per entry, and a last line that signs the head of the chain.
//! Without the last line a file is broken, so a file cut short is found. The key in the file only shows that the
//! file is one piece; who wrote it is known by comparing the key with `paraph audit key` (`--key`), and that its
//! end was not cut off by a hash kept elsewhere (`--head`). Called by `control` to sign and by `cli` to verify.

mod verify;

pub use verify::{Mistake, Summary, UncleanStart, Verifier};

use super::audit::Head;
use super::json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The last line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The last entry's number and hash.
    pub head: Head,
    /// Ed25519 over [`signed_bytes`], in base64.
    pub signature: String,
    /// The public key, in base64.
    pub key: String,
}

/// What a seal's signature covers: `paraph audit head v1`, the number in decimal and the hash as it stands in
/// the entry, each followed by one line feed.
pub fn signed_bytes(head: &Head) -> Vec<u8> {
    format!("paraph audit head v1\n{}\n{}\n", head.seq, head.hash).into_bytes()
}

/// Signs heads. Holds the private key, hence no `Debug`.
pub struct Attestor {
    key: SigningKey,
}

impl Attestor {
    /// From the 32 bytes of the private key (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Attestor {
        Attestor { key: SigningKey::from_bytes(&seed) }
    }

    /// The public half, in base64.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.key.verifying_key().as_bytes())
    }

    /// Signs a head.
    pub fn seal(&self, head: Head) -> Seal {
        let signature = STANDARD.encode(self.key.sign(&signed_bytes(&head)).to_bytes());
        Seal { head, signature, key: self.public_key() }
    }
}

/// A value as its line in the file, without the line feed.
pub fn line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_value(value).map(|value| json::canonical(&value))
}

/// Whether a text can be a public key.
pub fn is_public_key(text: &str) -> bool {
    public_key(text).is_some()
}

fn public_key(text: &str) -> Option<VerifyingKey> {
    let bytes: [u8; 32] = STANDARD.decode(text).ok()?.try_into().ok()?;
    VerifyingKey::from_bytes(&bytes).ok()
}

fn is_signed(seal: &Seal) -> bool {
    let signature = STANDARD.decode(&seal.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    match (public_key(&seal.key), signature) {
        (Some(key), Some(signature)) => key.verify_strict(&signed_bytes(&seal.head), &signature).is_ok(),
        _ => false,
    }
}
