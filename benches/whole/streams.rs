//! Open streams without a gateway: a bare axum server whose every answer is an event stream that says it lives and
//! nothing else. The role `role-streams` of this executable, so that it is a process of its own like the gateway.

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::post;
use futures_util::StreamExt as _;
use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

/// As often as the gateway does.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Serves until it is killed; its first line on standard output is `listening on http://ADDRESS`.
///
/// # Errors
/// When there is no port.
pub async fn serve() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    let open = || async {
        let first = futures_util::stream::once(async { Ok::<_, Infallible>(Event::default().id("c_0.0.0").data("")) });
        Sse::new(first.chain(futures_util::stream::pending())).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
    };
    axum::serve(listener, Router::new().route("/mcp", post(open))).await
}
