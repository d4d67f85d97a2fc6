//! Who may talk to this edge at all, asked before any token is looked at (MCP, transports, "Security Warning").
//! Absent `Origin` is fine: programs send none. Called first by `http` for every request.

use crate::domain::door::Door;
use ::http::{HeaderMap, header};

/// Whether the request may come in.
pub(super) fn lets_in(door: &Door, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().is_ok_and(|host| door.knows_host(host))
        && headers.get_all(header::ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(|origin| door.knows_origin(origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(headers: &[(header::HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect::<Vec<_>>();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        lets_in(&Door::new(7420, "https://gate.example.org", &[]), &map)
    }

    #[test]
    fn one_known_host_and_no_foreign_origin_are_let_in() {
        let ours = (header::HOST, "localhost:7420");
        assert!(asks(std::slice::from_ref(&ours)));
        assert!(asks(&[ours.clone(), (header::ORIGIN, "https://gate.example.org")]));
        assert!(!asks(&[]));
        assert!(!asks(&[(header::HOST, "evil.example")]));
        assert!(!asks(&[ours.clone(), ours.clone()]));
        assert!(!asks(&[ours.clone(), (header::ORIGIN, "null")]));
        assert!(!asks(&[ours, (header::ORIGIN, "https://gate.example.org"), (header::ORIGIN, "https://evil.example")]));
    }
}
