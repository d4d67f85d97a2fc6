//! Leases: calls of tools that only read draw their permits from a block that one durable change took from the
//! limits before (semantics.md 26), so that a busy reader costs a sync per block and not per call. A place in a ledger
//! stays taken a slack longer than the window; a permit is used within half of that, so it frees no place too early. A
//! crash leaves the whole block taken; otherwise its rest goes back as soon as its time is over, or when somebody else
//! needs it. Called by `forward`; `hold`, `release` and `limits` commit their takes here.

use super::Gate;
use crate::domain::audit::Head;
use crate::domain::limit::{Charge, CounterKey, GiveBack, Take, slack};
use crate::store::{Change, CommitError, StoreError};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The part of a limit that one block may take at most, and bundles known at a time (some 2 MB); of one more each call
/// takes for itself.
const PART: u64 = 10;
const MOST: usize = 4096;
/// A bundle that nobody asked for this long is forgotten when there are too many.
const STALE: Duration = Duration::from_secs(1);
/// How often a call looks for a permit before it takes for itself, and how often a change that met a full limit is tried
/// again with the rests of other leases.
const ROUNDS: usize = 8;
/// Rests in one change, which has at most 64 operations.
const TOGETHER: usize = 32;
/// Pause before a store that was busy is asked again for a rest to go back, and how often.
const AFTER_BUSY: Duration = Duration::from_millis(20);
const TRIES: usize = 100;

/// The leases of this process.
#[derive(Default)]
pub(super) struct Leases(Mutex<Book>);

/// What a bundle draws on: the charges of a judged call, all of them alike.
type Bundle = Arc<[Charge]>;
/// How the fetch of a block ended: whether it may be drawn on.
type Fetched = Option<bool>;

#[derive(Default)]
struct Book {
    leases: HashMap<Bundle, Lease>,
    blocks: u64,
    swept_at: Option<Timestamp>,
}

/// One bundle's demand, and its block if it has one.
struct Lease {
    /// How many permits the next block should have.
    want: u64,
    /// The last permit.
    last: Timestamp,
    open: Open,
}

enum Open {
    Nothing,
    Fetching { done: watch::Receiver<Fetched>, waiting: u64 },
    Block(Block),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    number: u64,
    at: Timestamp,
    size: u64,
    left: u64,
}

/// What somebody finds who wants a permit.
enum Drawn {
    /// It was taken then.
    Permit(Timestamp),
    /// A block is being fetched.
    Wait(watch::Receiver<Fetched>),
    /// A block is to be fetched.
    Fetch(Order),
    /// No lease: the call takes for itself.
    Alone,
}

struct Order {
    bundle: Bundle,
    number: u64,
    permits: u64,
    back: Vec<GiveBack>,
    done: watch::Sender<Fetched>,
}

/// How long a block may be used after it was taken.
fn life(charges: &[Charge]) -> Duration {
    charges.iter().map(|charge| slack(charge.window) / 2).min().unwrap_or_default()
}

/// The most permits of one block.
fn largest(charges: &[Charge]) -> u64 {
    charges.iter().map(|charge| charge.max / charge.amount.max(1).saturating_mul(PART)).min().unwrap_or(1).max(1)
}

/// Whether `now` lies within `length` of `at`. A clock that was set back ends everything.
fn within(at: Timestamp, now: Timestamp, length: Duration) -> bool {
    at <= now && now <= at + length
}

impl Leases {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn draw(&mut self, charges: &[Charge], now: Timestamp) -> Drawn {
        let (life, largest) = (life(charges), largest(charges));
        if largest < 2 {
            return Drawn::Alone;
        }
        let Some(lease) = self.leases.get_mut(charges) else { return Drawn::Alone };
        match &mut lease.open {
            Open::Block(block) if block.left > 0 && within(block.at, now, life) => {
                block.left -= 1;
                lease.last = now;
                return Drawn::Permit(block.at);
            }
            // A fetch that panicked fetches nothing.
            Open::Fetching { done, waiting } if done.has_changed().is_ok() => {
                *waiting += 1;
                return Drawn::Wait(done.clone());
            }
            Open::Block(_) | Open::Fetching { .. } | Open::Nothing => {}
        }
        if !within(lease.last, now, life) {
            // Whoever asks rarely stays exact and costs what it always did. The rest of a block goes back by itself.
            return Drawn::Alone;
        }
        let mut back = Vec::new();
        if let Open::Block(block) = lease.open {
            lease.want = lease.want_after(block);
            back = if block.left > 0 { GiveBack::unused(charges, block.at, block.left) } else { back };
        }
        let done = watch::Sender::new(None);
        lease.open = Open::Fetching { done: done.subscribe(), waiting: 0 };
        let permits = lease.want.clamp(2, largest);
        self.blocks += 1;
        Drawn::Fetch(Order { permits, number: self.blocks, bundle: charges.into(), back, done })
    }

