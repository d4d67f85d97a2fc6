//! Integration tests.

mod browser;
mod fakes;
mod kill;
mod life;
mod sdks;
mod upstream_servers;
mod upstreams;
mod world;
