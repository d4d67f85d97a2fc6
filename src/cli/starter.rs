//! A starter policy as a person would write it: what sends is held, what reads is allowed, the rest is denied and stands
//! in a comment with the reason, so that an operator can move it. Only plain names become keys or patterns; everything
//! else of the server's stands in comments, made visible. Called by `init` and `scan`.

use super::listing::cut;
use super::policy::toml::{text, texts};
use super::reach::key_of;
use crate::domain::risk::{Judged, Risk};
use std::fmt::Write as _;

/// Characters of a list on one line.
const LINE: usize = 90;

/// `[servers.NAME]` with its rules; `reach` are the keys that say how the server is reached.
pub(super) fn write(server: &str, reach: &str, tools: &[Judged]) -> String {
    let of = |risks: &[Risk]| tools.iter().filter(|tool| risks.contains(&tool.risk)).collect::<Vec<_>>();
    let (reads, takes, sends) = (of(&[Risk::Reads]), of(&[Risk::Takes]), of(&[Risk::Sends]));
    let mut out = format!("[servers.{server}]\n{reach}default = \"deny\"                        # what no rule below names\n");
    if !reads.is_empty() {
        let _ = writeln!(out, "# These change nothing: they also work while everything is paused.\nreads = {}", list(&reads));
    }
    if !reads.is_empty() || !takes.is_empty() {
        let _ = write!(out, "\n[[servers.{server}.rules]]\nname = \"reading-is-free\"\n");
        for tool in &takes {
            let _ = writeln!(out, "# {} is not among reads: {}", cut(&tool.name), cut(&tool.why));
        }
        let all: Vec<&Judged> = reads.iter().chain(&takes).copied().collect();
        let _ = writeln!(out, "tools = {}\naction = \"allow\"", list(&all));
    }
    if !sends.is_empty() {
        let _ = write!(out, "\n[[servers.{server}.rules]]\nname = \"sending-needs-a-person\"\n");
        let _ = writeln!(out, "tools = {}\naction = \"require_approval\"\nreason = \"A person reads it before it is sent.\"", list(&sends));
        out.push_str("# reviewers = [\"desk\"]                    # groups that may decide; without it: every reviewer\n");
    }
    denied(&mut out, &of(&[Risk::Dangerous, Risk::Unclear]));
    for tool in sends {
        if let Some(message) = &tool.message {
            let _ = write!(out, "\n[servers.{server}.messages.{}]\nto = {}\ntext = {}\n", key_of(&tool.name), text(&message.to), text(&message.text));
        }
    }
    out
}

fn denied(out: &mut String, tools: &[&Judged]) {
    if tools.is_empty() {
        return;
    }
    out.push_str("\n# Denied, because no rule names them. To let one through, put its name into the tools of a rule above.\n");
    let width = tools.iter().map(|tool| cut(&tool.name).chars().count()).max().unwrap_or(0);
    for tool in tools {
        let dangerous = if tool.risk == Risk::Dangerous { "dangerous: " } else { "" };
        let _ = writeln!(out, "#   {:<width$}  {dangerous}{}", cut(&tool.name), cut(&tool.why));
    }
}

fn list(tools: &[&Judged]) -> String {
    let names: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
    let line = texts(&names);
    if line.len() <= LINE {
        return line;
    }
    let lines: Vec<String> = names.iter().map(|name| format!("  {},\n", text(name))).collect();
    format!("[\n{}]", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::domain::risk::judge;
    use proptest::prelude::*;
    use serde_json::json;
    use std::path::Path;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn whatever_a_server_lists_becomes_a_policy_without_mistake_or_warning(
            names in prop::collection::vec("(read|send|get|delete|x)_[a-c]{1,3}|\\PC{0,12}|[\u{0}-\u{20}\"'\\\\\u{7f}#=\\[\\]{}*?!]{0,8}", 1..12),
            argument in "\\PC{0,6}|to|text|[\u{0}-\u{20}]{1,2}",
        ) {
            let definition = |name: &String| {
                json!({ "name": name, "inputSchema": { "properties": { argument.as_str(): { "type": "string" }, "text": { "type": "string" } }, "required": [argument, "text"] } }).to_string()
            };
            let tools = judge(&names.iter().map(definition).collect::<Vec<_>>());
            let written = write("it", "command = [\"x\"]\n", &tools);
            let loaded = Config::parse(&written, "config.toml", Path::new(""), &|_| None);
            let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{written}"));
            prop_assert!(loaded.warnings.is_empty(), "{:?}\n{}", loaded.warnings, written);
        }
    }
}
