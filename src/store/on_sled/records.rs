//! How records are read from values, wherever the values are looked up: in the trees as they are (`disk`), as of the
//! last durable moment (`snapshot`), or behind the changes of a batch that is being planned (`plan`). A record that
//! cannot be read is an error that says so, never a missing one.

use super::layout::{self, Tree};
use crate::domain::call::CallId;
use crate::store::record::{self, Apart, CallHead};
use crate::store::{Kind, Row, StoreError};
use serde::de::DeserializeOwned;
use sled::IVec;
use std::borrow::Cow;

pub(super) trait Records {
    /// A value as it lies in a tree.
    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError>;

    /// The bytes of a body file, unchecked.
    fn file(&self, apart: &Apart) -> Result<Vec<u8>, StoreError>;

    /// Bytes that stand apart, unchecked.
    fn apart(&self, owner: &[u8], apart: &Apart) -> Result<Vec<u8>, StoreError> {
        if apart.is_file() {
            return self.file(apart);
        }
        let mut bytes = Vec::with_capacity(apart.bytes);
        for number in 0..apart.chunks() {
            let chunk = self.value(Tree::Chunks, &layout::chunk(owner, apart, number))?;
            bytes.extend_from_slice(&chunk.ok_or_else(|| StoreError::Corrupt("a chunk of a text is missing".to_owned()))?);
        }
        Ok(bytes)
    }

    /// A record of a tree.
    fn record<R: DeserializeOwned>(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<R, StoreError> {
        record::decode(value, |apart| self.apart(&layout::owner(tree, key), apart))
    }

    /// The text of a record of a tree.
    fn bytes<'v>(&self, tree: Tree, key: &[u8], value: &'v [u8]) -> Result<Cow<'v, [u8]>, StoreError> {
        record::text(value, |apart| self.apart(&layout::owner(tree, key), apart))
    }

    /// The head of a call.
    fn call_head(&self, id: &CallId) -> Result<Option<CallHead>, StoreError> {
        let key = id.as_str().as_bytes();
        self.value(Tree::Calls, key)?.map(|value| self.record(Tree::Calls, key, &value)).transpose()
    }

    /// A row.
    fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        let key = layout::row(kind, key);
        self.value(Tree::Rows, &key)?.map(|value| self.record(Tree::Rows, &key, &value)).transpose()
    }
}
