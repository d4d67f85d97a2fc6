//! The one integration binary: real parts, one topic a file. Tests that need a browser or an SDK fail with a
//! sentence when it is missing; `tests/run` brings them.

mod engines;
mod fakes;
mod life;
mod mcp;
mod model;
mod upstreams;
