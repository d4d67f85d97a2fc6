//! The one thread that writes. It takes what waits in the queue, plans it, writes one transaction over all
//! trees, flushes, syncs the file itself (sled's flush does not survive a power cut), and only then answers.
//! Any error or panic on that way poisons the store: a sync is never tried again, because the kernel may have
//! dropped the pages that it could not write. Started by `open`.

use super::disk::{Disk, Durable};
use super::layout::{self, TREES, Tree};
use super::marker;
use super::plan::{Batch, Operations};
use super::tally::Tally;
use crate::domain::audit::Head;
use crate::store::{Change, CommitError, Hint, Kind, StoreError, rules};
use sled::Transactional as _;
use sled::transaction::TransactionError;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Most changes that become durable by one sync.
const CHANGES_MOST: usize = 256;

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
    pub(super) tally: Tally,
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

    /// Commits the waiting changes. A refusal is answered only after the sync too: it may rest on a change of the same
    /// batch.
    fn commit(&mut self, waiting: &mut VecDeque<Job>) -> Result<(), String> {
        let disk = Arc::clone(&self.disk);
        let mut batch = Batch::new(&disk, self.head.clone(), &self.tally);
        let mut answers = Vec::with_capacity(waiting.len());
        let mut hints = Vec::with_capacity(waiting.len());
        for job in waiting.drain(..) {
            match batch.plan(&job.change) {
                Err(why) => answers.push((job.answer, Err(why))),
                Ok(plan) => {
                    answers.push((job.answer, Ok(plan.head.clone())));
                    hints.extend(rules::hint(&job.change));
                    batch.add(plan, OPERATIONS_MOST);
                }
            }
        }
        match write(&disk, &mut self.sync, &mut batch) {
            Ok(()) => {
                let Batch { head, steps, .. } = batch;
                self.head = head;
                steps.iter().for_each(|step| self.tally.take(step));
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
}

fn write(disk: &Disk, sync: &mut Sync, batch: &mut Batch<'_>) -> Result<(), Failed> {
    if batch.transactions.is_empty() {
        return Ok(());
    }
    if !batch.bodies.is_empty() {
        let written = batch.bodies.iter().try_for_each(|(apart, bytes)| disk.write_body(apart, bytes));
        written.and_then(|()| disk.sync_bodies()).map_err(|cause| Failed::Before(format!("writing a body file failed: {cause}")))?;
    }
    let before = batch.before().map_err(|cause| Failed::Before(cause.to_string()))?;
    batch.keys(Tree::Newest).for_each(|key| disk.known.may_come(Tree::Newest, key));
    batch.keys(Tree::ByRecipient).filter_map(|key| key.get(..=layout::RECIPIENT)).for_each(|key| disk.known.may_come(Tree::ByRecipient, key));
    let refusals = [layout::kind_tag(Kind::Refusals)];
    batch.keys(Tree::Rows).filter(|key| key.starts_with(&refusals)).for_each(|key| disk.known.may_come(Tree::Rows, key));
    let ahead = disk.get_ahead(before);
    for operations in &batch.transactions {
        transact(disk, operations).map_err(|cause| Failed::Unknown(format!("writing failed: {cause}")))?;
    }
    disk.db.flush().map_err(|cause| Failed::Unknown(format!("flushing failed: {cause}")))?;
    sync().map_err(|cause| Failed::Unknown(format!("syncing failed: {cause}")))?;
    for (kind, key, row) in &batch.rows {
        disk.known.put(*kind, key.clone(), row.clone());
    }
    ahead.confirm(Durable { head: batch.head.clone(), held: batch.held(), unsure: false });
    disk.move_open(batch.moves.drain(..));
    for apart in &batch.dropped {
        disk.drop_body(apart);
    }
    Ok(())
}

fn transact(disk: &Disk, operations: &Operations) -> Result<(), TransactionError<Infallible>> {
    // Each tree of a transaction costs, also one that it does not touch.
    let mut touched: Vec<Tree> = operations.keys().map(|(tree, _)| *tree).collect();
    touched.dedup();
    let mut place = [0; TREES.len()];
    (0..).zip(&touched).for_each(|(at, tree)| place[*tree as usize] = at);
    let trees: Vec<&sled::Tree> = touched.iter().map(|tree| disk.tree(*tree)).collect();
    trees.as_slice().transaction(|trees| {
        for ((tree, key), value) in operations {
            let tree = &trees[place[*tree as usize]];
            match value {
                Some(value) => tree.insert(key, value)?,
                None => tree.remove(key)?,
            };
        }
        Ok(())
    })
}

fn answer(to: oneshot::Sender<Result<Head, CommitError>>, result: Result<Head, CommitError>) {
    // An error only says that the one who asked has gone; the change is durable all the same.
    let _ = to.send(result);
}
