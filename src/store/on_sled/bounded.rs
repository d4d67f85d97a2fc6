//! Counts that the store does not keep and a change is checked against: how many calls are held, of whom, and how
//! many keys each counter of a limit has. Counted once at open; then a batch notes its steps, which are taken when
//! it is durable, so that a change costs the same however many agents there are. Owned by the committer.

use super::disk::Disk;
use super::known;
use super::layout::{self, HELD, Tree};
use super::records::Records as _;
use super::snapshot::Snapshot;
use crate::domain::limit::group_of;
use crate::store::open::{Move, OPEN, Place};
use crate::store::{Kind, StoreError};
use std::collections::HashMap;
use std::ops::Bound;

#[derive(Debug, Default)]
pub(super) struct Bounded {
    held: usize,
    of_agent: HashMap<String, usize>,
    counters: HashMap<String, usize>,
}

/// One more or one less.
#[derive(Debug)]
pub(super) enum Step {
    Held { agent: String, by: isize },
    Key { group: String, by: isize },
}

impl Step {
    pub(super) fn held(agent: &str, by: isize) -> Step {
        Step::Held { agent: agent.to_owned(), by }
    }

    /// Of a counter's key.
    pub(super) fn key(key: &str, by: isize) -> Step {
        Step::Key { group: group_of(key).to_owned(), by }
    }
}

impl Bounded {
    /// Counts what the store holds, at open, and registers what is open.
    pub(super) fn count(disk: &Disk) -> Result<Bounded, StoreError> {
        let (mut counts, seen) = (Bounded::default(), disk.snapshot());
        for tag in layout::state_tags(&OPEN.map(str::to_owned)) {
            for pair in seen.range(Tree::ByTime, Bound::Included(&[tag]), Bound::Excluded(&[tag + 1]), false) {
                let (key, value) = pair?;
                let told = layout::read_about(&key, &value)?;
                let Some(place) = (if told.is_some() { told } else { read(&seen, &key)? }) else { continue };
                if tag == HELD {
                    counts.take(&Step::held(place.agent(), 1));
                }
                disk.move_open([Move { to: Some(place), ..Move::default() }]);
            }
        }
        for pair in known::of_kind(&seen, Kind::Letter, None) {
            pair?;
            disk.move_open([Move { letters: (1, 0), ..Move::default() }]);
        }
        for pair in known::of_kind(&seen, Kind::Counter, None) {
            counts.take(&Step::key(&String::from_utf8_lossy(&pair?.0[1..]), 1));
        }
        Ok(counts)
    }

    /// How many are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// How many are held after these steps: of all agents, and of this one.
    pub(super) fn held_of(&self, steps: &[Step], agent: &str) -> (usize, usize) {
        let (mut total, mut own) = (self.held, self.of_agent.get(agent).copied().unwrap_or(0));
        for step in steps {
            if let Step::Held { agent: of, by } = step {
                total = total.saturating_add_signed(*by);
                own = own.saturating_add_signed(if of == agent { *by } else { 0 });
            }
        }
        (total, own)
    }

    /// How many keys of this group of counters there are after these steps.
    pub(super) fn counters_of(&self, steps: &[Step], group: &str) -> usize {
        let stored = self.counters.get(group).copied().unwrap_or(0);
        steps.iter().fold(stored, |count, step| match step {
            Step::Key { group: of, by } if of == group => count.saturating_add_signed(*by),
            Step::Key { .. } | Step::Held { .. } => count,
        })
    }

    /// The step is durable.
    pub(super) fn take(&mut self, step: &Step) {
        let (counts, of, by) = match step {
            Step::Held { agent, by } => {
                self.held = self.held.saturating_add_signed(*by);
                (&mut self.of_agent, agent, *by)
            }
            Step::Key { group, by } => (&mut self.counters, group, *by),
        };
        let count = counts.get(of).copied().unwrap_or(0).saturating_add_signed(by);
        if count == 0 {
            counts.remove(of);
        } else {
            counts.insert(of.clone(), count);
        }
    }
}

/// The place of a call whose index does not tell it, because an older binary wrote it.
fn read(seen: &Snapshot<'_>, key: &[u8]) -> Result<Option<Place>, StoreError> {
    let head = seen.call_head(&layout::read_place(key)?.id)?;
    let head = head.ok_or_else(|| StoreError::Corrupt("an index names a call that is not there".to_owned()))?;
    Ok(Place::of(&head.call))
}
