//! The edge that speaks MCP (Model Context Protocol): towards servers in `upstream`, towards agents in `http`.
//! It joins agents and servers to `gate` and decides nothing itself.

mod answer;
mod batch;
mod call;
pub mod connection;
pub mod demo_server;
mod door;
mod error;
mod events;
pub mod guard;
mod held;
mod hello;
pub mod http;
mod list;
mod listen;
mod message;
mod relay;
mod result;
mod resume;
mod revisions;
mod session;
mod session_id;
pub mod upstream;
mod work;

pub use self::http::{McpSettings, McpState, routes};
pub use self::session_id::SessionKey;
