//! `paraph calls watch`: one line for every event of the gateway's stream. Events carry ids and states; a call is
//! not fetched, because fetching says that a person was served it. Called by `calls`.

use super::api::Api;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use serde_json::{Value, json};
use sse_stream::SseStream;
use std::process::ExitCode;
use tokio_stream::StreamExt as _;

/// Prints until the stream ends.
pub(super) async fn run(api: &Api, as_json: bool) -> Result<ExitCode, Fault> {
    let response = api.stream("/api/v1/events").await?;
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    terminal::note("Watching; Ctrl-C ends.");
    while let Some(event) = events.next().await {
        let Ok(event) = event else { break };
        let Some(data) = event.data else { continue };
        let name = event.event.unwrap_or_else(|| "message".to_owned());
        let data: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
        if as_json {
            terminal::say(&terminal::json(&json!({ "event": name, "data": data }), false));
        } else if data["id"].is_string() {
            // An event without an id says "anything may have changed": nothing to show.
            let word = |key: &str| terminal::visible(data[key].as_str().unwrap_or("-"));
            terminal::say(&format!("{}  {}  {}", terminal::visible(&name), word("id"), terminal::state(&word("state"))));
        }
    }
    Err(Fault::new(3, "the gateway ended the stream"))
}
