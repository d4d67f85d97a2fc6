//! `paraph calls watch`: a line for every call that waits, and for every event of the gateway's stream. Events carry
//! ids and states; a call is not fetched, because fetching says that a person was served it. At a "look" the held calls
//! are listed instead, which marks nothing: those that had no line get theirs. Called by `calls`.

use super::api::Api;
use super::list;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use serde_json::{Value, json};
use sse_stream::SseStream;
use std::collections::HashSet;
use std::process::ExitCode;
use tokio_stream::StreamExt as _;

/// Prints until the stream ends.
pub(super) async fn run(api: &Api, as_json: bool) -> Result<ExitCode, Fault> {
    let response = api.stream("/api/v1/events").await?;
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    terminal::note("Watching; Ctrl-C ends.");
    // Those that had a line which says that they are held, and still are.
    let mut held = HashSet::new();
    while let Some(event) = events.next().await {
        let Ok(event) = event else { break };
        let Some(data) = event.data else { continue };
        let name = event.event.unwrap_or_else(|| "message".to_owned());
        let data: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
        if let Some(id) = data["id"].as_str() {
            if data["state"] != "held" {
                held.remove(id);
            } else if name == "call.held" && !held.insert(id.to_owned()) {
                // It was in a list before the stream came to it.
                continue;
            }
        }
        print(&name, &data, as_json);
        if name == "look" {
            look(api, &mut held, as_json).await?;
        }
    }
    Err(Fault::new(3, "the gateway ended the stream"))
}

/// Prints the held calls that are not known yet, the oldest first, and forgets those that are held no more.
async fn look(api: &Api, known: &mut HashSet<String>, as_json: bool) -> Result<(), Fault> {
    let calls = list::all(api, Some("held"), None, None).await?;
    let mut held = HashSet::with_capacity(calls.len());
    for call in calls.iter().rev() {
        let Some(id) = call["id"].as_str() else { continue };
        if !known.contains(id) {
            print("call.held", &json!({ "id": id, "state": "held" }), as_json);
        }
        held.insert(id.to_owned());
    }
    *known = held;
    Ok(())
}

fn print(name: &str, data: &Value, as_json: bool) {
    if as_json {
        terminal::say(&terminal::json(&json!({ "event": name, "data": data }), false));
    } else if data["id"].is_string() {
        // An event without an id says "anything may have changed": what is held follows.
        let word = |key: &str| terminal::visible(data[key].as_str().unwrap_or("-"));
        terminal::say(&format!("{}  {}  {}", terminal::visible(name), word("id"), terminal::state(&word("state"))));
    }
}
