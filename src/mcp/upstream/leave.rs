//! Whether a request may still stay here. The side that writes and the side whose time is up settle it between them,
//! once: what was kept back can never leave, and what has left is never called kept. `NeverLeft` rests on this
//! (semantics.md 19). Made by `peer`, asked by the two links right before the first byte; `front` has its own.

use std::sync::atomic::{AtomicU8, Ordering};

const HERE: u8 = 0;
const LEFT: u8 = 1;
const KEPT: u8 = 2;

/// The state of one request.
#[derive(Default)]
pub(in crate::mcp) struct Leave(AtomicU8);

impl Leave {
    /// From now on the request may have arrived. False when it was kept back before: then nothing may be written.
    pub(in crate::mcp) fn go(&self) -> bool {
        self.0.compare_exchange(HERE, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok() || self.0.load(Ordering::Acquire) == LEFT
    }

    /// Takes back a [`Leave::go`] after which provably no byte was written. Whoever asked in between was told that it may
    /// have left, which is never wrong to assume.
    pub(in crate::mcp) fn is_still_here(&self) {
        let _ = self.0.compare_exchange(LEFT, HERE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Keeps the request back. False when it may have left.
    pub(in crate::mcp) fn stay(&self) -> bool {
        self.0.compare_exchange(HERE, KEPT, Ordering::AcqRel, Ordering::Acquire).is_ok() || self.0.load(Ordering::Acquire) == KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_decides_for_good() {
        let (left, kept) = (Leave::default(), Leave::default());
        assert!(left.go() && !left.stay() && left.go());
        assert!(kept.stay() && !kept.go() && kept.stay());
        kept.is_still_here();
        assert!(!kept.go(), "what was kept back stays");
        left.is_still_here();
        assert!(left.stay() && !left.go(), "no byte of it had left");
    }
}
