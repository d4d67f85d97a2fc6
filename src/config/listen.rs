//! `[listen]`: where the gateway listens, under which names it answers, and whether strangers could read along. What is
//! exposed without encryption is refused here, at the file's line, and not at the first stolen cookie.
//! Read by `Config::parse`; `--listen` is held to the same rules.

use super::address;
use super::read::{Node, Section};
use super::sections::{TABLE, set};
use super::source::Source;
use super::tls::{Tls, tls};
use crate::domain::proxies::{Network, Proxies};

/// `[listen]`.
#[derive(Debug, Clone)]
pub struct Listen {
    /// `host:port`; port 0 takes a free one.
    pub address: String,
    /// What links point at, without a trailing slash; `None` = the bound address.
    pub public_url: Option<String>,
    /// Further allowed Host names.
    pub hosts: Vec<String>,
    /// `/metrics` without a token, on an address of its own.
    pub metrics: Option<String>,
    /// Allow a non-loopback address with an http `public_url`.
    pub insecure_http: bool,
    /// Who may say whom a request comes from.
    pub trusted_proxies: Proxies,
    /// Speak https, with this certificate.
    pub tls: Option<Tls>,
}

/// How an address is written.
const ADDRESS: &str = "Write HOST:PORT, such as \"127.0.0.1:8420\"; port 0 takes a free one.";
/// Why an address that others can reach is refused, and what to do.
const EXPOSED: (&str, &str) = (
    "others could reach this address, and without https they could read session cookies and tokens on the way",
    "Give the gateway a certificate with tls, or set public_url to the https URL of the proxy in front, or listen on 127.0.0.1, or accept it with insecure_http = true.",
);

/// The same for metrics.
const METRICS_EXPOSED: (&str, &str) = (
    "others could reach this address, where there is neither a token nor https",
    "Listen on 127.0.0.1, or let the scraper use the main address with an API token, or accept it with insecure_http = true.",
);

pub(super) fn listen(file: &mut Section<'_>, source: &mut Source<'_>) -> Listen {
    let mut listen = Listen::default();
    let Some(mut section) = file.take(source, "listen").and_then(|node| node.section(source, TABLE)) else { return listen };
    if let Some(node) = section.take(source, "address") {
        set(&mut listen.address, address(&node, source));
    }
    if let Some(node) = section.take(source, "public_url") {
        listen.public_url = public_url(&node, source);
    }
    if let Some(node) = section.take(source, "hosts") {
        set(&mut listen.hosts, hosts(&node, source));
    }
    if let Some(node) = section.take(source, "insecure_http") {
        set(&mut listen.insecure_http, node.flag(source));
    }
    if let Some(node) = section.take(source, "trusted_proxies") {
        set(&mut listen.trusted_proxies, trusted_proxies(&node, source));
    }
    let tls_node = section.take(source, "tls");
    if let Some(node) = &tls_node {
        listen.tls = tls(node, source);
    }
    if let Some(node) = section.take(source, "metrics") {
        listen.metrics = address(&node, source);
        check_metrics(&listen, &node, source);
    }
    section.finish(source);
    // A certificate that cannot be read is one mistake, not two.
    if tls_node.is_none() || listen.tls.is_some() {
        check_exposure(&listen, source);
    }
    listen
}

fn address(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    let text = node.text(source, ADDRESS)?;
    if address::is_listen_address(text) {
        return Some(text.to_owned());
    }
    node.mistake(source, "is not an address to listen on", ADDRESS);
    None
}

fn public_url(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    const MEND: &str = "Write scheme, host and port alone, such as \"https://paraph.example.org\".";
    address::origin(node.text(source, MEND)?).map_err(|problem| node.mistake(source, problem, MEND)).ok()
}

fn hosts(node: &Node<'_>, source: &mut Source<'_>) -> Option<Vec<String>> {
    const MEND: &str = "Write names as they stand in a Host header, such as [\"paraph.internal\", \"paraph.internal:8420\"].";
    let mut hosts = Vec::new();
    for host in node.list(source, MEND)? {
        let text = host.text(source, MEND)?;
        if !address::is_host(text) {
            host.mistake(source, "is not a host name", MEND);
        }
        hosts.push(text.to_ascii_lowercase());
    }
    Some(hosts)
}

