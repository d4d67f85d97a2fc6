//! Leases: calls of tools that only read draw their places from a block that one durable change took from the
//! limits before (semantics.md 26), so that a busy reader costs a sync per block and not per call. A place in a ledger
//! stays taken a slack longer than the window; a place is used within half of that, so it frees no place too early. A
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
/// How often a call looks for a place before it takes for itself, and how often a change that met a full limit is tried
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
    /// Rests on their way back into the store; over when the other end is gone.
    moving: Vec<(Vec<CounterKey>, watch::Receiver<Fetched>)>,
    blocks: u64,
    swept_at: Option<Timestamp>,
}

/// One bundle's demand, and its block if it has one.
struct Lease {
    /// How many places the next block should have.
    want: u64,
    /// The last place.
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

/// What somebody finds who wants a place.
enum Drawn {
    /// It was taken then.
    Place(Timestamp),
    /// A block is being fetched.
    Wait(watch::Receiver<Fetched>),
    /// A block is to be fetched.
    Fetch(Order),
    /// No lease: the call takes for itself.
    Alone,
}

/// Places on their way back: whoever needs one waits until this is dropped.
struct Rest {
    back: Vec<GiveBack>,
    _moving: watch::Sender<Fetched>,
}

struct Order {
    bundle: Bundle,
    number: u64,
    places: u64,
    back: Vec<GiveBack>,
    done: watch::Sender<Fetched>,
}

/// How long a block may be used after it was taken.
fn life(charges: &[Charge]) -> Duration {
    charges.iter().map(|charge| slack(charge.window) / 2).min().unwrap_or_default()
}

/// The most places of one block.
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
                return Drawn::Place(block.at);
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
        let places = lease.want.clamp(2, largest);
        self.blocks += 1;
        Drawn::Fetch(Order { places, number: self.blocks, bundle: charges.into(), back, done })
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
    fn close(&mut self, charges: &[Charge], number: u64) -> Rest {
        let mut back = Vec::new();
        if let Some(lease) = self.leases.get_mut(charges)
            && let Open::Block(block) = lease.open
            && block.number == number
        {
            (lease.want, lease.open) = (lease.want_after(block), Open::Nothing);
            back = GiveBack::unused(charges, block.at, block.left);
        }
        self.move_back(back)
    }

    /// Takes the rests of blocks of these counters out of the leases, as many as fit into one change.
    fn reclaim(&mut self, keys: &[CounterKey]) -> Rest {
        let mut back = Vec::new();
        for (bundle, lease) in self.leases.iter_mut().filter(|(bundle, _)| bundle.iter().any(|charge| keys.contains(&charge.key))) {
            let Open::Block(block) = lease.open else { continue };
            if block.left > 0 && (back.is_empty() || back.len() + bundle.len() <= TOGETHER) {
                join(&mut back, GiveBack::unused(bundle, block.at, block.left));
                (lease.want, lease.open) = (1, Open::Nothing);
            }
        }
        self.move_back(back)
    }

    fn move_back(&mut self, mut back: Vec<GiveBack>) -> Rest {
        back.retain(|back| back.amount > 0);
        let moving = watch::Sender::new(None);
        if !back.is_empty() {
            self.moving.retain(|(_, moving)| moving.has_changed().is_ok());
            self.moving.push((back.iter().map(|back| back.key.clone()).collect(), moving.subscribe()));
        }
        Rest { back, _moving: moving }
    }

    /// What is on its way, of these counters: blocks that are being fetched and rests that come back.
    fn under_way(&mut self, keys: &[CounterKey]) -> Vec<watch::Receiver<Fetched>> {
        self.moving.retain(|(_, moving)| moving.has_changed().is_ok());
        let back = self.moving.iter().filter(|(moved, _)| moved.iter().any(|key| keys.contains(key))).map(|(_, moving)| moving.clone());
        let fetched = self.leases.iter().filter_map(|(bundle, lease)| match &lease.open {
            Open::Fetching { done, .. } if bundle.iter().any(|charge| keys.contains(&charge.key)) => Some(done.clone()),
            Open::Fetching { .. } | Open::Block(_) | Open::Nothing => None,
        });
        back.chain(fetched).collect()
    }
}

