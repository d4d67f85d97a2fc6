//! One moment of an open store as a file. Changes and reads wait while the trees are copied; long texts are
//! copied afterwards, because their files never change and none is removed meanwhile (disk.rs). The file appears
//! under its name only when it is whole and durable. Called by `control` through `Backups`, and by `migrate`.

use super::archive::{Header, Writer};
use super::disk::{Disk, damaged};
use super::layout::{TREES, Tree};
use super::{OnSled, blocks, open};
use crate::domain::digest::hex;
use crate::store::StoreError;
use crate::store::backup::{BackupError, Backups, Contents};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Signs the audit's head; kept so that exports of a restored store are signed by the same key.
pub(super) const AUDIT_KEY: &str = "audit.key";

/// What is written where.
pub(super) struct Order<'a> {
    /// Format number of the store.
    pub(super) format: u32,
    /// How many trees a store of this format has.
    pub(super) trees: usize,
    pub(super) made_at: Timestamp,
    pub(super) file: &'a Path,
    /// Whether a file of that name is written anew.
    pub(super) replace: bool,
}

#[async_trait]
impl Backups for OnSled {
    async fn backup(&self, file: &Path, at: Timestamp) -> Result<Contents, BackupError> {
        let Ok(turn) = Arc::clone(&self.inner.reads).acquire_owned().await else { return Err(StoreError::Busy.into()) };
        let (disk, poisoned, file) = (Arc::clone(&self.inner.disk), self.inner.poisoned.clone(), file.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            let order = Order { format: open::FORMAT, trees: TREES.len(), made_at: at, file: &file, replace: false };
            let refused = || poisoned.borrow().clone().map(StoreError::Poisoned);
            let done = write(&disk, &order, &refused);
            drop(disk);
            drop(turn);
            done
        });
        writing.await.unwrap_or_else(|_| Err(StoreError::Corrupt("its pages make no sense".to_owned()).into()))
    }
}

/// Writes the file, or nothing.
pub(super) fn write(disk: &Disk, order: &Order<'_>, refused: &dyn Fn() -> Option<StoreError>) -> Result<Contents, BackupError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| BackupError::Io { path, cause }
    };
    if !order.replace && fs::symlink_metadata(order.file).is_ok() {
        return Err(BackupError::Exists(order.file.to_owned()));
    }
    let Some(_copying) = disk.begin_copying() else { return Err(BackupError::Busy) };
    let draft = draft_of(order.file);
    // A draft that a crash left; or a link that somebody laid there, which must not be followed.
    match fs::remove_file(&draft) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(at(&draft)(cause)),
        Ok(()) | Err(_) => {}
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(&draft).map_err(at(&draft))?;
    let written = fill(disk, order, file, &draft, refused).and_then(|contents| match place(&draft, order) {
        Ok(()) => Ok(contents),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Exists(order.file.to_owned())),
        Err(cause) => Err(at(order.file)(cause)),
    });
    if written.is_err() {
        // It says nothing that the error does not say.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Where a file grows until it is whole.
pub fn draft_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".tmp");
    name.into()
}

fn fill(disk: &Disk, order: &Order<'_>, file: File, draft: &Path, refused: &dyn Fn() -> Option<StoreError>) -> Result<Contents, BackupError> {
    let at = |cause| BackupError::Io { path: draft.to_owned(), cause };
    let trees: Vec<_> = TREES.iter().take(order.trees).collect();
    let (mut calls, mut bodies) = (0, BTreeSet::new());
    let (mut writer, head) = {
        let _still = disk.still();
        // Its trees hold what no sync has confirmed. The committer says so first where it lets go of them, and only then
        // that it takes no more.
        disk.sure()?;
        if let Some(why) = refused() {
            return Err(why.into());
        }
        let head = blocks::head(disk)?;
        let names = trees.iter().map(|(_, name)| (*name).to_owned()).collect();
        let header = Header { format: order.format, made_at: order.made_at, head: head.clone(), trees: names };
        let mut writer = Writer::begin(BufWriter::with_capacity(1 << 20, file), &header).map_err(at)?;
        for (number, (tree, _)) in (0_u8..).zip(&trees) {
            for pair in disk.tree(*tree) {
                let (key, value) = pair.map_err(|cause| damaged(&cause))?;
                writer.pair(number, &key, &value).map_err(at)?;
                calls += u64::from(*tree == Tree::Calls);
                if let (Tree::Bodies, Some(sha256)) = (tree, key.first_chunk::<32>()) {
                    bodies.insert(*sha256);
                }
            }
        }
        (writer, head)
    };
    for sha256 in &bodies {
        let lost = |why: &dyn std::fmt::Display| StoreError::Corrupt(format!("the body file {} {why}", hex(sha256)));
        let body = File::open(disk.body_path_of(sha256)).map_err(|cause| lost(&format!("cannot be read: {cause}")))?;
        let length = body.metadata().map_err(|cause| lost(&format!("cannot be read: {cause}")))?.len();
        if !writer.body(sha256, length, body).map_err(at)? {
            return Err(lost(&"does not have its SHA-256").into());
        }
    }
    match fs::read(disk.folder.join(AUDIT_KEY)) {
        Ok(text) => writer.audit_key(&text).map_err(at)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(BackupError::Io { path: disk.folder.join(AUDIT_KEY), cause }),
    }
    let (counts, bytes, mut file) = writer.end().map_err(at)?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(at)?;
    Ok(Contents { made_at: order.made_at, entries: head.seq, head, calls, bodies: counts.bodies, bytes })
}

/// Gives the whole file its name, durably.
fn place(draft: &Path, order: &Order<'_>) -> io::Result<()> {
    if order.replace {
        fs::rename(draft, order.file)?;
    } else {
        // Not every file system can refuse to replace; there the look at the beginning has to do.
        match rustix::fs::renameat_with(rustix::fs::CWD, draft, rustix::fs::CWD, order.file, rustix::fs::RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => fs::rename(draft, order.file)?,
            renamed => renamed?,
        }
    }
    let folder = order.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
