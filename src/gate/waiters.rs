//! Who waits for which call right now. Memory holds hints, the store holds the truth: a seat only says "look
//! again". A seat leaves by being dropped, so cancellation, panics and timeouts need no care, and a call that
//! nobody waits for and nobody counts leaves nothing behind. Used by `hold`, `cancel` and `release`.

use crate::domain::call::CallId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The map of seats; clones share it.
#[derive(Clone, Default)]
pub struct Waiters {
    slots: Arc<Mutex<HashMap<CallId, Slot>>>,
}

#[derive(Default)]
struct Slot {
    bell: watch::Sender<u64>,
    seats: usize,
    /// Pending answers given so far; forgotten with the slot when the call settles.
    answers: u32,
    /// Tells the upstream that the agent took its request back.
    sending: Option<CancellationToken>,
}

/// One waiting request's place.
pub struct Place {
    seated: bool,
    id: CallId,
    bell: watch::Receiver<u64>,
    waiters: Waiters,
}

impl Waiters {
    /// Sits down; from now on a change of the call rings.
    pub fn sit(&self, id: &CallId) -> Place {
        let mut slots = self.lock();
        let slot = slots.entry(id.clone()).or_default();
        slot.seats += 1;
        Place { seated: true, id: id.clone(), bell: slot.bell.subscribe(), waiters: self.clone() }
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
            if slot.seats == 0 {
                slots.remove(id);
            }
        }
    }

    fn leave(&self, id: &CallId) -> usize {
        let mut slots = self.lock();
        let Some(slot) = slots.get_mut(id) else { return 0 };
        slot.seats -= 1;
        let left = slot.seats;
        if left == 0 && slot.answers == 0 && slot.sending.is_none() {
            slots.remove(id);
        }
        left
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
    /// Leaves, and says how many still sit: of two who leave at once exactly one is the last.
    pub fn stand_up(mut self) -> usize {
        self.seated = false;
        self.waiters.leave(&self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.seated {
            self.waiters.leave(&self.id);
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
}
