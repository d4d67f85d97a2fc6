//! The one integration binary: each file tests a topic over the parts that a gateway runs with.

mod engines;
mod upstreams;
