//! What readers see: the trees, and in front of them what a batch that is not yet durable has replaced. Reading goes
//! on while the committer syncs, which takes most of its time, and still shows one durable moment: a batch can
//! neither begin nor end as long as a snapshot lives, so that none may live for long. Made by `disk`, used by `reads`.

use super::disk::{Disk, damaged};
use super::layout::{TREES, Tree};
use super::records::Records;
use crate::store::StoreError;
use crate::store::record::Apart;
use sled::IVec;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::RwLockReadGuard;

/// What stood at the keys that a batch writes, tree by tree; `None` where nothing stood.
#[derive(Debug, Default)]
pub(super) struct Before([BTreeMap<IVec, Option<IVec>>; TREES.len()]);

impl Before {
    pub(super) fn put(&mut self, tree: Tree, key: IVec, value: Option<IVec>) {
        self.0[tree as usize].insert(key, value);
    }
}

pub(super) struct Snapshot<'a> {
    disk: &'a Disk,
    before: RwLockReadGuard<'a, Before>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(disk: &'a Disk, before: RwLockReadGuard<'a, Before>) -> Snapshot<'a> {
        Snapshot { disk, before }
    }

    /// The pairs of a stretch of keys, in their order or from its end.
    pub(super) fn range(&self, tree: Tree, from: Bound<&[u8]>, until: Bound<&[u8]>, backwards: bool) -> Range<'_> {
        // sled and the map panic at a stretch that ends before it begins.
        let nothing = match (from, until) {
            (Bound::Included(from), Bound::Included(until)) => from > until,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(until) | Bound::Included(until)) => from >= until,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        };
        if nothing {
            return Range { stored: boxed(std::iter::empty()), before: boxed(std::iter::empty()), backwards };
        }
        let stored = self.disk.tree(tree).range::<&[u8], _>((from, until));
        let before = self.before.0[tree as usize].range::<[u8], _>((from, until));
        if backwards {
            Range { stored: boxed(stored.rev()), before: boxed(before.rev()), backwards }
        } else {
            Range { stored: boxed(stored), before: boxed(before), backwards }
        }
    }

    /// All pairs of a tree.
    pub(super) fn all(&self, tree: Tree) -> Range<'_> {
        self.range(tree, Bound::Unbounded, Bound::Unbounded, false)
    }
}

impl Records for Snapshot<'_> {
    fn value(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.before.0[tree as usize].get(key) {
            Some(value) => Ok(value.clone()),
            None => self.disk.value(tree, key),
        }
    }

    fn file(&self, apart: &Apart) -> Result<Vec<u8>, StoreError> {
        self.disk.file(apart)
    }
}

type Boxed<'a, T> = Peekable<Box<dyn Iterator<Item = T> + 'a>>;

fn boxed<'a, T>(iterator: impl Iterator<Item = T> + 'a) -> Boxed<'a, T> {
    let iterator: Box<dyn Iterator<Item = T> + 'a> = Box::new(iterator);
    iterator.peekable()
}

/// Pairs of a tree as they are durable.
pub(super) struct Range<'a> {
    stored: Boxed<'a, sled::Result<(IVec, IVec)>>,
    before: Boxed<'a, (&'a IVec, &'a Option<IVec>)>,
    backwards: bool,
}

impl Iterator for Range<'_> {
    type Item = Result<(IVec, IVec), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.stored.peek(), self.before.peek()) {
                (None, None) => return None,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((stored, _))), Some((before, _))) if self.backwards => before.as_ref().cmp(stored.as_ref()),
                (Some(Ok((stored, _))), Some((before, _))) => stored.as_ref().cmp(before.as_ref()),
                (Some(Ok(_)), None) | (Some(Err(_)), _) => Ordering::Less,
            };
            if order == Ordering::Less {
                return self.stored.next().map(|pair| pair.map_err(|cause| damaged(&cause)));
            }
            if order == Ordering::Equal {
                self.stored.next();
            }
            if let Some((key, Some(value))) = self.before.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
