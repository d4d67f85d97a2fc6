//! Faults of the store.

pub mod random;
pub mod store;
pub mod witness;