    /// A call took for itself: another one soon after it is worth a block.
    fn took(&mut self, charges: &[Charge], now: Timestamp) {
        if let Some(lease) = self.leases.get_mut(charges) {
            lease.last = now;
            return;
        }
        if self.leases.len() >= MOST && self.swept_at.is_none_or(|at| !within(at, now, STALE)) {
            self.swept_at = Some(now);
            self.leases.retain(|_, lease| !matches!(lease.open, Open::Nothing) || within(lease.last, now, STALE));
        }
        if self.leases.len() < MOST {
            self.leases.insert(charges.into(), Lease { want: 1, last: now, open: Open::Nothing });
        }
    }

    /// A block is there; those who waited for it are the demand of the next.
    fn arrived(&mut self, charges: &[Charge], block: Block) {
        let lease = self.leases.entry(charges.into()).or_insert(Lease { want: 1, last: block.at, open: Open::Nothing });
        if let Open::Fetching { waiting, .. } = lease.open {
            lease.want = waiting + 1;
        }
        (lease.last, lease.open) = (block.at, Open::Block(block));
    }

    /// A block did not fit, or came too late to be used: for now each call takes for itself.
    fn failed(&mut self, charges: &[Charge]) {
        self.leases.remove(charges);
    }

    /// The time of a block is over: what is left of it, if nobody took that back meanwhile.
    fn close(&mut self, charges: &[Charge], number: u64) -> u64 {
        let Some(lease) = self.leases.get_mut(charges) else { return 0 };
        match lease.open {
            Open::Block(block) if block.number == number => {
                (lease.want, lease.open) = (lease.want_after(block), Open::Nothing);
                block.left
            }
            Open::Block(_) | Open::Fetching { .. } | Open::Nothing => 0,
        }
    }

    /// The blocks of these counters that are being fetched.
    fn under_way(&self, keys: &[CounterKey]) -> Vec<watch::Receiver<Fetched>> {
        let touched = self.leases.iter().filter(|(bundle, _)| touches(bundle, keys));
        touched.filter_map(|(_, lease)| if let Open::Fetching { done, .. } = &lease.open { Some(done.clone()) } else { None }).collect()
    }

    /// Takes the rests of blocks of these counters out of the leases, as many as fit into one change.
    fn reclaim(&mut self, keys: &[CounterKey]) -> Vec<GiveBack> {
        let mut rests = Vec::new();
        for (bundle, lease) in self.leases.iter_mut().filter(|(bundle, _)| touches(bundle, keys)) {
            let Open::Block(block) = lease.open else { continue };
            if block.left > 0 && (rests.is_empty() || rests.len() + bundle.len() <= TOGETHER) {
                rests.extend(GiveBack::unused(bundle, block.at, block.left));
                (lease.want, lease.open) = (1, Open::Nothing);
            }
        }
        rests
    }
}

impl Lease {
    /// Used up in time: twice as many, or all who waited. Otherwise somewhat more than were used.
    fn want_after(&self, block: Block) -> u64 {
        let used = block.size - block.left;
        if block.left == 0 { self.want.max(2 * block.size) } else { used + used / 4 + 1 }
    }
}

fn touches(bundle: &[Charge], keys: &[CounterKey]) -> bool {
    bundle.iter().any(|charge| keys.contains(&charge.key))
}

/// Rests of the same take are one: a change names each take once.
fn join(backs: &mut Vec<GiveBack>, rests: Vec<GiveBack>) {
    for rest in rests {
        match backs.iter_mut().find(|back| back.is_of(&rest)) {
            Some(back) => back.amount = back.amount.saturating_add(rest.amount),
            None => backs.push(rest),
        }
    }
}

impl Gate {
    /// When a permit was taken that a call with these charges may use now; `None`: it takes for itself. Who was
    /// approved and waits for one of the limits goes first, so then there are no leases.
    pub(super) async fn leased(&self, charges: &[Charge], most_keys: usize) -> Option<Timestamp> {
        for _ in 0..ROUNDS {
            if self.inner.promises.has_any(charges) || self.inner.lives.draining.is_cancelled() {
                return None;
            }
            let now = self.inner.clock.now();
            let drawn = self.inner.leases.book().draw(charges, now);
            let mut done = match drawn {
                Drawn::Permit(at) => return Some(at),
                Drawn::Alone => return None,
                Drawn::Wait(done) => done,
                Drawn::Fetch(order) => {
                    let done = order.done.subscribe();
                    // A task of the gate: a caller that leaves must not take a block along.
                    self.inner.lives.tasks.spawn(self.clone().keep_block(order, most_keys));
                    done
                }
            };
            if !matches!(done.wait_for(Option::is_some).await.as_deref(), Ok(Some(true))) {
                return None;
            }
        }
        None
    }