fn trusted_proxies(node: &Node<'_>, source: &mut Source<'_>) -> Option<Proxies> {
    const MEND: &str = "Write addresses or networks, such as [\"127.0.0.1\", \"10.0.0.0/8\", \"::1\"].";
    let mut networks = Vec::new();
    for proxy in node.list(source, MEND)? {
        match Network::parse(proxy.text(source, MEND)?) {
            Ok(network) if network.is_everybody() => {
                proxy.mistake(source, "trusts every address there is, so that anybody could claim to be anybody", MEND);
            }
            Ok(network) => networks.push(network),
            Err(problem) => proxy.mistake(source, problem.to_string(), MEND),
        }
    }
    Some(Proxies::new(networks))
}

/// They are served without a token, and without https whatever `tls` says.
fn check_metrics(listen: &Listen, node: &Node<'_>, source: &mut Source<'_>) {
    const MEND: &str = "Write another port, or leave metrics out: with an API token /metrics is served on the main address too.";
    let Some(metrics) = &listen.metrics else { return };
    if address::is_same(metrics, &listen.address) {
        node.mistake(source, "is the address of the gateway itself", MEND);
    } else if !address::is_loopback(metrics) && !listen.insecure_http {
        node.mistake(source, METRICS_EXPOSED.0, METRICS_EXPOSED.1);
    } else if !address::is_loopback(metrics) {
        source.warn("listen.metrics", "whoever reaches this address reads the metrics: there is neither a token nor https", METRICS_EXPOSED.1);
    }
}

fn check_exposure(listen: &Listen, source: &mut Source<'_>) {
    if listen.is_exposed() && !listen.insecure_http {
        source.mistake("listen.address", EXPOSED.0, EXPOSED.1);
    } else if listen.is_exposed() {
        source.warn(
            "listen.insecure_http",
            "session cookies and tokens travel unencrypted",
            "Give the gateway a certificate with tls, or put a proxy with https in front and set public_url.",
        );
    }
    if let (Some(tls), Some(url)) = (&listen.tls, &listen.public_url) {
        check_certificate(tls, url, listen.trusted_proxies.is_empty(), source);
    }
    if listen.public_url.is_none() && address::is_unspecified(&listen.address) {
        source.warn("listen.address", "links in mails would point at every interface, which no browser can open", "Set public_url.");
    }
}

/// `direct`: no proxy stands in front, whose certificate browsers would see instead.
fn check_certificate(tls: &Tls, url: &str, direct: bool, source: &mut Source<'_>) {
    let Some(authority) = url.strip_prefix("https://") else {
        let mend = "Begin public_url with https://, unless something else answers there.";
        return source.warn("listen.public_url", "begins with http, and with tls this address speaks https", mend);
    };
    let host = authority.rsplit_once(':').filter(|_| !authority.ends_with(']')).map_or(authority, |(host, _)| host);
    if direct && !tls.is_for(host) {
        source.warn(
            "listen.tls.cert",
            "is not for the name in public_url, so browsers and agents will refuse it",
            "Have one made for that name, or mend public_url.",
        );
    }
}

impl Listen {
    /// What links point at, without a trailing slash, when `address` is bound.
    pub fn url_at(&self, address: &str) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("{}://{address}", self.scheme()))
    }

    /// What is spoken at the address: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether others can reach the gateway without https (semantics 35); refused unless `insecure_http`.
    pub fn is_exposed(&self) -> bool {
        !address::is_loopback(&self.address) && !self.is_encrypted()
    }

    /// Whether browsers and agents come by https: to this address, or to a proxy in front of it.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some() || self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Replaces the address, as `--listen` asks; the file's rules hold for it too. The error is a sentence.
    pub fn listen_on(&mut self, address: &str) -> Result<(), String> {
        if !address::is_listen_address(address) {
            return Err(format!("{address:?} is not an address to listen on. {ADDRESS}"));
        }
        let moved = Listen { address: address.to_owned(), ..self.clone() };
        if moved.is_exposed() && !moved.insecure_http {
            return Err(format!("{address}: {}. {}", EXPOSED.0, EXPOSED.1));
        }
        if moved.metrics.as_ref().is_some_and(|metrics| address::is_same(metrics, &moved.address)) {
            return Err(format!("{address}: [listen] metrics is served there. Choose another port"));
        }
        *self = moved;
        Ok(())
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            address: "127.0.0.1:8420".to_owned(),
            public_url: None,
            hosts: Vec::new(),
            metrics: None,
            insecure_http: false,
            trusted_proxies: Proxies::default(),
            tls: None,
        }
    }
}
