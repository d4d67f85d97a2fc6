//! The only file that knows every other (with `serve/reload`): opens the store, recovers, wires the edges to the gate, listens, and
//! stops in order. A task that ends early ends the process with an error instead of leaving it limping.
//! Called by `cli/serve.rs`, `cli/demo`, and by the commands that work on a store nobody serves.

mod reload;
mod watch;

pub use reload::Origin;

use crate::config::{Config, Mail, Standing, StoreConfig};
use crate::control;
use crate::domain::door::Door;
use crate::domain::export::Attestor;
use crate::gate::{Clock, DRAIN, Gate, ServerSettings, Settings, SystemClock};
use crate::mcp::connection::{Connection, Listener};
use crate::mcp::upstream::Upstreams;
use crate::mcp::{McpSettings, McpState, SessionKey};
use crate::notify::{self, NotifySettings};
use crate::observe::{self, Readiness};
use crate::store::Store;
use crate::store::backup::{Backups, Contents};
use crate::store::on_sled::{self, OnSled, OpenError};
use crate::web::{WebSettings, WebState};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as watch_channel;
use tokio::task::JoinSet;

/// How long open connections may take to end after that.
const HANG_UP: Duration = Duration::from_secs(5);
/// The exit code of a store that refused a write or a sync (semantics.md 30).
const EXIT_STORE: u8 = 70;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address could not be taken.
    #[error("cannot listen on {address}: {cause}. Is another gateway running? Choose another [listen] address or --listen.")]
    Listen {
        /// As configured.
        address: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// A file of the data folder could not be read or written.
    #[error("cannot use {what}: {cause}")]
    File {
        /// Which.
        what: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// The gate could not find its footing.
    #[error("the store could not be brought to a known state: {0}")]
    Recover(#[from] crate::gate::Failure),
}

impl StartError {
    /// 2 when the operator has to change something, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Listen { .. } => 2,
            StartError::Store(_) | StartError::File { .. } | StartError::Recover(_) => 1,
        }
    }
}

/// A gateway that serves.
pub struct Running {
    /// The bound address.
    pub address: SocketAddr,
    /// What links point at, without a trailing slash.
    pub public_url: String,
    /// The gate.
    pub gate: Gate,
    mcp: McpState,
    upstreams: Arc<Upstreams>,
    store: OnSled,
    readiness: Readiness,
    /// What the outbox delivers with; it ends when nobody can change it any more.
    _mail: watch_channel::Sender<Mail>,
    tasks: JoinSet<&'static str>,
}

/// SIGTERM and SIGINT, from now on; until somebody asks for them, their default ends the process.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Take them before the first word that says the gateway is there: whoever reads it may send one at once.
    pub fn take() -> Result<Signals, StartError> {
        let taken = |kind| signal(kind).map_err(|cause| StartError::File { what: "signals".into(), cause });
        Ok(Signals { term: taken(SignalKind::terminate())?, int: taken(SignalKind::interrupt())? })
    }
}

/// Store and gate without listeners.
pub struct Offline {
    /// The gate.
    pub gate: Gate,
    /// Signs the audit's head.
    pub attestor: Arc<Attestor>,
    store: OnSled,
}

