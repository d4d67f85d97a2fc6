//! Faults drawn from a seed, so that a history that found something can be played again.

use super::store::{FaultyStore, OnCommit, OnHint, OnRead};
use paraph::store::StoreError;

/// SplitMix64: enough to draw faults with.
pub fn draws(mut seed: u64) -> impl FnMut() -> u64 + Send + 'static {
    move || {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut drawn = seed;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        drawn ^ (drawn >> 31)
    }
}

/// Every kind of fault, often enough that a history meets several.
pub fn script(store: &FaultyStore, seed: u64) {
    let (mut commits, mut hints, mut reads) = (draws(seed), draws(seed ^ 1), draws(seed ^ 2));
    store.script_commits(move |_| match commits() % 100 {
        0..4 => OnCommit::Fail(StoreError::Busy),
        4..9 => OnCommit::WriteAndLose,
        9..12 => OnCommit::DropAndLose,
        12..14 => OnCommit::Late(std::time::Duration::from_millis(1)),
        _ => OnCommit::Pass,
    });
    store.script_hints(move |_| match hints() % 10 {
        0..2 => OnHint::Drop,
        2 => OnHint::Thrice,
        3 => OnHint::Late(std::time::Duration::from_millis(2)),
        _ => OnHint::Pass,
    });
    store.script_reads(move |_| if reads() % 100 < 2 { OnRead::Corrupt } else { OnRead::Pass });
}
