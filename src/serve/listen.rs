//! The address that agents and reviewers reach: every connection a task, each of them bounded in number, in time and in
//! bytes, because anybody may open one before we know who it is. Both edges are served here, and `/healthz`.
//! Started by `serve::start`; tests of the edges listen with it too.

mod body;
mod conversation;
mod crowd;
mod descriptors;
mod tls;
mod watched;

pub use tls::Tls;

use super::site::Site;
use crate::config::Bounds;
use crate::domain::proxies::Proxies;
use conversation::Host;
use crowd::{Crowd, Full};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After the system refused to hand over a connection, as when it has no descriptor left.
const BREATHE: Duration = Duration::from_millis(200);
/// The log says at most this often that connections are turned away.
const SAY_AGAIN: Duration = Duration::from_secs(60);
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long who is slow is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a handshake of TLS.
    pub handshake: Duration,
    /// For the head of a request, also of the next one on a connection that is kept open. Longer than proxies and clients
    /// keep an unused one, so that it is they who close it, and none of them writes into a connection that just ended.
    pub head: Duration,
    /// For a body of a request, and a second more for every `body_rate` bytes of it.
    pub body: Duration,
    /// Bytes a second.
    pub body_rate: u64,
    /// For what a client still sends behind an answer that it was given early.
    pub linger: Duration,
}

/// A bound address.
pub struct Listening {
    listener: TcpListener,
    tls: Option<Tls>,
    proxies: Proxies,
    bounds: Bounds,
    patience: Patience,
}

/// What was turned away since the log last said so.
struct TurnedAway {
    said: Option<Instant>,
    since: usize,
}

impl Default for Patience {
    fn default() -> Patience {
        let [handshake, head, body, linger] = [10, 75, 40, 5].map(Duration::from_secs);
        Patience { handshake, head, body, body_rate: 4 << 10, linger }
    }
}

impl Listening {
    /// Plain HTTP from anybody, as `bounds` allow.
    pub fn new(listener: TcpListener, bounds: &Bounds) -> Listening {
        Listening { listener, tls: None, proxies: Proxies::default(), bounds: bounds.clone(), patience: Patience::default() }
    }

    /// With TLS.
    pub fn with_tls(self, tls: Option<Tls>) -> Listening {
        Listening { tls, ..self }
    }

    /// These may say whom they speak for.
    pub fn with_proxies(self, proxies: Proxies) -> Listening {
        Listening { proxies, ..self }
    }

    /// With another patience.
    pub fn with_patience(self, patience: Patience) -> Listening {
        Listening { patience, ..self }
    }

    /// Serves until `leaving`; then no connection is taken, and each that is open ends behind its last answer.
    pub async fn serve(self, site: impl Into<Site>, leaving: CancellationToken) {
        let most = descriptors::room_for(self.bounds.connections);
        if most < self.bounds.connections {
            tracing::warn!(most, "the system allows fewer open files than bounds.connections needs; fewer connections are taken");
        }
        let crowd = Crowd::new(most, self.bounds.connections_per_address, self.proxies.clone());
        let host = Host { site: Arc::new(site.into()), proxies: Arc::new(self.proxies), patience: self.patience, leaving: leaving.clone() };
        let mut turned_away = TurnedAway { said: None, since: 0 };
        // Dropped with this future: a connection that does not end in time is cut, and nothing of it lives on.
        let mut conversations = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = leaving.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = conversations.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => match crowd.enter(peer.ip()) {
                    Ok(place) => drop(conversations.spawn(host.clone().converse(stream, peer.ip(), self.tls.clone(), place))),
                    Err(full) => turned_away.one(full, &stream, self.tls.is_none()),
                },
                Err(error) => breathe(&error).await,
            }
        }
        // From here on the system refuses who knocks.
        drop(self.listener);
        while conversations.join_next().await.is_some() {}
    }

    /// The bound address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client that is gone before it was taken is no reason to wait; a process without descriptors is.
async fn breathe(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "the system hands over no connection; it is asked again");
        tokio::time::sleep(BREATHE).await;
    }
}

impl TurnedAway {
    fn one(&mut self, full: Full, stream: &TcpStream, plain: bool) {
        self.since = self.since.saturating_add(1);
        if plain {
            // Whoever does not take it at once is not waited for.
            let _unheard = stream.try_write(FULL.as_bytes());
        }
        if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            let bound = match full {
                Full::Altogether => "bounds.connections",
                Full::Address => "bounds.connections_per_address",
            };
            tracing::warn!(turned_away = self.since, bound, "connections are turned away: as many are open as the bound allows");
            (self.said, self.since) = (Some(Instant::now()), 0);
        }
    }
}
