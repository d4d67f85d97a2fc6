//! The keys of the data folder: made at the first start, never shown. `DATA/audit.key` signs the audit's head,
//! `DATA/session.key` the ids of agents' sessions, `DATA/mask.key` makes the marks of masked values. Whoever has the first can forge exports, so a file that others
//! can read is refused instead of used.
//! Called by `serve` when it opens the data folder.

use crate::domain::export::Attestor;
use crate::domain::mask::MaskKey;
use crate::gate::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Reads the audit key, or makes it when there is none.
pub fn load_or_make_key(path: &Path, clock: &dyn Clock) -> io::Result<Attestor> {
    load_or_make(path, clock, "this is no audit key; put the file back from a backup").map(Attestor::from_seed)
}

/// Reads the key that session ids are signed with, or makes it when there is none.
pub fn load_or_make_session_key(path: &Path, clock: &dyn Clock) -> io::Result<[u8; 32]> {
    load_or_make(path, clock, "this is no session key; remove the file, and agents begin new sessions")
}

/// Reads the key that the marks of masked values are made with, or makes it when there is none.
pub fn load_or_make_mask_key(path: &Path, clock: &dyn Clock) -> io::Result<MaskKey> {
    load_or_make(path, clock, "this is no mask key; remove the file, and masked values get other marks").map(MaskKey::new)
}

fn load_or_make(path: &Path, clock: &dyn Clock, damaged: &str) -> io::Result<[u8; 32]> {
    match File::open(path) {
        Ok(file) => read(file, damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path, clock),
        Err(error) => Err(error),
    }
}

fn read(mut file: File, damaged: &str) -> io::Result<[u8; 32]> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let problem = format!("others can read this key (mode {mode:o}); make it yours alone with chmod 600");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    let mut text = String::new();
    io::Read::by_ref(&mut file).take(1024).read_to_string(&mut text)?;
    let seed: Option<[u8; 32]> = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    seed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, damaged))
}

fn make(path: &Path, clock: &dyn Clock) -> io::Result<[u8; 32]> {
    let mut seed = [0u8; 32];
    clock.random(&mut seed);
    // Whole or not there: a crash while writing must not leave half a key behind.
    let draft = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(format!("{}\n", STANDARD.encode(seed)).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::SystemClock;

    #[test]
    fn the_key_is_made_once_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        let made = load_or_make_key(&path, &SystemClock).unwrap().public_key();
        assert_eq!(load_or_make_key(&path, &SystemClock).unwrap().public_key(), made);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_make_key(&path, &SystemClock).is_err());
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        load_or_make_key(&path, &SystemClock).unwrap();
        std::fs::write(&path, "half a k").unwrap();
        assert_eq!(load_or_make_key(&path, &SystemClock).err().unwrap().kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "half a k");
    }
}
