//! The official SDKs as agents, before the real program: what the SDK's user sees of everything that can become of a call.
//! A test is one sentence that must hold for every SDK; the SDKs run it side by side, each in a world of its own.

mod leaving;
mod restart;
mod verdicts;

use crate::world::{Gateway, Sdk, SdkAgent, World, text_of, until};
use regex::Regex;
use serde_json::{Value, json};
use std::future::Future;

const ANN: &str = "ann@example.org";

/// One SDK's world.
struct Scene {
    sdk: Sdk,
    world: World,
    token: String,
    ann: String,
}

impl Scene {
    /// An agent, a reviewer, and this in `[hold]`.
    async fn new(sdk: Sdk, hold: &str) -> Scene {
        let world = World::with_demo_server(&format!("[hold]\n{hold}\n"));
        let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
        Scene { sdk, world, token, ann }
    }

    /// The agent, connected. It has seen the tools: from now on its SDK checks every result of `send_dm` against the outputSchema.
    async fn agent(&self, gateway: &Gateway) -> SdkAgent {
        let mut agent = SdkAgent::connect(self.sdk, &gateway.mcp("demo"), Some(&self.token)).await;
        assert!(agent.tools().await.contains(&"send_dm".to_owned()), "{:?}", self.sdk);
        agent
    }
}

/// Runs the scenario for all of them at once and names those it failed for.
async fn every<F: Future<Output = ()> + Send + 'static>(sdks: &[Sdk], scenario: fn(Sdk) -> F) {
    let running: Vec<_> = sdks.iter().map(|sdk| (*sdk, tokio::spawn(scenario(*sdk)))).collect();
    let mut failed = Vec::new();
    for (sdk, run) in running {
        if run.await.is_err() {
            failed.push(sdk);
        }
    }
    assert!(failed.is_empty(), "not so for {failed:?}; what went wrong stands above");
}

fn dm(to: &str, text: &str) -> Value {
    json!({"to": to, "text": text})
}

fn id_of(call: &Value) -> &str {
    call["id"].as_str().expect("an id")
}

/// Waits until the reviewer sees this presence.
async fn presence(desk: &crate::world::Desk, id: &str, word: &str) {
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
