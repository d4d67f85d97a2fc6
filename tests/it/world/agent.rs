//! An agent that writes its own bytes: Streamable HTTP of revision 2025-11-25, for what an SDK would not do or not show.

use super::http;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinHandle;

const REVISION: &str = "2025-11-25";

/// One MCP session.
#[derive(Clone)]
pub struct Agent {
    http: reqwest::Client,
    url: String,
    token: String,
    session: String,
    next: Arc<AtomicU64>,
}

impl Agent {
    /// Opens a session.
    pub async fn connect(url: &str, token: &str) -> Agent {
        Agent::over(http(), url, token).await
    }

    /// The same with another client, such as one that trusts a certificate.
    pub async fn over(http: reqwest::Client, url: &str, token: &str) -> Agent {
        let mut agent = Agent { http, url: url.to_owned(), token: token.to_owned(), session: String::new(), next: Arc::default() };
        let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "test-agent", "version": "1"}});
        let answer = agent.post(&json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello})).await.expect("an answer to initialize");
        assert_eq!(answer.status(), 200, "initialize");
        agent.session = answer.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let hello = message(answer, &json!("hello")).await.expect("initialize is answered");
        assert_eq!(hello["result"]["protocolVersion"], REVISION, "{hello}");
        agent.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.expect("the notification is taken");
        agent
    }

    /// One request; its whole JSON-RPC answer, or why the connection broke.
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        let answer = self.post(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        message(answer, &id).await
    }

    /// A `tools/call` that waits in the background.
    pub fn begin(&self, tool: &str, arguments: Value) -> JoinHandle<Result<Value, String>> {
        let (agent, tool) = (self.clone(), tool.to_owned());
        tokio::spawn(async move { agent.request("tools/call", json!({"name": tool, "arguments": arguments})).await })
    }

    /// One notification, which must be taken.
    pub async fn notify(&self, method: &str, params: Value) {
        let taken = self.post(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await.expect("the notification is taken");
        assert_eq!(taken.status(), 202, "{method}");
    }

    async fn post(&self, body: &Value) -> Result<reqwest::Response, String> {
        let mut asked = self.http.post(&self.url).bearer_auth(&self.token).header("accept", "application/json, text/event-stream");
        if !self.session.is_empty() {
            asked = asked.header("mcp-session-id", &self.session).header("mcp-protocol-version", REVISION);
        }
        asked.header("content-type", "application/json").body(body.to_string()).send().await.map_err(|error| error.to_string())
    }
}

/// The first text block of a tool result.
pub fn text_of(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

/// Reads JSON or an event stream until the answer with this id.
async fn message(mut answer: reqwest::Response, id: &Value) -> Result<Value, String> {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let mut read = Vec::new();
    loop {
        let chunk = answer.chunk().await.map_err(|error| error.to_string())?;
        let ended = chunk.is_none();
        read.extend_from_slice(&chunk.unwrap_or_default());
        let text = String::from_utf8_lossy(&read);
        if kind.starts_with("text/event-stream") {
            let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok());
            if let Some(found) = events.find(|event| event["id"] == *id && event.get("method").is_none()) {
                return Ok(found);
            }
        } else if ended {
            return serde_json::from_str(&text).map_err(|_| format!("not JSON: {text}"));
        }
        if ended {
            return Err(format!("the stream ended without an answer: {text}"));
        }
    }
}
