//! MCP towards servers, against real child processes under the real guard and a real HTTP server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod guard;
mod http;
mod schemas;
mod silent;
mod stdio;

use paraph::config::{Bounds, Server, Transport};
use paraph::domain::policy::Policy;
use paraph::gate::upstream::Relay;
use paraph::mcp::upstream::{Peer, Reply, Upstreams};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const PARAPH: &str = env!("CARGO_BIN_EXE_paraph");

fn server(transport: Transport) -> Server {
    Server {
        transport,
        methods: Vec::new(),
        timeout: Duration::from_secs(20),
        start_timeout: Duration::from_secs(20),
        policy: Policy::default(),
        messages: BTreeMap::new(),
    }
}

fn upstreams(server: Server, bounds: &Bounds) -> Upstreams {
    Upstreams::new([("it".to_owned(), server)].into(), bounds, PathBuf::from(PARAPH))
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn relay(token: Option<&str>) -> (Relay, mpsc::Receiver<Box<RawValue>>) {
    let (messages, receiver) = mpsc::channel(16);
    (Relay { progress_token: token.map(str::to_owned), messages }, receiver)
}

async fn call(peer: &Peer, tool: &str, relay: Option<Relay>) -> Result<Reply, paraph::mcp::upstream::RequestFailure> {
    let params = raw(&format!(r#"{{"name":"{tool}","arguments":{{ "n": 1.10 }}}}"#));
    peer.request("tools/call", Some(&params), relay, CancellationToken::new()).await
}

async fn next(messages: &mut mpsc::Receiver<Box<RawValue>>) -> Value {
    serde_json::from_str(messages.recv().await.unwrap().get()).unwrap()
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Result(body) | Reply::Error(body) => body.get().to_owned(),
    }
}

async fn peer(upstreams: &Upstreams) -> Arc<Peer> {
    upstreams.peer("it", "agent", None).await.unwrap()
}
