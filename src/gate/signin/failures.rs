//! What the audit is told of those who were not let in: one entry for each person and quarter of an hour, with counts, and one
//! for all names that nobody has, which are counted and never written. Strangers could fill the chain otherwise.
//! Filled by `password`, emptied by a task of the gate.

use crate::domain::audit::Fact;
use crate::gate::Gate;
use crate::gate::attempts::Name;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long failures are gathered into one entry.
const GATHERED: SignedDuration = SignedDuration::from_mins(15);
/// How often the gathered ones are looked at.
const ROUND: Duration = Duration::from_secs(60);
/// Unknown names that are told apart; more are more, but how many is not counted.
const NAMES: usize = 10_000;

/// Since when, and what.
#[derive(Debug)]
struct Gathered {
    since: Timestamp,
    wrong: u64,
    refused: u64,
    names: HashSet<Name>,
}

/// By person; `None` is everybody who does not exist.
#[derive(Debug, Default)]
pub(super) struct Failures {
    all: Mutex<BTreeMap<Option<String>, Gathered>>,
}

impl Failures {
    /// A wrong password.
    pub(super) fn wrong(&self, whose: Option<&str>, name: &Name, now: Timestamp) {
        self.note(whose, name, now, |gathered| gathered.wrong += 1);
    }

    /// One that was not looked at, because too many were wrong before.
    pub(super) fn refused(&self, whose: Option<&str>, name: &Name, now: Timestamp) {
        self.note(whose, name, now, |gathered| gathered.refused += 1);
    }

    fn note(&self, whose: Option<&str>, name: &Name, now: Timestamp, count: impl FnOnce(&mut Gathered)) {
        let mut all = self.all();
        let new = || Gathered { since: now, wrong: 0, refused: 0, names: HashSet::new() };
        let gathered = all.entry(whose.map(str::to_owned)).or_insert_with(new);
        count(gathered);
        if whose.is_none() && gathered.names.len() < NAMES {
            gathered.names.insert(name.clone());
        }
    }

    /// What was gathered long enough, or all of it.
    fn due(&self, now: Timestamp, everything: bool) -> Vec<Fact> {
        let mut all = self.all();
        let over = |gathered: &Gathered| everything || now.duration_since(gathered.since) >= GATHERED || now < gathered.since;
        let due: Vec<_> = all.iter().filter(|(_, gathered)| over(gathered)).map(|(whose, _)| whose.clone()).collect();
        due.into_iter().filter_map(|whose| all.remove_entry(&whose)).map(fact).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Option<String>, Gathered>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fact((whose, gathered): (Option<String>, Gathered)) -> Fact {
    let mut data = json!({ "person": whose, "wrong": gathered.wrong, "refused": gathered.refused, "since": gathered.since });
    if whose.is_none() {
        data["names"] = json!(gathered.names.len());
    }
    Fact { kind: "sign_in.failed", call: None, actor: "paraph".into(), data: data.into() }
}

impl Gate {
    /// Writes down what was gathered, until the gate drains.
    pub(in crate::gate) async fn tell_of_failed_sign_ins(self) {
        let draining = self.draining();
        loop {
            tokio::select! {
                () = draining.cancelled() => break,
                () = tokio::time::sleep(ROUND) => {}
            }
            self.tell_failures(false).await;
        }
        self.tell_failures(true).await;
    }

    /// One round of it.
    pub async fn tell_failures(&self, everything: bool) {
        for fact in self.inner.entrance.failures.due(self.inner.clock.now(), everything) {
            // A failure is in the log; the counts of a quarter of an hour are then lost.
            let _ = self.record(fact).await;
        }
    }
}
