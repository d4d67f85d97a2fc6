//! The one integration binary: real parts, one topic a file.

mod browser;
mod fakes;
mod kill;
mod life;
mod model;
mod sdks;
mod upstream_servers;
mod upstreams;
mod world;