    /// A call with these charges took for itself at `at`. Where writing takes as long as a block may be used, no block
    /// is worth fetching.
    pub(super) fn took_alone(&self, charges: &[Charge], at: Timestamp) {
        let now = self.inner.clock.now();
        if largest(charges) > 1 && within(at, now, life(charges) / 2) {
            self.inner.leases.book().took(charges, now);
        }
    }

    /// Fetches a block, and gives back what is left when its time is over or the gateway stops.
    async fn keep_block(self, order: Order, most_keys: usize) {
        let Order { bundle, number, permits, back, done } = order;
        let (leases, clock, life) = (&self.inner.leases, &self.inner.clock, life(&bundle));
        let at = clock.now();
        let change = Change { takes: Take::block(&bundle, permits, most_keys), given_back: back.clone(), ..Change::of_facts(at, Vec::new()) };
        let written = self.inner.store.commit(change).await;
        let usable = written.is_ok() && within(at, clock.now(), life);
        if usable {
            leases.book().arrived(&bundle, Block { number, at, size: permits, left: permits });
        } else {
            leases.book().failed(&bundle);
        }
        done.send_replace(Some(usable));
        let rest = match written {
            Ok(_) if usable => {
                tokio::select! {
                    () = tokio::time::sleep(life) => {}
                    () = self.inner.lives.draining.cancelled() => {}
                }
                let left = leases.book().close(&bundle, number);
                GiveBack::unused(&bundle, at, left)
            }
            Ok(_) => GiveBack::unused(&bundle, at, permits),
            // Perhaps it was written: what came back twice would be given.
            Err(CommitError::Lost) => Vec::new(),
            Err(CommitError::Conflict | CommitError::Limited { .. } | CommitError::Full { .. } | CommitError::Store(_)) => back,
        };
        self.return_unused(rest).await;
    }

    /// Gives back what nobody used. If it cannot be written it counts until its window is over, which is the safe side.
    async fn return_unused(&self, mut rest: Vec<GiveBack>) {
        rest.retain(|back| back.amount > 0);
        if rest.is_empty() {
            return;
        }
        for _ in 0..TRIES {
            let change = Change { given_back: rest.clone(), ..Change::of_facts(self.inner.clock.now(), Vec::new()) };
            match self.inner.store.commit(change).await {
                Err(CommitError::Store(StoreError::Busy)) => tokio::time::sleep(AFTER_BUSY).await,
                Ok(_) => return,
                Err(error) => return drop(self.failed(&error)),
            }
        }
    }

    /// Commits a change that takes from limits. What lies unused in leases of the same counters comes back in it before
    /// anybody is refused because of it.
    pub(super) async fn commit_takes(&self, change: Change) -> Result<Head, CommitError> {
        if change.takes.is_empty() || self.inner.leases.book().leases.is_empty() {
            return self.inner.store.commit(change).await;
        }
        let first = self.inner.store.commit(change.clone()).await;
        let Err(full @ CommitError::Limited { .. }) = first else { return first };
        let gate = self.clone();
        // A task of the gate: a caller that leaves must not take the rests along.
        self.inner.lives.tasks.spawn(async move { gate.commit_with_rests(change, full).await }).await.unwrap_or(Err(CommitError::Lost))
    }

    async fn commit_with_rests(&self, change: Change, mut full: CommitError) -> Result<Head, CommitError> {
        let keys: Vec<CounterKey> = change.takes.iter().map(|take| take.charge.key.clone()).collect();
        for _ in 0..ROUNDS {
            let under_way = self.inner.leases.book().under_way(&keys);
            for mut done in under_way {
                let _ended = done.wait_for(Option::is_some).await.is_ok();
            }
            let rests = self.inner.leases.book().reclaim(&keys);
            if rests.is_empty() {
                break;
            }
            let mut with_rests = change.clone();
            join(&mut with_rests.given_back, rests.clone());
            match self.inner.store.commit(with_rests).await {
                Err(error @ (CommitError::Limited { .. } | CommitError::Conflict | CommitError::Full { .. } | CommitError::Store(_))) => {
                    let mut back = Vec::new();
                    join(&mut back, rests);
                    self.return_unused(back).await;
                    let CommitError::Limited { .. } = error else { return Err(error) };
                    full = error;
                }
                answer @ (Ok(_) | Err(CommitError::Lost)) => return answer,
            }
        }
        Err(full)
    }
}
