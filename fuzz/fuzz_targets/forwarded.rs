//! `X-Forwarded-For` and networks: never a panic, and never an address other than the peer's that a trusted hop did not
//! write last.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::domain::proxies::{Network, Proxies};
use std::net::{IpAddr, Ipv4Addr};

fuzz_target!(|input: (Vec<&str>, &str)| {
    let (lines, network) = input;
    let stranger = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let mut networks = vec![Network::parse("127.0.0.1").expect("an address")];
    networks.extend(Network::parse(network).ok());
    let proxies = Proxies::new(networks);
    if proxies.trust(stranger) {
        return;
    }
    let said = || lines.iter().copied().map(Some);
    assert_eq!(proxies.client(stranger, said()), stranger);
    let near = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(proxies.client(near, said().chain([Some("203.0.113.9")])), stranger);
    let _believed = proxies.client(near, said());
});
