//! Room on the disk. Below a floor the gate refuses what would add to the store, so that decisions and their
//! audit always fit; a thread measures, because asking the system may block. The ballast is a file without
//! content: sled has to write before it opens, so on a disk that is full to the last byte the file is deleted
//! and opening tried again. Used by `open` and `OnSled`.

use crate::store::Space;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How old a measurement may be.
const EVERY: Duration = Duration::from_secs(1);
/// Nobody could measure.
const UNKNOWN: u64 = u64::MAX;
/// The name of the ballast in the data folder.
pub(super) const BALLAST: &str = "ballast";

/// What was measured last.
pub(super) struct Meter {
    folder: PathBuf,
    floor: u64,
    free: AtomicU64,
}

impl Meter {
    /// Measures for the first time.
    pub(super) fn new(folder: &Path, floor: u64) -> Meter {
        let meter = Meter { folder: folder.to_owned(), floor, free: AtomicU64::new(UNKNOWN) };
        meter.measure();
        meter
    }

    /// Without asking the system.
    pub(super) fn space(&self) -> Space {
        let free = self.free.load(Ordering::Relaxed);
        Space { free: (free != UNKNOWN).then_some(free), floor: self.floor }
    }

    fn measure(&self) -> Space {
        self.free.store(free(&self.folder).unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.space()
    }

    /// Says on which side of the floor the disk is now, once per crossing.
    fn tell(&self, space: Space) {
        let (free, floor) = (space.free.unwrap_or(UNKNOWN), space.floor);
        if space.is_low() {
            let advice = "the disk is nearly full: calls that need a person or change something are refused until there is room; reading and deciding go on";
            tracing::warn!(free, min_free = floor, "{advice}");
        } else {
            tracing::info!(free, min_free = floor, "there is room on the disk again; calls are taken as usual");
        }
    }
}

/// Measures until the answer is dropped, and renews a ballast that was used when there is room for it again.
pub(super) fn watch(meter: Arc<Meter>, ballast: u64) -> io::Result<SyncSender<()>> {
    let (alive, gone) = sync_channel(0);
    keep_ballast(&meter, ballast);
    if meter.space().is_low() {
        meter.tell(meter.space());
    }
    let work = move || {
        while gone.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let before = meter.space().is_low();
            let space = meter.measure();
            if space.is_low() != before {
                meter.tell(space);
                keep_ballast(&meter, ballast);
            }
        }
    };
    std::thread::Builder::new().name("store-space".to_owned()).spawn(work)?;
    Ok(alive)
}

/// Bytes that this process may still write below the folder.
pub(super) fn free(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether the system refused for lack of space; sled keeps the kind.
pub(super) fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the ballast when it leaves the floor free, and as much again: else it would take back at once what it gave.
/// Without one the gateway works all the same.
fn keep_ballast(meter: &Meter, bytes: u64) {
    let path = meter.folder.join(BALLAST);
    let there = fs::metadata(&path).map_or(0, |found| found.len());
    let fits = meter.space().free.is_some_and(|free| free.saturating_add(there) >= meter.floor.saturating_add(bytes.saturating_mul(2)));
    if bytes == 0 || there == bytes || !fits {
        return;
    }
    if let Err(cause) = make(&path, bytes) {
        tracing::warn!(%cause, "the ballast could not be made: should the disk be full at a start, room must be made by hand");
        // Half a ballast is of no use to anybody.
        let _ = fs::remove_file(&path);
    }
}

/// Real blocks, not a hole.
fn make(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        // Some file systems cannot; zeros are the best there is then.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
            file.flush()?;
        }
        Err(cause) => return Err(cause.into()),
    }
    file.sync_all()
}

/// Makes room for opening; whether there was a ballast.
pub(super) fn drop_ballast(folder: &Path) -> bool {
    match fs::remove_file(folder.join(BALLAST)) {
        Ok(()) => {
            tracing::warn!("the disk is full: the ballast was deleted so that the store can open; make room soon, there is no second one");
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_ballast_has_blocks_and_leaves_the_floor_free() {
        let folder = tempfile::tempdir().unwrap();
        let there = || fs::metadata(folder.path().join(BALLAST)).map(|found| (found.len(), found.blocks() * 512)).ok();
        let free = free(folder.path()).unwrap();
        keep_ballast(&Meter::new(folder.path(), free), 1 << 20);
        assert_eq!(there(), None, "it would take from the floor");
        keep_ballast(&Meter::new(folder.path(), 0), 1 << 20);
        let (bytes, blocks) = there().unwrap();
        assert_eq!(bytes, 1 << 20);
        assert!(blocks >= bytes, "{blocks} bytes of blocks");
        assert!(drop_ballast(folder.path()) && !drop_ballast(folder.path()));
    }
}
