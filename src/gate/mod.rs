//! The gate.

pub mod clock;
pub mod upstream;
