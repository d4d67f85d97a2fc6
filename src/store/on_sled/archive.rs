//! The form of a backup file: a first line, a header, one piece after the other, counts, and the SHA-256 of all
//! that. Pieces are pairs of a tree, body files and the audit key, written as they lie in the store, so that a
//! restored store is the same to the byte. Written by `backup`, read by `restore`; knows files, not sled.

use super::layout::TREES;
use crate::domain::audit::Head;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// What a file begins with: these words, the number of the form, a line feed.
pub(super) const WORDS: &str = "PARAPH BACKUP ";
/// The newest form that this binary knows, and the only one so far.
pub(super) const FORM: u32 = 1;
/// Bytes of the SHA-256 at the end.
pub(super) const TRAILER: usize = 32;

const END: u8 = 0;
const PAIR: u8 = 1;
const BODY: u8 = 2;
const AUDIT_KEY: u8 = 3;

/// Longest header, key, value or audit key. Only a file that nobody checked can say more.
const MOST: u32 = 1 << 20;

/// What is known before the first piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The format number of the store.
    pub(super) format: u32,
    pub(super) made_at: Timestamp,
    pub(super) head: Head,
    /// The names of the trees, in the order of the numbers in the pieces.
    pub(super) trees: Vec<String>,
}

/// How many pieces of which sort came before the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) pairs: u64,
    pub(super) bodies: u64,
}

/// One part of the store.
pub(super) enum Piece {
    /// Number of the tree, key, value.
    Pair(usize, Vec<u8>, Vec<u8>),
    /// A body's SHA-256 and length; its bytes follow and must be read before the next piece.
    Body([u8; 32], u64),
    /// The text of the audit key.
    AuditKey(Vec<u8>),
    /// Nothing follows but the trailer.
    End(Counts),
}

/// Writes a file from its first byte to its last.
pub(super) struct Writer<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W, header: &Header) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, hash: Sha256::new(), bytes: 0, counts: Counts::default() };
        writer.put(format!("{WORDS}{FORM}\n").as_bytes())?;
        writer.sized(&serde_json::to_vec(header)?)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn sized(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MOST);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record is too long for a backup"))?;
        self.put(&length.to_be_bytes())?;
        self.put(bytes)
    }

    pub(super) fn pair(&mut self, tree: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put(&[PAIR, tree])?;
        self.sized(key)?;
        self.sized(value)?;
        self.counts.pairs += 1;
        Ok(())
    }

    /// Copies a body; whether its bytes are the named ones.
    pub(super) fn body(&mut self, sha256: &[u8; 32], length: u64, mut from: impl Read) -> io::Result<bool> {
        self.put(&[BODY])?;
        self.put(sha256)?;
        self.put(&length.to_be_bytes())?;
        let (mut copied, mut own, mut buffer) = (0, Sha256::new(), vec![0; 64 * 1024]);
        loop {
            let read = from.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            own.update(bytes);
            self.put(bytes)?;
            copied += read as u64;
        }
        self.counts.bodies += 1;
        Ok(copied == length && own.finalize()[..] == sha256[..])
    }

    pub(super) fn audit_key(&mut self, text: &[u8]) -> io::Result<()> {
        self.put(&[AUDIT_KEY])?;
        self.sized(text)
    }

    /// Writes the end; what there is now, how many bytes, and the file.
    pub(super) fn end(mut self) -> io::Result<(Counts, u64, W)> {
        let counts = self.counts;
        self.put(&[END])?;
        self.put(&counts.pairs.to_be_bytes())?;
        self.put(&counts.bodies.to_be_bytes())?;
        let hash = self.hash.finalize();
        self.to.write_all(&hash)?;
        self.to.flush()?;
        Ok((counts, self.bytes + hash.len() as u64, self.to))
    }
}

/// The number of the form, when the bytes begin as a backup does.
pub(super) fn form(from: &mut impl Read) -> io::Result<Option<u32>> {
    let mut line = Vec::new();
    // The number of a form has never more digits than this.
    from.take(WORDS.len() as u64 + 11).read_to_end(&mut line)?;
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(WORDS)?.parse().ok()))
}

/// Skips the first line, which was looked at already, and reads the header.
pub(super) fn header(from: &mut impl Read) -> io::Result<Header> {
    while byte(from)? != b'\n' {}
    let header: Header = serde_json::from_slice(&sized(from)?)?;
    let known = header.trees.iter().all(|name| TREES.iter().any(|(_, tree)| tree == name));
    if known { Ok(header) } else { Err(nonsense("it names a tree that no store has")) }
}

/// The next piece.
pub(super) fn piece(from: &mut impl Read) -> io::Result<Piece> {
    match byte(from)? {
        END => Ok(Piece::End(Counts { pairs: number(from)?, bodies: number(from)? })),
        PAIR => Ok(Piece::Pair(byte(from)?.into(), sized(from)?, sized(from)?)),
        BODY => {
            let mut sha256 = [0; 32];
            from.read_exact(&mut sha256)?;
            Ok(Piece::Body(sha256, number(from)?))
        }
        AUDIT_KEY => Ok(Piece::AuditKey(sized(from)?)),
        _ => Err(nonsense("it has a piece of no known sort")),
    }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn sized(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MOST {
        return Err(nonsense("it has a record that is too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn nonsense(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
