//! The one integration binary: each file tests a topic over the parts that a gateway runs with.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod engines;
mod web;
