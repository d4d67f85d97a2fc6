//! The names under which Paraph answers. A browser that was lured onto a foreign name (DNS rebinding) or runs a
//! foreign page is turned away by what it says in `Host` and `Origin`; names are compared as text, never resolved.
//! Made once by `serve`; `mcp` and `web` ask it before they look at a token or a cookie.

/// The names we answer to.
#[derive(Debug, Clone)]
pub struct Door {
    names: Vec<Name>,
}

/// A host, lower case, and its port; no port means any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    host: String,
    port: Option<u16>,
}

impl Door {
    /// Loopback names with the bound port, the public URL's host, and the configured names (with or without a
    /// port; without one any port counts).
    pub fn new(port: u16, public_url: &str, hosts: &[String]) -> Door {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(|host| Name { host: host.to_owned(), port: Some(port) });
        let public = of_origin(public_url.trim_end_matches('/'));
        let named = hosts.iter().filter_map(|host| of_host(host));
        Door { names: own.into_iter().chain(public).chain(named).collect() }
    }

    /// Whether a request was sent to us: every name it gives is one of ours, and it has exactly one `Host` (RFC 9112, 3.2).
    /// `target` is the authority of a request line in absolute form, `hosts` the values of its `Host` lines, `None` for
    /// one that is no text. That the line wins over the header, as the RFC has it, is left to nobody's reading here.
    pub fn lets_in<'a>(&self, target: Option<&str>, mut hosts: impl Iterator<Item = Option<&'a str>>) -> bool {
        let (Some(Some(host)), None) = (hosts.next(), hosts.next()) else { return false };
        self.knows_host(host) && target.is_none_or(|target| self.knows_host(target))
    }

    /// Whether a `Host` is one of ours. One without a port means the scheme's, and behind a proxy that may be
    /// either.
    pub fn knows_host(&self, host: &str) -> bool {
        of_host(host).is_some_and(|name| match name.port {
            Some(_) => self.knows(&name),
            None => [80, 443].into_iter().any(|port| self.knows(&Name { port: Some(port), ..name.clone() })),
        })
    }

    /// Whether an `Origin` is one of ours.
    pub fn knows_origin(&self, origin: &str) -> bool {
        of_origin(origin).is_some_and(|name| self.knows(&name))
    }

    fn knows(&self, name: &Name) -> bool {
        self.names.iter().any(|own| own.host == name.host && (own.port.is_none() || own.port == name.port))
    }
}

/// `host` or `host:port` (RFC 9110, 7.2); "host:" and "host:99999" are no names.
fn of_host(text: &str) -> Option<Name> {
    // An IPv6 address in brackets has colons of its own.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(of_digits(port)?)),
        _ => (text, None),
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // One address can be written in many ways.
        let address: std::net::Ipv6Addr = inner.parse().ok()?;
        return Some(Name { host: format!("[{address}]"), port });
    }
    // The root's own dot makes no other name of it.
    let host = host.strip_suffix('.').unwrap_or(host);
    is_name(host).then(|| Name { host: host.to_ascii_lowercase(), port })
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && !host.ends_with('.') && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Without the sign that `parse` would take.
fn of_digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The name in an origin (RFC 6454, 6.2), with the scheme's own port when none stands there.
fn of_origin(text: &str) -> Option<Name> {
    let (scheme, host) = text.split_once("://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let name = of_host(host)?;
    Some(Name { port: name.port.or(Some(port)), ..name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door::new(8420, "https://paraph.example.org", &["desk.internal".into(), "Other.example:8443".into()])
    }

    #[test]
    fn only_our_own_names_are_let_in() {
        for host in [
            "localhost:8420",
            "LOCALHOST:8420",
            "127.0.0.1:8420",
            "[::1]:8420",
            "paraph.example.org",
            "PARAPH.example.org",
            "paraph.example.org:443",
            "desk.internal",
            "desk.internal:1",
            "other.example:8443",
            "paraph.example.org.",
            "paraph.example.org.:443",
            "localhost.:8420",
            "[0:0:0:0:0:0:0:1]:8420",
        ] {
            assert!(door().knows_host(host), "{host}");
        }
        for host in [
            "",
            ":8420",
            "localhost",
            "localhost:",
            "localhost:8421",
            "localhost:+8420",
            "localhost:99999",
            "a@localhost:8420",
            "localhost:8420/",
            "[::1]",
            "::1:8420",
            "[::1%25eth0]:8420",
            "[::1]x:8420",
            "[::ffff:127.0.0.1]:8420",
            "localhost..:8420",
            ".",
            ".:8420",
            "evil.example",
            "evil.example:8420",
            "paraph.example.org.evil.example",
            "paraph.example.org:8443",
            "other.example",
            "other.example:8444",
        ] {
            assert!(!door().knows_host(host), "{host}");
        }
    }

    #[test]
    fn a_request_names_us_once_and_everywhere() {
        let (ours, theirs) = (Some("localhost:8420"), Some("evil.example"));
        let asks = |target: Option<&str>, hosts: &[Option<&str>]| door().lets_in(target, hosts.iter().copied());
        assert!(asks(None, &[ours]) && asks(ours, &[ours]) && asks(Some("paraph.example.org"), &[ours]));
        for (target, hosts) in [
            (None, &[][..]),
            (ours, &[]),
            (None, &[theirs]),
            (None, &[None]),
            (None, &[ours, ours]),
            (None, &[ours, theirs]),
            (None, &[ours, None]),
            (theirs, &[ours]),
            (ours, &[theirs]),
            (Some(""), &[ours]),
        ] {
            assert!(!asks(target, hosts), "{target:?} {hosts:?}");
        }
    }

    #[test]
    fn a_foreign_page_stays_outside() {
        for origin in [
            "http://localhost:8420",
            "https://localhost:8420",
            "http://[0::1]:8420",
            "https://paraph.example.org",
            "https://paraph.example.org:443",
            "http://desk.internal",
        ] {
            assert!(door().knows_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "file://",
            "file://localhost:8420",
            "localhost:8420",
            "http://localhost:1",
            "http://evil.example",
            "https://evil.example",
            "http://paraph.example.org",
            "https://paraph.example.org/x",
        ] {
            assert!(!door().knows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn at_the_schemes_own_port_a_name_needs_none() {
        let door = Door::new(80, "http://127.0.0.1:80/", &[]);
        assert!(door.knows_host("localhost") && door.knows_host("127.0.0.1:80") && door.knows_origin("http://localhost"));
        assert!(!door.knows_origin("https://localhost"));
    }
}
