//! The only file that knows every other (with those below it): opens the store, recovers, wires the edges to the gate, listens, and
//! stops in order. A task that ends early ends the process with an error instead of leaving it limping.
//! Called by `cli/serve.rs`, `cli/demo`, and by the commands that work on a store nobody serves.

mod counted;
mod folder;
mod headers;
pub mod listen;
mod mails;
mod metrics;
mod offline;
mod reload;
mod running;
mod site;
mod watch;
mod wiring;

pub use mails::{Left, MailTest, Tried, TryError, test_mail};
pub use offline::{Offline, after_restore, open_offline};
pub use reload::Origin;
pub use running::{Running, Signals};
pub use site::Site;

use crate::config::{Config, Standing};
use crate::control;
use crate::domain::door::Door;
use crate::gate::{Clock, Gate, LOOK, SystemClock};
use crate::mcp::McpState;
use crate::mcp::upstream::Upstreams;
use crate::observe::metrics::Metrics;
use crate::observe::{self, Readiness};
use crate::store::Store;
use crate::store::on_sled::OpenError;
use crate::web::WebState;
use folder::{open_key, open_mask_key, open_session_key, open_store};
use listen::{Listening, Tls};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch as watch_channel;
use tokio::task::JoinSet;
use wiring::{mcp_settings, settings_of, web_settings};

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
    /// The certificate and its key are of no use, though the configuration took them.
    #[error("the certificate of [listen] tls cannot be used: {0}")]
    Tls(tokio_rustls::rustls::Error),
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
            StartError::Listen { .. } | StartError::Tls(_) => 2,
            StartError::Store(_) | StartError::File { .. } | StartError::Recover(_) => 1,
        }
    }
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
    let mask_key = open_mask_key(&data, clock.as_ref())?;
    let listener = bind(&config.listen.address).await?;
    let address = listener.local_addr().map_err(|cause| StartError::Listen { address: config.listen.address.clone(), cause })?;
    let public_url = config.listen.url_at(&address.to_string());
    let tls = config.listen.tls.as_ref().map(|tls| Tls::new(tls.identity.clone())).transpose().map_err(StartError::Tls)?;

    let upstreams = Arc::new(Upstreams::new(config.servers.clone(), &config.bounds, guard_program));
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let counted: Arc<dyn Store> = Arc::new(counted::Counted { store: Arc::new(store.clone()), metrics: metrics.clone() });
    let gate = Gate::open(counted, upstreams.clone(), clock, settings_of(&config));
    gate.know_devices_by(&session_key.0);
    gate.mask_with(mask_key);
    let lost = gate.recover().await?;
    gate.resume_work().await?;
    if lost > 0 {
        tracing::warn!(calls = lost, "Paraph had stopped while calls were being sent; a person must say what became of them");
    }

    let door = Door::new(address.port(), &public_url, &config.listen.hosts);
    let mut tasks = JoinSet::new();
    let mcp = McpState::new(gate.clone(), upstreams.clone(), mcp_settings(&config, door.clone(), session_key));
    let standing = Standing::default();
    let web = WebState::new(gate.clone(), web_settings(&config, door.clone(), &public_url, standing.clone()));
    let scrape = metrics::Scrape { metrics: metrics.clone(), gate: gate.clone(), readiness: readiness.clone(), door };
    let app = observe::routes(readiness.clone()).merge(metrics::guarded(scrape.clone())).merge(crate::web::routes(web.clone()));
    let site = Site::from(app).with_agents(mcp.clone()).counted(metrics).bound(public_url.starts_with("https://"));
    if let Some(address) = &config.listen.metrics {
        let apart = bind(address).await?;
        if let Ok(bound) = apart.local_addr() {
            tracing::info!(metrics = %format_args!("http://{bound}/metrics"), "served apart, without a token");
        }
        let site = Site::from(metrics::open(scrape)).bound(false);
        let (apart, leaving) = (Listening::new(apart, &config.bounds), gate.draining());
        tasks.spawn(async move {
            apart.serve(site, leaving).await;
            "the metrics listener"
        });
    }
    let listening = Listening::new(listener, &config.bounds).with_tls(tls.clone()).with_proxies(config.listen.trusted_proxies.clone());
    let served = listening.serve(site, gate.draining());
    tasks.spawn(async move {
        served.await;
        "the HTTP listener"
    });
    let socket = data.join("control.sock");
    let control = control::listen(socket.clone(), gate.clone(), attestor, Arc::new(store.clone()), public_url.clone(), standing.clone());
    let control = control.map_err(|cause| StartError::File { what: socket.display().to_string(), cause })?;
    tasks.spawn(async move {
        control.await;
        "the control socket"
    });
    let (mail, mail_now) = watch_channel::channel(config.mail.clone());
    let mails = mails::deliver(gate.clone(), public_url.clone(), mail_now);
    tasks.spawn(async move {
        mails.await;
        "the mail outbox"
    });
    if let Some(origin) = origin {
        let parts = reload::Parts { gate: gate.clone(), upstreams: upstreams.clone(), mcp: mcp.clone(), web, tls, mail: mail.clone(), standing };
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
            () = async {
                surveyed.survey(&names).await;
                surveyed.revisit().await;
            } => {}
            () = leaving.cancelled() => {}
        }
    });
    gate.look_out(LOOK);
    readiness.set(true);
    Ok(Running { address, scheme: config.listen.scheme(), public_url, gate, mcp, upstreams, store, readiness, _mail: mail, tasks })
}

async fn bind(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address: address.to_owned(), cause })
}
