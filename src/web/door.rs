//! What every request passes before any page: the Host check (DNS rebinding), the Origin check of unsafe methods
//! (forms of other sites), and the headers that tell a browser what Paraph's answers may do. Set by `routes`.

use super::{WebState, form, page};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The middleware.
pub async fn guard(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&state, &request) {
        Some((title, detail)) => page::refusal(&state, request.uri(), StatusCode::FORBIDDEN, title, detail).await,
        // No route takes a path that is no text, and the router would say so in words of its own.
        None if String::from_utf8(form::octets(request.uri().path())).is_err() => {
            page::refusal(&state, request.uri(), StatusCode::NOT_FOUND, "There is nothing here", "No page has this address.").await
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if state.is_https() {
        // A year (RFC 6797, 6.1). Not for subdomains: they are somebody else's to decide.
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer_policy(&state)));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refusal(state: &WebState, request: &Request) -> Option<(&'static str, &'static str)> {
    let headers = request.headers();
    let hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
    if !state.settings.door.lets_in(request.uri().authority().map(|authority| authority.as_str()), hosts) {
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

/// Without https browsers leave `Sec-Fetch-Site` out, and with `no-referrer` they send `Origin: null`: then nothing would
/// tell our own forms from foreign ones, and all would be refused. `same-origin` tells no other site anything either.
fn referrer_policy(state: &WebState) -> &'static str {
    if state.settings.insecure_http { "same-origin" } else { "no-referrer" }
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
        Some(Ok(origin)) => !state.settings.door.knows_origin(origin),
        Some(Err(_)) => true,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
