//! The parts of one open store that the committer and the readers share: the trees, the folder of bodies, and
//! what is durable so far. The trees are ahead of what is durable from the first write of a batch until its sync
//! has returned; meanwhile `before` keeps what stood there, and readers look through it (snapshot.rs): nobody sees
//! half a change, nor a change that a power cut could take back, and nobody waits for a sync to read.

use super::known::Known;
use super::layout::{TREES, Tree};
use super::records::Records;
use super::snapshot::{Before, Snapshot};
use crate::domain::audit::Head;
use crate::domain::digest::hex;
use crate::store::StoreError;
use crate::store::open::{Move, Open};
use crate::store::record::Apart;
use arc_swap::ArcSwap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// The folder of long texts in the data folder.
pub(super) const BODIES: &str = "bodies";

/// One open store. Not `Debug`: sled would print every record.
pub(super) struct Disk {
    pub(super) db: sled::Db,
    /// In the order of `TREES`.
    pub(super) trees: Vec<sled::Tree>,
    /// The data folder.
    pub(super) folder: PathBuf,
    /// Rows that are read all the time, and which keys are not there; durable ones only.
    pub(super) known: Known,
    durable: ArcSwap<Durable>,
    open: RwLock<Open>,
    /// Held for reading by readers, and for a moment by the committer: to put it there and to take it away.
    before: RwLock<Before>,
    /// Held for reading by the committer as long as the trees are ahead, and for writing by who wants them still.
    writing: RwLock<()>,
    needless: Mutex<Needless>,
    /// Let go of after `db` and `trees`, because fields drop in order.
    _last: LastHandle,
    /// Held as long as the store is open.
    pub(super) _lock: File,
}

/// sled syncs when its last handle goes, and panics when that fails. The store is poisoned by then and the process
/// on its way out with the exit code that says so; a panic would take its place.
struct LastHandle(Option<sled::Db>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        let db = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::error!("the database could not be synced when it was closed; what was acknowledged before does not depend on it");
        }
    }
}

/// What the last durable change left.
#[derive(Debug, Clone, Default)]
pub(super) struct Durable {
    pub(super) head: Head,
    pub(super) held: usize,
    /// The trees hold a change whose sync has not returned, and now never will: they may not be shown any more.
    pub(super) unsure: bool,
}

/// Body files that nobody needs any more; they stay while a backup copies the files of its moment.
#[derive(Debug, Default)]
struct Needless {
    copying: bool,
    bodies: Vec<Apart>,
}

/// As long as this lives no body file is removed.
pub(super) struct Copying<'a>(&'a Disk);

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        self.0.needless().copying = false;
    }
}

impl Disk {
    pub(super) fn new(db: sled::Db, folder: &Path, lock: File) -> sled::Result<Disk> {
        let trees = TREES.iter().map(|(_, name)| db.open_tree(name)).collect::<sled::Result<_>>()?;
        let _last = LastHandle(Some(db.clone()));
        Ok(Disk {
            db,
            trees,
            known: Known::default(),
            durable: ArcSwap::default(),
            open: RwLock::default(),
            before: RwLock::default(),
            writing: RwLock::default(),
            needless: Mutex::default(),
            _last,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn tree(&self, tree: Tree) -> &sled::Tree {
        &self.trees[tree as usize]
    }

    /// What is durable, as one moment that stays as long as this lives; a batch cannot begin or end meanwhile, so whoever
    /// reads much takes many (reads.rs). A panic of the committer does not end reading.
    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self, self.before.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the trees hold nothing but what is durable, and keeps them so.
    pub(super) fn still(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last number and hash, and how many calls are held. Never waits.
    pub(super) fn durable(&self) -> Arc<Durable> {
        self.durable.load_full()
    }

    /// The register of what is open. A moment behind a snapshot that is taken after it, and never ahead of one: a call that it
    /// names is there. For what memory answers: threads of the runtime wait for whoever holds it.
    pub(super) fn open(&self) -> RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same without waiting; `None` while the moves of a batch are written down.
    pub(super) fn try_open(&self) -> Option<RwLockReadGuard<'_, Open>> {
        match self.open.try_read() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// These moves are durable.
    pub(super) fn move_open(&self, moves: impl IntoIterator<Item = Move>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        moves.into_iter().for_each(|moved| open.apply(moved));
    }

    /// Before the first write of a batch: what stands now at the keys that it writes.
    pub(super) fn get_ahead(&self, before: Before) -> Ahead<'_> {
        let writing = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        self.put_before(before);
        Ahead { disk: self, confirmed: false, _writing: writing }
    }

    fn put_before(&self, before: Before) {
        // Dropped outside of the lock.
        let _old = std::mem::replace(&mut *self.before.write().unwrap_or_else(PoisonError::into_inner), before);
    }

    /// The trees may hold a change whose sync failed.
    pub(super) fn sure(&self) -> Result<(), StoreError> {
        if self.durable().unsure { Err(StoreError::Poisoned("the last change may not be durable".to_owned())) } else { Ok(()) }
    }

    pub(super) fn set_durable(&self, durable: Durable) {
        self.durable.store(Arc::new(durable));
    }

    /// Closes the database and keeps the folder.
    pub(super) fn close(self) -> File {
        self._lock
    }

    fn body_path(&self, apart: &Apart) -> PathBuf {
        self.body_path_of(&apart.sha256)
    }

    /// The file of a body.
    pub(super) fn body_path_of(&self, sha256: &[u8; 32]) -> PathBuf {
        self.folder.join(BODIES).join(hex(sha256))
    }

    fn needless(&self) -> std::sync::MutexGuard<'_, Needless> {
        self.needless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps every body file; `None` while somebody else does.
    pub(super) fn begin_copying(&self) -> Option<Copying<'_>> {
        let mut needless = self.needless();
        // Not `then_some`: it would make one in any case, and dropping that takes the mutex again.
        if std::mem::replace(&mut needless.copying, true) { None } else { Some(Copying(self)) }
    }

    /// Writes a body that is not there yet; the caller syncs the folder before it names the file.
    pub(super) fn write_body(&self, apart: &Apart, bytes: &[u8]) -> io::Result<()> {
        let path = self.body_path(apart);
        if path.try_exists()? {
            return Ok(());
        }
        let unfinished = path.with_extension("tmp");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    }

    /// Makes renames in the folder of bodies durable.
    pub(super) fn sync_bodies(&self) -> io::Result<()> {
        File::open(self.folder.join(BODIES))?.sync_all()
    }

    /// Removes the files that nobody needs. Also half-written ones of a crash.
    pub(super) fn sweep_bodies(&self) -> io::Result<()> {
        for found in fs::read_dir(self.folder.join(BODIES))? {
            let found = found?;
            let sha256 = found.file_name().to_str().and_then(unhex);
            if sha256.is_none_or(|sha256| self.is_orphan(&sha256)) {
                fs::remove_file(found.path())?;
            }
        }
        Ok(())
    }

    /// Removes a file that a durable change stopped needing. During a backup it stays until the next one that goes,
    /// or until the next open. Only the committer may call it: between its look and its removal nothing is written.
    pub(super) fn drop_body(&self, apart: &Apart) {
        let mut needless = self.needless();
        needless.bodies.push(apart.clone());
        if needless.copying {
            return;
        }
        for apart in std::mem::take(&mut needless.bodies) {
            if self.is_orphan(&apart.sha256)
                && let Err(cause) = fs::remove_file(self.body_path(&apart))
                && cause.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%cause, "a body file that is not needed any more could not be removed");
            }
        }
    }

