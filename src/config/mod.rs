//! `config.toml` and the environment, typed, complete and validated: after `load` nothing optional is left to
//! find out at run time. Every mistake is reported at once with file, line, key and mend.
//! Called by `cli`; the typed result is handed to `serve`.

use crate::domain::message::MessagePointers;
use crate::domain::policy::Policy;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the file is; `None` for the built-in one of `demo`.
    pub file: Option<PathBuf>,
    /// `[listen]`.
    pub listen: Listen,
    /// `[store]`.
    pub store: StoreConfig,
    /// `[hold]`.
    pub hold: Hold,
    /// `[bounds]`.
    pub bounds: Bounds,
    /// `[mail]`.
    pub mail: Mail,
    /// `[servers.NAME]`.
    pub servers: BTreeMap<String, Server>,
}

/// `[listen]`.
#[derive(Debug, Clone)]
pub struct Listen {
    /// `host:port`; port 0 takes a free one.
    pub address: String,
    /// What links point at, without a trailing slash; `None` = the bound address.
    pub public_url: Option<String>,
    /// Further allowed Host names.
    pub hosts: Vec<String>,
    /// Allow a non-loopback address with an http `public_url`.
    pub insecure_http: bool,
}

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data folder.
    pub path: PathBuf,
}

/// `[hold]`.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Nobody decided: refused.
    pub expires_in: Duration,
    /// How long one request stays open before the pending answer.
    pub keep_open: Duration,
    /// Between approval and sending.
    pub undo: Duration,
    /// An approval whose agent cancelled waits this long.
    pub permit_for: Duration,
    /// An outcome nobody collected waits this long.
    pub outcome_for: Duration,
    /// The identical call gets the same refusal this long.
    pub refuse_again_for: Duration,
    /// Held calls of all agents.
    pub max_held: usize,
    /// Held calls of one agent.
    pub max_held_per_agent: usize,
}

/// `[bounds]` (semantics.md 34).
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of a request body.
    pub body: usize,
    /// Bytes of `arguments`.
    pub arguments: usize,
    /// Bytes of an upstream's answer.
    pub result: usize,
    /// MCP sessions of one agent.
    pub sessions_per_agent: usize,
    /// Open live streams of pages and API.
    pub live_pages: usize,
    /// Letters waiting.
    pub outbox: usize,
    /// Audit facts waiting to be written behind.
    pub audit_queue: usize,
    /// Requests under way to one server.
    pub in_flight_per_server: usize,
}

/// `[mail]`.
#[derive(Debug, Clone)]
pub enum Mail {
    /// No mail.
    Off,
    /// One `.eml` file per mail.
    File {
        /// The folder.
        path: PathBuf,
        /// The `From` mailbox.
        from: String,
    },
}

/// `[servers.NAME]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// How to reach it.
    pub transport: Transport,
    /// Further methods to forward, as globs (semantics.md 2).
    pub methods: Vec<String>,
    /// One answer's time.
    pub timeout: Duration,
    /// The initialize time.
    pub start_timeout: Duration,
    /// The rules.
    pub policy: Policy,
    /// `[servers.NAME.messages.TOOL]`.
    pub messages: BTreeMap<String, MessagePointers>,
}

/// How to reach a server.
#[derive(Debug, Clone)]
pub enum Transport {
    /// A stdio child process.
    Process {
        /// Program and arguments.
        command: Vec<String>,
        /// Added to the environment, secrets resolved.
        env: BTreeMap<String, String>,
        /// Working folder.
        cwd: Option<PathBuf>,
        /// Start from an empty environment.
        env_clear: bool,
    },
    /// A Streamable HTTP endpoint.
    Http {
        /// The endpoint.
        url: String,
        /// Own headers, secrets resolved.
        headers: BTreeMap<String, String>,
    },
}

impl Default for Hold {
    fn default() -> Hold {
        Hold {
            expires_in: Duration::from_secs(24 * 3600),
            keep_open: Duration::from_secs(50),
            undo: Duration::ZERO,
            permit_for: Duration::from_secs(3600),
            outcome_for: Duration::from_secs(3600),
            refuse_again_for: Duration::from_secs(24 * 3600),
            max_held: 10_000,
            max_held_per_agent: 100,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            body: 4 << 20,
            arguments: 1 << 20,
            result: 16 << 20,
            sessions_per_agent: 100,
            live_pages: 500,
            outbox: 100_000,
            audit_queue: 10_000,
            in_flight_per_server: 256,
        }
    }
}
