//! The one thread that writes. It takes what waits in the queue, plans it, writes one transaction over all
//! trees, flushes, syncs the file itself (sled's flush does not survive a power cut), and only then answers.
//! Any error or panic on that way poisons the store: a sync is never tried again, because the kernel may have
//! dropped the pages that it could not write. Started by `open`.

use super::disk::Disk;
use super::marker;
use super::plan::{Batch, Held};
use crate::domain::audit::Head;
use crate::store::{Change, CommitError, Hint, StoreError, rules};
use sled::Transactional as _;
use sled::transaction::TransactionError;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Most changes in one transaction.
const CHANGES_MOST: usize = 64;

/// Most operations in one transaction, unless a single change needs more. Large ones cost sled much memory.
const OPERATIONS_MOST: usize = 128;

/// A change and who waits for it. When the sender is dropped unused, the waiter learns `Lost`.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) answer: oneshot::Sender<Result<Head, CommitError>>,
}

/// The sync of the database file, apart so that a test can let it fail.
pub(super) type Sync = Box<dyn FnMut() -> io::Result<()> + Send>;

/// What the thread owns.
pub(super) struct Committer {
    pub(super) disk: Arc<Disk>,
    pub(super) head: Head,
    pub(super) held: Held,
    pub(super) sync: Sync,
    /// Why the store takes nothing more.
    pub(super) poisoned: watch::Sender<Option<String>>,
    pub(super) hints: broadcast::Sender<Hint>,
}

/// How far a batch got.
enum Failed {
    /// Nothing of it was written.
    Before(String),
    /// It may be there after the next open.
    Unknown(String),
}

impl Committer {
    /// Works until every sender is gone and the queue is empty, or until the store is poisoned.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(&mut jobs)));
        let why = match worked {
            Ok(Ok(())) => return self.mark(),
            Ok(Err(why)) => why,
            Err(_) => "the thread that writes panicked".to_owned(),
        };
        tracing::error!(why, "the store takes no more changes: restart the gateway after the cause is gone");
        self.poisoned.send_replace(Some(why.clone()));
        jobs.close();
        while let Some(job) = jobs.blocking_recv() {
            answer(job.answer, Err(StoreError::Poisoned(why.clone()).into()));
        }
    }

    fn mark(&self) {
        if let Err(cause) = marker::write(&self.disk.folder, &self.head) {
            tracing::warn!(%cause, "the store is closed, but its marker could not be written");
        }
    }

    fn work(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Result<(), String> {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match jobs.blocking_recv() {
                    Some(job) => waiting.push_back(job),
                    None => return Ok(()),
                }
            }
            while waiting.len() < CHANGES_MOST {
                match jobs.try_recv() {
                    Ok(job) => waiting.push_back(job),
                    Err(_) => break,
                }
            }
            self.commit(&mut waiting)?;
        }
    }

    /// Commits as many of the waiting changes as fit into one transaction. A refusal is answered only after the
    /// sync too: it may rest on a change of the same batch.
    fn commit(&mut self, waiting: &mut VecDeque<Job>) -> Result<(), String> {
        let disk = Arc::clone(&self.disk);
        let mut batch = Batch::new(&disk, self.head.clone(), self.held.clone());
        let mut answers = Vec::with_capacity(waiting.len());
        let mut hints = Vec::with_capacity(waiting.len());
        while let Some(job) = waiting.pop_front() {
            match batch.plan(&job.change) {
                Err(why) => answers.push((job.answer, Err(why))),
                Ok(plan) => {
                    let together = batch.operations.len() + plan.operations.len();
                    if together > OPERATIONS_MOST && !batch.operations.is_empty() {
                        waiting.push_front(job);
                        break;
                    }
                    answers.push((job.answer, Ok(plan.head.clone())));
                    hints.extend(rules::hint(&job.change));
                    batch.add(plan);
                }
            }
        }
        match self.write(&disk, batch) {
            Ok(()) => {
                for (to, result) in answers {
                    answer(to, result);
                }
                for hint in hints {
                    // An error only says that nobody listens.
                    let _ = self.hints.send(hint);
                }
                Ok(())
            }
            Err(Failed::Before(why)) => {
                for (to, _) in answers {
                    answer(to, Err(StoreError::Poisoned(why.clone()).into()));
                }
                Err(why)
            }
            Err(Failed::Unknown(why)) => Err(why),
        }
    }

    fn write(&mut self, disk: &Disk, mut batch: Batch<'_>) -> Result<(), Failed> {
        if batch.operations.is_empty() {
            return Ok(());
        }
        if !batch.bodies.is_empty() {
            let written = batch.bodies.iter().try_for_each(|(apart, bytes)| disk.write_body(apart, bytes));
            written.and_then(|()| disk.sync_bodies()).map_err(|cause| Failed::Before(format!("writing a body file failed: {cause}")))?;
        }
        {
            let mut durable = disk.writing();
            // Stays when this fails or panics: readers would take what is in the trees for durable.
            durable.unsure = true;
            self.transact(disk, &batch).map_err(|cause| Failed::Unknown(format!("writing failed: {cause}")))?;
            disk.db.flush().map_err(|cause| Failed::Unknown(format!("flushing failed: {cause}")))?;
            (self.sync)().map_err(|cause| Failed::Unknown(format!("syncing failed: {cause}")))?;
            for moved in batch.moves.drain(..) {
                moved.apply(&mut durable.open);
            }
            durable.head = batch.head.clone();
            durable.held = batch.held.total;
            durable.unsure = false;
        }
        for apart in &batch.dropped {
            disk.drop_body(apart);
        }
        self.head = batch.head;
        self.held = batch.held;
        Ok(())
    }

    fn transact(&self, disk: &Disk, batch: &Batch<'_>) -> Result<(), TransactionError<Infallible>> {
        disk.trees.as_slice().transaction(|trees| {
            for ((tree, key), value) in &batch.operations {
                let tree = &trees[*tree as usize];
                match value {
                    Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                    None => tree.remove(key.as_slice())?,
                };
            }
            Ok(())
        })
    }
}

fn answer(to: oneshot::Sender<Result<Head, CommitError>>, result: Result<Head, CommitError>) {
    // An error only says that the one who asked has gone; the change is durable all the same.
    let _ = to.send(result);
}
