//! The page somebody wanted before they had to sign in, such as a call that a mail links to. It waits in a cookie of this
//! browser, so that it survives the way through the mail box, and holds a path of ours and nothing else: no query, because
//! agents' names may stand there, and no other site. Used by `session` and `sign_in`.

use super::WebState;
use super::cookies::Cookie;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use std::time::Duration;

/// How long it waits: longer than a link works.
const WAITS: Duration = Duration::from_secs(1800);
const LONGEST: usize = 200;

/// The `Set-Cookie` value that remembers what this request wanted, if it was a page.
pub fn remember(state: &WebState, parts: &Parts) -> Option<String> {
    let wanted = is_navigation(&parts.headers) && parts.method == Method::GET && is_page(parts.uri.path());
    wanted.then(|| Cookie::Wanted.set(state, parts.uri.path(), WAITS))
}

/// Where to go after signing in.
pub fn wanted(state: &WebState, headers: &HeaderMap) -> String {
    Cookie::Wanted.read(state, headers).filter(|path| is_page(path)).unwrap_or_else(|| "/".to_owned())
}

/// A person went there; not a script of a page that is open (Fetch Metadata).
pub fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-dest").is_none_or(|destination| destination == "document")
}

/// A path of plain names below `/`, of a page and not of a piece of one. What begins with two slashes is another site
/// (URL Standard, "scheme-relative").
fn is_page(path: &str) -> bool {
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-'));
    let Some(inner) = path.strip_prefix('/') else { return false };
    let (first, last) = (inner.split('/').next().unwrap_or_default(), inner.rsplit('/').next().unwrap_or_default());
    let pieces = ["sign-in", "sign-out", "static", "api", "live", "notices", "mcp"];
    let parts = ["row", "panel"];
    plain && path.len() <= LONGEST && !path.contains("//") && !inner.is_empty() && !pieces.contains(&first) && !parts.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::is_page;

    #[test]
    fn only_pages_of_ours_are_landed_on() {
        for page in ["/calls/c_0aB-9", "/audit", "/account", "/limits"] {
            assert!(is_page(page), "{page}");
        }
        for none in [
            "",
            "/",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/%2f/evil.example",
            "/calls//x",
            "/a?b=c",
            "/a#b",
            "/a\r\nb",
            "/a;b",
            "/sign-in/pl_x",
            "/sign-out",
            "/api/v1/calls",
            "/live",
            "/notices",
            "/static/app.css",
            "/calls/c_1/row",
            "/calls/c_1/panel",
            "/\u{e4}",
            "/a@b",
            "/a:b",
            "calls",
        ] {
            assert!(!is_page(none), "{none}");
        }
        assert!(!is_page(&format!("/{}", "a".repeat(200))));
    }
}
