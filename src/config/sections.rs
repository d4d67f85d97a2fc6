//! `[store]`, `[hold]`, `[bounds]` and `[audit]`: one function each, every key with its least and greatest value; `listen`
//! and `mail` are files of their own. Called by `Config::parse`.

use super::read::{Node, Section};
use super::source::Source;
use super::{Bounds, StoreConfig};
use crate::domain::hold::HoldSettings;
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
pub(super) const TABLE: &str = "Write it as a [table] of its own.";

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
        ("connections", &mut bounds.connections),
        ("connections_per_address", &mut bounds.connections_per_address),
    ] {
        count(&mut section, source, name, place);
    }
    section.finish(source);
    bounds
}

/// `[audit]` has one key in the contract, and this version does not enforce it.
pub(super) fn audit(file: &mut Section<'_>, source: &mut Source<'_>) {
    let Some(mut section) = file.take(source, "audit").and_then(|node| node.section(source, TABLE)) else { return };
    section.later(source, "keep");
    section.finish(source);
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

pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
