//! Another configuration while the gateway runs: the real program over a file that is written, replaced, swapped,
//! lost and found. Every test waits for what an operator would look at: the API, the audit, the log.

mod changes;
mod files;
mod race;

use crate::world::{Agent, Desk, Gateway, SOON, World, until};
use serde_json::{Value, json};
use std::time::Duration;

const OP: &str = "op@example.org";

/// A gateway over the demo server, with an agent and an operator.
struct Bench {
    world: World,
    gateway: Gateway,
    desk: Desk,
    token: String,
}

impl Bench {
    async fn new(sections: &str) -> Bench {
        Bench::over(World::with_demo_server(sections)).await
    }

    async fn over(world: World) -> Bench {
        let token = world.agent("support-bot").await;
        world.told(&["reviewer", "add", OP, "--role", "operator"]).await;
        let operator = world.told(&["reviewer", "token", OP]).await;
        let gateway = world.serve().await;
        let desk = gateway.desk(&operator);
        Bench { world, gateway, desk, token }
    }

    async fn agent(&self, server: &str) -> Agent {
        Agent::connect(&self.gateway.mcp(server), &self.token).await
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.world.path("config.toml")).unwrap()
    }

    /// The file with one thing changed, written in place.
    fn edit(&self, from: &str, to: &str) {
        let text = self.text();
        assert_eq!(text.matches(from).count(), 1, "{from:?} stands in the file once");
        std::fs::write(self.world.path("config.toml"), text.replace(from, to)).unwrap();
    }

    async fn config(&self) -> Value {
        let (status, config) = self.desk.get("/config").await;
        assert_eq!(status, 200, "{config}");
        config
    }

    async fn digest(&self, server: &str) -> Value {
        self.config().await["digests"][server].clone()
    }

    /// Waits until another policy judges a server's calls; its digest.
    async fn other_than(&self, server: &str, digest: &Value) -> Value {
        let what = format!("another policy for {server} than {digest}; the log:\n{}", self.gateway.log());
        until(&what, || async { Some(self.digest(server).await).filter(|now| now != digest) }).await
    }

    /// Waits until the file is refused; the mistakes.
    async fn mistakes(&self) -> Vec<Value> {
        until("the file is refused", || async { self.config().await["mistakes"].as_array().filter(|mistakes| !mistakes.is_empty()).cloned() }).await
    }

    async fn no_mistakes(&self) {
        until("the file is in force", || async { (self.config().await["mistakes"] == json!([])).then_some(()) }).await;
    }

    /// Waits until the log has this so many times.
    async fn logs(&self, text: &str, times: usize) {
        let deadline = tokio::time::Instant::now() + SOON;
        while self.gateway.log().matches(text).count() < times {
            assert!(tokio::time::Instant::now() < deadline, "the log never said {text:?} {times} times; it says:\n{}", self.gateway.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every audit entry.
    async fn entries(&self) -> Vec<Value> {
        let (status, entries) = self.desk.get("/audit?limit=1000").await;
        assert_eq!(status, 200, "{entries}");
        match entries {
            Value::String(lines) => lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            one => vec![one],
        }
    }

    async fn entries_of(&self, kind: &str) -> Vec<Value> {
        self.entries().await.into_iter().filter(|entry| entry["kind"] == kind).collect()
    }
}

/// A call that is answered at once; its `paraph/call` meta, or the text of its result.
async fn call(agent: &Agent, tool: &str, arguments: Value) -> (String, Value) {
    let answer = agent.request("tools/call", json!({"name": tool, "arguments": arguments})).await.expect("the call is answered");
    let meta = &answer["result"]["_meta"]["paraph/call"];
    (meta["state"].as_str().unwrap_or("sent").to_owned(), meta["rule"].clone())
}
