//! Who waits for which call right now. Memory holds hints, the store holds the truth: a seat only says "look
//! again". A seat leaves by being dropped, so cancellation, panics and timeouts need no care, and a call that
//! nobody waits for and nobody counts leaves nothing behind. Whoever shows presence hears when a call's first
//! request sits down and when its last one leaves. Used by `hold`, `resume`, `cancel` and `release`.

use super::Gate;
use crate::domain::call::CallId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Changes of presence that wait for a slow reader before it misses some.
const CHANGES: usize = 1024;

/// The map of seats; clones share it.
#[derive(Clone)]
pub struct Waiters {
    slots: Arc<Mutex<HashMap<CallId, Slot>>>,
    changes: broadcast::Sender<CallId>,
}

impl Default for Waiters {
    fn default() -> Waiters {
        Waiters { slots: Arc::default(), changes: broadcast::Sender::new(CHANGES) }
    }
}

#[derive(Default)]
struct Slot {
    bell: watch::Sender<u64>,
    seats: usize,
    /// Requests that were taken back and still listen for the end: they count for nobody.
    listeners: usize,
    /// Pending answers given so far; forgotten with the slot when the call settles.
    answers: u32,
    /// Tells the upstream that the agent took its request back.
    sending: Option<CancellationToken>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.seats == 0 && self.listeners == 0 && self.answers == 0 && self.sending.is_none()
    }
}

/// What a place counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Waits,
    Listens,
    Left,
}

/// One waiting request's place.
pub struct Place {
    role: Role,
    id: CallId,
    bell: watch::Receiver<u64>,
    waiters: Waiters,
}

impl Gate {
    /// The calls whose agent came or left just now. The place says "look again"; a receiver that lags must look at
    /// every call it shows.
    pub fn watch_presence(&self) -> broadcast::Receiver<CallId> {
        self.inner.waiters.changes.subscribe()
    }
}

impl Waiters {
    /// Hears the bell without counting as somebody who waits.
    pub fn listen_in(&self, id: &CallId) -> Place {
        let mut slots = self.lock();
        let slot = slots.entry(id.clone()).or_default();
        slot.listeners += 1;
        Place { role: Role::Listens, id: id.clone(), bell: slot.bell.subscribe(), waiters: self.clone() }
    }

    /// Sits down; from now on a change of the call rings.
    pub fn sit(&self, id: &CallId) -> Place {
        let mut slots = self.lock();
        let slot = slots.entry(id.clone()).or_default();
        slot.seats += 1;
        let place = Place { role: Role::Waits, id: id.clone(), bell: slot.bell.subscribe(), waiters: self.clone() };
        if slot.seats == 1 {
            self.tell(id);
        }
        place
    }

    /// Under the lock, so that changes are told in the order they had; nobody listening is fine.
    fn tell(&self, id: &CallId) {
        let _ = self.changes.send(id.clone());
    }

