//! A gateway that serves: it runs until a signal or until a part of it dies, and stops in order, so that nothing
//! half-alive takes calls and nothing that was promised is lost.
//! Made by `serve::start`, kept by `cli`.

use super::StartError;
use super::folder::close_store;
use crate::config::Mail;
use crate::gate::{DRAIN, Gate};
use crate::mcp::McpState;
use crate::mcp::upstream::Upstreams;
use crate::observe::Readiness;
use crate::store::on_sled::OnSled;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long open connections may take to end after the last send.
const HANG_UP: Duration = Duration::from_secs(5);
/// How long what was cut off may take to write how it ended.
const LAST_ENDS: Duration = Duration::from_secs(1);
/// The exit code of a store that refused a write or a sync (semantics.md 30).
const EXIT_STORE: u8 = 70;

/// A gateway that serves.
pub struct Running {
    /// The bound address.
    pub address: SocketAddr,
    /// What is spoken there: `http` or `https`.
    pub scheme: &'static str,
    /// What links point at, without a trailing slash.
    pub public_url: String,
    /// The gate.
    pub gate: Gate,
    pub(super) mcp: McpState,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) store: OnSled,
    pub(super) readiness: Readiness,
    /// What the outbox delivers with; it ends when nobody can change it any more.
    pub(super) _mail: watch::Sender<Mail>,
    pub(super) tasks: JoinSet<&'static str>,
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
        // Calls that were cut off by that have ends to write.
        let _in_time = tokio::time::timeout(LAST_ENDS, self.mcp.finish()).await.is_ok();
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
