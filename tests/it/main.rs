//! Integration tests.

mod architecture;
mod fakes;
mod life;
mod mail;
mod upstreams;
