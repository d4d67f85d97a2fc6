//! `[listen]`, `[store]`, `[hold]`, `[bounds]` and `[mail]`: one function each, every key with its least and
//! greatest value. Called by `Config::parse`.

use super::address;
use super::read::{Node, Section};
use super::source::Source;
use super::{Bounds, Listen, Mail, StoreConfig};
use crate::domain::hold::HoldSettings;
use lettre::message::Mailbox;
use std::time::Duration;

/// No time in the configuration is longer: 366 days.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The least time where zero makes no sense.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);
/// Texts are kept this long unless the config says otherwise.
pub(super) const KEEP_TEXT: Duration = Duration::from_secs(90 * 24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
/// Counts of calls, letters and sessions.
const MOST: u64 = 10_000_000;
const GIB: u64 = 1 << 30;
const TABLE: &str = "Write it as a [table] of its own.";

/// How an address is written.
pub(super) const ADDRESS: &str = "Write HOST:PORT, such as \"127.0.0.1:8420\"; port 0 takes a free one.";
/// Why an address that others can reach is refused, and what to do.
pub(super) const EXPOSED: (&str, &str) = (
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
    section.later(source, "metrics");
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

pub(super) fn store(file: &mut Section<'_>, source: &mut Source<'_>) -> StoreConfig {
    let mut store = StoreConfig::at(source.resolve("data"));
    let Some(mut section) = file.take(source, "store").and_then(|node| node.section(source, TABLE)) else { return store };
    if let Some(node) = section.take(source, "engine") {
        node.choice(source, "an engine", &[("sled", ())], &["postgres"]);
    }
    if let Some(node) = section.take(source, "path") {
        set(&mut store.path, folder(&node, source));
    }
    if let Some(node) = section.take(source, "keep_text") {
        set(&mut store.keep_text, node.time(source, HOUR, LONGEST * 20));
    }
    for (name, place) in [("min_free", &mut store.min_free), ("ballast", &mut store.ballast)] {
        if let Some(node) = section.take(source, name) {
            set(place, node.room(source));
        }
    }
    section.later(source, "url");
    section.finish(source);
    store
}

pub(super) fn hold(file: &mut Section<'_>, source: &mut Source<'_>) -> HoldSettings {
    let mut hold = HoldSettings::default();
    let Some(mut section) = file.take(source, "hold").and_then(|node| node.section(source, TABLE)) else { return hold };
    for (name, place, least, most) in [
        ("expires_in", &mut hold.expires_in, SHORTEST, LONGEST),
        ("keep_open", &mut hold.keep_open, Duration::ZERO, HOUR),
        ("undo", &mut hold.undo, Duration::ZERO, HOUR),
        ("permit_for", &mut hold.permit_for, SHORTEST, LONGEST),
        ("outcome_for", &mut hold.outcome_for, SHORTEST, LONGEST),
        ("refuse_again_for", &mut hold.refuse_again_for, Duration::ZERO, LONGEST),
    ] {
        if let Some(node) = section.take(source, name) {
            set(place, node.time(source, least, most));
        }
    }
    for (name, place) in [("max_held", &mut hold.max_held), ("max_held_per_agent", &mut hold.max_held_per_agent)] {
        count(&mut section, source, name, place);
    }
    section.finish(source);
    hold
}

pub(super) fn bounds(file: &mut Section<'_>, source: &mut Source<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    let Some(mut section) = file.take(source, "bounds").and_then(|node| node.section(source, TABLE)) else { return bounds };
    for (name, place) in [("body", &mut bounds.body), ("arguments", &mut bounds.arguments), ("result", &mut bounds.result)] {
        if let Some(node) = section.take(source, name) {
            set(place, node.bytes(source, GIB).and_then(|bytes| usize::try_from(bytes).ok()));
        }
    }
    for (name, place) in [
        ("sessions_per_agent", &mut bounds.sessions_per_agent),
        ("live_pages", &mut bounds.live_pages),
        ("outbox", &mut bounds.outbox),
        ("audit_queue", &mut bounds.audit_queue),
        ("in_flight_per_server", &mut bounds.in_flight_per_server),
        ("limit_keys", &mut bounds.limit_keys),
    ] {
        count(&mut section, source, name, place);
    }
    section.finish(source);
    bounds
}

pub(super) fn mail(file: &mut Section<'_>, source: &mut Source<'_>) -> Mail {
    let Some(mut section) = file.take(source, "mail").and_then(|node| node.section(source, TABLE)) else { return Mail::Off };
    let transport = section.need(source, "transport", "Write transport = \"file\" or transport = \"off\".");
    let to_files = transport.and_then(|node| node.choice(source, "a way to send mail", &[("file", true), ("off", false)], &["smtp"]));
    let path = section.take(source, "path").map(|node| folder(&node, source));
    let from = section.take(source, "from").map(|node| mailbox(&node, source));
    section.later(source, "url");
    section.later(source, "password");
    section.finish(source);
    if to_files != Some(true) {
        return Mail::Off;
    }
    if path.is_none() {
        source.mistake("mail.path", "is missing", "Write the folder for the mails, such as path = \"data/mail\".");
    }
    let from = from.flatten().unwrap_or_else(|| "Paraph <paraph@localhost>".to_owned());
    Mail::File { path: path.flatten().unwrap_or_default(), from }
}

/// `[audit]` has one key in the contract, and this version does not enforce it.
pub(super) fn audit(file: &mut Section<'_>, source: &mut Source<'_>) {
    let Some(mut section) = file.take(source, "audit").and_then(|node| node.section(source, TABLE)) else { return };
    section.later(source, "keep");
    section.finish(source);
}

fn mailbox(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    const MEND: &str = "Write a mailbox such as \"Paraph <paraph@example.org>\".";
    let text = node.text(source, MEND)?;
    if text.parse::<Mailbox>().is_ok() && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    node.mistake(source, "is not a mailbox", MEND);
    None
}

/// A folder, seen from the folder of the configuration.
pub(super) fn folder(node: &Node<'_>, source: &mut Source<'_>) -> Option<std::path::PathBuf> {
    const MEND: &str = "Write a path; a relative one is seen from the folder of this file.";
    let text = node.text(source, MEND)?;
    if !text.is_empty() && !text.contains('\0') {
        return Some(source.resolve(text));
    }
    node.mistake(source, "is not a path", MEND);
    None
}

fn count(section: &mut Section<'_>, source: &mut Source<'_>, name: &'static str, place: &mut usize) {
    if let Some(node) = section.take(source, name) {
        set(place, node.count(source, 1, MOST).and_then(|count| usize::try_from(count).ok()));
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
