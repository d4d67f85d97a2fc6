//! The one integration binary: real parts, one topic a file. Tests that need a browser or an SDK fail with a
//! sentence when it is missing; `tests/run` brings them.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod architecture;
mod asvs;
mod attacks;
mod browser;
mod cli;
mod connect;
mod deploy;
mod engines;
mod fakes;
mod faulty;
mod full;
mod kill;
mod life;
mod load;
mod mail;
mod mask;
mod mcp;
mod metrics;
mod model;
mod net;
mod nginx;
mod policy;
mod power;
mod races;
mod readers;
mod readme;
mod reload;
mod sdks;
mod shutdown;
mod smtp;
mod upstream_servers;
mod upstreams;
mod web;
mod whole;
mod world;
