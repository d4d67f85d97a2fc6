//! From JSON text to a `DocumentSpec`: the shape of a `policy.json`, key by key. A value that cannot be read gets a
//! harmless stand-in, so that the mistakes behind it show too; the document is thrown away then.
//! Called by `Document::read`.

use super::members::{Members, Mistakes, Node};
use super::spec::{DocumentSpec, EntrySpec, HoldSpec, ToolAction, ToolSpec};
use crate::domain::policy::{Action, ConditionSpec, LimitSpec, Operator, ScopeSpec, SpecMistake, window_of};
use crate::domain::quantity;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const HIDE: &str = "Write a list of tools' names, or [\"*\"] for every tool.";
const TOOLS: &str = "Write \"tools\": { \"NAME\": { … } }, and {} for a tool without rules.";
const LIMITS: &str = "Write a list such as [{ \"counter\": \"send_dm_rate\", \"window\": \"minute\", \"max\": 30, \"scope\": \"grant\" }].";
const WINDOW: &str = "Write second, minute, hour, day, or a time such as \"10m\", at most \"31d\".";
const SCOPE: &str = "One of: grant, session, tool, server, global, or { \"arg\": \"/to\" }.";
const ENTRIES: &str = "Write a list such as [{ \"path\": \"args.text\", \"op\": \"contains\", \"value\": \"http\" }].";
const APPROVAL: &str = "Write true, or { \"when\": [conditions], \"timeout\": \"30m\", \"reviewers\": [\"desk\"] }.";
const TIMEOUT: &str = "Write a time such as \"30m\" or \"2h\", at most \"366d\".";
const TEXT: &str = "Write a text.";
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads the whole file.
pub(super) fn document(value: &Value, mistakes: &mut Mistakes) -> DocumentSpec {
    let mut spec = DocumentSpec { default: Action::Deny, hide: Vec::new(), limits: Vec::new(), tools: BTreeMap::new() };
    let whole = Node { pointer: String::new(), value };
    let Some(mut members) = whole.object(mistakes, "A policy.json is one object: { \"version\": \"1\", … }.") else { return spec };
    const VERSION: &str = "Write \"version\": \"1\", the only one there is.";
    if let Some(version) = members.need(mistakes, "version", VERSION)
        && version.text(mistakes, VERSION).is_some_and(|version| version != "1")
    {
        version.mistake(mistakes, "is a version that cannot be read here", VERSION);
    }
    let defaults = [("allow", Action::Allow), ("deny", Action::Deny)];
    spec.default = members.take("default").and_then(|node| node.choice(mistakes, "a default", &defaults)).unwrap_or(Action::Deny);
    spec.hide = members.take("hide").map(|node| hide(&node, mistakes)).unwrap_or_default();
    if let Some(mut all) = members.take("all_tools").and_then(|node| node.object(mistakes, "Write \"all_tools\": { \"limits\": [ … ] }.")) {
        spec.limits = limits(&mut all, mistakes);
        all.finish(mistakes);
    }
    let tools = members.take("tools").and_then(|node| node.object(mistakes, TOOLS)).map(|tools| tools.all()).unwrap_or_default();
    for (name, node) in tools {
        tool_name(name, &node.pointer, mistakes);
        spec.tools.insert(name.to_owned(), tool(&node, mistakes));
    }
    members.finish(mistakes);
    spec
}

/// Names are exact here; what looks like a pattern would protect nothing.
fn tool_name(name: &str, pointer: &str, mistakes: &mut Mistakes) {
    if name.is_empty() {
        mistakes.push(SpecMistake::new(pointer, "is empty and names no tool", "Write the tool's name, or \"*\" for every tool."));
    } else if name != "*" && name.contains('*') {
        mistakes.push(SpecMistake::new(
            pointer,
            "looks like a pattern, but names are exact here",
            "Write whole names, or \"*\" alone for every tool; patterns are for [[servers.NAME.rules]].",
        ));
    }
}

fn hide(node: &Node<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for entry in node.list(mistakes, HIDE).unwrap_or_default() {
        let Some(name) = entry.text(mistakes, HIDE) else { continue };
        tool_name(name, &entry.pointer, mistakes);
        if !seen.insert(name) {
            entry.mistake(mistakes, "stands here twice", "Keep one of them.");
        }
        names.push(name.to_owned());
    }
    names
}

