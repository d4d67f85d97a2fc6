//! What every request passes before any page: the Host check (DNS rebinding), the Origin check of unsafe methods
//! (forms of other sites), and the headers that tell a browser what Paraph's answers may do. Set by `routes`.

use super::{WebState, page};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Names under which Paraph answers.
#[derive(Debug)]
pub struct AllowedHosts {
    exact: Vec<String>,
    any_port: Vec<String>,
}

impl AllowedHosts {
    pub(super) fn new(public_url: &str, hosts: &[String], port: u16) -> AllowedHosts {
        let authority = public_url.split_once("://").map_or(public_url, |(_, rest)| rest).split('/').next().unwrap_or_default();
        let mut exact = vec![authority.to_ascii_lowercase()];
        for name in ["127.0.0.1", "localhost", "[::1]"] {
            exact.push(format!("{name}:{port}"));
            if port == 80 {
                exact.push(name.to_owned());
            }
        }
        let (with_port, any_port): (Vec<String>, Vec<String>) = hosts.iter().map(|host| host.to_ascii_lowercase()).partition(|host| port_of(host).is_some());
        exact.extend(with_port);
        AllowedHosts { exact, any_port }
    }

    /// Whether a Host value is one of ours.
    fn admits(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = port_of(&host).map_or(host.as_str(), |port| host.get(..host.len() - port.len() - 1).unwrap_or_default());
        self.exact.contains(&host) || self.any_port.iter().any(|allowed| allowed == name)
    }

    /// Whether an Origin is one of ours.
    fn admits_origin(&self, origin: &str) -> bool {
        origin.split_once("://").is_some_and(|(scheme, host)| matches!(scheme, "http" | "https") && self.admits(host))
    }
}

/// The digits after the last colon; an IPv6 address in brackets keeps its own colons.
fn port_of(host: &str) -> Option<&str> {
    host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// The middleware.
pub async fn guard(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&state, &request) {
        Some((title, detail)) => page::refusal(&state, request.uri(), StatusCode::FORBIDDEN, title, detail),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(state: &WebState, request: &Request) -> Option<(&'static str, &'static str)> {
    let headers = request.headers();
    let host = request.uri().authority().map(|authority| authority.as_str()).or_else(|| text(headers, &header::HOST));
    if !host.is_some_and(|host| state.allowed.admits(host)) {
        return Some((
            "This name is not one of mine",
            "Paraph was asked under a host name it does not know. Open the address in listen.public_url, or add the name to listen.hosts in config.toml.",
        ));
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe && comes_from_elsewhere(state, headers) {
        return Some(("This form came from another site", "Nothing was changed. Open the page here and send the form again."));
    }
    None
}

/// A browser sends `Origin: null` with our own forms, because our Referrer-Policy is no-referrer (Fetch, "append
/// a request Origin header"); only `Sec-Fetch-Site` tells such a form from a sandboxed foreign one.
fn comes_from_elsewhere(state: &WebState, headers: &HeaderMap) -> bool {
    let site = text(headers, &header::HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    match headers.get(header::ORIGIN).map(HeaderValue::to_str) {
        None => false,
        Some(Ok("null")) => site != Some("same-origin"),
        Some(Ok(origin)) => !state.allowed.admits_origin(origin),
        Some(Err(_)) => true,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_admitted() {
        let hosts = AllowedHosts::new("https://paraph.example.org", &["desk.internal".into(), "Other.example:8443".into()], 8420);
        for host in [
            "paraph.example.org",
            "PARAPH.example.org",
            "127.0.0.1:8420",
            "localhost:8420",
            "[::1]:8420",
            "desk.internal",
            "desk.internal:1",
            "other.example:8443",
        ] {
            assert!(hosts.admits(host), "{host}");
        }
        for host in ["evil.example", "paraph.example.org.evil.example", "localhost", "localhost:8421", "other.example", "", ":8420", "[::1]"] {
            assert!(!hosts.admits(host), "{host}");
        }
        assert!(hosts.admits_origin("https://paraph.example.org"));
        assert!(!hosts.admits_origin("null") && !hosts.admits_origin("file://localhost:8420") && !hosts.admits_origin("https://evil.example"));
    }
}
