//! Opens a data folder: private to its owner, used by one process, of a format that this binary knows, readable.
//! Everything else is refused with what to do; a damaged store is never replaced by an empty one, because that
//! would forget who decided what. Called by `OnSled::open`.

use super::Settings;
use super::bounded::Bounded;
use super::committer::Sync;
use super::disk::{BODIES, Disk, Durable};
use super::{blocks, compact, marker, migrate, reads, space};
use crate::domain::audit::Head;
use crate::store::StoreError;
use std::any::Any;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format of layout.rs and record.rs.
pub(super) const FORMAT: u32 = 5;
/// The folder of the database, below the data folder.
pub(super) const DATABASE: &str = "store";
/// The tree of the format number, and its key there.
pub(super) const META: &str = "meta";
pub(super) const NUMBER: &str = "format";
/// A process that is just ending, or a child between fork and exec, holds a lock for a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_millis(1_500);
const LOCK_PAUSE: Duration = Duration::from_millis(25);
/// Bytes for what opening writes: a snapshot of sled's, a new segment, the marker and the first audit entry.
const OPENING_NEEDS: u64 = 1 << 20;

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {0} is in use by another process: stop that one first")]
    InUse(PathBuf),
    /// Others than the owner can get in.
    #[error("the data folder {path} is open to others (mode {mode:03o}): it holds messages, so run `chmod 700` on it")]
    TooOpen {
        /// Which folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A newer Paraph wrote it.
    #[error(
        "the store has format {found} and this Paraph knows formats up to {known}: start the newer Paraph that wrote it, or restore an older backup into a new folder (paraph store restore FILE --data NEW-FOLDER)"
    )]
    Newer {
        /// In the store.
        found: u32,
        /// The newest that this binary knows.
        known: u32,
    },
    /// It cannot be read.
    #[error(
        "the store in {path} is damaged ({why}). Keep the folder as it is and restore a backup into a new one: paraph store restore FILE --data NEW-FOLDER"
    )]
    Damaged {
        /// Which folder.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
    /// No room on the disk, and no ballast to give way.
    #[error("the disk of the data folder {0} is full, and the store needs 1 MiB to open: make room there and start again; nothing is damaged")]
    Full(PathBuf),
    /// The file system refused.
    #[error("the data folder {path} cannot be opened: {cause}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, cause: io::Error) -> OpenError {
        if space::is_full(&cause) { OpenError::Full(path.to_owned()) } else { OpenError::Io { path: path.to_owned(), cause } }
    }
}

/// An open store and what the committer needs to begin.
pub(super) struct Opened {
    pub(super) disk: Disk,
    pub(super) head: Head,
    pub(super) bounded: Bounded,
    pub(super) sync: Sync,
}

/// Opens or creates the store of a data folder. A disk that is full gets one chance: the ballast.
pub(super) fn open(path: &Path, settings: &Settings) -> Result<Opened, OpenError> {
    match attempt(path, settings) {
        Err(OpenError::Full(_)) if space::drop_ballast(path) => attempt(path, settings),
        done => done,
    }
}

fn attempt(path: &Path, settings: &Settings) -> Result<Opened, OpenError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| OpenError::io(&path, cause)
    };
    private_folder(path)?;
    let lock = lock(path)?;
    compact::settle(path).map_err(at(path))?;
    if space::free(path).is_some_and(|free| free < OPENING_NEEDS) {
        return Err(OpenError::Full(path.to_owned()));
    }
    let store = path.join(DATABASE);
    private_folder(&path.join(BODIES))?;
    let damaged = |why: String| OpenError::Damaged { path: path.to_owned(), why };
    let marked = marker::read(path).map_err(|cause| damaged(format!("its marker cannot be read: {cause}")))?;
    // sled panics on pages that it cannot make sense of.
    let disk = catch_unwind(AssertUnwindSafe(|| {
        // Our own lock is held, so a lock of sled's that is taken is one that is about to go.
        let db = patiently(|| sled_at(&store, settings), |cause| matches!(cause, sled::Error::Io(cause) if cause.kind() == io::ErrorKind::Other))?;
        let format = check_format(&db, path, marked.is_none())?;
        Ok((Disk::new(db, path, lock)?, format))
    }));
    let (disk, format) = match disk {
        Ok(Ok(opened)) => opened,
        Ok(Err(Early::Refused(why))) => return Err(why),
        Ok(Err(Early::Sled(sled::Error::Io(cause)))) if !matches!(cause.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            return Err(OpenError::io(&store, cause));
        }
        Ok(Err(Early::Sled(cause))) => return Err(damaged(cause.to_string())),
        // Where it has no error to give, sled panics for lack of space too.
        Err(panic) if is_for_space(panic.as_ref()) => return Err(OpenError::Full(path.to_owned())),
        Err(_) => return Err(damaged("its pages make no sense".to_owned())),
    };
    let database = File::open(store.join("db")).map_err(at(&store))?;
    // sled syncs neither the folders nor, before the first commit, the format number.
    disk.db.flush().map_err(|cause| match cause {
        sled::Error::Io(cause) => OpenError::io(&store, cause),
        other => damaged(other.to_string()),
    })?;
    database.sync_data().and_then(|()| File::open(&store)?.sync_all()).map_err(at(&store))?;
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))?;
    let read = catch_unwind(AssertUnwindSafe(|| {
        let wrong = |cause: StoreError| damaged(cause.to_string());
        check_marker(&disk, marked).map_err(wrong)?;
        migrate::bring(&disk, format, &database)?;
        disk.known.fill(&disk.snapshot()).map_err(wrong)?;
        Ok((blocks::head(&disk).map_err(wrong)?, Bounded::count(&disk).map_err(wrong)?))
    }));
    let (head, bounded) = match read {
        Ok(read) => read?,
        Err(_) => return Err(damaged("its pages make no sense".to_owned())),
    };
    disk.sweep_bodies().and_then(|()| marker::write(path, &head)).and_then(|()| compact::tidy(path)).map_err(at(path))?;
    disk.set_durable(Durable { head: head.clone(), held: bounded.held(), unsure: false });
    Ok(Opened { disk, head, bounded, sync: Box::new(move || database.sync_data()) })
}

