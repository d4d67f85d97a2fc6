//! Who a request comes from when proxies stand in between. `X-Forwarded-For` is text that anybody can send; it counts
//! only as far as proxies named in `listen.trusted_proxies` wrote it, read from the right: each appends the address it
//! was reached from. Made by `config`; `serve`'s listener asks it once for every request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses whose word about others counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies(Vec<Network>);

/// An address, or all that begin like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Bits that count.
    prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// Neither an address nor an address with a prefix.
    #[error("is not an address or a network")]
    Unreadable,
    /// As in 10.0.0.1/8: one of the two is wrong.
    #[error("has bits set beyond its prefix; the network is {0}")]
    Beyond(String),
}

impl Network {
    /// `10.0.0.0/8` or `::1`; an IPv4 network in IPv6 clothes (`::ffff:10.0.0.0/104`) is refused.
    pub fn parse(text: &str) -> Result<Network, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Unreadable)?;
        let most = width(address);
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| NotANetwork::Unreadable)?,
            Some(_) => return Err(NotANetwork::Unreadable),
        };
        if prefix > most || (address.to_canonical() != address && prefix != most) {
            return Err(NotANetwork::Unreadable);
        }
        let network = Network { address: masked(address, prefix), prefix };
        if network.address != address {
            return Err(NotANetwork::Beyond(format!("{}/{prefix}", network.address)));
        }
        let canonical = address.to_canonical();
        Ok(Network { address: canonical, prefix: if canonical == address { prefix } else { width(canonical) } })
    }

    /// Whether it is every address there is.
    pub fn is_everybody(&self) -> bool {
        self.prefix == 0
    }

    fn holds(&self, address: IpAddr) -> bool {
        width(self.address) == width(address) && masked(address, self.prefix) == self.address
    }
}

impl Proxies {
    /// These and no others.
    pub fn new(networks: Vec<Network>) -> Proxies {
        Proxies(networks)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address.to_canonical()))
    }

    /// The address to hold responsible for a request. `forwarded` is what stands in the request's `X-Forwarded-For`
    /// lines, in their order, `None` for one that is no text. Whatever cannot be read on the way makes it the peer:
    /// a proxy that writes such a thing is not one whose word can be taken.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = Option<&'a str>>) -> IpAddr {
        let peer = peer.to_canonical();
        let mut last = peer;
        if !self.trust(peer) {
            return peer;
        }
        for line in forwarded.rev() {
            let Some(line) = line else { return peer };
            for hop in line.rsplit(',') {
                let Some(address) = hop_address(hop.trim_matches([' ', '\t'])) else { return peer };
                if !self.trust(address) {
                    return address;
                }
                last = address;
            }
        }
        last
    }
}

/// An address as proxies write it: bare, in brackets, or with the port it came from.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse::<IpAddr>().ok().or_else(bracketed).or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    // "0.0.0.0" is nobody's address.
    Some(address.to_canonical()).filter(|address| *address != IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|text| Network::parse(text).unwrap()).collect())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_an_address_or_one_with_a_prefix() {
        for text in ["127.0.0.1", "::1", "10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "::/0", "10.1.2.3/32", "::ffff:10.0.0.1"] {
            assert!(Network::parse(text).is_ok(), "{text}");
        }
        for text in ["", "x", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "/8", "::ffff:10.0.0.0/104", "10.0.0.1 "] {
            assert_eq!(Network::parse(text), Err(NotANetwork::Unreadable), "{text}");
        }
        assert_eq!(Network::parse("10.0.0.1/8"), Err(NotANetwork::Beyond("10.0.0.0/8".into())));
        assert!(proxies(&["::ffff:10.0.0.1"]).trust(ip("10.0.0.1")) && proxies(&["10.0.0.0/8"]).trust(ip("::ffff:10.9.9.9")));
        assert!(!proxies(&["10.0.0.0/8"]).trust(ip("11.0.0.0")) && !proxies(&["0.0.0.0/0"]).trust(ip("::1")));
    }

    #[test]
    fn only_what_trusted_hops_wrote_is_believed() {
        let two = proxies(&["127.0.0.1", "10.0.0.0/8"]);
        for (peer, lines, client) in [
            // Nobody in between, whatever the client writes.
            ("203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            // One proxy; a forged beginning is left of what it wrote.
            ("127.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            ("127.0.0.1", &["not an address, 203.0.113.9"], "203.0.113.9"),
            // Two, on one line or on two.
            ("127.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            ("127.0.0.1", &["1.1.1.1", "203.0.113.9", "10.0.0.7"], "203.0.113.9"),
            ("::ffff:127.0.0.1", &["203.0.113.9,10.0.0.7"], "203.0.113.9"),
            // Everybody on the way is trusted: the first.
            ("127.0.0.1", &["10.0.0.8, 10.0.0.7"], "10.0.0.8"),
            // Ports and brackets.
            ("127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            // What cannot be read.
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.9,"], "127.0.0.1"),
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.9, unknown, 10.0.0.7"], "127.0.0.1"),
            ("127.0.0.1", &["0.0.0.0"], "127.0.0.1"),
            ("10.0.0.7", &["203.0.113.999"], "10.0.0.7"),
        ] {
            assert_eq!(two.client(ip(peer), lines.iter().map(|line| Some(*line))), ip(client), "{peer} {lines:?}");
        }
        assert_eq!(two.client(ip("127.0.0.1"), [Some("203.0.113.9"), None].into_iter()), ip("127.0.0.1"));
        assert_eq!(Proxies::default().client(ip("127.0.0.1"), [Some("203.0.113.9")].into_iter()), ip("127.0.0.1"));
    }

    proptest! {
        #[test]
        fn whatever_a_stranger_writes_changes_nothing(forged in ".{0,60}", client: u32, peer: [u8; 3]) {
            let two = proxies(&["10.0.0.0/8"]);
            let client = IpAddr::V4(client.into());
            prop_assume!(!two.trust(client) && client != ip("0.0.0.0"));
            // Straight to us.
            prop_assert_eq!(two.client(client, [Some(forged.as_str())].into_iter()), client);
            // Through one proxy and through two, which append; on one line and on a line of its own.
            let peer = IpAddr::from([10, peer[0], peer[1], peer[2]]);
            let (once, twice) = (format!("{forged}, {client}"), format!("{forged},{client}, 10.1.1.1"));
            prop_assert_eq!(two.client(peer, [Some(once.as_str())].into_iter()), client);
            prop_assert_eq!(two.client(peer, [Some(twice.as_str())].into_iter()), client);
            let own = client.to_string();
            prop_assert_eq!(two.client(peer, [Some(forged.as_str()), Some(own.as_str())].into_iter()), client);
        }

        #[test]
        fn a_network_holds_exactly_what_begins_like_it(address: u128, other: u128, prefix in 0u8..=128) {
            let network = Network { address: masked(IpAddr::V6(address.into()), prefix), prefix };
            let same = prefix == 0 || (address ^ other) >> (128 - u32::from(prefix)) == 0;
            prop_assert_eq!(network.holds(IpAddr::V6(other.into())), same);
        }
    }
}
