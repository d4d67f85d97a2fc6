//! `[listen]`: where the gateway listens, under which names it answers, and whether strangers could read along. What is
//! exposed without encryption is refused here, at the file's line, and not at the first stolen cookie.
//! Read by `Config::parse`; `--listen` is held to the same rules.

use super::address;
use super::read::{Node, Section};
use super::sections::{TABLE, set};
use super::source::Source;

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
}

/// How an address is written.
const ADDRESS: &str = "Write HOST:PORT, such as \"127.0.0.1:8420\"; port 0 takes a free one.";
/// Why an address that others can reach is refused, and what to do.
const EXPOSED: (&str, &str) = (
    "others could reach this address, and without https they could read session cookies and tokens on the way",
    "Set public_url to the https URL of the proxy in front, or listen on 127.0.0.1, or accept it with insecure_http = true.",
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
    section.later_list(source, "trusted_proxies");
    section.later(source, "tls");
    if let Some(node) = section.take(source, "metrics") {
        listen.metrics = address(&node, source);
    }
    section.finish(source);
    check_exposure(&listen, source);
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

fn check_exposure(listen: &Listen, source: &mut Source<'_>) {
    if listen.is_exposed() && !listen.insecure_http {
        source.mistake("listen.address", EXPOSED.0, EXPOSED.1);
    } else if listen.is_exposed() {
        source.warn("listen.insecure_http", "session cookies and tokens travel unencrypted", "Put a proxy with https in front and set public_url.");
    }
    if listen.public_url.is_none() && address::is_unspecified(&listen.address) {
        source.warn("listen.address", "links in mails would point at every interface, which no browser can open", "Set public_url.");
    }
}

impl Listen {
    /// Whether others can reach the gateway without https (semantics 35); refused unless `insecure_http`.
    pub fn is_exposed(&self) -> bool {
        !address::is_loopback(&self.address) && !self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
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
        *self = moved;
        Ok(())
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen { address: "127.0.0.1:8420".to_owned(), public_url: None, hosts: Vec::new(), metrics: None, insecure_http: false }
    }
}
