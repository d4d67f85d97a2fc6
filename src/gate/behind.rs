//! The audit behind: facts about tools an operator marked `reads`, and outcomes of allowed calls, are written
//! in order at most 100 ms late, many in one change, so that reading costs no sync per call. The queue is
//! bounded: a full one makes the caller wait. Everything else is durable before it is done.

use super::clock::Clock;
use super::{Failure, Gate};
use crate::domain::audit::{Fact, Head};
use crate::store::{Change, CommitError, Store, StoreError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// How long facts are gathered: each sync costs the same for one and for many, and what is left of the 100 ms is for the
/// sync.
const GATHERED: Duration = Duration::from_millis(50);
/// Pause before a store that was busy is asked again.
const AFTER_BUSY: Duration = Duration::from_millis(20);
/// Facts in one change, which has at most 64 operations, and changes that become durable by one sync.
const TOGETHER: usize = 60;
const CHANGES: usize = 32;

/// The sending half.
pub struct Behind {
    queue: mpsc::Sender<Fact>,
    /// The queue is half full.
    hurry: Arc<Notify>,
    closing: CancellationToken,
}

impl Behind {
    /// The queue, and the writer that somebody has to run.
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, bound: usize) -> (Behind, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(bound);
        let (closing, hurry) = (CancellationToken::new(), Arc::new(Notify::new()));
        let writer = write_behind(waiting, (closing.clone(), hurry.clone()), store, clock);
        (Behind { queue, hurry, closing }, writer)
    }

    /// A place for one fact; waits while the queue is full. `None` when nothing is written behind any more, because the
    /// gateway is stopping.
    async fn place(&self) -> Option<Place<'_>> {
        let place = self.queue.reserve().await.ok()?;
        Some(Place { behind: self, place })
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

/// Room in the queue that nobody else gets.
struct Place<'a> {
    behind: &'a Behind,
    place: mpsc::Permit<'a, Fact>,
}

impl Place<'_> {
    fn put(self, fact: Fact) {
        self.place.send(fact);
        let queue = &self.behind.queue;
        if queue.capacity() <= queue.max_capacity() / 2 {
            self.behind.hurry.notify_one();
        }
    }
}

/// Where a fact will be written; it is taken before the fact is true, because the queue may be full for long.
pub(super) struct Line<'a> {
    gate: &'a Gate,
    place: Option<Place<'a>>,
}

impl Line<'_> {
    /// Writes the fact behind, or at once when the gateway is stopping.
    pub(super) async fn put(self, fact: Fact) -> Result<(), Failure> {
        match self.place {
            Some(place) => {
                place.put(fact);
                Ok(())
            }
            None => self.gate.record(fact).await,
        }
    }
}

impl Gate {
    /// A place for a fact that may be written behind.
    pub(super) async fn line(&self) -> Line<'_> {
        Line { gate: self, place: self.inner.behind.place().await }
    }
}

async fn write_behind(mut waiting: mpsc::Receiver<Fact>, (closing, hurry): (CancellationToken, Arc<Notify>), store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        let first = tokio::select! {
            biased;
            fact = waiting.recv() => fact,
            () = closing.cancelled() => {
                waiting.close();
                waiting.recv().await
            }
        };
        let Some(first) = first else { return };
        let mut facts = vec![first];
        // Asleep, so that a fact that comes wakes nobody.
        tokio::select! {
            () = tokio::time::sleep(GATHERED) => {}
            () = hurry.notified() => {}
            () = closing.cancelled() => {}
        }
        while facts.len() < TOGETHER * CHANGES
            && let Ok(fact) = waiting.try_recv()
        {
            facts.push(fact);
        }
        let mut under_way = Vec::new();
        while !facts.is_empty() {
            let rest = facts.split_off(facts.len().min(TOGETHER));
            let together = std::mem::replace(&mut facts, rest);
            under_way.push((together.len(), submit(&*store, clock.now(), together).await));
        }
        for (count, written) in under_way {
            if let Err(error) = written.await {
                tracing::error!(count, cause = %error, "audit facts could not be written");
            }
        }
    }
}

/// Puts a change into the store's queue, behind those that were put there before; what it gives says how that ended.
async fn submit(store: &dyn Store, at: Timestamp, facts: Vec<Fact>) -> BoxFuture<'_, Result<Head, CommitError>> {
    loop {
        let mut commit = store.commit(Change::of_facts(at, facts.clone()));
        match (&mut commit).now_or_never() {
            None => return commit,
            // Busy lasts as long as the committer takes for what waits; the bounded queue holds the callers meanwhile.
            Some(Err(CommitError::Store(StoreError::Busy))) => tokio::time::sleep(AFTER_BUSY).await,
            Some(done) => return Box::pin(std::future::ready(done)),
        }
    }
}
