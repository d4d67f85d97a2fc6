//! Where a request came from, as far as it can be believed: the address of the connection, or what a trusted proxy
//! says of it. Put on every request by `serve`'s listener; `web` counts attempts to sign in by it.
//! Never logged and never in the audit: an address is somebody's.

use std::net::{IpAddr, Ipv4Addr};

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The one to hold responsible; an IPv4 address in IPv6 clothes is undressed.
    pub address: IpAddr,
}

impl Default for Client {
    fn default() -> Client {
        Client { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}
