//! From an older format to this one, at the first open by a newer binary: a backup first, then the change, then the
//! number, each durable before the next. A crash in between repeats it, and doing it twice is doing it once.
//! An older binary refuses what it does not know. Called by `open`.

use super::backup::{self, Order};
use super::blocks;
use super::disk::{Disk, damaged};
use super::layout::{TREES, Tree};
use super::open::{FORMAT, META, NUMBER, OpenError};
use super::plan::found_by;
use super::records::Records as _;
use crate::store::StoreError;
use crate::store::backup::BackupError;
use crate::store::record::CallHead;
use jiff::Timestamp;
use std::fs::File;
use std::io;

/// Trees of format 1; format 2 added `ByRecipient` and `ByEnd`, formats 3 and 4 new kinds of rows, format 5
/// blocks of audit entries (those that are there stay as they are).
const TREES_OF_1: usize = 8;

/// Brings an open store of the format `found` to the newest one.
pub(super) fn bring(disk: &Disk, found: u32, database: &File) -> Result<(), OpenError> {
    if found == FORMAT {
        return Ok(());
    }
    let at = |cause| OpenError::Io { path: disk.folder.clone(), cause };
    let wrong = |cause: StoreError| OpenError::Damaged { path: disk.folder.clone(), why: cause.to_string() };
    let file = disk.folder.join(format!("before-format-{FORMAT}.backup"));
    tracing::info!(found, now = FORMAT, "the store has an older format and is brought to the new one, after a backup in the data folder");
    // Written anew each time: one of an earlier attempt may be older than the store.
    let trees = if found == 1 { TREES_OF_1 } else { TREES.len() };
    let order = Order { format: found, trees, made_at: last_written(disk).map_err(wrong)?, file: &file, replace: true };
    backup::write(disk, &order, &|| None).map_err(|error| match error {
        BackupError::Io { path, cause } => OpenError::Io { path, cause },
        BackupError::Store(cause) => wrong(cause),
        BackupError::Exists(_) | BackupError::Busy => at(io::Error::other(error.to_string())),
    })?;
    if found == 1 {
        rebuild(disk).map_err(wrong)?;
    }
    durable(disk, database).map_err(at)?;
    let number = disk.db.open_tree(META).and_then(|meta| meta.insert(NUMBER, &FORMAT.to_be_bytes()));
    number.map_err(|cause| wrong(damaged(&cause)))?;
    durable(disk, database).map_err(at)
}

/// Nobody has told the engine what time it is; nothing in the store is younger than this.
fn last_written(disk: &Disk) -> Result<Timestamp, StoreError> {
    Ok(blocks::last(disk)?.map_or(Timestamp::UNIX_EPOCH, |entry| entry.at))
}

/// The two indexes that format 1 does not have.
fn rebuild(disk: &Disk) -> Result<(), StoreError> {
    let new = [Tree::ByRecipient, Tree::ByEnd];
    for tree in new {
        disk.tree(tree).clear().map_err(|cause| damaged(&cause))?;
    }
    for pair in disk.tree(Tree::Calls) {
        let (key, value) = pair.map_err(|cause| damaged(&cause))?;
        let head: CallHead = disk.record(Tree::Calls, &key, &value)?;
        for (tree, key) in found_by(&head.call).filter(|(tree, _)| new.contains(tree)) {
            disk.tree(tree).insert(key, Vec::new()).map_err(|cause| damaged(&cause))?;
        }
    }
    Ok(())
}

fn durable(disk: &Disk, database: &File) -> io::Result<()> {
    disk.db.flush().map_err(|cause| io::Error::other(cause.to_string()))?;
    database.sync_data()
}
