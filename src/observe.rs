//! What machines see of the process: the log on standard error, `/healthz` and `/readyz`. No argument, message
//! text, address or token ever goes into a log line; ids, names from the config and counts do.
//! Set up by `cli`, the routes are mounted by `serve` outside the Host check, because probes use addresses.

pub mod metrics;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error. `filter` is in the syntax of `tracing_subscriber::EnvFilter`
/// (`PARAPH_LOG`); an unreadable one falls back to `info`.
pub fn log_to_stderr(filter: Option<&str>, format: LogFormat) {
    let filter = EnvFilter::new(directives(filter));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    // A second call in the same process (tests) keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => {
            // The usual words are no JSON, and may quote what the code was working on: an agent's text.
            std::panic::set_hook(Box::new(|panic| {
                let at = panic.location().map(ToString::to_string).unwrap_or_default();
                tracing::error!(at, "a fault of Paraph: a part of it panicked");
            }));
            builder.json().try_init()
        }
    };
}

/// A level alone is about Paraph's own lines: what libraries say below a warning holds addresses and bodies, and the one
/// that watches files would log each line that is logged beside them.
fn directives(filter: Option<&str>) -> String {
    let filter = filter.map(str::trim).filter(|text| EnvFilter::try_new(text).is_ok()).unwrap_or("info");
    let level = ["off", "error", "warn", "info", "debug", "trace"].into_iter().find(|level| level.eq_ignore_ascii_case(filter));
    level.map_or_else(|| filter.to_owned(), |level| format!("{},paraph={level}", if matches!(level, "off" | "error") { level } else { "warn" }))
}

/// Whether the process may be given work.
#[derive(Clone, Default)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
}

impl Readiness {
    /// From now on.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Right now.
    pub fn get(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

/// `/healthz`: the process answers. `/readyz`: it may be given work; false while starting, draining, or when
/// the store refuses writes.
pub fn routes(readiness: Readiness) -> Router {
    let ready = move || async move { if readiness.get() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") } };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_level_alone_keeps_libraries_quiet_and_directives_are_taken_as_they_are() {
        for (filter, taken) in [
            (None, "warn,paraph=info"),
            (Some("trace"), "warn,paraph=trace"),
            (Some(" DEBUG "), "warn,paraph=debug"),
            (Some("off"), "off,paraph=off"),
            (Some("paraph=debug,hyper=trace"), "paraph=debug,hyper=trace"),
            (Some("=not a filter="), "warn,paraph=info"),
        ] {
            assert_eq!(directives(filter), taken, "{filter:?}");
        }
    }
}
