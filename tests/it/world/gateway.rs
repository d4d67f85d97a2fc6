//! `paraph serve` as a process over its own folder. A world outlives its gateways, so that one can be killed and the next
//! started on the same data.

use super::{Desk, SOON, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

const PARAPH: &str = env!("CARGO_BIN_EXE_paraph");

/// A port that is free whenever the gateway is not there: as long as this socket is bound to it and does not listen, the
/// system gives the port to nobody who takes any, and to the gateway, which names it.
pub struct Address {
    _kept: TcpSocket,
    /// `127.0.0.1:PORT`.
    pub name: String,
}

impl Address {
    /// Finds one.
    pub fn keep() -> Address {
        let kept = TcpSocket::new_v4().expect("a socket");
        kept.set_reuseaddr(true).expect("a shared address");
        kept.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let name = kept.local_addr().expect("its address").to_string();
        Address { _kept: kept, name }
    }
}

/// A folder with a `config.toml` and the data.
pub struct World {
    folder: TempDir,
}

/// A running gateway; it is killed when this is dropped.
pub struct Gateway {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    log: PathBuf,
}

impl World {
    /// A world with these `[servers.…]` and further sections. `PARAPH` stands for the program, `FOLDER` for the folder.
    pub fn new(sections: &str) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().display().to_string();
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n\n[store]\nengine = \"sled\"\npath = \"{place}/data\"\n\n\
             [mail]\ntransport = \"file\"\npath = \"{place}/mail\"\nfrom = \"Paraph <paraph@example.org>\"\n\n{}\n",
            sections.replace("PARAPH", PARAPH).replace("FOLDER", &place)
        );
        std::fs::write(folder.path().join("config.toml"), config).expect("a config.toml");
        World { folder }
    }

    /// The world most tests use: the demo server with a tool of every verdict.
    pub fn with_demo_server(further: &str) -> World {
        World::new(&format!("{further}\n{DEMO}"))
    }

    /// Writes further lines into `[listen]`.
    pub fn listen(&self, lines: &str) {
        let text = std::fs::read_to_string(self.path("config.toml")).expect("a config.toml");
        std::fs::write(self.path("config.toml"), text.replacen("[listen]\n", &format!("[listen]\n{lines}\n"), 1)).expect("a config.toml");
    }

    /// A file of this world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the program over this world.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PARAPH);
        command.args(arguments).arg("--config").arg(self.path("config.toml")).stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(SOON, command.output()).await.unwrap_or_else(|_| panic!("paraph {arguments:?} did not end")).expect("paraph starts")
    }

    /// Runs a command that must succeed; what it printed, without the line's end.
    pub async fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "paraph {arguments:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// Adds an agent for every server; its token.
    pub async fn agent(&self, name: &str) -> String {
        self.told(&["agent", "add", name]).await
    }

    /// Adds a reviewer with an API token; the token.
    pub async fn reviewer(&self, email: &str) -> String {
        self.told(&["reviewer", "add", email]).await;
        self.told(&["reviewer", "token", email]).await
    }

    /// Starts the gateway and waits until it says that it is ready.
    pub async fn serve(&self) -> Gateway {
        self.start("127.0.0.1:0", &[]).await
    }

    /// The same at this address.
    pub async fn serve_at(&self, address: &str) -> Gateway {
        self.start(address, &[]).await
    }

    /// The same with further environment variables.
    pub async fn serve_with(&self, env: &[(&str, &OsStr)]) -> Gateway {
        self.start("127.0.0.1:0", env).await
    }

    async fn start(&self, address: &str, env: &[(&str, &OsStr)]) -> Gateway {
        let log = self.path("gateway.log");
        let kept = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let mut child = Command::new(PARAPH)
            .args(["serve", "--listen", address, "--config"])
            .arg(self.path("config.toml"))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(kept)
            .kill_on_drop(true)
            .spawn()
            .expect("paraph starts");
        let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("listening on ") {
                    return Some(url.trim().to_owned());
                }
            }
            None
        };
        let url = tokio::time::timeout(SOON, ready).await.ok().flatten();
        let url = url.unwrap_or_else(|| panic!("the gateway never listened; its log:\n{}", std::fs::read_to_string(&log).unwrap_or_default()));
        Gateway { child, url, log }
    }

    /// What the demo server sent: text → how many times.
    pub fn sent(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        for line in std::fs::read_to_string(self.path("outbox")).unwrap_or_default().lines() {
            let message: serde_json::Value = serde_json::from_str(line).expect("a whole line: the demo server writes one at a time");
            *sent.entry(message["text"].as_str().expect("a text").to_owned()).or_default() += 1;
        }
        sent
    }

    /// Exports the audit and verifies the file, both with the program's own commands.
    pub async fn audit_is_whole(&self) -> String {
        let file = self.path("audit.ndjson");
        let export = self.told(&["audit", "export"]).await;
        std::fs::write(&file, format!("{export}\n")).expect("an export");
        self.told(&["audit", "verify", &file.display().to_string()]).await;
        export
    }
}

