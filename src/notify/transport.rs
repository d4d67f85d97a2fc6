//! How a mail leaves. `File` writes one `.eml` per mail and person: to a temporary name, synced, then renamed,
//! so that a reader of the folder never sees half a mail. Further transports are further variants.
//! Called by `mail`.

use super::mail::{Mail, MailError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The ways out.
#[derive(Debug, Clone)]
pub enum Transport {
    /// One `.eml` file per mail and person.
    File {
        /// Made when it is not there, readable by its owner alone.
        folder: PathBuf,
    },
}

impl Transport {
    /// Returns when the mail is durable at its next station.
    pub async fn deliver(&self, mail: Mail) -> Result<(), MailError> {
        match self {
            Transport::File { folder } => {
                let folder = folder.clone();
                let written = tokio::task::spawn_blocking(move || write(&folder, &mail.key, &mail.message.formatted())).await;
                written.map_err(|_| MailError::Ended)?.map_err(MailError::Folder)
            }
        }
    }
}

fn write(folder: &Path, key: &str, mail: &[u8]) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".{key}.part"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(mail)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(format!("{key}.eml")))?;
    // The new name is durable only with the folder.
    std::fs::File::open(folder)?.sync_all()
}
