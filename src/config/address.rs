//! Addresses, URLs and names that come from the operator: checked here once, so that nobody downstream has to
//! guess what a half-right URL meant. Errors never repeat the text, because a URL may carry a password.
//! Called by the readers of `[listen]` and `[servers]`.

use http::Uri;
use http::uri::Authority;
use std::net::{IpAddr, SocketAddr};

/// Whether `host:port` can be listened on.
pub(super) fn is_listen_address(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    is_host_name(host) && port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether only this machine can reach the address. A name other than `localhost` may resolve to anything.
pub(super) fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(socket) => socket.ip().is_loopback(),
        Err(_) => address.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}

/// Whether two addresses cannot both be listened on. Port 0 is another one each time.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    match (one.parse::<SocketAddr>(), other.parse::<SocketAddr>()) {
        (Ok(one), Ok(other)) => {
            one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
        }
        _ => one.eq_ignore_ascii_case(other) && !one.ends_with(":0"),
    }
}

/// Whether the address is "every interface", which no link can point at.
pub(super) fn is_unspecified(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|socket| socket.ip().is_unspecified())
}

/// Whether the text can stand in a Host header.
pub(super) fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let port_fits = text.len() == authority.host().len() || authority.port_u16().is_some();
    port_fits && !text.contains('@') && (is_host_name(authority.host()) || is_bracketed(authority.host()))
}

/// An origin, `https://paraph.example.org`: scheme, host and port alone; returned without a trailing slash.
pub(super) fn origin(text: &str) -> Result<String, &'static str> {
    let uri = web_uri(text)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err("has a path or a query");
    }
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    Ok(format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

/// A server's endpoint, returned as it was written.
pub(super) fn endpoint(text: &str) -> Result<String, &'static str> {
    web_uri(text).map(|_| text.to_owned())
}

fn web_uri(text: &str) -> Result<Uri, &'static str> {
    // The parser drops a fragment silently.
    if text.contains('#') {
        return Err("has a fragment");
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("is not an http or https URL");
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("carries a user name or password"),
        Some(authority) if is_host(authority.as_str()) => Ok(uri),
        _ => Err("names no host that can be reached"),
    }
}

fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn is_bracketed(host: &str) -> bool {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| matches!(inner.parse(), Ok(IpAddr::V6(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for text in ["127.0.0.1:8420", "[::1]:0", "localhost:80", "gateway.internal:8420", "0.0.0.0:1"] {
            assert!(is_listen_address(text), "{text}");
        }
        for text in ["", "8420", ":8420", "127.0.0.1", "localhost:", "localhost:+80", "localhost:99999", "a b:1", "http://x:1"] {
            assert!(!is_listen_address(text), "{text}");
        }
        assert!(is_loopback("127.0.0.9:1") && is_loopback("[::1]:1") && is_loopback("LocalHost:1"));
        assert!(!is_loopback("0.0.0.0:1") && !is_loopback("localhost.example.org:1") && !is_loopback("192.168.0.1:1"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_alone() {
        assert_eq!(origin("https://Paraph.example.org/"), Ok("https://paraph.example.org".into()));
        assert_eq!(origin("http://[::1]:8420"), Ok("http://[::1]:8420".into()));
        for text in
            ["paraph.example.org", "ftp://x", "https://", "https://x/path", "https://x?q", "https://x#f", "https://a:b@x", "http://x:99999", "http:x", ""]
        {
            assert!(origin(text).is_err(), "{text}");
        }
        assert!(endpoint("https://mcp.example.org/mcp?x=1").is_ok());
    }
}
