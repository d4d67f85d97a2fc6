//! Audit entries as they lie in their tree: the entries that one change writes stand together in blocks, under the
//! number of the first, because to put a record into the tree costs more than to write the entry. A block is
//! one value, so it is there whole or not at all. Before format 5 each entry was a record of its own; both are read.

use super::disk::damaged;
use super::layout::Tree;
use super::records::Records;
use crate::domain::audit::{Entry, Head};
use crate::store::StoreError;
use crate::store::record::{self, CHUNK_BYTES, Written};

/// The blocks of consecutive entries, each with its key.
pub(super) fn write(entries: &[Entry]) -> Result<Vec<([u8; 8], Written)>, StoreError> {
    let mut blocks = Vec::with_capacity(entries.len().div_ceil(8));
    let (mut first, mut together) = (0, Vec::new());
    for entry in entries {
        let text = serde_json::to_vec(entry).map_err(|cause| StoreError::Corrupt(format!("an audit entry cannot be written: {cause}")))?;
        // The bracket or comma before it, and the last bracket.
        if !together.is_empty() && together.len() + text.len() + 2 >= CHUNK_BYTES {
            blocks.push(block(first, std::mem::take(&mut together))?);
        }
        if together.is_empty() {
            first = entry.seq;
        }
        together.push(if together.is_empty() { b'[' } else { b',' });
        together.extend_from_slice(&text);
    }
    if !together.is_empty() {
        blocks.push(block(first, together)?);
    }
    Ok(blocks)
}

fn block(first: u64, mut text: Vec<u8>) -> Result<([u8; 8], Written), StoreError> {
    text.push(b']');
    Ok((first.to_be_bytes(), record::written(&text)?))
}

/// The entries of a block.
pub(super) fn read(from: &impl Records, key: &[u8], value: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let text = from.bytes(Tree::Entries, key, value)?;
    if text.first() == Some(&b'[') { record::read(&text) } else { Ok(vec![record::read(&text)?]) }
}

/// The last entry of a tree that nobody writes to meanwhile.
pub(super) fn last(disk: &super::disk::Disk) -> Result<Option<Entry>, StoreError> {
    let Some((key, value)) = disk.tree(Tree::Entries).last().map_err(|cause| damaged(&cause))? else { return Ok(None) };
    Ok(read(disk, &key, &value)?.pop())
}

/// The last entry's number and hash.
pub(super) fn head(disk: &super::disk::Disk) -> Result<Head, StoreError> {
    Ok(last(disk)?.map_or_else(Head::default, |entry| entry.head()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Fact;
    use crate::store::record::Apart;
    use jiff::Timestamp;
    use serde_json::json;
    use sled::IVec;

    /// What stands apart of one block.
    struct Lone(Vec<(Apart, Vec<u8>)>);

    impl Records for Lone {
        fn value(&self, _: Tree, _: &[u8]) -> Result<Option<IVec>, StoreError> {
            Ok(None)
        }
        fn file(&self, apart: &Apart) -> Result<Vec<u8>, StoreError> {
            Ok(self.0.iter().find(|(name, _)| name == apart).unwrap().1.clone())
        }
    }

    fn entries(texts: &[usize]) -> Vec<Entry> {
        let mut head = Head::default();
        let chain = |length: &usize| {
            let fact = Fact { kind: "test.fact", call: None, actor: "paraph".into(), data: json!({ "text": "x".repeat(*length) }) };
            let entry = Entry::chain(&head, fact, Timestamp::UNIX_EPOCH);
            head = entry.head();
            entry
        };
        texts.iter().map(chain).collect()
    }

    #[test]
    fn entries_come_back_from_blocks_that_fit_into_a_value() {
        for texts in [vec![], vec![10], vec![100; 60], vec![3_000, 3_000, 1, 1], vec![1, 100_000, 1]] {
            let entries = entries(&texts);
            let blocks = write(&entries).unwrap();
            assert!(blocks.iter().all(|(_, written)| written.value.len() <= CHUNK_BYTES), "{texts:?}");
            let read: Vec<Entry> = blocks
                .into_iter()
                .flat_map(|(key, written)| {
                    let block = read(&Lone(written.apart.clone()), &key, &written.value).unwrap();
                    assert_eq!(key, block[0].seq.to_be_bytes());
                    block
                })
                .collect();
            assert_eq!(read, entries);
        }
        assert!(write(&entries(&[100; 60])).unwrap().len() < 10);
    }

    #[test]
    fn an_entry_of_an_older_format_is_read() {
        let old = entries(&[5]).remove(0);
        let written = record::encode(&old).unwrap();
        assert_eq!(read(&Lone(Vec::new()), &1_u64.to_be_bytes(), &written.value).unwrap(), [old]);
    }
}
