//! `/metrics`: on the main address for who has an API token, on `[listen] metrics` for everybody who reaches that
//! address (semantics.md 35). Mounted by `serve::start`.

use crate::domain::door::Door;
use crate::gate::Gate;
use crate::observe::Readiness;
use crate::observe::metrics::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// The classic text format, which every scraper reads.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// For scrapers that ask for it.
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the routes need.
#[derive(Clone)]
pub(super) struct Scrape {
    pub(super) metrics: Metrics,
    pub(super) gate: Gate,
    pub(super) readiness: Readiness,
    pub(super) door: Door,
}

/// For the main address: a token is needed, and a name of ours.
pub(super) fn guarded(scrape: Scrape) -> Router {
    Router::new().route("/metrics", get(with_token)).with_state(scrape)
}

/// For an address of its own.
pub(super) fn open(scrape: Scrape) -> Router {
    Router::new().route("/metrics", get(without_token)).with_state(scrape)
}

async fn without_token(State(scrape): State<Scrape>, headers: HeaderMap) -> Response {
    scrape.answer(&headers).await
}

async fn with_token(State(scrape): State<Scrape>, headers: HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if !text(header::HOST).is_some_and(|host| scrape.door.knows_host(host)) {
        return (StatusCode::FORBIDDEN, "This host name is not one of Paraph's: see listen.hosts.\n").into_response();
    }
    let token = text(header::AUTHORIZATION).and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let known = match token {
        Some((_, token)) => scrape.gate.by_api_token(token.trim()).await,
        None => Ok(None),
    };
    match known {
        Ok(Some(_)) => scrape.answer(&headers).await,
        Ok(None) => {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer realm=\"paraph\"")];
            (StatusCode::UNAUTHORIZED, ask, "Send an API token (`paraph reviewer token EMAIL`), or scrape [listen] metrics.\n").into_response()
        }
        Err(failure) => (StatusCode::SERVICE_UNAVAILABLE, format!("The store does not answer. Reference {}.\n", failure.reference)).into_response(),
    }
}

impl Scrape {
    async fn answer(&self, headers: &HeaderMap) -> Response {
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let open = accepts.contains("application/openmetrics-text");
        let text = self.metrics.text(&self.gate, self.readiness.get()).await;
        let (kind, text) = if open { (OPEN, text) } else { (CLASSIC, Metrics::classic(&text)) };
        ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
    }
}