/// Opens everything and serves. With `origin`, the file is read again at SIGHUP and when it changes.
pub async fn start(config: Config, guard_program: PathBuf, origin: Option<Origin>) -> Result<Running, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // Before anything else: the signal's default is to end the process.
    let hangup = signal(SignalKind::hangup()).map_err(|cause| StartError::File { what: "signals".into(), cause })?;
    let readiness = Readiness::default();
    let data = config.store.path.clone();
    let store = open_store(&config.store, config.store.ballast).await?;
    let attestor = Arc::new(open_key(&data, clock.as_ref())?);
    let session_key = open_session_key(&data, clock.as_ref())?;
    let listener = TcpListener::bind(&config.listen.address).await;
    let listener = listener.map_err(|cause| StartError::Listen { address: config.listen.address.clone(), cause })?;
    let address = listener.local_addr().map_err(|cause| StartError::Listen { address: config.listen.address.clone(), cause })?;
    let public_url = config.listen.public_url.clone().unwrap_or_else(|| format!("http://{address}"));

    let upstreams = Arc::new(Upstreams::new(config.servers.clone(), &config.bounds, guard_program));
    let gate = Gate::open(Arc::new(store.clone()) as Arc<dyn Store>, upstreams.clone(), clock, settings_of(&config));
    let lost = gate.recover().await?;
    gate.resume_work().await?;
    if lost > 0 {
        tracing::warn!(calls = lost, "Paraph had stopped while calls were being sent; a person must say what became of them");
    }

    let door = Door::new(address.port(), &public_url, &config.listen.hosts);
    let mut tasks = JoinSet::new();
    let mcp = McpState::new(gate.clone(), upstreams.clone(), mcp_settings(&config, door.clone(), session_key));
    let standing = Standing::default();
    let web = WebState::new(gate.clone(), web_settings(&config, door, &public_url, standing.clone()));
    let app = observe::routes(readiness.clone()).merge(crate::mcp::routes(mcp.clone())).merge(crate::web::routes(web.clone()));
    let app = app.into_make_service_with_connect_info::<Connection>();
    let served = axum::serve(Listener::new(listener), app).with_graceful_shutdown(gate.draining().cancelled_owned());
    tasks.spawn(async move {
        if let Err(cause) = served.await {
            tracing::error!(%cause, "the HTTP listener ended");
        }
        "the HTTP listener"
    });
    let socket = data.join("control.sock");
    let control = control::listen(socket.clone(), gate.clone(), attestor, Arc::new(store.clone()), public_url.clone());
    let control = control.map_err(|cause| StartError::File { what: socket.display().to_string(), cause })?;
    tasks.spawn(async move {
        control.await;
        "the control socket"
    });
    let (mail, mail_now) = watch_channel::channel(config.mail.clone());
    let mails = deliver(gate.clone(), public_url.clone(), mail_now);
    tasks.spawn(async move {
        mails.await;
        "the mail outbox"
    });
    if let Some(origin) = origin {
        let parts = reload::Parts { gate: gate.clone(), upstreams: upstreams.clone(), mcp: mcp.clone(), web, mail: mail.clone(), standing };
        let reloader = reload::Reloader::new(parts, origin);
        tasks.spawn(async move {
            reloader.run(hangup).await;
            "the watch over the configuration"
        });
    }
    let (surveyed, leaving) = (upstreams.clone(), gate.draining());
    tokio::spawn(async move {
        let names = surveyed.names();
        tokio::select! {
            () = surveyed.survey(&names) => {}
            () = leaving.cancelled() => {}
        }
    });
    readiness.set(true);
    Ok(Running { address, public_url, gate, mcp, upstreams, store, readiness, _mail: mail, tasks })
}

/// Opens the store and a gate for one command.
pub async fn open_offline(config: &Config) -> Result<Offline, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // A ballast is for the gateway to make; a command only passes by.
    let store = open_store(&config.store, 0).await?;
    let attestor = Arc::new(open_key(&config.store.path, clock.as_ref())?);
    let upstreams = Arc::new(Upstreams::new(BTreeMap::new(), &config.bounds, PathBuf::new()));
    // No `resume_work`: a command must not let calls expire or leave, nor withdraw them for servers it does not know.
    let gate = Gate::open(Arc::new(store.clone()) as Arc<dyn Store>, upstreams, clock, settings_of(config));
    gate.recover().await?;
    Ok(Offline { gate, attestor, store })
}

/// Takes back what a store that was just unpacked from a backup may not believe, and closes it; how many calls
/// became unconfirmed. The folder has not its name yet, so nobody else knows it.
pub async fn after_restore(config: &Config, folder: &std::path::Path, contents: &Contents) -> Result<usize, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = StoreConfig { path: folder.to_owned(), ..config.store.clone() };
    let store = open_store(&place, 0).await?;
    open_key(folder, clock.as_ref())?;
    let upstreams = Arc::new(Upstreams::new(BTreeMap::new(), &config.bounds, PathBuf::new()));
    let gate = Gate::open(Arc::new(store.clone()) as Arc<dyn Store>, upstreams, clock, settings_of(config));
    let unsure = gate.after_restore(contents.made_at, &contents.head).await;
    gate.close(DRAIN).await;
    close_store(store).await;
    Ok(unsure?)
}

impl Offline {
    /// Writes a backup.
    pub fn backups(&self) -> &dyn Backups {
        &self.store
    }

    /// Writes what waits and closes the store.
    pub async fn close(self) {
        self.gate.close(DRAIN).await;
        close_store(self.store).await;
    }
}

impl Running {
    /// Serves until SIGTERM, SIGINT, or until a part of it dies.
    pub async fn until_signal(mut self, signals: Signals) -> ExitCode {
        let Signals { mut term, mut int } = signals;
        let (mut poisoned, broken) = (self.store.poisoned(), self.gate.broken());
        let died = tokio::select! {
            _ = term.recv() => None,
            _ = int.recv() => None,
            _ = poisoned.wait_for(Option::is_some) => Some("the store"),
            () = broken.cancelled() => Some("the gate"),
            part = self.tasks.join_next() => Some(part.and_then(Result::ok).unwrap_or("a part of the gateway")),
        };
        if let Some(part) = died {
            tracing::error!(part, "a part of the gateway ended by itself; the gateway stops, nothing half-alive serves");
        } else {
            tracing::info!("told to stop: waiting requests are answered, sends finish; a second signal ends at once");
        }
        let code = tokio::select! {
            code = self.stop() => code,
            _ = term.recv() => ExitCode::FAILURE,
            _ = int.recv() => ExitCode::FAILURE,
        };
        if died.is_some() && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
    }

