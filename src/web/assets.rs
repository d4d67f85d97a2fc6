//! The stylesheet, the script and the icon, inside the binary and addressed by their content, so that a browser
//! may keep them for ever and never shows an old one. Used by `page` for the addresses.

use crate::domain::digest::Digest;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

struct Asset {
    name: &'static str,
    kind: &'static str,
    body: &'static str,
}

static ASSETS: [Asset; 4] = [
    Asset { name: "app.css", kind: "text/css; charset=utf-8", body: include_str!("../../static/app.css") },
    Asset { name: "live.js", kind: "text/javascript; charset=utf-8", body: include_str!("../../static/live.js") },
    Asset { name: "passkey.js", kind: "text/javascript; charset=utf-8", body: include_str!("../../static/passkey.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", body: include_str!("../../static/icon.svg") },
];

fn tag(asset: &Asset) -> String {
    Digest::of_bytes(asset.body.as_bytes()).short().replace(' ', "")
}

/// Where a page finds the asset.
pub fn address(name: &str) -> String {
    let tag = ASSETS.iter().find(|asset| asset.name == name).map(tag).unwrap_or_default();
    format!("/static/{name}?v={tag}")
}

/// `GET /static/{name}`
pub async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{}\"", tag(asset));
    let kept = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|have| have.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(header::CONTENT_TYPE, asset.kind)], asset.body).into_response()
}
