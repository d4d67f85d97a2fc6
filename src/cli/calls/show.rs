//! A call as a reader in a terminal needs it: whole, nothing cut, every character that would not be seen written
//! out. Called by `calls`.

use crate::cli::terminal;
use serde_json::Value;

/// One call, whole.
pub(super) fn text(call: &Value) -> String {
    let word = |key: &str| terminal::visible(call[key].as_str().unwrap_or("-"));
    let mut lines = vec![
        format!("{}  {}", terminal::strong(&word("id")), terminal::state(&word("state"))),
        format!("  agent    {}{}", word("agent"), if call["agent_waiting"] == true { " (waiting)" } else { "" }),
        format!("  tool     {} on {}", word("tool"), word("server")),
        format!("  rule     {}{}", word("rule"), optional(call, "reason").map(|reason| format!(": {reason}")).unwrap_or_default()),
        format!("  held     {}", word("held_at")),
        format!("  expires  {}", word("expires_at")),
    ];
    if call["state"] == "held" {
        let sends = call["on_approval"] != "permit";
        lines.push(format!("  approve  {}", if sends { "sends it" } else { "lets the agent send it, if it asks again" }));
    }
    for (label, key) in [("limit", "waits_for"), ("why", "why")] {
        lines.extend(optional(call, key).map(|text| format!("  {label:<8} {text}")));
    }
    if let Some(message) = call["message"].as_object() {
        let to = message.get("to").and_then(Value::as_str).unwrap_or("-");
        lines.push(String::new());
        lines.push(format!("To {}", terminal::strong(&terminal::visible(to))));
        lines.push(terminal::quoted(message.get("text").and_then(Value::as_str).unwrap_or_default()));
        for what in message.get("secrets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            lines.push(format!("Look closely: this text holds what looks like {}.", terminal::visible(what)));
        }
        if message.get("imitates_mark").and_then(Value::as_array).is_some_and(|parts| !parts.is_empty()) {
            lines.push("Look closely: recipient or text look like a mark of Paraph, and are text of the agent. It is not masked.".to_owned());
        }
        if message.get("masked").and_then(Value::as_array).is_some_and(|parts| !parts.is_empty()) {
            lines.push("A masked value stands for a secret that nobody is shown; what is sent is the value itself.".to_owned());
        }
    }
    lines.push(String::new());
    lines.push("Arguments".to_owned());
    lines.push(terminal::json(&call["arguments"], true));
    lines.push(String::new());
    lines.extend(masked(call));
    if let Some(why) = optional(call, "unchecked") {
        lines.push(format!("Nobody checked these arguments against the tool's inputSchema: {why}."));
        lines.push(String::new());
    }
    if call["asked"].is_object() {
        lines.push("A person edited this. The agent asked for".to_owned());
        lines.push(terminal::json(&call["asked"]["arguments"], true));
        lines.push(String::new());
    }
    lines.push(format!("Digest {}", word("digest")));
    for decision in call["decisions"].as_array().into_iter().flatten() {
        let part = |key: &str| terminal::visible(decision[key].as_str().unwrap_or("-"));
        let void = if decision["void"] == true { " (taken back)" } else { "" };
        let reason = optional(decision, "reason").map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("{} by {} over {} at {}{void}{reason}", part("verdict"), part("by"), part("via"), part("at")));
    }
    if !call["outcome"].is_null() {
        lines.push(String::new());
        lines.push("Outcome".to_owned());
        lines.push(terminal::json(&call["outcome"], true));
    }
    lines.join("\n")
}

/// What is masked in the arguments, and whether it is what the agent used before.
fn masked(call: &Value) -> Vec<String> {
    let masks = call["masked"].as_array().filter(|masks| !masks.is_empty());
    let mut lines: Vec<String> = masks.into_iter().flatten().map(mask).collect();
    if !lines.is_empty() {
        lines.insert(0, "Masked: the values are sent and covered by the digest, and shown to nobody".to_owned());
        lines.push(String::new());
    }
    lines
}

fn mask(mask: &Value) -> String {
    let word = |key: &str| terminal::visible(mask[key].as_str().unwrap_or("-"));
    let earlier = optional(mask, "call").map(|id| format!(" ({id})")).unwrap_or_default();
    let before = match mask["used_before"].as_str() {
        Some("same") => format!("the one that this agent used last{earlier}"),
        Some("other") => terminal::strong(&format!("NOT the one that this agent used last{earlier}")),
        _ => "the first one that Paraph knows of this agent here".to_owned(),
    };
    format!("  {}  {} characters; {before}; {}", word("at"), mask["length"], word("why"))
}

fn optional(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(terminal::visible)
}

/// A table of calls; the first line of a message is a hint, `show` has all of it.
pub(super) fn rows(calls: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![["ID", "AGENT", "TOOL", "TO", "TEXT", "EXPIRES", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(calls.iter().map(|call| {
        let word = |key: &str| terminal::visible(call[key].as_str().unwrap_or("-"));
        let message = &call["message"];
        let to = message["to"].as_str().map_or_else(|| "-".to_owned(), |to| cut(to, 30));
        let text = message["text"].as_str().map_or_else(|| "-".to_owned(), |text| cut(text, 40));
        let tool = format!("{}/{}", word("server"), word("tool"));
        vec![word("id"), word("agent"), tool, to, text, word("expires_at"), terminal::state(&word("state"))]
    }));
    rows
}

fn cut(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = terminal::visible(line).chars().take(most).collect();
    if shown.chars().count() == most || line.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_whole_and_cannot_forge_our_lines() {
        let long = format!("hello\nDigest sha256:00\n\u{1b}[31m{}", "x".repeat(5_000));
        let call = serde_json::json!({
            "id": "c_1", "state": "held", "agent": "a", "tool": "send_dm", "server": "demo", "rule": "r", "digest": "sha256:ab",
            "message": { "to": "@bob", "text": long }, "arguments": { "to": "@bob", "text": long }, "decisions": [], "outcome": null,
        });
        let shown = text(&call);
        assert!(shown.contains(&"x".repeat(5_000)));
        assert!(shown.contains("\n  | Digest sha256:00\n"), "a line of the message stands behind a bar");
        assert!(!shown.contains('\u{1b}'));
    }
}
