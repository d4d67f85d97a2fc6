//! How many connections are open, altogether and of one address: a stranger who opens as many as he can must leave
//! room for everybody else. An IPv6 client counts by its /64, because whoever has one address there has all of them.
//! Loopback and trusted proxies speak for many and have only the bound of all. Asked by `Listening` at every connection.

use crate::domain::proxies::Proxies;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Everybody who is in.
pub(super) struct Crowd {
    most: usize,
    most_of_one: usize,
    many_behind: Proxies,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    all: usize,
    /// As large as `all` at most.
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it leaves.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    /// `None`: not counted by address.
    address: Option<IpAddr>,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The one of all.
    Altogether,
    /// The one of an address.
    Address,
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_one: usize, many_behind: Proxies) -> Arc<Crowd> {
        Arc::new(Crowd { most, most_of_one, many_behind, inside: Mutex::default() })
    }

    /// A place for a connection from this address.
    pub(super) fn enter(self: &Arc<Crowd>, peer: IpAddr) -> Result<Place, Full> {
        let peer = peer.to_canonical();
        let address = (!peer.is_loopback() && !self.many_behind.trust(peer)).then(|| household(peer));
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.all >= self.most {
            return Err(Full::Altogether);
        }
        if let Some(address) = address {
            let its = inside.by_address.entry(address).or_default();
            if *its >= self.most_of_one {
                return Err(Full::Address);
            }
            *its += 1;
        }
        inside.all += 1;
        Ok(Place { crowd: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(address) = self.address {
            let left = inside.by_address.get_mut(&address).map(|its| {
                *its -= 1;
                *its
            });
            if left == Some(0) {
                inside.by_address.remove(&address);
            }
        }
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::proxies::Network;

    #[test]
    fn one_address_cannot_take_every_place_and_leaving_makes_room() {
        let crowd = Crowd::new(5, 2, Proxies::new(vec![Network::parse("10.0.0.7").unwrap()]));
        let enter = |address: &str| crowd.enter(address.parse().unwrap());
        let (first, _second) = (enter("203.0.113.9").unwrap(), enter("::ffff:203.0.113.9").unwrap());
        assert_eq!(enter("203.0.113.9").err(), Some(Full::Address));
        let _other = enter("203.0.113.10").unwrap();
        drop(first);
        let _again = enter("203.0.113.9").unwrap();
        assert_eq!(enter("203.0.113.9").err(), Some(Full::Address));
        let others: Vec<Place> = (0..2).map(|_| enter("10.0.0.7").unwrap()).collect();
        assert_eq!(enter("10.0.0.7").err(), Some(Full::Altogether));
        assert_eq!(enter("127.0.0.1").err(), Some(Full::Altogether));
        drop(others);
        let _many: Vec<Place> = (0..2).map(|_| enter("127.0.0.1").unwrap()).collect();
        assert_eq!(enter("203.0.113.11").err(), Some(Full::Altogether));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_and_nothing_is_kept_of_who_left() {
        let crowd = Crowd::new(9, 1, Proxies::default());
        let place = crowd.enter("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(crowd.enter("2001:db8::2".parse().unwrap()).err(), Some(Full::Address));
        let other = crowd.enter("2001:db8:0:1::1".parse().unwrap()).unwrap();
        drop((place, other));
        let inside = crowd.inside.lock().unwrap();
        assert_eq!((inside.all, inside.by_address.len()), (0, 0));
    }
}
