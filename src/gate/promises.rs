//! Whose turn it is at a full limit. Each approved call that a limit keeps here is promised a time of its own, so
//! that they leave at the limit's pace and not in a herd, and whoever comes later goes behind them: an agent whose
//! allowed calls draw on the same limit would otherwise take each place the moment it is free. Promises are memory
//! of this process, made again from the store at its start; whether there is room decides the engine alone.
//! Called by `limits`, and by every rewrite of a call.

use crate::domain::call::{Call, CallId, State};
use crate::domain::limit::{Charge, CounterKey, Ledger};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A promised place is kept this much longer for a call that is late: its server may be busy.
const LATE: Duration = Duration::from_secs(5);
/// Limits of one call pull its time to and fro at most so often; the engine has the last word anyway.
const ROUNDS: usize = 64;

/// When approved calls that wait for a limit will leave.
#[derive(Default)]
pub(super) struct Promises(Mutex<Book>);

#[derive(Default)]
struct Book {
    by_counter: HashMap<CounterKey, Vec<Promise>>,
    by_call: HashMap<CallId, Vec<CounterKey>>,
}

struct Promise {
    at: Timestamp,
    call: CallId,
    amount: u64,
}

/// A time at which a call fits, and the limit that lets it leave no sooner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: Timestamp,
    pub(super) limit: Option<String>,
}

impl Promises {
    /// Whether anybody waits for one of these counters.
    pub(super) fn has_any(&self, charges: &[Charge]) -> bool {
        let book = self.book();
        charges.iter().any(|charge| book.by_counter.contains_key(&charge.key))
    }

    /// What a call that was just written has to do with it: one that does not wait for a limit any more needs no
    /// place.
    pub(super) fn follow(&self, call: &Call) {
        if !matches!(call.state, State::Approved { .. }) || call.cancelled || call.waits_for.is_none() {
            self.drop_of(&call.id);
        }
    }

    /// The call needs no place any more.
    pub(super) fn drop_of(&self, id: &CallId) {
        self.book().drop_of(id);
    }

    /// The first time from `from` on at which the call fits behind those who were promised an earlier one; somebody
    /// without a promise goes behind all.
    pub(super) fn place(&self, id: Option<&CallId>, charges: &[Charge], ledgers: &[Ledger], now: Timestamp, from: Timestamp) -> Place {
        self.book().place(id, charges, ledgers, now, from)
    }

    /// The same behind everybody; and the call is promised that time.
    pub(super) fn promise(&self, id: &CallId, charges: &[Charge], ledgers: &[Ledger], now: Timestamp, from: Timestamp) -> Place {
        let mut book = self.book();
        book.drop_of(id);
        let place = book.place(None, charges, ledgers, now, from);
        book.put(id, charges, place.at);
        place
    }

    /// The call was promised this time by an earlier process.
    pub(super) fn promise_again(&self, id: &CallId, charges: &[Charge], at: Timestamp) {
        let mut book = self.book();
        book.drop_of(id);
        book.put(id, charges, at);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn put(&mut self, id: &CallId, charges: &[Charge], at: Timestamp) {
        for charge in charges {
            let promises = self.by_counter.entry(charge.key.clone()).or_default();
            promises.push(Promise { at, call: id.clone(), amount: charge.amount });
        }
        self.by_call.insert(id.clone(), charges.iter().map(|charge| charge.key.clone()).collect());
    }

    fn drop_of(&mut self, id: &CallId) {
        for key in self.by_call.remove(id).unwrap_or_default() {
            if let Some(promises) = self.by_counter.get_mut(&key) {
                promises.retain(|promise| promise.call != *id);
                if promises.is_empty() {
                    self.by_counter.remove(&key);
                }
            }
        }
    }

    /// Those of a counter that go before `id`. A time that is long past was not used.
    fn before(&self, id: Option<&CallId>, key: &CounterKey, now: Timestamp) -> Vec<(Timestamp, u64)> {
        let promises = self.by_counter.get(key).map(Vec::as_slice).unwrap_or_default();
        let own = id.and_then(|id| promises.iter().find(|promise| promise.call == *id)).map(|promise| (promise.at, &promise.call));
        let kept = promises.iter().filter(|promise| promise.at + LATE > now && own.is_none_or(|own| (promise.at, &promise.call) < own));
        kept.map(|promise| (promise.at.max(now), promise.amount)).collect()
    }

    fn place(&self, id: Option<&CallId>, charges: &[Charge], ledgers: &[Ledger], now: Timestamp, from: Timestamp) -> Place {
        let others: Vec<_> = charges.iter().map(|charge| self.before(id, &charge.key, now)).collect();
        let mut place = Place { at: from, limit: None };
        for _ in 0..ROUNDS {
            let begun = place.at;
            for ((charge, ledger), others) in charges.iter().zip(ledgers).zip(&others) {
                let at = ledger.place(others, place.at, charge.window, charge.max, charge.amount);
                if at > place.at {
                    place = Place { at, limit: Some(charge.name.clone()) };
                }
            }
            if place.at == begun {
                break;
            }
        }
        place
    }
}
