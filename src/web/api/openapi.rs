//! `GET /api/openapi.json`: the description of the API. It says nothing secret, so it needs no token.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

/// Serves it.
pub async fn show() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], include_str!("../../../static/openapi.json")).into_response()
}
