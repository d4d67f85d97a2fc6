//! The edge that speaks MCP (Model Context Protocol): towards servers in `upstream`, towards agents in `http`.
//! It joins agents and servers to `gate` and decides nothing itself.

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

/// What an agent's body is read as, for `fuzz`, which is built with this flag: the message's one value.
#[cfg(fuzzing)]
pub fn read_message(body: &[u8]) -> Option<serde_json::Value> {
    let message::Read { message, value } = message::read(body).ok()?;
    if let message::Message::Request { params: Some(params), .. } | message::Message::Notification { params: Some(params), .. } = message {
        assert_eq!(serde_json::from_str::<serde_json::Value>(params.get()).ok().as_ref(), value.get("params"), "two readings of one text");
    }
    Some(value)
}

pub use self::http::{McpSettings, McpState, routes};
pub use self::session_id::SessionKey;
