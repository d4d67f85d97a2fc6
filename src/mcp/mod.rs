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
pub mod front;
pub mod guard;
mod held;
mod hello;
pub mod http;
mod lasting;
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

/// What an agent's body is read as, for `fuzz`, which is built with this flag: the one value of each message.
#[cfg(fuzzing)]
pub fn read_message(body: &[u8]) -> Option<Vec<serde_json::Value>> {
    match message::read(body).ok()? {
        message::Body::One(read) => Some(vec![one_value(read)]),
        message::Body::Batch(elements) => Some(elements.into_iter().filter_map(|(text, value)| message::one(text.get(), value).ok()).map(one_value).collect()),
    }
}

#[cfg(fuzzing)]
fn one_value(message::Read { message, value }: message::Read<'_>) -> serde_json::Value {
    if let message::Message::Request { params: Some(params), .. } | message::Message::Notification { params: Some(params), .. } = message {
        assert_eq!(serde_json::from_str::<serde_json::Value>(params.get()).ok().as_ref(), value.get("params"), "two readings of one text");
    }
    value
}

pub use self::http::{McpSettings, McpState, is_for_agents};
pub use self::session_id::SessionKey;
