//! `tools/list` without the tools that the policy hides from this agent; what stays keeps its bytes, and a list
//! with nothing to hide is not touched. An entry whose name cannot be read is left out: nobody can tell whether
//! it is hidden. Called by `http`.

use super::message::string;
use super::upstream::wire::Members;
use serde_json::value::RawValue;

/// The result as the agent gets it; `None` when it is no list of tools.
pub(super) fn without(result: &str, hides: impl Fn(&str) -> bool) -> Option<String> {
    let members = Members::read(result)?;
    let tools: Vec<&RawValue> = serde_json::from_str(members.get("tools")?.get()).ok()?;
    let shown = |tool: &&&RawValue| {
        let Some(tool) = Members::read(tool.get()) else { return false };
        let mut names = tool.0.iter().filter(|(key, _)| key == "name");
        // Readers disagree on which of two names counts.
        let (Some((_, name)), None) = (names.next(), names.next()) else { return false };
        string(name).is_some_and(|name| !hides(&name))
    };
    let kept: Vec<&str> = tools.iter().filter(shown).map(|tool| tool.get()).collect();
    if kept.len() == tools.len() {
        return Some(result.to_owned());
    }
    Some(members.with("tools", Some(&format!("[{}]", kept.join(",")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_tools_go_and_the_rest_keeps_its_bytes() {
        let list = r#"{ "tools": [{"name":"a", "x": 1.10},{"name":"b"},{"n":1},{"name":"a","name":"b"}], "nextCursor":"p"}"#;
        assert_eq!(without(list, |name| name == "b").unwrap(), r#"{"tools":[{"name":"a", "x": 1.10}],"nextCursor":"p"}"#);
        let clean = r#"{ "tools": [ {"name":"a"} ] }"#;
        assert_eq!(without(clean, |_| false).unwrap(), clean);
        assert_eq!(without(r#"{"tools":{}}"#, |_| false), None);
    }
}
