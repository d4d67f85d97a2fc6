//! What of a call people see, as one short word: two records with the same word look the same to everybody. An open page
//! replaces what differs, and a stream tells of nothing else. Called by `web` and, for streams, by `gate`.

use super::Call;
use crate::domain::digest::Digest;

impl Call {
    /// The word, 16 hexadecimal digits. Who was mailed and who has read it are left out; replacing a form for that would
    /// take a click away from under a pointer.
    pub fn look(&self) -> String {
        let flags = (self.cancelled, self.delivered, self.taken_back);
        let shown = (self.version, &self.state, &self.decisions, flags, &self.erased_at, &self.waits_for);
        // A call that is kept can be written.
        let digest = Digest::of_bytes(&serde_json::to_vec(&shown).unwrap_or_default());
        digest.as_str().chars().skip("sha256:".len()).take(16).collect()
    }
}
