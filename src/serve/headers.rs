//! What a browser may do with an answer that is no page: nothing. Agents' edge, probes and metrics say nothing of it
//! themselves, and an address of theirs can be opened or framed like any other; the pages' own headers stay as they are.
//! Around everything that `serve::start` mounts.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// A year (RFC 6797, 6.1.1). Without subdomains, which are somebody else's to decide about.
const HTTPS_ONLY: &str = "max-age=31536000";

/// The middleware; `https` is what `public_url` says.
pub(super) async fn bind(State(https): State<bool>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static(HTTPS_ONLY));
    }
    response
}
