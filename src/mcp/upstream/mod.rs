//! MCP towards servers: one instance (child process or HTTP session) per server and agent, started on first
//! use, kept while in use, closed when idle. It spends the gate's tickets and decides nothing.
//! Called by `serve` (new, shutdown), by the side towards agents (`peer`) and by the gate (`send`).

mod board;
pub(in crate::mcp) mod body;
mod client;
mod http;
mod instances;
pub(in crate::mcp) mod leave;
pub(in crate::mcp) mod lines;
mod listen;
mod peer;
mod process;
mod revisit;
mod route;
mod schemas;
mod send;
pub(in crate::mcp) mod sse;
mod stdin;
mod times;
mod tools;
pub(in crate::mcp) mod wire;

pub use instances::Upstreams;
pub use peer::{ASKED_REVISION, Peer, Reply, RequestFailure};

use serde_json::value::RawValue;

/// What the agent's client said of itself in its own `initialize`; passed to the server as it is.
#[derive(Debug, Clone)]
pub struct ClientHello {
    /// JSON text of `capabilities`.
    pub capabilities: Box<RawValue>,
    /// JSON text of `clientInfo`.
    pub client_info: Box<RawValue>,
}

/// Why there is no instance. Nothing of a call has left.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{sentence}")]
pub struct UpstreamError {
    /// What happened, whose fault, what to do.
    pub sentence: String,
    /// The last lines of the child's standard error (stdio only); hostile text.
    pub stderr: Vec<String>,
}
