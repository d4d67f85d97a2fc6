//! A client that can only start a process: `paraph connect`, driven line by line. What it says beside the protocol is kept.

use super::{SOON, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// One running front.
pub struct Front {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    said: Arc<Mutex<String>>,
}

impl Front {
    /// Starts it; nothing has been said yet.
    pub fn start(url: &str, token: &str, options: &[&str]) -> Front {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paraph"));
        command.args(["connect", "demo", "--url", url]).args(options).env("PARAPH_AGENT_TOKEN", token);
        Front::of(command)
    }

    /// The same as a client's configuration says it.
    pub fn of(mut command: Command) -> Front {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = piped.spawn().expect("paraph starts");
        let output = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let keeping = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                keeping.lock().expect("a lock").push_str(&format!("{line}\n"));
            }
        });
        Front { input: child.stdin.take(), child, output, said }
    }

    /// Starts it and opens a session; the hello.
    pub async fn connect(url: &str, token: &str, revision: &str, options: &[&str]) -> (Front, Value) {
        let mut front = Front::start(url, token, options);
        let hello = front.hello(revision).await;
        (front, hello)
    }

    /// `initialize` and `notifications/initialized`.
    pub async fn hello(&mut self, revision: &str) -> Value {
        let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}});
        self.say(&json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": params})).await;
        let hello = self.answer().await;
        assert_eq!((&hello["id"], &hello["result"]["protocolVersion"]), (&json!("hello"), &json!(revision)), "{hello}; {}", self.said());
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        hello
    }

    /// One line.
    pub async fn say(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes()).await;
    }

    /// Any bytes.
    pub async fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("not closed yet");
        input.write_all(bytes).await.expect("the front reads");
        input.flush().await.expect("the front reads");
    }

    /// A request.
    pub async fn ask(&mut self, id: u64, method: &str, params: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
    }

    /// A direct message.
    pub async fn dm(&mut self, id: u64, text: &str) {
        self.ask(id, "tools/call", json!({"name": "send_dm", "arguments": {"to": "@bob", "text": text}})).await;
    }

    /// Takes a request back.
    pub async fn cancel(&mut self, id: u64) {
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "changed my mind"}})).await;
    }

    /// The next line as it stands.
    pub async fn line(&mut self) -> String {
        let line = tokio::time::timeout(SOON, self.output.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("no line in time; beside it: {}", self.said())).expect("a line");
        line.unwrap_or_else(|| panic!("the front ended: {}", self.said()))
    }

    /// The next line as JSON, which every line must be.
    pub async fn answer(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON on standard output: {line}"))
    }

    /// The next line, which must answer this request.
    pub async fn answer_to(&mut self, id: u64) -> Value {
        let answer = self.answer().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Nothing comes for so long.
    pub async fn is_silent_for(&mut self, time: Duration) {
        if let Ok(line) = tokio::time::timeout(time, self.output.next_line()).await {
            panic!("a line that nobody waits for: {line:?}");
        }
    }

    /// What it said on standard error.
    pub fn said(&self) -> String {
        self.said.lock().expect("a lock").clone()
    }

    /// Waits until it has said this on standard error.
    pub async fn says(&self, part: &str) {
        until(&format!("the front says {part:?}"), || async { self.said().contains(part).then_some(()) }).await;
    }

    /// Asks it to end (SIGTERM).
    pub fn signal(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("the front runs");
        kill_process(pid, Signal::TERM).expect("a signal to the front");
    }

    /// Closes its input.
    pub fn close(&mut self) {
        drop(self.input.take());
    }

    /// Waits for its end: its exit code, and the lines nobody read.
    pub async fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let mut rest = Vec::new();
        let end = async {
            while let Ok(Some(line)) = self.output.next_line().await {
                rest.push(line);
            }
            self.child.wait().await.expect("the front's end").code()
        };
        let code = tokio::time::timeout(SOON, end).await.expect("the front ends");
        (code, rest)
    }
}