impl Gateway {
    /// The reviewer's API.
    pub fn desk(&self, token: &str) -> Desk {
        Desk::new(&self.url, token)
    }

    /// `/mcp/{server}`.
    pub fn mcp(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.url)
    }

    /// What the gateway logged, over all starts on this world.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The file of the log, for after its end.
    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// Every process below the gateway.
    pub fn children(&self) -> Vec<i32> {
        let root = self.pid().as_raw_nonzero().get();
        let parents = parents();
        let mut below = vec![root];
        let mut at = 0;
        while let Some(parent) = below.get(at).copied() {
            below.extend(parents.iter().filter(|(_, its_parent)| **its_parent == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        below.split_off(1)
    }

    /// `kill -9`, the moment it is called.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a signal to the gateway");
        self.child.wait().await.expect("the gateway's end");
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        kill_process(self.pid(), Signal::HUP).expect("a signal to the gateway");
    }

    /// Asks it to end (SIGTERM).
    pub fn signal(&self) {
        kill_process(self.pid(), Signal::TERM).expect("a signal to the gateway");
    }

    /// Asks it to end (SIGTERM) and waits; whether it ended well.
    pub async fn stop(mut self) -> bool {
        self.signal();
        tokio::time::timeout(SOON, self.child.wait()).await.expect("the gateway ends when asked").expect("the gateway's end").success()
    }

    /// Waits until it ends by itself; its exit code.
    pub async fn ended(mut self) -> Option<i32> {
        tokio::time::timeout(SOON, self.child.wait()).await.expect("the gateway ends by itself").expect("the gateway's end").code()
    }

    fn pid(&self) -> Pid {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("the gateway runs")
    }
}

/// Waits until none of these processes is left. A zombie that its new parent has yet to collect is no process any more.
pub async fn all_gone(processes: &[i32]) {
    until("no process outlives the gateway", || async {
        let alive = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        (!processes.iter().any(alive)).then_some(())
    })
    .await;
}

/// Every process and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let read = |folder: &Path| -> Option<(i32, i32)> {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        Some((pid, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
    };
    std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| read(&entry.ok()?.path())).collect()
}

const DEMO: &str = r#"
[servers.demo]
command = ["PARAPH", "demo-server"]
env     = { DEMO_OUTBOX = "FOLDER/outbox" }
default = "deny"
reads   = ["read_*"]

[[servers.demo.rules]]
name   = "dms-need-a-person"
tools  = ["send_dm"]
action = "require_approval"
reason = "Direct messages are read by a person first."

[[servers.demo.rules]]
name   = "reading-is-free"
tools  = ["read_*"]
action = "allow"

[[servers.demo.rules]]
name   = "accounts-stay"
tools  = ["delete_*"]
action = "deny"
reason = "Accounts are never deleted by an agent."

[[servers.demo.rules]]
name   = "contacts-are-private"
tools  = ["list_contacts"]
action = "hide"

[servers.demo.messages.send_dm]
to = "/to"
text = "/text"
"#;