    /// An unreadable index keeps the file.
    fn is_orphan(&self, sha256: &[u8]) -> bool {
        self.tree(Tree::Bodies).scan_prefix(sha256).next().is_none()
    }
}

/// The trees, as they are: the committer and the opening look this way.
impl Records for Disk {
    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.tree(tree).get(key).map_err(|cause| damaged(&cause))
    }

    fn file(&self, apart: &Apart) -> Result<Vec<u8>, StoreError> {
        fs::read(self.body_path(apart)).map_err(|cause| StoreError::Corrupt(format!("the body file {} cannot be read: {cause}", apart.file_name())))
    }
}

/// The trees hold what no sync has confirmed yet. When this goes without that, by an error or a panic, they may not
/// be shown any more.
pub(super) struct Ahead<'a> {
    disk: &'a Disk,
    confirmed: bool,
    _writing: RwLockReadGuard<'a, ()>,
}

impl Ahead<'_> {
    /// The sync has returned: what the trees hold is durable.
    pub(super) fn confirm(mut self, durable: Durable) {
        self.confirmed = true;
        self.disk.put_before(Before::default());
        self.disk.set_durable(durable);
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        if !self.confirmed {
            self.disk.set_durable(Durable { unsure: true, ..Durable::clone(&self.disk.durable()) });
        }
    }
}

fn unhex(name: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    Some(name.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>()?).filter(|bytes| bytes.len() == 32)
}

/// What sled found while reading, without a record's content.
pub(super) fn damaged(cause: &sled::Error) -> StoreError {
    StoreError::Corrupt(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{OnSled, Settings};
    use super::*;
    use crate::domain::people::{Person, Role};
    use crate::store::{Change, Row, Store as _};
    use jiff::Timestamp;

    async fn put(store: &OnSled, email: &str, revision: u64, name: String) {
        let row = Row::Person(Person { revision, ..Person::new(email, Some(name), Vec::new(), Role::Reviewer, Timestamp::UNIX_EPOCH) });
        store.commit(Change { rows: vec![row], ..Change::of_facts(Timestamp::UNIX_EPOCH, Vec::new()) }).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_file_that_a_backup_may_still_copy_goes_after_the_backup() {
        let folder = tempfile::tempdir().unwrap();
        let store = OnSled::open(&folder.path().join("data"), &Settings::default()).unwrap();
        let count = || fs::read_dir(folder.path().join("data").join(BODIES)).unwrap().count();
        for email in ["a", "b"] {
            put(&store, email, 1, email.repeat(70_000)).await;
        }
        let disk = &store.inner.disk;
        let copying = disk.begin_copying().unwrap();
        assert!(disk.begin_copying().is_none(), "one at a time");
        put(&store, "a", 2, "short".into()).await;
        assert_eq!(count(), 2);
        drop(copying);
        put(&store, "b", 2, "short".into()).await;
        assert_eq!(count(), 0);
    }
}
