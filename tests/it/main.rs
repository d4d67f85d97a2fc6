//! Integration tests.

mod fakes;
mod life;
mod upstreams;