fn tool(node: &Node<'_>, mistakes: &mut Mistakes) -> ToolSpec {
    let mut spec = ToolSpec::default();
    let Some(mut members) = node.object(mistakes, TOOLS) else { return spec };
    spec.require = entries(&mut members, "require", mistakes);
    spec.deny_if = entries(&mut members, "deny_if", mistakes);
    spec.limits = limits(&mut members, mistakes);
    spec.rate_limit = members.take("rate_limit").and_then(|node| rate_limit(&node, mistakes));
    spec.on_deny = members.take("on_deny").and_then(|node| reason(&node, mistakes));
    spec.hold = members.take("require_approval").and_then(|node| hold(&node, mistakes));
    spec.action = members.take("action").and_then(|node| node.choice(mistakes, "an action", &ToolAction::NAMES));
    spec.reason = members.take("reason").and_then(|node| reason(&node, mistakes));
    members.finish(mistakes);
    beside_action(&spec, node, mistakes);
    spec
}

/// A key that means nothing beside the action: who wrote it believes that it protects something.
fn beside_action(spec: &ToolSpec, node: &Node<'_>, mistakes: &mut Mistakes) {
    let written = [
        ("require", !spec.require.is_empty()),
        ("deny_if", !spec.deny_if.is_empty()),
        ("limits", !spec.limits.is_empty()),
        ("rate_limit", spec.rate_limit.is_some()),
        ("require_approval", spec.hold.is_some()),
    ];
    match spec.action {
        Some(action @ (ToolAction::Deny | ToolAction::Hide)) => {
            let word = if action == ToolAction::Deny { "deny" } else { "hide" };
            for (key, _) in written.into_iter().filter(|(_, written)| *written) {
                let at = format!("{}/{key}", node.pointer);
                mistakes.push(SpecMistake::new(at, format!("means nothing beside \"action\": {word:?}: no call passes"), "Leave one of the two out."));
            }
        }
        Some(ToolAction::RequireApproval) if spec.hold.is_some() => {
            let at = format!("{}/action", node.pointer);
            mistakes.push(SpecMistake::new(at, "stands beside require_approval, which says when", "Leave one of the two out."));
        }
        Some(ToolAction::Evaluate) if !written.iter().any(|(_, written)| *written) => {
            let at = format!("{}/action", node.pointer);
            mistakes.push(SpecMistake::new(
                at,
                "there is nothing to evaluate",
                "Write require, deny_if, limits or require_approval, or \"action\": \"allow\".",
            ));
        }
        Some(ToolAction::Allow | ToolAction::Evaluate | ToolAction::RequireApproval) | None => {}
    }
}

/// A text for an agent or a reviewer.
fn reason(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let text = node.text(mistakes, TEXT)?;
    if text.chars().count() > super::REASON_CHARS {
        node.mistake(mistakes, "is longer than 500 characters", "Agents are told 500 characters at most; shorten it.");
    }
    Some(text.to_owned())
}

fn entries(members: &mut Members<'_>, name: &'static str, mistakes: &mut Mistakes) -> Vec<EntrySpec> {
    let nodes = members.take(name).and_then(|node| node.list(mistakes, ENTRIES)).unwrap_or_default();
    nodes.iter().map(|node| entry(node, true, mistakes)).collect()
}

fn entry(node: &Node<'_>, with_reason: bool, mistakes: &mut Mistakes) -> EntrySpec {
    let mut spec = EntrySpec { condition: ConditionSpec { path: "/".into(), op: Operator::Exists, value: Value::Bool(true) }, on_deny: None };
    let Some(mut members) = node.object(mistakes, ENTRIES) else { return spec };
    let path =
        members.need(mistakes, "path", "Write \"path\": \"args.KEY\".").filter(|node| node.text(mistakes, "Write a text such as \"args.text\".").is_some());
    if let Some(path) = path {
        let text = path.value.as_str().unwrap_or_default();
        if text.starts_with("state.") {
            path.mistake(mistakes, "names a counter; conditions look at arguments alone here", "Write an entry of limits instead.");
        } else {
            spec.condition.path = text.to_owned();
        }
    }
    let all = "One of: eq, neq, in, not_in, lt, lte, gt, gte, regex, contains, exists.";
    let op = members.need(mistakes, "op", all).and_then(|node| node.choice(mistakes, "an operator", &Operator::NAMES));
    match (op, members.take("value")) {
        (Some(op), Some(value)) => (spec.condition.op, spec.condition.value) = (op, value.value.clone()),
        (Some(Operator::Exists) | None, _) => {}
        (Some(_), None) => mistakes.push(SpecMistake::new(format!("{}/value", node.pointer), "is missing", "Write what the argument is compared with.")),
    }
    if with_reason {
        spec.on_deny = members.take("on_deny").and_then(|node| reason(&node, mistakes));
    }
    members.finish(mistakes);
    spec
}

fn limits(members: &mut Members<'_>, mistakes: &mut Mistakes) -> Vec<LimitSpec> {
    let nodes = members.take("limits").and_then(|node| node.list(mistakes, LIMITS)).unwrap_or_default();
    nodes.iter().map(|node| limit(node, mistakes)).collect()
}

