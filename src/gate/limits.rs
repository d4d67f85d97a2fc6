//! Where limits meet the life of a call: a full one refuses at the door, and an approved call waits for its turn
//! behind the others. Taking is the engine's, inside the change that it belongs to. When several approved calls
//! wait, each is promised a time of its own, so that they leave at the limit's pace and not in a herd; promises are
//! memory, the time itself is in the call. Called by `forward`, `hold`, `release` and by pages.

use super::admit::{Ask, verdict_fact, wording};
use super::notice::{self, Notice};
use super::reviewer::Reviewer;
use super::{Failure, Gate, Settings};
use crate::domain::call::{Call, CallId, State};
use crate::domain::digest::Digest;
use crate::domain::json;
use crate::domain::limit::{Charge, Counter, CounterKey, GiveBack, Ledger};
use crate::domain::policy::{Asked, LimitView};
use crate::store::{Change, CommitError, Kind, Row, Seen};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest an agent is told to wait: a date beyond it says nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);
/// Counters looked at in one read.
const TOGETHER: usize = 100;

/// A limit without room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// Its name.
    pub limit: String,
    /// When there is room, if nobody else takes it.
    pub until: Timestamp,
}

/// When approved calls that wait for a limit will leave, by counter.
#[derive(Default)]
pub(super) struct Promises(Mutex<HashMap<CounterKey, Vec<Promise>>>);

struct Promise {
    at: Timestamp,
    call: CallId,
    amount: u64,
}

/// One counter and what is used of it, for a page.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What it is called.
    pub counter: Counter,
    /// What agents asked for within the window, in millionths.
    pub asked: u64,
    /// What was sent, in millionths.
    pub sent: u64,
    /// When one more would fit.
    pub room_at: Timestamp,
}

impl Promises {
    /// The call has left.
    pub(super) fn kept(&self, id: &CallId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, promises| {
            promises.retain(|promise| promise.call != *id);
            !promises.is_empty()
        });
    }

    /// When the call would leave behind everybody who was promised a time; with `keep` it is promised that time.
    fn place(&self, id: &CallId, charges: &[Charge], ledgers: &[Ledger], now: Timestamp, keep: bool) -> Timestamp {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut place = now;
        for (charge, ledger) in charges.iter().zip(ledgers) {
            let mut ledger = ledger.clone();
            if let Some(promises) = all.get_mut(&charge.key) {
                promises.retain(|promise| promise.at > now && promise.call != *id);
                promises.sort_by_key(|promise| promise.at);
                promises.iter().for_each(|promise| ledger.put(promise.at, charge.window, promise.amount));
            }
            place = place.max(ledger.room_at(now, charge.window, charge.max, charge.amount));
        }
        if keep {
            for charge in charges {
                all.entry(charge.key.clone()).or_default().push(Promise { at: place, call: id.clone(), amount: charge.amount });
            }
        }
        place
    }
}

impl Gate {
    /// A call at the door that a limit has no room for.
    pub(super) async fn limited(&self, ask: &Ask, digest: &Digest, full: Limited, under: &Settings) -> Result<Notice, Failure> {
        self.record(verdict_fact("call.limited", ask, digest, &full.limit, under)).await?;
        let now = self.inner.clock.now();
        let wait = Duration::try_from(full.until.duration_since(now)).unwrap_or_default().min(LONGEST_WAIT);
        Ok(notice::limited(wording(ask, under), &format!("limit {}", full.limit), now, wait))
    }

    /// After a restore nobody knows what was sent since the backup: a window that reaches back that far is full.
    pub(super) fn full_since_restore(&self, charges: &[Charge], now: Timestamp) -> Option<Limited> {
        let restored_at = *self.inner.restored_at.get()?;
        let full = charges.iter().map(|charge| Limited { limit: charge.name.clone(), until: restored_at + charge.window });
        full.filter(|full| full.until > now).max_by_key(|full| full.until)
    }

    /// Reads when the store was restored, if it was.
    pub(super) async fn remember_restore(&self) -> Result<(), Failure> {
        let row = self.inner.store.row(Kind::Restored, crate::store::RESTORED).await.map_err(|e| self.failed(&e))?;
        if let Some(Row::Restored(restored)) = row {
            let _the_only_one = self.inner.restored_at.set(restored.at);
        }
        Ok(())
    }

    /// An approved call that a limit keeps here: it gets a time of its own behind those that wait already.
    pub(super) async fn put_off(&self, id: &CallId, charges: &[Charge], full: Limited) -> Result<(), Failure> {
        let ledgers = self.sent_ledgers(charges).await?;
        let now = self.inner.clock.now();
        let until = self.inner.promises.place(id, charges, &ledgers, now, true).max(full.until.min(now + LONGEST_WAIT));
        self.rewrite(id, |call| {
            let next = call.put_off(until, &full.limit)?;
            let fact = self.call_fact("call.put_off", &next, "paraph", json!({ "limit": full.limit, "until": until }));
            Some((next, fact))
        })
        .await
        .map(drop)
    }

