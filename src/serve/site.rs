//! What is served at one address. Agents' requests go straight to their edge: routing, layers and what they box cost a
//! call more than the edge itself needs to begin. Everything else goes through the routes of pages, probes and metrics.
//! What is counted and bound is so for both, here. Made by `serve::start`, asked by `listen` for every request.

use super::headers;
use crate::domain::client::Client;
use crate::mcp::connection::Connection;
use crate::mcp::{self, McpState};
use crate::observe::metrics::Metrics;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use hyper::body::Body as _;
use std::pin::Pin;
use std::sync::Arc;
use tower_service::Service as _;

/// What is served.
pub struct Site {
    routes: Router,
    agents: Option<McpState>,
    metrics: Option<Metrics>,
    /// Browsers are bound; whether to https, too.
    https: Option<bool>,
}

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

impl From<Router> for Site {
    /// These routes and nothing around them.
    fn from(routes: Router) -> Site {
        Site { routes, agents: None, metrics: None, https: None }
    }
}

impl From<McpState> for Site {
    /// The edge of agents alone.
    fn from(agents: McpState) -> Site {
        Site { agents: Some(agents), ..Site::from(Router::new()) }
    }
}

impl Site {
    /// Agents are answered beside the routes, which need none for them.
    pub(super) fn with_agents(self, agents: McpState) -> Site {
        Site { agents: Some(agents), ..self }
    }

    /// Every answer is counted.
    pub(super) fn counted(self, metrics: Metrics) -> Site {
        Site { metrics: Some(metrics), ..self }
    }

    /// Every answer tells a browser what it may do with it; `https` is what `public_url` says.
    pub(super) fn bound(self, https: bool) -> Site {
        Site { https: Some(https), ..self }
    }

    /// Answers one request. `client` and `connection` are whom and what it came from. Not `async` itself: such a
    /// function has room for the request beside the boxed way that it goes, on every connection.
    pub(super) fn answer(self: &Arc<Self>, mut request: Request, client: Client, connection: Connection) -> impl Future<Output = Response> + Send + use<> {
        let (part, is_head) = (Metrics::part(request.uri().path()), request.method() == Method::HEAD);
        let agents = self.agents.as_ref().filter(|_| mcp::is_for_agents(request.uri().path()));
        let straight = agents.is_some();
        let answering: Answering = match agents {
            Some(agents) => agents.answer(request, connection),
            None => {
                request.extensions_mut().insert(client);
                let answering = self.routes.clone().call(request);
                Box::pin(async move { answering.await.unwrap_or_else(|never| match never {}) })
            }
        };
        let site = Arc::clone(self);
        async move {
            let mut response = answering.await;
            if let Some(metrics) = &site.metrics {
                metrics.request(part, response.status().as_u16());
            }
            if let Some(https) = site.https {
                headers::bind(response.headers_mut(), https);
            }
            if straight {
                frame(&mut response, is_head);
            }
            response
        }
    }
}

/// What the routes do to every answer of theirs: the length is told where it is known, and HEAD gets no body
/// (RFC 9110, 8.6 and 9.3.2).
fn frame(response: &mut Response, is_head: bool) {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
}
