//! The demo's agent: a small MCP client that speaks the real protocol over HTTP (Streamable HTTP, revision
//! 2025-11-25) and knows nothing of Paraph but an address and a token. Called by `demo`.

use crate::cli::calls::api::client;
use crate::cli::fault::Fault;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, Url};
use serde_json::{Value, json};
use sse_stream::SseStream;
use tokio_stream::StreamExt as _;

const REVISION: &str = "2025-11-25";

/// A client with an open session.
pub(super) struct Agent {
    client: Client,
    url: Url,
    token: String,
    session: Option<String>,
    next_id: u64,
}

impl Agent {
    /// `initialize` and `notifications/initialized`.
    pub(super) async fn connect(url: &str, token: String) -> Result<Agent, Fault> {
        let url = Url::parse(url).map_err(|error| Fault::new(1, error.to_string()))?;
        let client = client(&url).build().map_err(|error| Fault::new(1, error.to_string()))?;
        let mut agent = Agent { client, url, token, session: None, next_id: 1 };
        let hello =
            json!({ "protocolVersion": REVISION, "capabilities": {}, "clientInfo": { "name": "paraph-demo-agent", "version": env!("CARGO_PKG_VERSION") } });
        agent.ask("initialize", hello).await?;
        let ready = agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        if !ready.status().is_success() {
            return Err(Fault::new(1, format!("the gateway answered {} to notifications/initialized", ready.status().as_u16())));
        }
        Ok(agent)
    }

    /// The tools' names.
    pub(super) async fn tools(&mut self) -> Result<Vec<String>, Fault> {
        let list = self.ask("tools/list", json!({})).await?;
        let names = list["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// One `tools/call`; asks again, with exactly the same arguments, as long as the answer is "not yet".
    pub(super) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, Fault> {
        loop {
            let result = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await?;
            let state = result["_meta"]["paraph/call"]["state"].as_str().unwrap_or_default();
            if !matches!(state, "held" | "approved" | "sending") {
                return Ok(result);
            }
        }
    }

    async fn ask(&mut self, method: &str, params: Value) -> Result<Value, Fault> {
        let id = self.next_id;
        self.next_id += 1;
        let response = self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
        let status = response.status();
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = session.to_str().ok().map(str::to_owned);
        }
        if !status.is_success() {
            return Err(Fault::new(1, format!("the gateway answered {} to {method}", status.as_u16())));
        }
        let answer = read(response, id).await?;
        match answer.get("error") {
            Some(error) => Err(Fault::new(1, format!("{method} failed: {}", error["message"].as_str().unwrap_or("no reason given")))),
            None => Ok(answer["result"].clone()),
        }
    }

    async fn post(&self, body: &Value) -> Result<Response, Fault> {
        let mut request = self
            .client
            .post(self.url.clone())
            .bearer_auth(&self.token)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(body.to_string());
        if let Some(session) = &self.session {
            request = request.header("Mcp-Session-Id", session).header("MCP-Protocol-Version", REVISION);
        }
        request.send().await.map_err(|_| lost())
    }
}

/// The answer with this id, as one JSON body or out of a stream.
async fn read(response: Response, id: u64) -> Result<Value, Fault> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        let bytes = response.bytes().await.map_err(|_| lost())?;
        return serde_json::from_slice(&bytes).map_err(|_| Fault::new(1, "the gateway's answer is not JSON"));
    }
    let mut events = SseStream::from_bytes_stream(response.bytes_stream());
    while let Some(Ok(event)) = events.next().await {
        let message = event.data.and_then(|data| serde_json::from_str::<Value>(&data).ok());
        if let Some(message) = message.filter(|message| message["id"] == id) {
            return Ok(message);
        }
    }
    Err(lost())
}

fn lost() -> Fault {
    Fault::new(1, "the agent lost its connection to the gateway")
}
