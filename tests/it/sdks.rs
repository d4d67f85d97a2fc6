//! The official SDKs as agents, before the real program: what the SDK's user sees of everything that can become of a call.
//! A test is one sentence that must hold for every SDK; the SDKs run it side by side.

mod batches;
mod leaving;
mod restart;
mod tls;
mod verdicts;

use crate::world::{Desk, Gateway, Sdk, SdkAgent, World, text_of, until};
use regex::Regex;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;

/// One SDK, with an agent of its own at a gateway that all of them share: a Python that imports its SDK is dear enough.
struct Case {
    sdk: Sdk,
    agent: String,
    token: String,
    ann: String,
    world: Arc<World>,
}

/// A world with an agent for every SDK; how long its requests stay open is a matter of each agent.
async fn cases(sdks: &[Sdk], keep_open: fn(Sdk) -> &'static str) -> (Arc<World>, Vec<Case>) {
    let world = Arc::new(World::with_demo_server(""));
    let ann = world.reviewer("ann@example.org").await;
    let mut cases = Vec::new();
    for &sdk in sdks {
        let agent = format!("{sdk:?}").to_lowercase();
        let token = world.told(&["agent", "add", &agent, "--keep-open", keep_open(sdk)]).await;
        cases.push(Case { sdk, agent, token, ann: ann.clone(), world: world.clone() });
    }
    (world, cases)
}

/// Lets all do their parts at once, and names those that failed.
async fn all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(parts: impl Iterator<Item = (Sdk, F)>) -> Vec<T> {
    let running: Vec<_> = parts.map(|(sdk, part)| (sdk, tokio::spawn(part))).collect();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (sdk, run) in running {
        match run.await {
            Ok(result) => done.push(result),
            Err(_) => failed.push(sdk),
        }
    }
    assert!(failed.is_empty(), "not so for {failed:?}; what went wrong stands above");
    done
}

/// A whole scenario before one gateway.
async fn every<F>(sdks: &[Sdk], keep_open: fn(Sdk) -> &'static str, scenario: fn(Case, Arc<Gateway>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (world, cases) = cases(sdks, keep_open).await;
    let gateway = Arc::new(world.serve().await);
    all(cases.into_iter().map(|case| (case.sdk, scenario(case, gateway.clone())))).await;
}

impl Case {
    /// Its agent, connected. It has seen the tools: from now on its SDK checks every result of `send_dm` against the outputSchema.
    async fn connect(&self, gateway: &Gateway) -> SdkAgent {
        let mut agent = SdkAgent::connect(self.sdk, &gateway.mcp("demo"), Some(&self.token)).await;
        assert!(agent.tools().await.contains(&"send_dm".to_owned()), "{:?}", self.sdk);
        agent
    }

    fn desk(&self, gateway: &Gateway) -> Desk {
        gateway.desk(&self.ann)
    }

    /// A text that no other SDK's message has.
    fn text(&self, text: &str) -> String {
        format!("{text} ({})", self.agent)
    }

    /// This agent's held calls.
    async fn held(&self, desk: &Desk) -> usize {
        desk.calls("held").await.iter().filter(|call| call["agent"] == self.agent).count()
    }

    /// How often this text was sent.
    fn sent(&self, text: &str) -> usize {
        self.world.sent().get(text).copied().unwrap_or(0)
    }
}

fn dm(to: &str, text: &str) -> Value {
    json!({"to": to, "text": text})
}

fn id_of(call: &Value) -> &str {
    call["id"].as_str().expect("an id")
}

/// Waits until the reviewer sees this presence.
async fn presence(desk: &Desk, id: &str, word: &str) {
    until(&format!("{id} is {word}"), || async { (desk.call(id).await["presence"] == word).then_some(()) }).await;
}

/// Our answer, not the server's: an error result that names the call, in the state, with the sentence.
fn told(result: &Value, state: &str, sentence: &str) {
    assert_eq!(result["isError"], true, "{result}");
    assert!(result.get("structuredContent").is_none(), "{result}");
    assert_eq!(result["_meta"]["paraph/call"]["state"], state, "{result}");
    assert_eq!(text_of(result), sentence, "{result}");
    assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "{result}");
}

/// The pending answer for this call.
fn pending(result: &Value, id: &str) {
    told(
        result,
        "held",
        &format!(
            "NOT SENT YET. A person must approve this ({id}). It is sent when they do, even if you do not ask again. Do not reword it or send it another way. To wait, call again with exactly the same arguments."
        ),
    );
    assert_eq!(result["_meta"]["paraph/call"]["id"], id, "{result}");
}

/// The server's own result and nothing else.
fn sent(result: &Value, to: &str) {
    assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "{result}");
    servers_result(result, to);
}

/// The server's result, and that it is of an earlier call.
fn sent_earlier(result: &Value, to: &str) {
    servers_result(result, to);
    assert_eq!(result["content"].as_array().map(Vec::len), Some(2), "{result}");
    let block = result["content"][1]["text"].as_str().unwrap_or_default();
    let sentence = Regex::new(r"^Sent at \d{4}-\d\d-\d\dT\S+Z for your earlier call; nothing was sent now\.$").unwrap();
    assert!(sentence.is_match(block), "{result}");
}

fn servers_result(result: &Value, to: &str) {
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!(text_of(result), format!("Sent to {to}."), "{result}");
    assert_eq!(result["structuredContent"]["to"], to, "{result}");
}
