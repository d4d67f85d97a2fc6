//! What a browser may do with an answer that is no page: nothing. Agents' edge, probes and metrics say nothing of it
//! themselves, and an address of theirs can be opened or framed like any other; the pages' own headers stay as they are.
//! Called by `site` for every answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// A year (RFC 6797, 6.1.1). Without subdomains, which are somebody else's to decide about.
const HTTPS_ONLY: &str = "max-age=31536000";

const NOTHING: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds what is not said yet; `https` is what `public_url` says.
pub(super) fn bind(headers: &mut HeaderMap, https: bool) {
    // With the length, which comes last: a map that grows is hashed anew each time.
    headers.reserve(NOTHING.len() + 2);
    for (name, value) in NOTHING {
        headers.entry(name).or_insert(value);
    }
    if https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(const { HeaderValue::from_static(HTTPS_ONLY) });
    }
}
