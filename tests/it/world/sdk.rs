//! An agent on an official SDK: one of the scripts of tests/clients as a process. A step goes in as a line of JSON, what the
//! SDK's user sees comes out as a line of JSON.

use super::SOON;
use super::real_parts::{clients_folder, node, part, script};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Which SDK.
#[derive(Clone, Copy, Debug)]
pub enum Sdk {
    /// `@modelcontextprotocol/sdk` on Node.
    TypeScript,
    /// `mcp` on Python.
    Python,
}

/// A connected agent.
pub struct SdkAgent {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What `initialize` told it: `server`, `capabilities`, `revision`.
    pub ready: Value,
}

impl SdkAgent {
    /// Starts the script and waits until it is connected. No token: a run without the gateway.
    pub async fn connect(sdk: Sdk, url: &str, token: Option<&str>) -> SdkAgent {
        let mut command = match sdk {
            Sdk::TypeScript => {
                let mut command = Command::new(node());
                command.arg(script("agent.mjs")).env("PARAPH_TEST_CLIENTS", clients_folder());
                command
            }
            Sdk::Python => {
                let mut command = Command::new(part("PARAPH_TEST_PYTHON"));
                command.arg(script("agent.py"));
                command
            }
        };
        if let Some(token) = token {
            command.env("AGENT_TOKEN", token);
        }
        let mut child = command.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the SDK's script starts");
        let input = child.stdin.take().expect("standard input");
        let output = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let mut agent = SdkAgent { _child: child, input, output, ready: Value::Null };
        let hello = agent.answer().await;
        assert!(hello["ready"].is_object(), "{sdk:?} could not connect: {hello}");
        agent.ready = hello["ready"].clone();
        agent
    }

    /// Begins a step; its answer is read with [`SdkAgent::answer`].
    pub async fn begin(&mut self, step: &Value) {
        self.input.write_all(format!("{step}\n").as_bytes()).await.expect("the script reads");
    }

    /// The next answer: `{"ok": …}` or `{"error": …}`.
    pub async fn answer(&mut self) -> Value {
        let line = tokio::time::timeout(2 * SOON, self.output.next_line()).await.expect("the SDK answers in time").expect("a line");
        serde_json::from_str(&line.expect("the script still runs")).expect("a line of JSON")
    }

    /// One step, answered.
    pub async fn step(&mut self, step: Value) -> Value {
        self.begin(&step).await;
        self.answer().await
    }

    /// One step that the SDK must not raise in.
    pub async fn fine(&mut self, step: Value) -> Value {
        let answer = self.step(step.clone()).await;
        assert!(answer.get("ok").is_some(), "the SDK raised at {step}: {answer}");
        answer["ok"].clone()
    }

    /// Begins a tool call.
    pub async fn begin_call(&mut self, tool: &str, arguments: Value) {
        self.begin(&json!({"do": "call", "name": tool, "arguments": arguments})).await;
    }

    /// A tool call whose result the SDK hands to its user.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.fine(json!({"do": "call", "name": tool, "arguments": arguments})).await
    }

    /// The result of a call begun before.
    pub async fn result(&mut self) -> Value {
        let answer = self.answer().await;
        assert!(answer.get("ok").is_some(), "the SDK raised: {answer}");
        answer["ok"].clone()
    }

    /// The names of the tools it sees.
    pub async fn tools(&mut self) -> Vec<String> {
        let listed = self.fine(json!({"do": "tools"})).await;
        listed["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }
}
