//! What a backup is, whatever engine made it: who can write one, what it says about itself, and why there is
//! none. An engine writes the file itself, because only it can see one moment of all records.
//! Called by `control`; written by `on_sled`.

use super::StoreError;
use crate::domain::audit::Head;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Writes everything it keeps into one file.
#[async_trait]
pub trait Backups: Send + Sync + 'static {
    /// One moment of the whole store in a file that is not there yet. Durable when it returns. `at` is now.
    async fn backup(&self, file: &Path, at: Timestamp) -> Result<Contents, BackupError>;
}

/// What stands in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// When it was made.
    pub made_at: Timestamp,
    /// The last audit entry in it.
    pub head: Head,
    /// Audit entries.
    pub entries: u64,
    /// Calls.
    pub calls: u64,
    /// Long texts.
    pub bodies: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something stands there.
    #[error("{0} is there already, and a backup never overwrites a file: name another one")]
    Exists(PathBuf),
    /// One at a time.
    #[error("another backup of this store is being written: wait for its end")]
    Busy,
    /// The file system refused.
    #[error("the backup cannot be written to {path}: {cause}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The store cannot be read.
    #[error("there is no backup of this store: {0}")]
    Store(#[from] StoreError),
}
