//! The one integration binary: real parts, one topic a file.

mod engines;
mod fakes;
mod life;
mod mcp;
mod model;
mod upstreams;