    /// Stops in order: readiness, waiting requests, sends, connections, servers, store.
    pub async fn stop(mut self) -> ExitCode {
        self.readiness.set(false);
        self.gate.drain(DRAIN).await;
        let ended = tokio::time::timeout(HANG_UP, async {
            self.mcp.finish().await;
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            tracing::warn!("connections were still open at the shutdown deadline; they are cut");
        }
        self.tasks.shutdown().await;
        self.upstreams.shutdown().await;
        let poisoned = self.store.poisoned().borrow().is_some();
        if !poisoned {
            // Last of all: a delivery or a letter that ended only now wrote too.
            self.gate.close_books().await;
        }
        let head = self.gate.audit_head().await;
        close_store(self.store).await;
        if let Ok(head) = head {
            tracing::info!(seq = head.seq, hash = head.hash, "stopped; this is the head of the audit chain");
        }
        if poisoned { ExitCode::from(EXIT_STORE) } else { ExitCode::SUCCESS }
    }
}

/// Delivers mails, and begins anew when a reload says how from now on. A delivery that is cut off there is not on
/// record and comes again under the same name (contract of the outbox: at least once).
async fn deliver(gate: Gate, public_url: String, mut mail: watch_channel::Receiver<Mail>) {
    let draining = gate.draining();
    loop {
        let now = mail.borrow_and_update().clone();
        let delivering = async {
            match now {
                Mail::File { path, from } => {
                    let settings = NotifySettings { public_url: public_url.clone(), from };
                    notify::run(gate.clone(), notify::Transport::File { folder: path }, settings).await;
                }
                Mail::Off => draining.cancelled().await,
            }
        };
        tokio::select! {
            () = delivering => return,
            Ok(()) = mail.changed() => {}
        }
    }
}

async fn open_store(config: &StoreConfig, ballast: u64) -> Result<OnSled, StartError> {
    let (data, settings) = (config.path.clone(), on_sled::Settings { min_free: config.min_free, ballast, ..on_sled::Settings::default() });
    let opened = tokio::task::spawn_blocking(move || OnSled::open(&data, &settings)).await;
    match opened {
        Ok(opened) => Ok(opened?),
        Err(cause) => Err(StartError::File { what: "the store".into(), cause: std::io::Error::other(cause) }),
    }
}

async fn close_store(store: OnSled) {
    store.close().await;
}

fn open_key(data: &std::path::Path, clock: &dyn Clock) -> Result<Attestor, StartError> {
    let path = data.join("audit.key");
    control::load_or_make_key(&path, clock).map_err(|cause| StartError::File { what: path.display().to_string(), cause })
}

fn open_session_key(data: &std::path::Path, clock: &dyn Clock) -> Result<SessionKey, StartError> {
    let path = data.join("session.key");
    let key = control::load_or_make_session_key(&path, clock).map_err(|cause| StartError::File { what: path.display().to_string(), cause })?;
    Ok(SessionKey(key))
}

fn mcp_settings(config: &Config, door: Door, session_key: SessionKey) -> McpSettings {
    McpSettings {
        servers: methods_of(config),
        body: config.bounds.body,
        arguments: config.bounds.arguments,
        sessions_per_agent: config.bounds.sessions_per_agent,
        session_key,
        door,
    }
}

/// Every server's further methods.
fn methods_of(config: &Config) -> BTreeMap<String, Vec<String>> {
    config.servers.iter().map(|(name, server)| (name.clone(), server.methods.clone())).collect()
}

fn web_settings(config: &Config, door: Door, public_url: &str, standing: Standing) -> WebSettings {
    WebSettings {
        public_url: public_url.to_owned(),
        door,
        live_pages: config.bounds.live_pages,
        body: config.bounds.body,
        insecure_http: config.listen.insecure_http,
        version: env!("CARGO_PKG_VERSION"),
        standing,
    }
}

fn settings_of(config: &Config) -> Settings {
    let servers = config
        .servers
        .iter()
        .map(|(name, server)| (name.clone(), ServerSettings { policy: server.policy.clone(), messages: server.messages.clone() }))
        .collect();
    let letters = !matches!(config.mail, Mail::Off);
    let mut hold = config.hold.clone();
    if letters {
        // A held call writes one letter, so the smaller of the two bounds is the one that holds.
        hold.max_held = hold.max_held.min(config.bounds.outbox);
    }
    Settings {
        hold,
        servers,
        audit_queue: config.bounds.audit_queue,
        in_flight_per_server: config.bounds.in_flight_per_server,
        letters,
        keep_text: config.store.keep_text,
        limit_keys: config.bounds.limit_keys,
        arguments: config.bounds.arguments,
    }
}
