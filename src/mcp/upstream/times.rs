//! How long one server may take, shared by all its instances: a reload changes it for those that run already.
//! Held by `instances`, asked by `peer` at every request.

use crate::config::Server;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The times of one server, in milliseconds.
pub(super) struct Times {
    answer: AtomicU64,
    start: AtomicU64,
}

impl Times {
    pub(super) fn of(server: &Server) -> Times {
        let times = Times { answer: AtomicU64::new(0), start: AtomicU64::new(0) };
        times.set(server);
        times
    }

    pub(super) fn set(&self, server: &Server) {
        self.answer.store(millis(server.timeout), Ordering::Relaxed);
        self.start.store(millis(server.start_timeout), Ordering::Relaxed);
    }

    /// For one answer.
    pub(super) fn answer(&self) -> Duration {
        Duration::from_millis(self.answer.load(Ordering::Relaxed))
    }

    /// For `initialize`.
    pub(super) fn start(&self) -> Duration {
        Duration::from_millis(self.start.load(Ordering::Relaxed))
    }
}

/// The configuration has none longer than a year.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
