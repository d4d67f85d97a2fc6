//! Integration tests.

mod upstreams;