/// Why the trees were not reached.
enum Early {
    Refused(OpenError),
    Sled(sled::Error),
}

impl From<sled::Error> for Early {
    fn from(cause: sled::Error) -> Early {
        Early::Sled(cause)
    }
}

fn is_for_space(panic: &(dyn Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|text| text.contains("StorageFull") || text.contains("QuotaExceeded"))
}

/// Opens or creates a database of sled's.
pub(super) fn sled_at(path: &Path, settings: &Settings) -> sled::Result<sled::Db> {
    sled::Config::new().path(path).cache_capacity(settings.cache_bytes).flush_every_ms(Some(settings.flush_every_ms)).open()
}

fn private_folder(path: &Path) -> Result<(), OpenError> {
    let at = |cause| OpenError::io(path, cause);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at)?;
    let mode = fs::metadata(path).map_err(at)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(OpenError::TooOpen { path: path.to_owned(), mode }) }
}

/// Takes the lock of a data folder for as long as the file lives. A lock of our own, because sled's says "in use" only in prose, and because the bodies need it too.
pub fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join("lock");
    let at = |cause| OpenError::io(&name, cause);
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&name).map_err(at)?;
    match patiently(|| file.try_lock(), |refused| matches!(refused, TryLockError::WouldBlock)) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(cause)) => Err(at(cause)),
    }
}

/// Tries again while the error is one that passes, for a bounded time.
pub(super) fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>, passes: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 0..LOCK_PATIENCE.as_millis() / LOCK_PAUSE.as_millis() {
        match attempt() {
            Err(cause) if passes(&cause) => std::thread::sleep(LOCK_PAUSE),
            done => return done,
        }
    }
    attempt()
}

/// The format of the store, which is one that this binary can work with or bring up.
fn check_format(db: &sled::Db, path: &Path, is_new: bool) -> Result<u32, Early> {
    let meta = db.open_tree(META)?;
    let damaged = |why: &str| Early::Refused(OpenError::Damaged { path: path.to_owned(), why: why.to_owned() });
    let Some(stored) = meta.get(NUMBER)? else {
        // Only a store whose first open has not ended may lack it.
        if !is_new {
            return Err(damaged("it has no format number"));
        }
        meta.insert(NUMBER, &FORMAT.to_be_bytes())?;
        return Ok(FORMAT);
    };
    match stored.as_ref().try_into().map(u32::from_be_bytes) {
        Ok(found) if found > FORMAT => Err(Early::Refused(OpenError::Newer { found, known: FORMAT })),
        Ok(found) if found > 0 => Ok(found),
        Ok(_) | Err(_) => Err(damaged("its format number is not one")),
    }
}

fn check_marker(disk: &Disk, marked: Option<Head>) -> Result<(), StoreError> {
    let Some(marked) = marked.filter(|head| head.seq > 0) else { return Ok(()) };
    let entry = reads::entries(disk, marked.seq, 1)?.pop();
    if entry.is_some_and(|entry| entry.head() == marked) {
        return Ok(());
    }
    Err(StoreError::Corrupt(format!("audit entry {} was there when it was last opened or closed, and is not now", marked.seq)))
}