    /// A send that provably never left takes nothing from what may be sent. A failure is in the log: the take then
    /// counts until its window is over, which is the safe side.
    pub(super) async fn give_back(&self, charges: &[Charge], at: Timestamp) {
        if charges.is_empty() {
            return;
        }
        let change = Change { given_back: GiveBack::of(charges, at), ..Change::of_facts(self.inner.clock.now(), Vec::new()) };
        if let Err(error) = self.inner.store.commit(change).await {
            let _logged = self.failed(&error);
        }
    }

    async fn sent_ledgers(&self, charges: &[Charge]) -> Result<Vec<Ledger>, Failure> {
        let mut ledgers = Vec::with_capacity(charges.len());
        for charge in charges {
            let row = self.inner.store.row(Kind::Counter, charge.key.as_str()).await.map_err(|e| self.failed(&e))?;
            ledgers.push(if let Some(Row::Counter(counter)) = row { counter.sent } else { Ledger::default() });
        }
        Ok(ledgers)
    }

    /// Takes away counters that have nothing to count any more.
    pub(super) async fn forget_counters(&self) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        loop {
            let rows = self.inner.store.rows(Kind::Counter, after.as_deref(), TOGETHER).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key().to_owned());
            let now = self.inner.clock.now();
            for row in &rows {
                let Row::Counter(counter) = row else { continue };
                if !counter.is_idle(now) {
                    continue;
                }
                let key = counter.key.as_str().to_owned();
                // Whoever took from it meanwhile keeps it.
                let seen = vec![Seen { kind: Kind::Counter, key: key.clone(), revision: counter.revision }];
                let change = Change { seen, removed: vec![(Kind::Counter, key)], ..Change::of_facts(now, Vec::new()) };
                match self.inner.store.commit(change).await {
                    Ok(_) | Err(CommitError::Conflict | CommitError::Lost) => {}
                    Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
                }
            }
        }
    }
}

impl Reviewer {
    /// When the call would leave if it were approved now, as far as limits go; `None` when none keeps it.
    pub async fn leaves_at(&self, call: &Call) -> Result<Option<Limited>, Failure> {
        let gate = self.gate();
        let (State::Held { .. }, Ok(arguments)) = (&call.state, json::strict(call.arguments.as_bytes())) else { return Ok(None) };
        let settings = gate.settings();
        let Some(server) = settings.servers.get(&call.server) else { return Ok(None) };
        let asked = Asked { agent: &call.agent, tool: &call.tool, arguments: &arguments, session: call.session.as_deref() };
        let charges = server.policy.judge(&asked).charges;
        let now = gate.inner.clock.now() + call.terms.undo;
        let ledgers = gate.sent_ledgers(&charges).await?;
        let mut latest = gate.full_since_restore(&charges, now);
        for (charge, ledger) in charges.iter().zip(&ledgers) {
            let until = gate.inner.promises.place(&call.id, std::slice::from_ref(charge), std::slice::from_ref(ledger), now, false);
            if until > now && latest.as_ref().is_none_or(|other| until > other.until) {
                latest = Some(Limited { limit: charge.name.clone(), until });
            }
        }
        Ok(latest)
    }

    /// Every limit of every server, in the order of the config.
    pub fn limits(&self) -> Vec<(String, Vec<LimitView>)> {
        let settings = self.gate().settings();
        settings.servers.iter().map(|(name, server)| (name.clone(), server.policy.limits())).filter(|(_, limits)| !limits.is_empty()).collect()
    }

    /// What is used of the counters after `after`, in the order of their keys.
    pub async fn usage(&self, after: Option<&str>, most: usize) -> Result<Vec<Usage>, Failure> {
        let gate = self.gate();
        let rows = gate.inner.store.rows(Kind::Counter, after, most).await.map_err(|e| gate.failed(&e))?;
        let now = gate.inner.clock.now();
        let usage = |row| {
            let Row::Counter(counter) = row else { return None };
            let (asked, sent) = (counter.asked.used(now, counter.window), counter.sent.used(now, counter.window));
            let one = crate::domain::limit::ONE.min(counter.max);
            let room_at = counter.asked.room_at(now, counter.window, counter.max, one).max(counter.sent.room_at(now, counter.window, counter.max, one));
            Some(Usage { counter, asked, sent, room_at })
        };
        Ok(rows.into_iter().filter_map(usage).collect())
    }
}
