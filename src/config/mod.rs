//! `config.toml` and the environment, typed, complete and validated: after `load` nothing optional is left to
//! find out at run time. Every mistake is reported at once with file, line, key and mend.
//! Called by `cli`; the typed result is handed to `serve`.

mod address;
mod document;
mod fixed;
mod limits;
mod listen;
mod mail;
mod mask;
mod mistake;
mod read;
mod rules;
mod secret;
mod sections;
mod servers;
mod sign_in;
mod smtp;
mod source;
mod standing;
mod tls;

pub use crate::domain::quantity::time;
pub use document::read_policy;
pub use listen::Listen;
pub use mail::{Mail, MailTransport, Show};
pub use mistake::Mistake;
pub use secret::Secret;
pub use servers::is_server_name;
pub use smtp::{Encryption, SmtpServer};
pub use source::Places;
pub use standing::{Reading, Refused, Standing};
pub use tls::Tls;

use crate::domain::hold::HoldSettings;
use crate::domain::mask::Names;
use crate::domain::message::MessagePointers;
use crate::domain::policy::Policy;
use crate::domain::sign_in::SignInSettings;
use read::Section;
use source::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Bytes of a configuration file; a larger one is a mix-up.
const FILE_BYTES: u64 = 4 << 20;

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
    pub hold: HoldSettings,
    /// `[bounds]`.
    pub bounds: Bounds,
    /// `[mail]`.
    pub mail: Mail,
    /// `[sign_in]`.
    pub sign_in: SignInSettings,
    /// `[mask]`.
    pub mask: Names,
    /// `[servers.NAME]`.
    pub servers: BTreeMap<String, Server>,
}

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data folder.
    pub path: PathBuf,
    /// How long after its end a call keeps its texts.
    pub keep_text: Duration,
    /// Free bytes below which new work is refused; 0 = none (semantics.md 30).
    pub min_free: u64,
    /// Bytes of the file that gives way when the disk is full at a start; 0 = none.
    pub ballast: u64,
}

impl StoreConfig {
    /// A data folder, everything else as it is without a config.
    pub fn at(path: PathBuf) -> StoreConfig {
        StoreConfig { path, keep_text: sections::KEEP_TEXT, min_free: 256 << 20, ballast: 16 << 20 }
    }
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
    /// Keys of one counter of a limit, such as recipients (semantics.md 26).
    pub limit_keys: usize,
    /// Open connections of agents and reviewers.
    pub connections: usize,
    /// The same of one address that is neither loopback nor a trusted proxy.
    pub connections_per_address: usize,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A stdio child process.
    Process {
        /// Program and arguments.
        command: Vec<String>,
        /// Added to the environment, secrets resolved.
        env: BTreeMap<String, Secret>,
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
        headers: BTreeMap<String, Secret>,
    },
}

/// A configuration that was read without a mistake.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What works but should be known, in the order of the text.
    pub warnings: Vec<Mistake>,
    /// Where every key stands.
    pub places: Places,
    /// Every file that was read: the configuration, policies, secrets. A change of any of them may change the rest.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads the file; `env` answers for environment variables. Every mistake is in the answer, in line order.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Vec<Mistake>> {
        let name = path.display().to_string();
        let text = read_file(path)
            .map_err(|(problem, mend)| vec![Mistake { file: name.clone(), line: 0, column: 0, key: String::new(), problem, mend: mend.to_owned() }])?;
        let mut loaded = Config::parse(&text, &name, path.parent().unwrap_or(Path::new("")), env)?;
        loaded.config.file = Some(path.to_owned());
        loaded.files.insert(0, path.to_owned());
        Ok(loaded)
    }

    /// Reads a text. `file_name` is what mistakes call it, `base` the folder that relative paths are seen from.
    pub fn parse(text: &str, file_name: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Vec<Mistake>> {
        let mut source = Source::new(file_name, text, base, env);
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let at = error.span().map_or(text.len(), |span| span.start);
                source.mistake_at(at, "", format!("this is not TOML: {}", error.message()), "Texts stand in quotes, tables in [brackets], one key on a line.");
                return Err(source.finish().0);
            }
        };
        let mut file = Section::of(String::new(), table.get_ref());
        let config = Config {
            file: None,
            listen: listen::listen(&mut file, &mut source),
            store: sections::store(&mut file, &mut source),
            hold: sections::hold(&mut file, &mut source),
            bounds: sections::bounds(&mut file, &mut source),
            mail: mail::mail(&mut file, &mut source),
            sign_in: sign_in::sign_in(&mut file, &mut source),
            mask: mask::mask(&mut file, &mut source),
            servers: servers::servers(&mut file, &mut source),
        };
        mail::check_links(&config.mail, &config.listen, &mut source);
        sections::audit(&mut file, &mut source);
        file.finish(&mut source);
        let refused = source.has_mistakes();
        let files = source.files();
        let (mistakes, warnings, places) = source.finish();
        if refused { Err(mistakes) } else { Ok(Loaded { config, warnings, places, files }) }
    }
}

fn read_file(path: &Path) -> Result<String, (String, &'static str)> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "Write one, or name another with --config FILE; `paraph demo` shows the gateway without any.")
        }
        _ => (format!("cannot be read: {error}"), "Check the rights of the file and its folder."),
    })?;
    if !metadata.is_file() {
        return Err(("is not a file".to_owned(), "Name a file with --config FILE."));
    }
    if metadata.len() > FILE_BYTES {
        return Err(("is larger than 4 MiB".to_owned(), "Name a configuration file with --config FILE."));
    }
    let bytes = std::fs::read(path).map_err(|error| (format!("cannot be read: {error}"), "Check the rights of the file and its folder."))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        (format!("line {line} is not UTF-8"), "Save the file as UTF-8.")
    })
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
            limit_keys: 10_000,
            connections: 15_000,
            connections_per_address: 2_000,
        }
    }
}

#[cfg(test)]
mod tests;
