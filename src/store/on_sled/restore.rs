//! A backup file on its way back: checked to its last byte before anything is written, then unpacked into a folder
//! that opens as any data folder does. What a restored store may not believe any more is `gate`'s matter.
//! Called by `control`.

use super::Settings;
use super::archive::{self, Counts, FORM, Header, Piece, TRAILER, nonsense};
use super::backup::AUDIT_KEY;
use super::disk::BODIES;
use super::fresh::{Fresh, sync_all};
use super::layout::{TREES, Tree};
use super::open;
use crate::domain::digest::hex;
use crate::store::backup::Contents;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a file was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is something else.
    #[error("{0} is no backup of Paraph")]
    NoBackup(PathBuf),
    /// A newer Paraph wrote it.
    #[error("{file} has {what} {found} and this Paraph knows {what}s up to {known}: restore it with the newer Paraph that wrote it")]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Which of its two numbers.
        what: &'static str,
        /// In the file.
        found: u32,
        /// The newest that this binary knows.
        known: u32,
    },
    /// It is not what was written.
    #[error("{file} is cut short or was changed since it was written ({why}): use another backup. Nothing was restored")]
    Broken {
        /// Which file.
        file: PathBuf,
        /// What was seen.
        why: String,
    },
    /// The file system refused.
    #[error("{path}: {cause}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A backup whose every byte is as it was written.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    file: File,
    header: Header,
    bytes: u64,
}

impl BackupFile {
    /// Reads the whole file once.
    pub fn open(path: &Path) -> Result<BackupFile, RestoreError> {
        let at = |cause| RestoreError::Io { path: path.to_owned(), cause };
        let broken = |why: &str| RestoreError::Broken { file: path.to_owned(), why: why.to_owned() };
        let newer = |what, found, known| RestoreError::Newer { file: path.to_owned(), what, found, known };
        let mut file = File::open(path).map_err(at)?;
        let bytes = file.metadata().map_err(at)?.len();
        match archive::form(&mut file).map_err(at)? {
            None => return Err(RestoreError::NoBackup(path.to_owned())),
            Some(found) if found > FORM => return Err(newer("backup form", found, FORM)),
            Some(FORM) => {}
            Some(_) => return Err(broken("it has no form that ever was")),
        }
        file.rewind().map_err(at)?;
        let Some(content) = bytes.checked_sub(TRAILER as u64) else { return Err(broken("its end is missing")) };
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut hash = Sha256::new();
        let hashed = io::copy(&mut io::Read::by_ref(&mut reader).take(content), &mut hash_into(&mut hash)).map_err(at)?;
        let mut trailer = [0; TRAILER];
        reader.read_exact(&mut trailer).map_err(at)?;
        if hashed != content || hash.finalize()[..] != trailer {
            return Err(broken("its SHA-256 does not fit"));
        }
        file.rewind().map_err(at)?;
        let header = archive::header(&mut BufReader::new(&file)).map_err(|cause| broken(&cause.to_string()))?;
        if header.format > open::FORMAT {
            return Err(newer("store format", header.format, open::FORMAT));
        }
        Ok(BackupFile { path: path.to_owned(), file, header, bytes })
    }

    /// Writes the store into a folder that is not there yet; durable when it returns. An older format stays as it
    /// is: opening the folder brings it up.
    pub fn unpack(mut self, folder: &Path, settings: &Settings) -> Result<Contents, RestoreError> {
        let path = self.path.clone();
        let done = self.write(folder, settings);
        done.map_err(|(at, cause)| match at {
            None => RestoreError::Broken { file: path, why: cause.to_string() },
            Some(path) => RestoreError::Io { path, cause },
        })
    }

    /// An error without a path is one of the backup.
    fn write(&mut self, folder: &Path, settings: &Settings) -> Result<Contents, (Option<PathBuf>, io::Error)> {
        let of_file = |cause| (None, cause);
        let of_folder = |cause| (Some(folder.to_owned()), cause);
        self.file.rewind().map_err(of_file)?;
        let mut from = BufReader::with_capacity(1 << 20, &self.file);
        let header = archive::header(&mut from).map_err(of_file)?;
        let trees: Vec<usize> = header.trees.iter().filter_map(|name| TREES.iter().position(|(_, tree)| tree == name)).collect();
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        make(folder).and_then(|()| make(&folder.join(BODIES))).map_err(of_folder)?;
        // Tells another restore into the same folder that this one still runs.
        let _lock = open::lock(folder).map_err(|cause| of_folder(io::Error::other(cause)))?;
        let mut fresh = Fresh::create(&folder.join(open::DATABASE), settings).map_err(of_folder)?;
        let (mut found, mut calls) = (Counts::default(), 0);
        loop {
            match archive::piece(&mut from).map_err(of_file)? {
                Piece::Pair(tree, key, value) => {
                    let tree = *trees.get(tree).ok_or_else(|| of_file(nonsense("a record is of no tree")))?;
                    fresh.put(tree, &key, &value).map_err(of_folder)?;
                    found.pairs += 1;
                    calls += u64::from(tree == Tree::Calls as usize);
                }
                Piece::Body(sha256, length) => {
                    let mut file = create(&folder.join(BODIES).join(hex(&sha256))).map_err(of_folder)?;
                    if io::copy(&mut io::Read::by_ref(&mut from).take(length), &mut file).map_err(of_folder)? != length {
                        return Err(of_file(nonsense("a long text is cut short")));
                    }
                    found.bodies += 1;
                }
                Piece::AuditKey(text) => create(&folder.join(AUDIT_KEY)).and_then(|mut file| file.write_all(&text)).map_err(of_folder)?,
                Piece::End(counts) if counts == found => break,
                Piece::End(_) => return Err(of_file(nonsense("it holds another number of records than it says"))),
            }
        }
        fresh.finish(header.format).and_then(|()| sync_all(folder)).map_err(of_folder)?;
        Ok(Contents { made_at: header.made_at, head: self.header.head.clone(), entries: self.header.head.seq, calls, bodies: found.bodies, bytes: self.bytes })
    }
}

fn create(path: &Path) -> io::Result<fs::File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A place to copy to that only counts.
fn hash_into(hash: &mut Sha256) -> impl io::Write + '_ {
    struct Into<'a>(&'a mut Sha256);
    impl io::Write for Into<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    Into(hash)
}
