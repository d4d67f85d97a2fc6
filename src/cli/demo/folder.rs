//! The demo's own folder: for its owner alone, with a name nobody can guess, gone when the demo ends.
//! Called by `demo`.

use crate::gate::Clock;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Removed when dropped.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder.
    pub(super) fn make(clock: &dyn Clock) -> io::Result<Folder> {
        let mut bits = [0u8; 8];
        clock.random(&mut bits);
        let path = std::env::temp_dir().join(format!("paraph-demo-{:016x}", u64::from_be_bytes(bits)));
        // Fails when there is such a folder already, so nobody can have prepared it.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder { path })
    }

    /// Where.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The first mail that is written, with its subject; `None` when none comes in time.
    pub(super) async fn first_mail(&self) -> Option<(PathBuf, String)> {
        let folder = self.path.join("mail");
        for _ in 0..50 {
            if let Some(found) = mail_in(&folder) {
                return Some(found);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }
}

fn mail_in(folder: &Path) -> Option<(PathBuf, String)> {
    let paths = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let path = paths.filter(|path| path.extension().is_some_and(|end| end == "eml")).min()?;
    let text = std::fs::read_to_string(&path).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    // A long header goes on in lines that begin with a blank.
    let unfolded = head.replace("\r\n ", " ");
    let subject = unfolded.lines().find_map(|line| line.strip_prefix("Subject: "))?.to_owned();
    Some((path, subject))
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
