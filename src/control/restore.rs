//! A data folder out of a backup: unpacked beside the place where it will lie, brought to a known state by the
//! gate, and only then given its name. A crash leaves nothing there, or all of it. Needs no gateway and allows
//! none: the folder must be empty or missing. Called by `cli`.

use crate::config::Config;
use crate::serve::{self, StartError};
use crate::store::backup::Contents;
use crate::store::on_sled::{self, BackupFile, OpenError, RestoreError};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A store that lies in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The data folder.
    pub folder: PathBuf,
    /// What the backup held.
    pub contents: Contents,
    /// Calls of which nobody knows what happened after the backup.
    pub unconfirmed: usize,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFault {
    /// The folder holds something.
    #[error(
        "the data folder {0} is not empty, and a restore never overwrites one. Name a new folder with --data (and later in [store] path), or move this one away; if a gateway runs there, stop it first"
    )]
    Occupied(PathBuf),
    /// A file system begins there: a folder with a store in it cannot be moved to its place.
    #[error("the data folder {0} is a mount point, and a restored store is moved into place as a whole: name a folder inside it with --data")]
    MountPoint(PathBuf),
    /// The file was refused.
    #[error(transparent)]
    File(#[from] RestoreError),
    /// What came out of the file did not open.
    #[error("the backup was unpacked, but what came out could not be opened; nothing was restored: {0}")]
    Start(#[from] StartError),
    /// Another restore into the same folder.
    #[error("another process is restoring into {0}")]
    Busy(PathBuf),
    /// The file system refused.
    #[error("{path}: {cause}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl RestoreFault {
    /// The contract's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            RestoreFault::Occupied(_) | RestoreFault::MountPoint(_) | RestoreFault::Io { .. } => 2,
            RestoreFault::File(RestoreError::Io { .. }) => 2,
            RestoreFault::File(_) | RestoreFault::Start(_) | RestoreFault::Busy(_) => 1,
        }
    }
}

/// Where the store grows until it is whole.
pub fn restoring_folder(folder: &Path) -> PathBuf {
    let mut name = OsString::from(folder);
    name.push(".restoring");
    name.into()
}

/// Restores into the data folder of the config.
pub async fn restore(config: &Config, file: &Path) -> Result<Restored, RestoreFault> {
    let folder = place(&config.store.path)?;
    let (file, building) = (file.to_owned(), restoring_folder(&folder));
    let unpacking = building.clone();
    let unpacked = tokio::task::spawn_blocking(move || {
        let backup = BackupFile::open(&file)?;
        clear(&unpacking)?;
        if let Some(above) = unpacking.parent() {
            fs::create_dir_all(above).map_err(io_at(above))?;
        }
        Ok::<_, RestoreFault>(backup.unpack(&unpacking, &on_sled::Settings::default())?)
    });
    let contents = unpacked.await.map_err(|cause| io_at(&building)(io::Error::other(cause)))??;
    let unconfirmed = serve::after_restore(config, &building, &contents).await?;
    name(&building, &folder)?;
    Ok(Restored { folder, contents, unconfirmed })
}

/// The folder to be, when it may be one: links followed, without a slash at its end.
fn place(path: &Path) -> Result<PathBuf, RestoreFault> {
    let at = io_at(path);
    if path.try_exists().map_err(&at)? {
        let folder = path.canonicalize().map_err(&at)?;
        if !folder.is_dir() || fs::read_dir(&folder).map_err(&at)?.next().is_some() {
            return Err(RestoreFault::Occupied(folder));
        }
        let above = folder.parent().map(fs::metadata).transpose().map_err(&at)?;
        if above.is_none_or(|above| fs::metadata(&folder).is_ok_and(|own| own.dev() != above.dev())) {
            return Err(RestoreFault::MountPoint(folder));
        }
        return Ok(folder);
    }
    Ok(std::path::absolute(path).map_err(&at)?.components().collect())
}

/// Removes what an earlier restore left, unless that one still runs.
fn clear(building: &Path) -> Result<(), RestoreFault> {
    if fs::symlink_metadata(building).is_err() {
        return Ok(());
    }
    match on_sled::lock_folder(building) {
        Ok(_lock) => fs::remove_dir_all(building).map_err(io_at(building)),
        Err(OpenError::InUse(folder)) => Err(RestoreFault::Busy(folder)),
        Err(other) => Err(StartError::Store(other).into()),
    }
}

/// Renaming takes an empty folder's place, and refuses one that got something meanwhile.
fn name(building: &Path, folder: &Path) -> Result<(), RestoreFault> {
    match fs::rename(building, folder) {
        Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => return Err(RestoreFault::Occupied(folder.to_owned())),
        renamed => renamed.map_err(io_at(folder))?,
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    File::open(above).and_then(|above| above.sync_all()).map_err(io_at(above))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> RestoreFault {
    let path = path.to_owned();
    move |cause| RestoreFault::Io { path: path.clone(), cause }
}
