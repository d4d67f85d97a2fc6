//! The start of an instance: `initialize`, the choice of the revision, `notifications/initialized` (MCP
//! lifecycle). Every failure is a sentence for people that shows nothing a server wrote.
//! Called when an instance starts and when an HTTP session is made anew.

use super::{Link, Lost, Peer, Reply};
use crate::mcp::upstream::leave::Leave;
use crate::mcp::upstream::{ClientHello, wire};
use serde_json::value::RawValue;
use std::sync::{Arc, PoisonError};
use tokio::time::Instant;

/// The revision Paraph asks servers for.
pub const ASKED_REVISION: &str = "2025-11-25";
/// The revisions it accepts in a server's answer.
const ACCEPTED: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

impl Peer {
    pub(super) async fn shake_hands(&self) -> Result<(), String> {
        let name = &self.server;
        let deadline = Instant::now() + self.times.start();
        let mut pending = self.board.register(None).map_err(|failure| failure.to_string())?;
        let text = wire::request(pending.id, "initialize", Some(&self.initialize), false);
        let leave = Arc::new(Leave::default());
        let end = tokio::time::timeout_at(deadline, self.exchange(&mut pending, text, &leave, true)).await;
        let result = match end {
            Err(_) => {
                return Err(format!(
                    "Server {name} did not answer initialize within {} s. Is it an MCP server on this transport? start_timeout can be raised.",
                    self.times.start().as_secs_f32()
                ));
            }
            Ok(Err(Lost(_))) => return Err(format!("Server {name} answered initialize with HTTP 404: check its url.")),
            Ok(Ok(Err(failure))) => return Err(format!("Server {name} could not be started. {failure}")),
            Ok(Ok(Ok(Reply::Error(error)))) => return Err(format!("Server {name} refused initialize{}.", error_code(&error))),
            Ok(Ok(Ok(Reply::Result(result)))) => result,
        };
        drop(pending);
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answered {
            protocol_version: String,
        }
        let revision = serde_json::from_str::<Answered>(result.get()).map_err(|_| format!("Server {name} answered initialize without a protocolVersion."))?;
        let Some(revision) = ACCEPTED.iter().find(|known| **known == revision.protocol_version) else {
            return Err(format!("Server {name} answered initialize with a protocol revision that Paraph does not speak; it speaks {}.", ACCEPTED.join(", ")));
        };
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = result;
        if let Link::Http(link) = &self.link {
            link.negotiated(revision);
        }
        let initialized = wire::notification("notifications/initialized", None);
        tokio::time::timeout_at(deadline, self.say(initialized))
            .await
            .map_err(|_| format!("Server {name} did not take notifications/initialized in time."))?
            .map_err(|failure| format!("Server {name} did not take notifications/initialized. {failure}"))?;
        if let Link::Http(link) = &self.link {
            link.listen(Arc::clone(&self.board));
        }
        Ok(())
    }
}

/// The params of `initialize`.
pub(super) fn params(client: Option<&ClientHello>) -> Box<RawValue> {
    let (capabilities, info) = match client {
        Some(client) => (client.capabilities.get(), client.client_info.get()),
        None => ("{}", concat!("{\"name\":\"paraph\",\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}")),
    };
    wire::raw(format!("{{\"protocolVersion\":\"{ASKED_REVISION}\",\"capabilities\":{capabilities},\"clientInfo\":{info}}}"))
}

/// Of a hostile error object only numbers are shown.
fn error_code(error: &RawValue) -> String {
    #[derive(serde::Deserialize)]
    struct Data {
        #[serde(rename = "httpStatus")]
        status: u16,
    }
    let Some(error) = wire::Members::read(error.get()) else { return String::new() };
    let status = error.get("data").and_then(|data| serde_json::from_str::<Data>(data.get()).ok()).map(|data| data.status);
    match (status, error.get("code").and_then(|code| code.get().parse::<i64>().ok())) {
        (Some(status @ (401 | 403)), _) => format!(" with HTTP {status}; check the credentials in its headers"),
        (Some(status), _) => format!(" with HTTP {status}; check its url"),
        (None, Some(code)) => format!(" with error {code}"),
        (None, None) => String::new(),
    }
}
