//! A database of sled's never gives space back, so it is written anew without the gaps and put into the old one's
//! place. At every moment one whole database lies in the folder, and opening finds it whichever rename was the
//! last. The order: `store.new` is filled, synced and compared; `store` becomes `store.old`; `store.new` becomes
//! `store`; `store.old` goes. A new one that is no smaller goes instead, before anything is renamed. Called by `cli`;
//! `settle` and `tidy` by `open`.

use super::Settings;
use super::disk::Disk;
use super::fresh::{Fresh, fingerprint, read_again, remove, size};
use super::open::{self, DATABASE, OpenError, Opened};
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Where the new database grows, below the data folder.
pub const NEW_DATABASE: &str = "store.new";
const OLD: &str = "store.old";

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the database before.
    pub before: u64,
    /// Bytes of the database written anew. Unless they are fewer the old one stayed as it was.
    pub anew: u64,
}

impl Compacted {
    /// Bytes of the database after.
    pub fn after(&self) -> u64 {
        self.before.min(self.anew)
    }
}

/// Writes the database of a data folder anew. Blocks; nobody else may have the folder open.
pub fn compact(path: &Path, settings: &Settings) -> Result<Compacted, OpenError> {
    let at = |cause| OpenError::Io { path: path.to_owned(), cause };
    // Migrates, checks, and removes what an earlier compaction left.
    let Opened { disk, .. } = open::open(path, settings)?;
    let written = catch_unwind(AssertUnwindSafe(|| rewrite(&disk, path, settings)));
    let compacted = written.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::InvalidData, "the pages of the database make no sense")));
    let compacted = compacted.map_err(|cause| {
        // The store is as it was; what cannot be removed now goes at the next open.
        let _ = remove(&path.join(NEW_DATABASE));
        at(cause)
    })?;
    // The lock stays until the names are right.
    let _lock = disk.close();
    if compacted.anew >= compacted.before {
        remove(&path.join(NEW_DATABASE)).map_err(at)?;
        return Ok(compacted);
    }
    swap(path).map_err(at)?;
    remove(&path.join(OLD)).map_err(at)?;
    Ok(compacted)
}

fn rewrite(disk: &Disk, path: &Path, settings: &Settings) -> io::Result<Compacted> {
    let new = path.join(NEW_DATABASE);
    let mut fresh = Fresh::create(&new, settings)?;
    for (number, tree) in disk.trees.iter().enumerate() {
        for pair in tree {
            let (key, value) = pair.map_err(|cause| io::Error::other(cause.to_string()))?;
            fresh.put(number, &key, &value)?;
        }
    }
    fresh.finish(open::FORMAT)?;
    // The old one goes for good: be sure of the new one first, as a later open would read it.
    if read_again(&new, settings)? != fingerprint(&disk.trees).map_err(io::Error::other)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the new database does not hold what the old one holds; the old one stays"));
    }
    Ok(Compacted { before: size(&path.join(DATABASE))?, anew: size(&new)? })
}

fn swap(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    fs::rename(path.join(DATABASE), path.join(OLD))?;
    folder.sync_all()?;
    fs::rename(path.join(NEW_DATABASE), path.join(DATABASE))?;
    folder.sync_all()
}

/// Before the database is opened: the crash came between the two renames.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    if path.join(DATABASE).try_exists()? || !path.join(OLD).try_exists()? {
        return Ok(());
    }
    fs::rename(path.join(OLD), path.join(DATABASE))?;
    File::open(path)?.sync_all()
}

/// After the database was opened and found to be the one that the marker knows.
pub(super) fn tidy(path: &Path) -> io::Result<()> {
    remove(&path.join(NEW_DATABASE))?;
    remove(&path.join(OLD))
}
