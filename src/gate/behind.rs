//! The audit behind: facts about tools an operator marked `reads`, and outcomes of allowed calls, are written
//! in order at most 100 ms late, many in one change, so that reading costs no sync per call. The queue is
//! bounded: a full one makes the caller wait. Everything else is durable before it is done.

use super::clock::Clock;
use crate::domain::audit::Fact;
use crate::store::{Change, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How late a fact may be written.
const LATEST: Duration = Duration::from_millis(100);
/// Facts in one change.
const TOGETHER: usize = 60;

/// The sending half.
pub struct Behind {
    queue: mpsc::Sender<Fact>,
    closing: CancellationToken,
}

impl Behind {
    pub(super) fn start(tasks: &TaskTracker, store: Arc<dyn Store>, clock: Arc<dyn Clock>, bound: usize) -> Behind {
        let (queue, waiting) = mpsc::channel(bound);
        let closing = CancellationToken::new();
        tasks.spawn(write_behind(waiting, closing.clone(), store, clock));
        Behind { queue, closing }
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
        if let Err(error) = store.commit(Change::of_facts(clock.now(), facts)).await {
            tracing::error!(count, cause = %error, "audit facts could not be written");
        }
    }
}
