//! A server that lists given tools and notes every call. Streamable HTTP, without a session; one process serves many
//! lists, each under its own path.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The server with its lists.
pub struct Listing {
    lists: BTreeMap<String, Value>,
    /// Which list, which tool.
    called: Mutex<Vec<(String, String)>>,
    url: Mutex<String>,
}

impl Listing {
    /// Serves each list under its name; an entry is the `tools/list` result.
    pub async fn serve(lists: BTreeMap<String, Value>) -> Arc<Listing> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listing = Arc::new(Listing { lists, called: Mutex::default(), url: Mutex::new(url) });
        let app = Router::new().route("/{name}", axum::routing::any(answer)).with_state(listing.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        listing
    }

    /// The endpoint of a list.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url.lock().unwrap())
    }

    /// How often the tool was called.
    pub fn called(&self, name: &str, tool: &str) -> usize {
        self.called.lock().unwrap().iter().filter(|(list, called)| list == name && called == tool).count()
    }

    /// How often any tool was called.
    pub fn calls(&self, name: &str) -> usize {
        self.called.lock().unwrap().iter().filter(|(list, _)| list == name).count()
    }
}

async fn answer(State(listing): State<Arc<Listing>>, Path(name): Path<String>, method: Method, body: Bytes) -> Response {
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let message: Value = serde_json::from_slice(&body).unwrap();
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": name, "version": "1" } }),
        "tools/list" => listing.lists[&name].clone(),
        "tools/call" => {
            let tool = message["params"]["name"].as_str().unwrap().to_owned();
            listing.called.lock().unwrap().push((name, tool));
            json!({ "content": [{ "type": "text", "text": "Sent." }] })
        }
        _ => json!({}),
    };
    ([("content-type", "application/json")], json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string()).into_response()
}
