//! What a hold and a decision cost at least on this disk, measured beside them: sled transactions over two trees that
//! are flushed and synced, and raw syncs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use sled::Transactional as _;

/// Writers that one transaction takes together.
const TOGETHER: usize = 64;
/// Bytes of the record and of its index or audit entry.
const RECORD: usize = 1024;
const ENTRY: usize = 200;

/// A place to write raw blocks.
pub struct Syncs {
    file: File,
    block: Vec<u8>,
    written: u64,
}

impl Syncs {
    /// A file in this folder.
    pub fn new(folder: &Path) -> Syncs {
        Syncs { file: File::create(folder.join("raw-syncs")).expect("a file for raw syncs"), block: vec![7; 4096], written: 0 }
    }

    /// Two times 4 KiB written and synced (pwrite, fdatasync); how long both took.
    pub fn two(&mut self) -> Duration {
        let begun = Instant::now();
        for _ in 0..2 {
            self.file.write_all_at(&self.block, (self.written % 1024) * 4096).expect("a raw write");
            self.file.sync_data().expect("a raw sync");
            self.written += 1;
        }
        begun.elapsed()
    }
}

/// How many of such transactions each second so many writers get done in this time, each waiting for its own.
/// `name` is that of its folder in `folder`.
pub async fn transactions(folder: &Path, name: &str, writers: usize, time: Duration) -> f64 {
    let path = folder.join(format!("bare-{name}"));
    let db = sled::Config::new().path(&path).cache_capacity(64 << 20).flush_every_ms(Some(200)).open().expect("a database");
    let trees = [db.open_tree("records").expect("a tree"), db.open_tree("entries").expect("a tree")];
    let file = File::open(path.join("db")).expect("the database file");
    let (jobs, mut queue) = mpsc::channel::<(u64, oneshot::Sender<()>)>(1024);
    let committer = std::thread::spawn(move || {
        while let Some(first) = queue.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < TOGETHER {
                let Ok(job) = queue.try_recv() else { break };
                jobs.push(job);
            }
            let (record, entry) = (vec![3u8; RECORD], vec![5u8; ENTRY]);
            let done: sled::transaction::TransactionResult<()> = (&trees[0], &trees[1]).transaction(|(records, entries)| {
                for (number, _) in &jobs {
                    // Ids of calls are random, numbers of entries grow.
                    records.insert(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes(), record.as_slice())?;
                    entries.insert(&number.to_be_bytes(), entry.as_slice())?;
                }
                Ok(())
            });
            done.expect("a transaction");
            db.flush().expect("a flush");
            file.sync_data().expect("a sync");
            for (_, waits) in jobs {
                // An error only says that the writer's time is over.
                let _ = waits.send(());
            }
        }
    });
    let begun = Instant::now();
    let mut working = JoinSet::new();
    for writer in 0..writers as u64 {
        let jobs = jobs.clone();
        working.spawn(async move {
            let mut done = 0u64;
            while begun.elapsed() < time {
                let (sender, durable) = oneshot::channel();
                jobs.send((writer << 32 | done, sender)).await.expect("the committer works");
                durable.await.expect("the committer answers");
                done += 1;
            }
            done
        });
    }
    drop(jobs);
    let done: u64 = working.join_all().await.into_iter().sum();
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    tokio::task::spawn_blocking(move || committer.join().expect("the committer ends")).await.expect("the committer ends");
    rate
}
