//! Which names and pages may talk to the edge at all: a browser that was lured onto a foreign name (DNS
//! rebinding) or runs a foreign page is turned away before its token is looked at. Absent `Origin` is fine:
//! programs send none. Called first by `http` for every request (MCP, transports, "Security Warning").

use ::http::{HeaderMap, Uri, header};
use std::net::SocketAddr;

/// The names we answer to.
#[derive(Debug, Clone)]
pub struct Door {
    allowed: Vec<Name>,
}

/// A host, lower case, and its port; no port means any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    host: String,
    port: Option<u16>,
}

impl Door {
    /// Loopback names with the bound port, the public URL's host, and the configured names (with or without
    /// a port; without one any port counts).
    pub fn new(bound: SocketAddr, public_url: Option<&str>, hosts: &[String]) -> Door {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(|host| Name { host: host.to_owned(), port: Some(bound.port()) });
        let public = public_url.and_then(of_url);
        let named = hosts.iter().filter_map(|host| authority(host));
        Door { allowed: own.into_iter().chain(public).chain(named).collect() }
    }

    /// Whether the request may come in.
    pub fn lets_in(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        // A Host without a port means the scheme's; behind a proxy that may be either.
        let host_is_ours = host.to_str().ok().and_then(authority).is_some_and(|name| match name.port {
            Some(_) => self.knows(&name),
            None => [80, 443].iter().any(|port| self.knows(&Name { port: Some(*port), ..name.clone() })),
        });
        host_is_ours && headers.get_all(header::ORIGIN).iter().all(|origin| origin.to_str().ok().and_then(of_url).is_some_and(|name| self.knows(&name)))
    }

    fn knows(&self, name: &Name) -> bool {
        self.allowed.iter().any(|allowed| allowed.host == name.host && (allowed.port.is_none() || allowed.port == name.port))
    }
}

fn authority(text: &str) -> Option<Name> {
    let authority: http::uri::Authority = text.parse().ok()?;
    let plain = !text.contains('@');
    let port = authority.port_u16();
    // "name:" and "name:99999" are no names.
    let whole = port.is_some() || authority.host().len() == text.len();
    (plain && whole).then(|| Name { host: authority.host().to_ascii_lowercase(), port })
}

/// The host of an origin or URL, with the scheme's own port when none stands there.
fn of_url(text: &str) -> Option<Name> {
    let uri: Uri = text.parse().ok()?;
    let port = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let name = authority(uri.authority()?.as_str())?;
    Some(Name { port: name.port.or(Some(port)), ..name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(host: &str, origin: Option<&str>) -> bool {
        let door = Door::new("127.0.0.1:7420".parse().unwrap(), Some("https://gate.example.org"), &["inner.example".to_owned(), "other.example:81".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        door.lets_in(&headers)
    }

    #[test]
    fn only_our_own_names_are_let_in() {
        for host in [
            "localhost:7420",
            "LOCALHOST:7420",
            "127.0.0.1:7420",
            "[::1]:7420",
            "gate.example.org",
            "gate.example.org:443",
            "inner.example:9",
            "inner.example",
            "other.example:81",
        ] {
            assert!(asks(host, None), "{host}");
        }
        for host in ["localhost:7421", "localhost", "evil.example:7420", "gate.example.org:8443", "other.example:82", "a@localhost:7420", "localhost:", ""] {
            assert!(!asks(host, None), "{host}");
        }
        assert!(!Door::new("127.0.0.1:1".parse().unwrap(), None, &[]).lets_in(&HeaderMap::new()));
    }

    #[test]
    fn a_foreign_page_stays_outside() {
        for origin in ["http://localhost:7420", "https://gate.example.org"] {
            assert!(asks("localhost:7420", Some(origin)), "{origin}");
        }
        for origin in ["null", "http://evil.example", "http://localhost:1", "http://gate.example.org", "file://", "localhost:7420"] {
            assert!(!asks("localhost:7420", Some(origin)), "{origin}");
        }
    }
}
