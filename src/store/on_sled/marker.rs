//! A small file beside the database that names an audit entry which must be in it. sled answers some damage by
//! going back to an earlier state, down to an empty one, without a word; the marker notices that. It is written
//! when the store opens and when it closes well, so a commit costs no second sync. Called by `open`, `committer`.

use crate::domain::audit::Head;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const NAME: &str = "marker.json";

/// Durable when it returns.
pub(super) fn write(folder: &Path, head: &Head) -> io::Result<()> {
    let unfinished = folder.join("marker.tmp");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&serde_json::to_vec(head)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

/// `None` before the first open has ended.
pub(super) fn read(folder: &Path) -> io::Result<Option<Head>> {
    match fs::read(folder.join(NAME)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}
