//! The audit behind: facts about tools an operator marked `reads`, and outcomes of allowed calls, are written
//! in order at most 100 ms late, many in one change, so that reading costs no sync per call. The queue is
//! bounded: a full one makes the caller wait. Everything else is durable before it is done.

use super::clock::Clock;
use crate::domain::audit::Fact;
use crate::store::{Change, CommitError, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How late a fact may be written.
const LATEST: Duration = Duration::from_millis(100);
/// Pause before a store that was busy is asked again.
const AFTER_BUSY: Duration = Duration::from_millis(20);
/// Facts in one change.
const TOGETHER: usize = 60;

/// The sending half.
pub struct Behind {
    queue: mpsc::Sender<Fact>,
    closing: CancellationToken,
}

impl Behind {
    /// The queue, and the writer that somebody has to run.
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, bound: usize) -> (Behind, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(bound);
        let closing = CancellationToken::new();
        let writer = write_behind(waiting, closing.clone(), store, clock);
        (Behind { queue, closing }, writer)
    }

    /// Takes a fact; waits while the queue is full.
    pub async fn push(&self, fact: Fact) {
        if self.queue.send(fact).await.is_err() {
            tracing::error!("an audit fact came after the audit writer had ended");
        }
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}

async fn write_behind(mut waiting: mpsc::Receiver<Fact>, closing: CancellationToken, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
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
        let deadline = tokio::time::Instant::now() + LATEST;
        while facts.len() < TOGETHER {
            match tokio::time::timeout_at(deadline, waiting.recv()).await {
                Ok(Some(fact)) => facts.push(fact),
                Ok(None) | Err(_) => break,
            }
        }
        let count = facts.len();
        // Busy lasts as long as the committer takes for what waits; the bounded queue holds the callers meanwhile.
        let written = loop {
            match store.commit(Change::of_facts(clock.now(), facts.clone())).await {
                Err(CommitError::Store(StoreError::Busy)) => tokio::time::sleep(AFTER_BUSY).await,
                other => break other,
            }
        };
        if let Err(error) = written {
            tracing::error!(count, cause = %error, "audit facts could not be written");
        }
    }
}
