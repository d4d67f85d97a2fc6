//! An agent on an official SDK: one of the scripts of tests/clients as a process. A step goes in as a line of JSON, what the
//! SDK's user sees comes out as a line of JSON. Made by the tests `sdks` and `upstream_servers`.

use super::SOON;
use super::real_parts::{clients_folder, node, part, script};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Which SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// `@modelcontextprotocol/sdk`, version 1, on Node.
    TypeScript,
    /// `@modelcontextprotocol/client`, version 2, as it comes: it begins with `initialize`.
    TypeScript2,
    /// The same, asking for the newest revision first.
    TypeScript2Auto,
    /// The same, speaking revision 2025-03-26 alone.
    TypeScript2March,
    /// `mcp`, version 1, on Python.
    Python,
    /// `mcp`, version 2, as it comes: it asks for the newest revision first.
    Python2,
}

impl Sdk {
    /// Every SDK as it comes.
    pub const ALL: [Sdk; 4] = [Sdk::TypeScript, Sdk::TypeScript2, Sdk::Python, Sdk::Python2];

    /// Whether it tells the server when its user stops a call or its own time for one is up. Python's version 1 says nothing
    /// and leaves the request open, so the server may answer into the void.
    pub fn tells_when_it_stops(self) -> bool {
        match self {
            Sdk::TypeScript | Sdk::TypeScript2 | Sdk::TypeScript2Auto | Sdk::TypeScript2March | Sdk::Python2 => true,
            Sdk::Python => false,
        }
    }

    fn command(self) -> Command {
        let node_with = |version: &str| {
            let mut command = Command::new(node());
            command.arg(script("agent.mjs")).arg(version).env("PARAPH_TEST_CLIENTS", clients_folder());
            command
        };
        let python = |variable: &str| {
            let mut command = Command::new(part(variable));
            command.arg(script("agent.py"));
            command
        };
        match self {
            Sdk::TypeScript => node_with("1"),
            Sdk::TypeScript2 => node_with("2"),
            Sdk::TypeScript2Auto => node_with("2 auto"),
            Sdk::TypeScript2March => node_with("2 2025-03-26"),
            Sdk::Python => python("PARAPH_TEST_PYTHON"),
            Sdk::Python2 => python("PARAPH_TEST_PYTHON_2"),
        }
    }
}

/// A connected agent.
pub struct SdkAgent {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What `initialize` told it: `server`, `capabilities`, `revision`.
    pub ready: Value,
}

impl SdkAgent {
    /// Starts the script and waits until it is connected. No token: a run without the gateway.
    pub async fn connect(sdk: Sdk, url: &str, token: Option<&str>) -> SdkAgent {
        SdkAgent::connect_with(sdk, url, token, &[]).await
    }

    /// The same with further environment variables.
    pub async fn connect_with(sdk: Sdk, url: &str, token: Option<&str>, env: &[(&str, &std::ffi::OsStr)]) -> SdkAgent {
        let mut command = sdk.command();
        command.envs(env.iter().copied());
        if let Some(token) = token {
            command.env("AGENT_TOKEN", token);
        }
        let mut child = command.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the SDK's script starts");
        let input = child.stdin.take().expect("standard input");
        let output = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let mut agent = SdkAgent { child, input, output, ready: Value::Null };
        let hello = agent.answer().await;
        assert!(hello["ready"].is_object(), "{sdk:?} could not connect: {hello}");
        agent.ready = hello["ready"].clone();
        agent
    }

    /// The same with `paraph connect` between the SDK and the gateway: the SDK starts it.
    pub async fn over_stdio(sdk: Sdk, url: &str, token: &str) -> SdkAgent {
        let server = json!({"command": env!("CARGO_BIN_EXE_paraph"), "args": ["connect", "demo", "--url", url]});
        SdkAgent::connect(sdk, &server.to_string(), Some(token)).await
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

    /// Begins a tool call that [`SdkAgent::stop`] can end.
    pub async fn begin_stoppable_call(&mut self, tool: &str, arguments: Value) {
        self.begin(&json!({"do": "call", "name": tool, "arguments": arguments, "stoppable": true})).await;
    }

    /// Its user stops the call begun before, by the SDK's own means; what the user sees then.
    pub async fn stop(&mut self) -> Value {
        self.begin(&json!("stop")).await;
        self.answer().await
    }

    /// Begins a tool call that the SDK gives up by itself after so many seconds.
    pub async fn begin_call_for(&mut self, seconds: u64, tool: &str, arguments: Value) {
        self.begin(&json!({"do": "call", "name": tool, "arguments": arguments, "seconds": seconds})).await;
    }

    /// `kill -9`, the moment it is called.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a signal to the SDK's script");
        self.child.wait().await.expect("the script's end");
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
