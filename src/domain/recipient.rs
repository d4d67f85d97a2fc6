//! What people refused lately to one recipient of one agent: three refusals within an hour close the way to that
//! recipient until a person opens it again (contract.md, "How an agent waits"). The recipient is named by a
//! digest only, so that the record outlives the erasure of the address. Pure; kept by `gate/refusals`.

use super::call::CallId;
use super::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Refusals count this long.
pub const WITHIN: Duration = Duration::from_secs(3600);
/// This many refusals within [`WITHIN`] close the way.
pub const REFUSALS: usize = 3;

/// One recipient as one agent reaches it at one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipientKey(pub Digest);

impl RecipientKey {
    /// `@Bob`, ` @bob` and `@bob` are one recipient: case and blanks around do not make another person.
    pub fn of(agent: &str, server: &str, to: &str) -> RecipientKey {
        RecipientKey(Digest::of_bytes(format!("{agent}\n{server}\n{}", to.trim().to_lowercase()).as_bytes()))
    }

    /// The text of the digest.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The refusals towards one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// Whose and to whom.
    pub recipient: RecipientKey,
    /// Compared by the engines. Starts at 1.
    pub revision: u64,
    /// The agent.
    pub agent: String,
    /// The server.
    pub server: String,
    /// When, and which call, oldest first; at most [`REFUSALS`].
    pub refused: Vec<(Timestamp, CallId)>,
    /// Since when nothing more goes to the recipient; `None` while the way is open.
    pub closed_at: Option<Timestamp>,
}

impl Refusals {
    /// Nothing refused so far; the first write of it has revision 1.
    pub fn none(recipient: RecipientKey, agent: &str, server: &str) -> Refusals {
        Refusals { recipient, revision: 0, agent: agent.to_owned(), server: server.to_owned(), refused: Vec::new(), closed_at: None }
    }

    /// The next revision after one more refusal.
    pub fn refused_again(&self, call: &CallId, now: Timestamp) -> Refusals {
        let mut refused: Vec<_> = self.refused.iter().filter(|(at, _)| counts(*at, now)).cloned().collect();
        refused.push((now, call.clone()));
        let surplus = refused.len().saturating_sub(REFUSALS);
        refused.drain(..surplus);
        let closed_at = self.closed_at.or_else(|| (refused.len() >= REFUSALS).then_some(now));
        Refusals { revision: self.revision + 1, refused, closed_at, ..self.clone() }
    }

    /// The next revision after a person opened the way again; earlier refusals count no more.
    pub fn lifted(&self) -> Refusals {
        Refusals { revision: self.revision + 1, refused: Vec::new(), closed_at: None, ..self.clone() }
    }

    /// Whether the record says nothing any more and can go.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.closed_at.is_none() && !self.refused.iter().any(|(at, _)| counts(*at, now))
    }
}

fn counts(at: Timestamp, now: Timestamp) -> bool {
    now < at + WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(minutes: &[i64]) -> Refusals {
        let none = Refusals::none(RecipientKey::of("bot", "demo", "@bob"), "bot", "demo");
        minutes
            .iter()
            .fold(none, |refusals, minute| refusals.refused_again(&CallId(format!("c_{minute}")), Timestamp::from_second(minute * 60).expect("a time")))
    }

    #[test]
    fn three_refusals_within_an_hour_close_the_way_and_a_person_opens_it() {
        assert_eq!(refuse(&[0, 30]).closed_at, None);
        let closed = refuse(&[0, 30, 59]);
        assert!(closed.closed_at.is_some());
        assert_eq!(closed.lifted().closed_at, None);
        assert_eq!(closed.lifted().refused_again(&CallId("c_4".into()), Timestamp::from_second(60 * 59).expect("a time")).closed_at, None);
    }

    #[test]
    fn refusals_slide_out_after_an_hour_and_an_old_closing_stays() {
        assert_eq!(refuse(&[0, 30, 60]).closed_at, None);
        assert!(refuse(&[0, 30, 60, 80]).closed_at.is_some());
        assert!(refuse(&[0, 1, 2, 500]).closed_at.is_some());
        assert!(refuse(&[0]).is_stale(Timestamp::from_second(3600).expect("a time")));
        assert!(!refuse(&[0, 1, 2]).is_stale(Timestamp::MAX));
    }

    #[test]
    fn a_recipient_is_the_same_in_any_case_and_another_at_another_server() {
        let bob = RecipientKey::of("bot", "demo", "@bob");
        assert_eq!(bob, RecipientKey::of("bot", "demo", " @BOB "));
        assert_ne!(bob, RecipientKey::of("bot", "other", "@bob"));
        assert_ne!(bob, RecipientKey::of("other", "demo", "@bob"));
    }
}
