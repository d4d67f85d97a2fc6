//! `limits` of a server or a rule: from TOML to `LimitSpec`s, which the policy then checks. A value that cannot be
//! read gets a harmless stand-in, as in `rules`. Called by `rules`.

use super::read::{Node, Section};
use super::source::Source;
use crate::domain::policy::{LimitSpec, ScopeSpec, WINDOWS, window_of};
use crate::domain::spelling::closest;
use std::time::Duration;
use toml::de::DeValue;

const LIMITS: &str = "Write limits = [{ counter = \"send_dm_rate\", window = \"minute\", max = 30, scope = \"grant\" }].";
const WINDOW: &str = "Write second, minute, hour, day, or a time such as \"10m\", at most \"31d\".";
const SCOPE: &str = "One of: grant, session, tool, server, global, or { arg = \"/to\" }.";

pub(super) fn limits(section: &mut Section<'_>, source: &mut Source<'_>) -> Vec<LimitSpec> {
    let nodes = section.take(source, "limits").and_then(|node| node.list(source, LIMITS)).unwrap_or_default();
    nodes.iter().map(|node| limit(node.section(source, LIMITS), source)).collect()
}

fn limit(section: Option<Section<'_>>, source: &mut Source<'_>) -> LimitSpec {
    let mut spec = LimitSpec { counter: "?".into(), window: Duration::from_secs(60), max: 1, scope: ScopeSpec::Grant, increment_from: None, on_deny: None };
    let Some(mut section) = section else { return spec };
    let text = |node: Node<'_>, source: &mut Source<'_>| node.text(source, "Write a text.").map(str::to_owned);
    if let Some(counter) = section.need(source, "counter", "Give the counter a name.").and_then(|node| text(node, source)) {
        spec.counter = counter;
    }
    if let Some(window) = section.need(source, "window", WINDOW).and_then(|node| window(&node, source)) {
        spec.window = window;
    }
    // Zero and more than 100,000 are left to the policy's own check, which says what to do instead.
    if let Some(max) = section.need(source, "max", "Write how many fit into a window.").and_then(|node| node.count(source, 0, u64::from(u32::MAX))) {
        spec.max = max;
    }
    if let Some(scope) = section.take(source, "scope").and_then(|node| scope(&node, source)) {
        spec.scope = scope;
    }
    spec.increment_from = section.take(source, "increment_from").and_then(|node| text(node, source));
    spec.on_deny = section.take(source, "on_deny").and_then(|node| text(node, source));
    section.finish(source);
    spec
}

fn window(node: &Node<'_>, source: &mut Source<'_>) -> Option<Duration> {
    let text = node.text(source, WINDOW)?;
    let window = window_of(text);
    if window.is_none() {
        let guess = closest(text, &WINDOWS.map(|(word, _)| word)).map(|word| format!("Did you mean {word:?}? ")).unwrap_or_default();
        node.mistake(source, "is not a window", format!("{guess}{WINDOW}"));
    }
    window
}

fn scope(node: &Node<'_>, source: &mut Source<'_>) -> Option<ScopeSpec> {
    if node.is_table() {
        let mut section = node.section(source, SCOPE)?;
        let argument = section.need(source, "arg", SCOPE).and_then(|node| node.text(source, SCOPE).map(str::to_owned));
        section.finish(source);
        return argument.map(ScopeSpec::Arg);
    }
    if !matches!(node.value(), DeValue::String(_)) {
        node.mistake(source, "is not a scope", SCOPE);
        return None;
    }
    let known = ["grant", "session", "tool", "server", "global"].map(|word| (word, word));
    ScopeSpec::named(node.choice(source, "a scope", &known, &[])?)
}
