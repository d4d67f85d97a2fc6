//! What `/metrics` tells (Prometheus text exposition, and OpenMetrics 1.0 for who asks for it). Counters run as long as
//! the process; gauges are read when somebody asks. Labels are kinds, server names of the config and status classes:
//! never an agent, a person, a recipient or a text, so that no label set grows with traffic.
//! Counted by `serve/counted`, read by `serve/metrics`; the list is in docs/operations.md.

use crate::gate::upstream::ServerState;
use crate::gate::{Gate, Health};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

type ByWord = [(&'static str, &'static str); 1];
type ByServer = [(&'static str, String); 1];

/// The counters and gauges of one process; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    entries: Family<ByWord, Counter>,
    commits: Family<ByWord, Counter>,
    commit_time: Histogram,
    requests: Family<[(&'static str, &'static str); 2], Counter>,
    ready: Gauge,
    held: Gauge,
    unconfirmed: Gauge,
    letters: Gauge,
    letters_failing: Gauge,
    free: Gauge,
    floor: Gauge,
    paused: Gauge,
    unclean: Gauge,
    head: Gauge,
    servers: Family<ByServer, Gauge>,
}

impl Metrics {
    /// `version` is Paraph's.
    pub fn new(version: &'static str) -> Metrics {
        let mut registry = Registry::with_prefix("paraph");
        let mut metrics = Metrics {
            registry: Arc::default(),
            entries: Family::default(),
            commits: Family::default(),
            commit_time: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            requests: Family::default(),
            ready: Gauge::default(),
            held: Gauge::default(),
            unconfirmed: Gauge::default(),
            letters: Gauge::default(),
            letters_failing: Gauge::default(),
            free: Gauge::default(),
            floor: Gauge::default(),
            paused: Gauge::default(),
            unclean: Gauge::default(),
            head: Gauge::default(),
            servers: Family::default(),
        };
        registry.register("build", "The version that runs", Info::new([("version", version)]));
        registry.register("audit_entries", "Audit entries written by this process, by kind", metrics.entries.clone());
        registry.register("commits", "Changes handed to the store, by what became of them", metrics.commits.clone());
        registry.register_with_unit("commit_duration", "Time until a change was durable", Unit::Seconds, metrics.commit_time.clone());
        registry.register("http_requests", "Answered HTTP requests, by part and class of status", metrics.requests.clone());
        registry.register("ready", "1 when the gateway takes work", metrics.ready.clone());
        registry.register("held_calls", "Calls that wait for a person", metrics.held.clone());
        registry.register("unconfirmed_calls", "Calls of which nobody knows whether they were sent", metrics.unconfirmed.clone());
        registry.register("letters_waiting", "Letters that have not left yet", metrics.letters.clone());
        registry.register_with_unit("letters_failing", "How long the oldest letter has failed to leave", Unit::Seconds, metrics.letters_failing.clone());
        registry.register_with_unit("disk_free", "Room on the disk of the store", Unit::Bytes, metrics.free.clone());
        registry.register_with_unit("disk_floor", "With less room no new work is taken", Unit::Bytes, metrics.floor.clone());
        registry.register("paused", "1 while the kill switch is on", metrics.paused.clone());
        registry.register("unclean_start", "1 when this process started after an unclean stop", metrics.unclean.clone());
        registry.register("audit_head", "Number of the last audit entry", metrics.head.clone());
        registry.register("server_up", "1 when the MCP server answered last, 0 when it did not; absent when nobody asked yet", metrics.servers.clone());
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// An audit entry was written.
    pub fn entry(&self, kind: &'static str) {
        self.entries.get_or_create(&[("kind", kind)]).inc();
    }

    /// A change was answered; `result` is a fixed word.
    pub fn commit(&self, result: &'static str, took: Duration) {
        self.commits.get_or_create(&[("result", result)]).inc();
        self.commit_time.observe(took.as_secs_f64());
    }

    /// Which of our parts answers at this path.
    pub fn part(path: &str) -> &'static str {
        match path.split('/').nth(1) {
            Some("mcp") => "mcp",
            Some("api") => "api",
            Some("healthz" | "readyz" | "metrics") => "probes",
            Some("static") => "static",
            _ => "pages",
        }
    }

    /// A request was answered by this part.
    pub fn request(&self, part: &'static str, status: u16) {
        let class = match status {
            0..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&[("part", part), ("status", class)]).inc();
    }

    /// The same in the older text format, version 0.0.4, which every scraper reads: there a counter's own name ends in
    /// `_total`, and there are neither infos nor units.
    pub fn classic(text: &str) -> String {
        let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let kinds: HashMap<&str, &str> = kinds.collect();
        let mut out = String::with_capacity(text.len());
        for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
            let mut words = line.splitn(4, ' ');
            let (hash, what, name) = (words.next(), words.next(), words.next().unwrap_or_default());
            let kind = kinds.get(name).copied().unwrap_or_default();
            match (hash, what, kind) {
                (Some("#"), Some("TYPE"), "counter") => out.push_str(&format!("# TYPE {name}_total counter")),
                (Some("#"), Some("TYPE"), "info") => out.push_str(&format!("# TYPE {name}_info gauge")),
                (Some("#"), Some("HELP"), "counter") => out.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
                (Some("#"), Some("HELP"), "info") => out.push_str(&line.replacen(name, &format!("{name}_info"), 1)),
                _ => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }

    /// Everything as text, in OpenMetrics 1.0. A gauge whose value cannot be read keeps its last one; the log has the cause.
    pub async fn text(&self, gate: &Gate, ready: bool) -> String {
        self.ready.set(i64::from(ready));
        if let Ok(health) = gate.health().await {
            self.read(&health);
        }
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn read(&self, health: &Health) {
        self.held.set(whole(health.held));
        self.unconfirmed.set(whole(health.unconfirmed));
        self.letters.set(whole(health.letters.waiting));
        self.letters_failing.set(health.letters.failing_for.map_or(0, |span| whole(span.as_secs())));
        self.free.set(health.space.free.map_or(-1, whole));
        self.floor.set(whole(health.space.floor));
        self.paused.set(i64::from(health.paused));
        self.unclean.set(i64::from(health.unclean_start.is_some()));
        self.head.set(whole(health.head));
        // A server that left the configuration leaves here too.
        self.servers.clear();
        for server in &health.servers {
            let up = match server.state {
                // It was asked, answered, and nobody needs an instance now.
                ServerState::Idle if server.tools.is_some() => 1,
                ServerState::Idle => continue,
                ServerState::Up { .. } => 1,
                ServerState::Down { .. } => 0,
            };
            self.servers.get_or_create(&[("server", server.name.clone())]).set(up);
        }
    }
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_part_and_class_and_never_by_path() {
        let metrics = Metrics::new("1.2.3");
        metrics.request(Metrics::part("/mcp/some-server"), 200);
        metrics.request(Metrics::part("/calls/c_secret"), 404);
        metrics.entry("call.held");
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        assert!(text.contains("paraph_http_requests_total{part=\"mcp\",status=\"2xx\"} 1"), "{text}");
        assert!(text.contains("paraph_http_requests_total{part=\"pages\",status=\"4xx\"} 1"), "{text}");
        assert!(text.contains("paraph_audit_entries_total{kind=\"call.held\"} 1"), "{text}");
        assert!(text.contains("paraph_build_info{version=\"1.2.3\"} 1"), "{text}");
        assert!(!text.contains("secret") && !text.contains("some-server"), "{text}");
        let classic = Metrics::classic(&text);
        for line in [
            "# TYPE paraph_http_requests_total counter",
            "# TYPE paraph_build_info gauge",
            "# TYPE paraph_held_calls gauge",
            "# HELP paraph_audit_entries_total Audit entries",
        ] {
            assert!(classic.contains(line), "{line} is not in\n{classic}");
        }
        assert!(!classic.contains("# EOF") && !classic.contains("# UNIT") && !classic.contains(" info\n"), "{classic}");
    }
}
