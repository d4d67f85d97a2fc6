//! A peer: what stands between the load and the upstream, as its file in `peers/` says. A file names the command, what it
//! needs beforehand and how an agent speaks to it, so that another gateway is compared by writing one. A peer whose
//! program is not on the machine is reported and never left out in silence. Used by `calls`.

use super::load::{self, Call, Connection};
use super::process::{Process, Usage};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// One file of `peers/`. In `command`, `token`, `headers` and the texts of `files` stand for something: `{paraph}` the
/// program that is measured, `{exe}` this executable, `{upstream}` the upstream's `address:port`, `{upstream_port}`,
/// `{folder}` a new folder, `{port}` a free port, `{token}` what the command `token` printed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What tables call it.
    pub name: String,
    /// One line: what it does with a call.
    pub about: String,
    /// Where it stands in tables.
    pub order: u32,
    /// The peer that it is held against, besides `direct`.
    pub beside: Option<String>,
    /// It does not run unless `--peer` names it; why.
    pub disabled: Option<String>,
    /// How it is started. Empty: the upstream itself. Without `{port}` it prints its address first.
    #[serde(default)]
    command: Vec<String>,
    /// Run before it starts; prints a token alone.
    #[serde(default)]
    token: Vec<String>,
    /// Where it takes MCP.
    path: String,
    /// It wants `initialize` first, and hands out a session.
    #[serde(default)]
    initialize: bool,
    /// The tool that is called.
    tool: String,
    /// Further header lines.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Written into the folder beforehand.
    #[serde(default)]
    files: Vec<Written>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    text: String,
}

/// What the placeholders stand for.
pub struct Known {
    /// The `paraph` that is measured.
    pub paraph: PathBuf,
    /// This executable.
    pub exe: PathBuf,
    /// The upstream.
    pub upstream: SocketAddr,
}

/// A peer that runs.
pub struct Running {
    /// Nothing when it is the upstream itself.
    process: Option<Process>,
    /// Where it listens.
    pub address: SocketAddr,
    headers: String,
    peer: Peer,
    folder: TempDir,
}

impl Peer {
    /// Every file of the folder, in the order of the tables.
    pub fn read(folder: &Path) -> Result<Vec<Peer>, String> {
        let entries = std::fs::read_dir(folder).map_err(|cause| format!("{}: {cause}", folder.display()))?;
        let mut peers = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
            let text = std::fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
            peers.push(toml::from_str::<Peer>(&text).map_err(|cause| format!("{}: {cause}", path.display()))?);
        }
        peers.sort_by_key(|peer| peer.order);
        Ok(peers)
    }

    /// The program that it needs and that is not on this machine.
    pub fn missing(&self) -> Option<&str> {
        let program = self.command.first()?;
        let there = program.starts_with('{') || found(program).is_some();
        (!there).then_some(program)
    }

    /// Starts it and waits until it accepts connections.
    pub async fn start(&self, known: &Known) -> Result<Running, String> {
        let folder = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        // Nobody holds the port from here to the start; on a machine that is measured nobody else takes one.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(|cause| cause.to_string())?.port();
        let mut stands_for = BTreeMap::from([
            ("{paraph}", known.paraph.display().to_string()),
            ("{exe}", known.exe.display().to_string()),
            ("{upstream}", known.upstream.to_string()),
            ("{upstream_port}", known.upstream.port().to_string()),
            ("{folder}", folder.path().display().to_string()),
            ("{port}", port.to_string()),
        ]);
        for file in &self.files {
            std::fs::write(folder.path().join(&file.name), filled(&file.text, &stands_for)).map_err(|cause| cause.to_string())?;
        }
        if !self.token.is_empty() {
            stands_for.insert("{token}", told(&self.token, &stands_for).await?);
        }
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {}\r\n", filled(value, &stands_for))).collect();
        let mut command: Vec<String> = self.command.iter().map(|word| filled(word, &stands_for)).collect();
        let Some(program) = command.first_mut() else {
            return Ok(Running { process: None, address: known.upstream, headers, peer: self.clone(), folder });
        };
        *program = found(program).ok_or_else(|| format!("{program} is not here"))?.display().to_string();
        let takes_port = self.command.iter().chain(self.files.iter().map(|file| &file.text)).any(|text| text.contains("{port}"));
        let log = folder.path().join("peer.log");
        let started = async {
            let mut process = Process::start(&command, &[], &log)?;
            let address = if takes_port { SocketAddr::from(([127, 0, 0, 1], port)) } else { process.address().await? };
            process.accepts(address).await?;
            Ok::<_, String>((process, address))
        };
        let (process, address) = started.await.map_err(|cause| format!("{cause}\n{}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(Running { process: Some(process), address, headers, peer: self.clone(), folder })
    }
}

impl Running {
    /// Connections that are ready to call, each with a session of its own where the peer has sessions.
    pub async fn workers(&self, connections: usize, bytes: usize) -> Result<Vec<(Connection, Call)>, String> {
        let mut workers = Vec::with_capacity(connections);
        for _ in 0..connections {
            workers.push(self.worker(bytes).await.map_err(|cause| format!("{cause}; its log:\n{}", self.log()))?);
        }
        Ok(workers)
    }

    async fn worker(&self, bytes: usize) -> Result<(Connection, Call), String> {
        let mut connection = Connection::open(self.address).await.map_err(|cause| cause.to_string())?;
        let mut headers = load::mcp_headers("", "") + self.headers.as_str();
        if self.peer.initialize {
            let session = load::initialize(&mut connection, self.address, &self.peer.path, &headers).await.map_err(|cause| cause.to_string())?;
            headers = load::mcp_headers("", &session) + self.headers.as_str();
        }
        let request = load::request("POST", &self.peer.path, self.address, &headers, &load::tools_call(&self.peer.tool, bytes));
        Ok((connection, Call::new(request, super::upstream::result())?))
    }

    /// What it took so far; nothing for the upstream itself.
    pub fn usage(&self) -> Usage {
        self.process.as_ref().map(Process::usage).unwrap_or_default()
    }

    /// Ends it.
    pub async fn stop(self) {
        if let Some(process) = self.process {
            process.stop().await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("peer.log")).unwrap_or_default()
    }
}

fn filled(text: &str, stands_for: &BTreeMap<&str, String>) -> String {
    stands_for.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The file of a program: as it is named, else in PATH and where servers are kept.
fn found(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).exists().then(|| program.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

async fn told(command: &[String], stands_for: &BTreeMap<&str, String>) -> Result<String, String> {
    let words: Vec<String> = command.iter().map(|word| filled(word, stands_for)).collect();
    let output = tokio::process::Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).output().await;
    let output = output.map_err(|cause| format!("{}: {cause}", words[0]))?;
    if !output.status.success() {
        return Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