impl Lease {
    /// Used up in time: twice as many, or all who waited. Otherwise somewhat more than were used.
    fn want_after(&self, block: Block) -> u64 {
        let used = block.size - block.left;
        if block.left == 0 { self.want.max(2 * block.size) } else { used + used / 4 + 1 }
    }
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
    /// When a place was taken that a call with these charges may use now; `None`: it takes for itself. Who was
    /// approved and waits for one of the limits goes first, so then there are no leases.
    pub(super) async fn leased(&self, charges: &[Charge], most_keys: usize) -> Option<Timestamp> {
        for _ in 0..ROUNDS {
            if self.inner.promises.has_any(charges) || self.inner.lives.draining.is_cancelled() {
                return None;
            }
            let now = self.inner.clock.now();
            let drawn = self.inner.leases.book().draw(charges, now);
            let mut done = match drawn {
                Drawn::Place(at) => return Some(at),
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
        let Order { bundle, number, places, back, done } = order;
        let (leases, clock, life) = (&self.inner.leases, &self.inner.clock, life(&bundle));
        let at = clock.now();
        let change = Change { takes: Take::block(&bundle, places, most_keys), given_back: back.clone(), ..Change::of_facts(at, Vec::new()) };
        let written = self.inner.store.commit(change).await;
        if written.is_ok() && within(at, clock.now(), life) {
            leases.book().arrived(&bundle, Block { number, at, size: places, left: places });
            done.send_replace(Some(true));
            tokio::select! {
                () = tokio::time::sleep(life) => {}
                () = self.inner.lives.draining.cancelled() => {}
            }
            let rest = leases.book().close(&bundle, number);
            return self.return_unused(&rest.back).await;
        }
        match written {
            Ok(_) => self.return_unused(&GiveBack::unused(&bundle, at, places)).await,
            // Perhaps it was written: what came back twice would be given.
            Err(CommitError::Lost) => {}
            Err(CommitError::Conflict | CommitError::Limited { .. } | CommitError::Full { .. } | CommitError::Store(_)) => self.return_unused(&back).await,
        }
        // Only now: whoever waited for the block may need what came back.
        leases.book().failed(&bundle);
        done.send_replace(Some(false));
    }

    /// Gives back what nobody used. If it cannot be written it counts until its window is over, which is the safe side.
    async fn return_unused(&self, back: &[GiveBack]) {
        if back.is_empty() {
            return;
        }
        for _ in 0..TRIES {
            let change = Change { given_back: back.to_vec(), ..Change::of_facts(self.inner.clock.now(), Vec::new()) };
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
            let nothing_comes = under_way.is_empty();
            for mut done in under_way {
                let _ended = done.wait_for(Option::is_some).await.is_ok();
            }
            let rest = self.inner.leases.book().reclaim(&keys);
            if nothing_comes && rest.back.is_empty() {
                break;
            }
            let mut with_rest = change.clone();
            join(&mut with_rest.given_back, rest.back.clone());
            match self.inner.store.commit(with_rest).await {
                Err(error @ (CommitError::Limited { .. } | CommitError::Conflict | CommitError::Full { .. } | CommitError::Store(_))) => {
                    self.return_unused(&rest.back).await;
                    let CommitError::Limited { .. } = error else { return Err(error) };
                    full = error;
                }
                answer @ (Ok(_) | Err(CommitError::Lost)) => return answer,
            }
        }
        Err(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limit::{Label, ONE};

    fn charges(max: u64) -> Vec<Charge> {
        let label = Label { server: Some("s".into()), counter: format!("of {max}"), scope: "grant".into(), value: "a".into() };
        vec![Charge { key: CounterKey::of(&label), label, name: "c".into(), window: Duration::from_secs(60), max: max * ONE, amount: ONE, reason: None }]
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + ms).unwrap()
    }

    /// What is drawn at this time, with every block there at once: `alone`, `new N` for the first of a new block, or the time.
    fn draw(book: &mut Book, charges: &[Charge], ms: i64) -> String {
        match book.draw(charges, at(ms)) {
            Drawn::Alone => {
                book.took(charges, at(ms));
                "alone".to_owned()
            }
            Drawn::Fetch(order) => {
                book.arrived(charges, Block { number: order.number, at: at(ms), size: order.places, left: order.places });
                let Drawn::Place(_) = book.draw(charges, at(ms)) else { panic!("a new block has a place") };
                let back = order.back.iter().map(|back| back.amount / ONE).sum::<u64>();
                if back > 0 { format!("new {}, back {back}", order.places) } else { format!("new {}", order.places) }
            }
            Drawn::Place(taken) => format!("of {}", taken.as_millisecond() - 1_000_000),
            Drawn::Wait(_) => "wait".to_owned(),
        }
    }

    #[test]
    fn who_asks_rarely_takes_each_place_alone() {
        let (mut book, charges) = (Book::default(), charges(1000));
        for round in 0..10 {
            assert_eq!(draw(&mut book, &charges, 51 * round), "alone");
        }
    }

    #[test]
    fn a_limit_of_less_than_twenty_is_never_leased_and_a_block_is_at_most_a_tenth() {
        let mut book = Book::default();
        for max in [1, 19] {
            assert!((0..100).all(|_| draw(&mut book, &charges(max), 0) == "alone"), "{max}");
        }
        let drawn: Vec<String> = (0..30).map(|_| draw(&mut book, &charges(70), 0)).collect();
        let fetched: Vec<&str> = drawn.iter().map(String::as_str).filter(|drawn| !drawn.starts_with("of")).collect();
        assert_eq!(fetched, ["alone", "new 2", "new 4", "new 7", "new 7", "new 7", "new 7"]);
    }

    #[test]
    fn a_block_that_ran_out_of_time_is_followed_by_one_of_about_what_was_used() {
        let (mut book, charges) = (Book::default(), charges(1000));
        for _ in 0..15 {
            draw(&mut book, &charges, 0);
        }
        assert_eq!(draw(&mut book, &charges, 0), "new 16");
        assert_eq!((1..=7).map(|_| draw(&mut book, &charges, 50)).collect::<Vec<_>>(), ["of 0"; 7]);
        assert_eq!(draw(&mut book, &charges, 51), "new 11, back 8");
        assert_eq!(draw(&mut book, &charges, 50), "alone", "a clock that was set back ends a block");
    }

    #[test]
    fn who_comes_while_a_block_is_fetched_waits_and_counts_for_the_next() {
        let (mut book, charges) = (Book::default(), charges(10_000));
        draw(&mut book, &charges, 0);
        let Drawn::Fetch(order) = book.draw(&charges, at(0)) else { panic!("no fetch") };
        assert!((0..40).all(|_| matches!(book.draw(&charges, at(0)), Drawn::Wait(_))));
        book.arrived(&charges, Block { number: order.number, at: at(0), size: 2, left: 2 });
        let drawn: Vec<String> = (0..3).map(|_| draw(&mut book, &charges, 0)).collect();
        assert_eq!(drawn, ["of 0", "of 0", "new 41"]);
    }

    #[test]
    fn a_fetch_that_broke_off_is_waited_for_by_nobody() {
        let (mut book, charges) = (Book::default(), charges(1000));
        draw(&mut book, &charges, 0);
        assert!(matches!(book.draw(&charges, at(0)), Drawn::Fetch(_)));
        assert_eq!(draw(&mut book, &charges, 0), "new 2");
    }

    #[test]
    fn a_rest_comes_back_once_and_can_be_waited_for() {
        let (mut book, charges) = (Book::default(), charges(1000));
        let keys = [charges[0].key.clone()];
        draw(&mut book, &charges, 0);
        assert_eq!((draw(&mut book, &charges, 0), book.blocks), ("new 2".to_owned(), 1));
        let rest = book.reclaim(&keys);
        assert_eq!((rest.back.as_slice(), book.under_way(&keys).len()), (GiveBack::unused(&charges, at(0), 1).as_slice(), 1));
        assert!(book.reclaim(&keys).back.is_empty() && book.close(&charges, 1).back.is_empty());
        drop(rest);
        assert!(book.under_way(&keys).is_empty() && book.moving.is_empty());
        assert_eq!(draw(&mut book, &charges, 0), "new 2");
        assert_eq!([1, 2, 2].map(|number| book.close(&charges, number).back.len()), [0, 1, 0]);
        assert!(book.reclaim(&keys).back.is_empty());
    }

    #[test]
    fn the_book_is_bounded_and_forgets_who_asked_long_ago() {
        let mut book = Book::default();
        for max in 0..MOST as u64 + 10 {
            book.took(&charges(1000 + max), at(0));
        }
        assert_eq!(book.leases.len(), MOST);
        book.took(&charges(10), at(2000));
        assert_eq!(book.leases.len(), 1);
    }
}
