//! A database that is filled from a backup or from an older database, beside the place where it will lie. Nothing
//! reads it before it is whole, so it needs one sync at its end instead of one per change; whatever a crash
//! leaves of it is thrown away. sled writes whatever it gets several times over while a tree grows, and gives none
//! of that back: `put` says how each record is written once. Called by `restore` and `compact`.

use super::layout::TREES;
use super::open::{META, NUMBER, patiently, sled_at};
use super::{Settings, disk};
use crate::store::StoreError;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a value that is put where it belongs at once: holding its place would cost as much.
const SMALL: usize = 128;
/// Records that wait for their leaf. sled splits a leaf that has more than 16 keys when it comes by the next time, so
/// a leaf that 17 keys follow is never split again.
const BEHIND: usize = 32;
/// Bytes between two flushes: a segment of sled's. What is not flushed, sled cannot use again, and its file grows.
const PACE: usize = 512 * 1024;

pub(super) struct Fresh {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    path: PathBuf,
    /// The tree that is being filled, and its last records, of which only the keys are there.
    filling: usize,
    waiting: VecDeque<(Vec<u8>, Vec<u8>)>,
    unflushed: usize,
}

impl Fresh {
    /// An empty database in a folder that is not there yet.
    pub(super) fn create(path: &Path, settings: &Settings) -> io::Result<Fresh> {
        DirBuilder::new().mode(0o700).create(path)?;
        let db = sled_at(path, settings).map_err(io_of)?;
        let trees = TREES.iter().map(|(_, name)| db.open_tree(name)).collect::<sled::Result<_>>().map_err(io_of)?;
        Ok(Fresh { db, trees, path: path.to_owned(), filling: 0, waiting: VecDeque::new(), unflushed: 0 })
    }

    /// Takes the records tree by tree, in the order of their keys; in another order the file becomes larger.
    ///
    /// A leaf of sled's is written whole each time it has grown by ten keys and each time it is split, and sled
    /// uses a part of its file again only when less than half of it is still good. Therefore the key comes first,
    /// with nothing, and the value when its leaf will not be split any more: then it is written once.
    pub(super) fn put(&mut self, tree: usize, key: &[u8], value: &[u8]) -> io::Result<()> {
        if tree != self.filling {
            self.fill(0)?;
            self.filling = tree;
        }
        if value.len() <= SMALL {
            return self.insert(key, value);
        }
        self.insert(key, &[])?;
        self.waiting.push_back((key.to_owned(), value.to_owned()));
        self.fill(BEHIND)
    }

    /// Writes the values that wait, until no more than that many do.
    fn fill(&mut self, leave: usize) -> io::Result<()> {
        while self.waiting.len() > leave
            && let Some((key, value)) = self.waiting.pop_front()
        {
            self.insert(&key, &value)?;
        }
        Ok(())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let tree = self.trees.get(self.filling).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "there is no such tree"))?;
        tree.insert(key, value).map_err(io_of)?;
        self.unflushed += key.len() + value.len();
        if self.unflushed > PACE {
            self.unflushed = 0;
            self.db.flush().map_err(io_of)?;
        }
        Ok(())
    }

    /// Writes the format number as the last thing and makes all of it durable, the folder's names included.
    pub(super) fn finish(mut self, format: u32) -> io::Result<()> {
        self.fill(0)?;
        let meta = self.db.open_tree(META).map_err(io_of)?;
        meta.insert(NUMBER, &format.to_be_bytes()).map_err(io_of)?;
        self.db.flush().map_err(io_of)?;
        let Fresh { db, trees, path, .. } = self;
        drop((meta, trees, db));
        sync_all(&path)
    }
}

/// What is in the trees of a database, as one number; two databases with the same records have the same.
pub(super) fn fingerprint(trees: &[sled::Tree]) -> Result<[u8; 32], StoreError> {
    let mut hash = Sha256::new();
    for (number, tree) in (0_u8..).zip(trees) {
        for pair in tree {
            let (key, value) = pair.map_err(|cause| disk::damaged(&cause))?;
            hash.update([number]);
            for part in [&key, &value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
    }
    Ok(hash.finalize().into())
}

/// Reads a finished database again and gives its fingerprint.
pub(super) fn read_again(path: &Path, settings: &Settings) -> io::Result<[u8; 32]> {
    let db = patiently(|| sled_at(path, settings), |cause| matches!(cause, sled::Error::Io(cause) if cause.kind() == io::ErrorKind::Other));
    let db = db.map_err(io_of)?;
    let trees: Vec<_> = TREES.iter().map(|(_, name)| db.open_tree(name)).collect::<sled::Result<_>>().map_err(io_of)?;
    fingerprint(&trees).map_err(io::Error::other)
}

/// Makes every file and folder below a folder durable, itself included; sled leaves some of its own out.
pub(super) fn sync_all(folder: &Path) -> io::Result<()> {
    for found in fs::read_dir(folder)? {
        let found = found?;
        if found.file_type()?.is_dir() {
            sync_all(&found.path())?;
        } else {
            File::open(found.path())?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Bytes of all files below a folder.
pub(super) fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for found in fs::read_dir(folder)? {
        let found = found?;
        let about = found.metadata()?;
        bytes += if about.is_dir() { size(&found.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn io_of(cause: sled::Error) -> io::Error {
    match cause {
        sled::Error::Io(cause) => cause,
        other => io::Error::other(other.to_string()),
    }
}
