//! Files that are whole or not there: a draft beside it, synced, renamed over it, the folder synced. A new one is for
//! its owner alone, because a configuration, a token and a sign-in link are nobody else's; one that is replaced keeps
//! its mode. The folder is locked meanwhile, so that of two commands at once none undoes what the other wrote.
//! Called by `init`.

use super::folder_of;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the folder is looked at while another command holds it, for ten seconds in all; it needs milliseconds.
const LOOKS: u32 = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Hexadecimal digits in a draft's name.
const DIGITS: usize = 16;

/// A file that no other command of ours writes while this is held.
pub(super) struct Locked {
    path: PathBuf,
    folder: File,
}

/// Waits until it is this command's turn.
pub(super) fn lock(path: &Path) -> io::Result<Locked> {
    let folder = File::open(folder_of(path))?;
    for _ in 0..LOOKS {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            // Some network file systems lock no folders; what was read is still compared before it is replaced.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(Locked { path: path.to_owned(), folder }),
        }
    }
    Err(io::Error::new(ErrorKind::TimedOut, "another program keeps its folder locked"))
}

/// Writes the file anew.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    lock(path)?.write(text)
}

impl Locked {
    /// Writes the file anew.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let path = &self.path;
        let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "is not the name of a file"))?;
        let name = name.to_string_lossy();
        self.clear(&name)?;
        let draft = folder_of(path).join(format!(".{name}.{:016x}.new", std::process::id()));
        let written = fill(&draft, path, text).and_then(|()| std::fs::rename(&draft, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
        }
        written?;
        self.folder.sync_all()
    }

    /// Drafts that a crash left: nobody else has one while the folder is locked.
    fn clear(&self, name: &str) -> io::Result<()> {
        let begins = format!(".{name}.");
        for found in std::fs::read_dir(folder_of(&self.path))?.flatten() {
            let found_name = found.file_name();
            let digits = found_name.to_str().and_then(|found| found.strip_prefix(&begins)?.strip_suffix(".new"));
            if digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())) {
                let _ = std::fs::remove_file(found.path());
            }
        }
        Ok(())
    }
}

fn fill(draft: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    if let Ok(before) = path.metadata() {
        file.set_permissions(before.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_new_file_is_the_owners_alone_and_a_replaced_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        write(&path, "one").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!((mode(), std::fs::read_to_string(&path).unwrap().as_str()), (0o640, "two"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays");
        std::fs::write(folder.path().join(".config.toml.0123456789abcdef.new"), "half").unwrap();
        write(&path, "three").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "also not that of a command that was killed");
    }

    #[test]
    fn of_two_that_write_at_once_one_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let held = lock(&path).unwrap();
        let (begun, waits) = std::sync::mpsc::channel();
        let other = {
            let path = path.clone();
            std::thread::spawn(move || {
                let file = lock(&path).unwrap();
                begun.send(()).unwrap();
                file.write(&format!("{}two", std::fs::read_to_string(&path).unwrap())).unwrap();
            })
        };
        assert!(waits.recv_timeout(Duration::from_millis(100)).is_err(), "the folder is locked");
        held.write("one").unwrap();
        drop(held);
        other.join().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "onetwo");
    }
}
