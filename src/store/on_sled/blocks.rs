//! Audit entries as they lie in their tree: the entries that one change writes stand together in blocks, under the
//! number of the first, because to put a record into the tree costs more than to write the entry. A block is
//! one value, so it is there whole or not at all. Before format 5 each entry was a record of its own; both are read.

use super::disk::damaged;
use super::layout::Tree;
use super::records::Records;
use crate::domain::audit::{Entry, Head, Link};
use crate::store::StoreError;
use crate::store::record::{self, CHUNK_BYTES, Written};

/// The blocks of consecutive entries, each with its key.
pub(super) fn write(links: &[Link]) -> Result<Vec<([u8; 8], Written)>, StoreError> {
    let mut blocks = Vec::with_capacity(links.len().div_ceil(8));
    let (mut first, mut block) = (0, record::begun());
    let empty = block.len();
    for Link { head, text } in links {
        // The comma before it, and the last bracket.
        if block.len() > empty && block.len() + text.len() + 2 > CHUNK_BYTES {
            blocks.push(finished(first, std::mem::replace(&mut block, record::begun()))?);
        }
        if block.len() == empty {
            first = head.seq;
        }
        block.push(if block.len() == empty { b'[' } else { b',' });
        block.extend_from_slice(text);
    }
    if block.len() > empty {
        blocks.push(finished(first, block)?);
    }
    Ok(blocks)
}

fn finished(first: u64, mut block: Vec<u8>) -> Result<([u8; 8], Written), StoreError> {
    block.push(b']');
    Ok((first.to_be_bytes(), record::written(block)?))
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

    fn links(texts: &[usize]) -> Vec<Link> {
        let mut head = Head::default();
        let chain = |length: &usize| {
            let fact = Fact { kind: "test.fact", call: None, actor: "paraph".into(), data: json!({ "text": "x".repeat(*length) }).into() };
            let link = Link::after(&head, &fact, Timestamp::UNIX_EPOCH);
            head = link.head.clone();
            link
        };
        texts.iter().map(chain).collect()
    }

    #[test]
    fn entries_come_back_from_blocks_that_fit_into_a_value() {
        for texts in [vec![], vec![10], vec![100; 60], vec![3_000, 3_000, 1, 1], vec![1, 100_000, 1]] {
            let links = links(&texts);
            let blocks = write(&links).unwrap();
            assert!(blocks.iter().all(|(_, written)| written.value.len() <= CHUNK_BYTES), "{texts:?}");
            let read: Vec<Entry> = blocks
                .into_iter()
                .flat_map(|(key, written)| {
                    let block = read(&Lone(written.apart.clone()), &key, &written.value).unwrap();
                    assert_eq!(key, block[0].seq.to_be_bytes());
                    block
                })
                .collect();
            assert_eq!(read, links.iter().map(|link| link.entry().unwrap()).collect::<Vec<_>>());
        }
        assert!(write(&links(&[100; 60])).unwrap().len() < 10);
    }

    #[test]
    fn an_entry_of_an_older_format_is_read() {
        let old = links(&[5]).remove(0).entry().unwrap();
        let written = record::encode(&old).unwrap();
        assert_eq!(read(&Lone(Vec::new()), &1_u64.to_be_bytes(), &written.value).unwrap(), [old]);
    }
}
