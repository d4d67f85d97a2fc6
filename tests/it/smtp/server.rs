//! `tests/clients/mail_server.py` as a process, and what it wrote down.

use crate::world::{SOON, script, smtp_python, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A mail server; it ends when this is dropped.
pub struct Server {
    /// Held for its end.
    _child: Child,
    pub port: u16,
    out: PathBuf,
}

impl Server {
    /// Starts it; `out` may be shared by servers that follow one another.
    pub async fn start(out: &Path, mut asked: Value) -> Server {
        asked["out"] = json!(out);
        let mut child = Command::new(smtp_python())
            .arg(script("mail_server.py"))
            .arg(asked.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the mail server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("the mail server listens in time").unwrap();
        let port = line.as_deref().and_then(|line| line.strip_prefix("port ")).and_then(|port| port.parse().ok());
        Server { _child: child, port: port.unwrap_or_else(|| panic!("not a port: {line:?}")), out: out.to_owned() }
    }

    /// What happened so far, of one kind.
    pub fn noted(&self, kind: &str) -> Vec<Value> {
        noted(&self.out, kind)
    }

    /// Waits for so many mails, which are all.
    pub async fn mails(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} mails"), || async { (self.noted("mail").len() >= count).then_some(()) }).await;
        let mails = self.noted("mail");
        assert_eq!(mails.len(), count, "{mails:#?}");
        mails
    }
}

/// What servers wrote down there.
pub fn noted(out: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    // The last line may be half written.
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|note| note["kind"] == kind).collect()
}
