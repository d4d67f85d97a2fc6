//! What operators are told by mail about the gateway itself: each trouble once until it ends (semantics.md 37). What
//! was told is kept in memory; after a start the last audit entries tell it, so that a gateway that dies and is started
//! again and again writes one mail an hour. Called by `lookout`, with all troubles that there are.

use crate::domain::audit::Fact;
use crate::domain::digest::hex;
use crate::domain::letter::{Letter, Trouble};
use crate::domain::people::Role;
use crate::gate::{Failure, Gate};
use crate::store::{Change, Row};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A trouble that comes and goes is told of at most this often.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// The entry about a letter of troubles.
const TOLD: &str = "trouble.told";
/// Audit entries that are read after a start.
const REMEMBERED: u64 = 500;

/// When which trouble was told, and whether it lasts; as many as there are servers, and a few.
#[derive(Default)]
pub(in crate::gate) struct Troubles {
    told: Mutex<BTreeMap<String, Told>>,
}

struct Told {
    at: Timestamp,
    /// One that is over and comes back is told of again when the pause is.
    is_over: bool,
}

impl Troubles {
    /// Those of them that nobody was told of.
    fn untold(&self, troubles: &[Trouble], now: Timestamp) -> Vec<Trouble> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting: Vec<String> = troubles.iter().map(Trouble::key).collect();
        told.retain(|key, told| {
            told.is_over |= !lasting.contains(key);
            !told.is_over || now.duration_since(told.at) < AGAIN
        });
        let new = troubles.iter().filter(|trouble| !told.contains_key(&trouble.key())).cloned().collect();
        for key in lasting {
            told.entry(key).or_insert(Told { at: now, is_over: false });
        }
        new
    }

    /// One that an earlier process told of.
    fn remember(&self, key: &str, at: Timestamp) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(key.to_owned(), Told { at, is_over: true });
    }

    fn forget(&self, troubles: &[Trouble]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for trouble in troubles {
            told.remove(&trouble.key());
        }
    }
}

impl Gate {
    /// Reads what an earlier process told of in the last hour, as far as the last few audit entries say it.
    pub(in crate::gate) async fn remember_told(&self) -> Result<(), Failure> {
        let from = self.audit_head().await?.seq.saturating_sub(REMEMBERED).max(1);
        let now = self.inner.clock.now();
        let recent = |at: Timestamp| at <= now && now.duration_since(at) < AGAIN;
        for entry in self.audit_entries(from, usize::try_from(REMEMBERED).unwrap_or(usize::MAX)).await? {
            if entry.kind == TOLD && recent(entry.at) {
                let keys = entry.data["troubles"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
                keys.for_each(|key| self.inner.troubles.remember(key, entry.at));
            }
        }
        Ok(())
    }

    /// Tells every active operator of the troubles that there are now, all of them: one that is not named any more has
    /// ended. Writes one letter about those that are new, and none while mail is off.
    pub async fn tell_operators(&self, troubles: &[Trouble]) -> Result<(), Failure> {
        if !self.settings().letters {
            return Ok(());
        }
        // While there is no operator yet nobody could be told, and the first one is to hear of what lasts.
        if !troubles.is_empty() && !self.people().await?.iter().any(|person| person.role == Role::Operator && person.disabled_at.is_none()) {
            return Ok(());
        }
        let now = self.inner.clock.now();
        let new = self.inner.troubles.untold(troubles, now);
        if new.is_empty() {
            return Ok(());
        }
        let mut drawn = [0_u8; 8];
        self.inner.clock.random(&mut drawn);
        let letter = Letter::about_troubles(&hex(&drawn), new.clone(), now);
        let data = json!({ "letter": letter.id, "troubles": new.iter().map(Trouble::key).collect::<Vec<_>>() });
        let fact = Fact { kind: TOLD, call: None, actor: "paraph".into(), data: data.into() };
        let written = self.inner.store.commit(Change::of_row(now, Row::Letter(letter), fact)).await;
        written.map(drop).map_err(|error| {
            self.inner.troubles.forget(&new);
            self.failed(&error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_until_it_ends_and_not_more_than_once_an_hour() {
        let troubles = Troubles::default();
        let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let down = Trouble::UpstreamDown { server: "demo".into() };
        let lost = |calls| Trouble::Unconfirmed { calls };
        assert_eq!(troubles.untold(&[down.clone(), lost(1)], at(0)), [down.clone(), lost(1)]);
        assert_eq!(troubles.untold(&[down.clone(), lost(2)], at(300)), []);
        assert_eq!(troubles.untold(&[lost(2)], at(301)), []);
        let again = std::slice::from_ref(&down);
        assert_eq!(troubles.untold(again, at(302)), again);
        assert_eq!(troubles.untold(&[], at(303)), []);
        assert_eq!(troubles.untold(again, at(304)), []);
        assert_eq!(troubles.untold(&[], at(305)), []);
        assert_eq!(troubles.untold(again, at(400)), again);
    }

    #[test]
    fn one_that_comes_back_within_the_hour_and_stays_is_told_of_when_the_hour_is_over() {
        let troubles = Troubles::default();
        let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let down = [Trouble::UpstreamDown { server: "demo".into() }];
        assert_eq!(troubles.untold(&down, at(0)), down);
        assert_eq!(troubles.untold(&[], at(2)), []);
        for (minute, told) in [(30, false), (59, false), (60, true), (61, false), (500, false)] {
            assert_eq!(!troubles.untold(&down, at(minute)).is_empty(), told, "at minute {minute}");
        }
        let early = Troubles::default();
        early.remember("upstream_down demo", at(0));
        for (minute, told) in [(1, false), (60, true), (61, false)] {
            assert_eq!(!early.untold(&down, at(minute)).is_empty(), told, "at minute {minute} after a start");
        }
    }
}