fn limit(node: &Node<'_>, mistakes: &mut Mistakes) -> LimitSpec {
    let mut spec = stand_in(node);
    let Some(mut members) = node.object(mistakes, LIMITS) else { return spec };
    if let Some(counter) = members.need(mistakes, "counter", "Give the counter a name.").and_then(|node| node.text(mistakes, TEXT)) {
        spec.counter = counter.to_owned();
    }
    if let Some(window) = members.need(mistakes, "window", WINDOW) {
        match window.text(mistakes, WINDOW).map(window_of) {
            Some(Some(read)) => spec.window = read,
            Some(None) => window.mistake(mistakes, "is not a window", WINDOW),
            None => {}
        }
    }
    if let Some(max) = members.need(mistakes, "max", "Write how many fit into a window.").and_then(|node| node.count(mistakes, "Write a whole number.")) {
        spec.max = max;
    }
    if let Some(scope) = members.take("scope").and_then(|node| scope(&node, mistakes)) {
        spec.scope = scope;
    }
    spec.increment_from =
        members.take("increment_from").and_then(|node| node.text(mistakes, "Write where the number is, such as \"args.amount\".")).map(str::to_owned);
    spec.on_deny = members.take("on_deny").and_then(|node| node.text(mistakes, TEXT)).map(str::to_owned);
    members.finish(mistakes);
    spec
}

/// A limit for an entry that cannot be read; its name is its place, so that it meets no other.
fn stand_in(node: &Node<'_>) -> LimitSpec {
    let counter: String = node.pointer.chars().rev().take(50).collect();
    LimitSpec { counter, window: Duration::from_secs(60), max: 1, scope: ScopeSpec::Grant, increment_from: None, on_deny: None }
}

fn scope(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<ScopeSpec> {
    if node.value.is_object() {
        let mut members = node.object(mistakes, SCOPE)?;
        let argument = members.need(mistakes, "arg", SCOPE).and_then(|node| node.text(mistakes, SCOPE).map(str::to_owned));
        members.finish(mistakes);
        return argument.map(ScopeSpec::Arg);
    }
    let known = ["grant", "session", "tool", "server", "global"].map(|word| (word, word));
    if !node.value.is_string() {
        node.mistake(mistakes, "is not a scope", SCOPE);
        return None;
    }
    ScopeSpec::named(node.choice(mistakes, "a scope", &known)?)
}

/// `{max, window}` of the older pages: so many calls of each agent in so many seconds.
fn rate_limit(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<LimitSpec> {
    const RATE: &str = "Write \"rate_limit\": { \"max\": 30, \"window\": 60 }; the window is in seconds.";
    let mut members = node.object(mistakes, RATE)?;
    let mut spec = LimitSpec { counter: super::counter_of(&node.pointer), ..stand_in(node) };
    if let Some(max) = members.need(mistakes, "max", RATE).and_then(|node| node.count(mistakes, RATE)) {
        spec.max = max;
    }
    if let Some(seconds) = members.need(mistakes, "window", RATE).and_then(|node| node.count(mistakes, RATE)) {
        spec.window = Duration::from_secs(seconds);
    }
    members.finish(mistakes);
    Some(spec)
}

fn hold(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<HoldSpec> {
    if let Value::Bool(wanted) = node.value {
        return wanted.then(HoldSpec::default);
    }
    let mut spec = HoldSpec::default();
    let mut members = node.object(mistakes, APPROVAL)?;
    if let Some(when) = members.take("when") {
        let nodes = when.list(mistakes, ENTRIES);
        if nodes.as_ref().is_some_and(Vec::is_empty) {
            when.mistake(mistakes, "is empty", "Write conditions, or leave it out to hold every call.");
        }
        spec.when = nodes.unwrap_or_default().iter().map(|node| entry(node, false, mistakes).condition).collect();
    }
    if let Some(timeout) = members.take("timeout") {
        match timeout.text(mistakes, TIMEOUT).map(quantity::time) {
            Some(Some(time)) if (Duration::from_millis(1)..=LONGEST).contains(&time) => spec.timeout = Some(time),
            Some(_) => timeout.mistake(mistakes, "is not such a time", TIMEOUT),
            None => {}
        }
    }
    if let Some(reviewers) = members.take("reviewers") {
        const GROUPS: &str = "Write a list of groups, such as [\"desk\"], or leave it out for every reviewer.";
        let groups = reviewers.texts(mistakes, GROUPS);
        // An empty list would read as nobody and mean everybody.
        if groups.as_ref().is_some_and(|groups| groups.is_empty() || groups.iter().any(|group| group.trim().is_empty())) {
            reviewers.mistake(mistakes, "names no group", GROUPS);
        }
        spec.reviewers = groups.unwrap_or_default();
    }
    members.finish(mistakes);
    Some(spec)
}