    /// Rings for one call.
    pub fn wake(&self, id: &CallId) {
        if let Some(slot) = self.lock().get(id) {
            slot.bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Rings for all calls.
    pub fn wake_all(&self) {
        for slot in self.lock().values() {
            slot.bell.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Whether at least one request waits.
    pub fn is_waiting(&self, id: &CallId) -> bool {
        self.lock().get(id).is_some_and(|slot| slot.seats > 0)
    }

    /// How many requests wait.
    pub fn seats(&self, id: &CallId) -> usize {
        self.lock().get(id).map_or(0, |slot| slot.seats)
    }

    /// Counts one more pending answer and says how many there were with it.
    pub fn count_answer(&self, id: &CallId) -> u32 {
        let mut slots = self.lock();
        let slot = slots.entry(id.clone()).or_default();
        slot.answers = slot.answers.saturating_add(1);
        slot.answers
    }

    /// Notes that the call is being sent; the token is how a late cancel reaches the upstream.
    pub fn sending(&self, id: &CallId, cancel: CancellationToken) {
        self.lock().entry(id.clone()).or_default().sending = Some(cancel);
    }

    /// Forwards a late cancel to the upstream.
    pub fn cancel_sending(&self, id: &CallId) {
        if let Some(cancel) = self.lock().get(id).and_then(|slot| slot.sending.as_ref()) {
            cancel.cancel();
        }
    }

    /// The call is settled: forget its counts.
    pub fn forget(&self, id: &CallId) {
        let mut slots = self.lock();
        if let Some(slot) = slots.get_mut(id) {
            slot.answers = 0;
            slot.sending = None;
            if slot.is_empty() {
                slots.remove(id);
            }
        }
    }

    /// Moves a place to another role; the number of requests that wait after it.
    fn change(&self, id: &CallId, from: Role, to: Role) -> usize {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(id) else { return 0 };
        match from {
            Role::Waits => slot.seats -= 1,
            Role::Listens => slot.listeners -= 1,
            Role::Left => {}
        }
        match to {
            Role::Waits => slot.seats += 1,
            Role::Listens => slot.listeners += 1,
            Role::Left => {}
        }
        let seats = slot.seats;
        if slot.is_empty() {
            slots.remove(id);
        }
        if from == Role::Waits && seats == 0 {
            self.tell(id);
        }
        seats
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Slot>> {
        // Nothing can panic while the lock is held, so a poisoned map is still whole.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Marks everything so far as heard; call it before reading the store.
    pub fn listen(&mut self) {
        self.bell.borrow_and_update();
    }

    /// Until the bell rings.
    pub async fn rung(&mut self) {
        if self.bell.changed().await.is_err() {
            // The slot was replaced; the caller looks again at its own pace.
            std::future::pending::<()>().await;
        }
    }
}

impl Place {
    /// Whether it counts as somebody who waits.
    pub fn waits(&self) -> bool {
        self.role == Role::Waits
    }

    /// Goes on listening without counting as somebody who waits.
    pub fn only_listen(&mut self) {
        self.turn(Role::Listens);
    }

    /// Leaves, and says how many still wait: of two who leave at once exactly one is the last.
    pub fn stand_up(mut self) -> usize {
        self.turn(Role::Left)
    }

    fn turn(&mut self, role: Role) -> usize {
        let was = std::mem::replace(&mut self.role, role);
        self.waiters.change(&self.id, was, role)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.role != Role::Left {
            self.turn(Role::Left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_that_rang_before_the_wait_is_heard_and_an_empty_slot_is_removed() {
        let waiters = Waiters::default();
        let id = CallId("c_1".into());
        let mut place = waiters.sit(&id);
        place.listen();
        waiters.wake(&id);
        place.rung().await;
        assert!(waiters.is_waiting(&id));
        drop(place);
        assert!(waiters.lock().is_empty());
    }

    #[test]
    fn the_count_of_answers_survives_between_requests_and_goes_when_the_call_settles() {
        let waiters = Waiters::default();
        let id = CallId("c_1".into());
        drop(waiters.sit(&id));
        assert_eq!(waiters.count_answer(&id), 1);
        drop(waiters.sit(&id));
        assert_eq!(waiters.count_answer(&id), 2);
        waiters.forget(&id);
        assert!(waiters.lock().is_empty());
    }

    #[test]
    fn presence_is_told_when_the_first_comes_and_the_last_leaves_and_a_listener_is_nobody() {
        let waiters = Waiters::default();
        let mut changes = waiters.changes.subscribe();
        let mut told = || std::iter::from_fn(|| changes.try_recv().ok()).count();
        let id = CallId("c_1".into());
        let (first, second) = (waiters.sit(&id), waiters.sit(&id));
        assert_eq!(told(), 1);
        assert_eq!(first.stand_up(), 1);
        assert_eq!(told(), 0);
        drop(second);
        assert_eq!(told(), 1);
        let mut third = waiters.sit(&id);
        third.only_listen();
        assert_eq!((told(), waiters.is_waiting(&id)), (2, false));
        let waits = waiters.sit(&id);
        assert_eq!((third.stand_up(), told()), (1, 1));
        drop(waits);
        assert_eq!(told(), 1);
        assert!(waiters.lock().is_empty());
    }

    #[tokio::test]
    async fn who_only_listens_hears_the_bell_until_it_leaves() {
        let waiters = Waiters::default();
        let id = CallId("c_1".into());
        let mut place = waiters.listen_in(&id);
        place.listen();
        waiters.forget(&id);
        waiters.wake(&id);
        place.rung().await;
        drop(place);
        assert!(waiters.lock().is_empty());
    }
}
