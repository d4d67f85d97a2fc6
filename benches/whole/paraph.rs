//! Paraph as people run it: the release build, a folder with a `config.toml` and the data, agents and reviewers made by
//! its own commands. A folder outlives its gateways, so that one can be killed and started again on what it wrote.
//! Used by the scenarios that need more of Paraph than a peer's config can say.

use crate::load::{Connection, request};
use crate::process::{Process, SOON, Usage};
use paraph::config::Config;
use paraph::control::{Answer, Line, Request};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// The person whose tokens and cookies are used.
pub const OPERATOR: &str = "olga@example.org";

/// The default configuration but for a free port and the folder.
const HEAD: &str = "[listen]\naddress = \"127.0.0.1:0\"\n\n[store]\npath = \"FOLDER/data\"\n\n";

/// A folder with a `config.toml` and the data.
pub struct Place {
    folder: TempDir,
    program: PathBuf,
}

/// A running gateway; it is killed when this is dropped, and its folder goes with it unless `stop` or `kill` hand it back.
pub struct Paraph {
    place: Place,
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start until it said that it is ready.
    pub ready_after: std::time::Duration,
}

impl Place {
    /// A new folder. `config` is appended to the default `[listen]` and `[store]`, which it cannot set again; `FOLDER`
    /// stands for the folder.
    pub fn new(program: &Path, config: &str) -> Place {
        Place::with_config(program, &format!("{HEAD}{config}"))
    }

    /// The same with the whole text of `config.toml`.
    pub fn with_config(program: &Path, config: &str) -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let text = config.replace("FOLDER", &folder.path().display().to_string());
        std::fs::write(folder.path().join("config.toml"), text).expect("a config.toml");
        Place { folder, program: program.to_owned() }
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the program, which must succeed; what it printed, without the line's end.
    pub async fn told(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.path("config.toml")).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(SOON, command.output()).await.expect("the command ends").expect("the command starts");
        assert!(output.status.success(), "paraph {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Adds agents for every server, `bot-0` and on; their tokens. Over one line to the data, as one command for each
    /// takes a process for each; works whether the gateway runs or not.
    pub async fn agents(&self, how_many: usize) -> Vec<String> {
        let loaded = Config::load(&self.path("config.toml"), &|name| std::env::var(name).ok()).expect("a config without mistakes");
        let mut line = Line::open(&loaded.config).await.expect("a line to the data");
        let mut tokens = Vec::with_capacity(how_many);
        for number in 0..how_many {
            let name = format!("bot-{number}");
            let request = Request::AddAgent { name, servers: Vec::new(), owner: None, keep_open_ms: None, expires_in_ms: None };
            match line.ask(request).await.expect("an agent").answer {
                Answer::Secret(token) => tokens.push(token),
                other => panic!("an agent's token was expected, not {other:?}"),
            }
        }
        line.close().await;
        tokens
    }

    /// Adds an operator; their API token.
    pub async fn operator(&self) -> String {
        self.told(&["reviewer", "add", OPERATOR, "--role", "operator"]).await;
        self.told(&["reviewer", "token", OPERATOR]).await
    }

    /// Starts the gateway and waits until `/readyz` says that it is ready.
    pub async fn serve(self) -> Paraph {
        let begun = Instant::now();
        let command = ["serve", "--config"].map(str::to_owned);
        let command: Vec<String> =
            [self.program.display().to_string()].into_iter().chain(command).chain([self.path("config.toml").display().to_string()]).collect();
        let mut process = Process::start(&command, &[], &self.path("gateway.log")).expect("the gateway starts");
        let address = match process.address().await {
            Ok(address) => address,
            Err(cause) => panic!("{cause}; its log:\n{}", std::fs::read_to_string(self.path("gateway.log")).unwrap_or_default()),
        };
        let ready = request("GET", "/readyz", address, "", b"");
        while begun.elapsed() < SOON {
            let mut connection = Connection::open(address).await.expect("a connection to the gateway");
            if connection.ask(&ready).await.is_ok_and(|(head, _)| head.status == 200) {
                let ready_after = begun.elapsed();
                return Paraph { place: self, process, address, ready_after };
            }
            sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the gateway was never ready; its log:\n{}", std::fs::read_to_string(self.path("gateway.log")).unwrap_or_default());
    }
}

impl Paraph {
    /// Its folder, for commands and files while it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    /// CPU and memory of the gateway and its guards, without the servers behind it that are roles of ours.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Signs the operator in with a one-time link, as a browser does; the value of a `Cookie` header. `Place::operator`
    /// comes first.
    pub async fn cookie(&self) -> String {
        let link = self.place.told(&["reviewer", "link", OPERATOR]).await;
        let secret = link.rsplit('/').next().unwrap_or_default();
        let headers = format!("Origin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\n", self.address);
        let redeem = request("POST", &format!("/sign-in/{secret}"), self.address, &headers, b"");
        let mut connection = Connection::open(self.address).await.expect("a connection to the gateway");
        let (head, _) = connection.ask(&redeem).await.expect("an answer to the link");
        assert_eq!(head.status, 303, "the link lets in");
        head.cookies.into_iter().find(|cookie| cookie.starts_with("paraph_session=")).expect("a session's cookie")
    }

    /// SIGTERM; the folder stays.
    pub async fn stop(self) -> Place {
        self.process.stop().await;
        self.place
    }

    /// `kill -9`; the folder stays.
    pub async fn kill(self) -> Place {
        self.process.kill().await;
        self.place
    }
}
