//! The one integration binary: real parts, one topic a file.

mod cli;
mod fakes;
mod life;
mod model;
mod upstreams;
