//! `tools/list` without the tools that the policy hides from this agent; what stays keeps its bytes, and a list
//! with nothing to hide is not touched. An entry whose name cannot be read is left out, and a result with two lists
//! is none: nobody can tell what an agent's reader would show. Called by `http`.

use super::message::{folded, string};
use super::upstream::wire::Members;
use serde_json::value::RawValue;

/// The result as the agent gets it; `None` when it is no list of tools.
pub(super) fn without(result: &str, hides: impl Fn(&str) -> bool) -> Option<String> {
    let members = Members::read(result)?;
    let tools: Vec<&RawValue> = serde_json::from_str(only(&members, "tools")?.get()).ok()?;
    let shown = |tool: &&&RawValue| {
        let Some(tool) = Members::read(tool.get()) else { return false };
        only(&tool, "name").and_then(string).is_some_and(|name| !hides(&name))
    };
    let kept: Vec<&str> = tools.iter().filter(shown).map(|tool| tool.get()).collect();
    if kept.len() == tools.len() {
        return Some(result.to_owned());
    }
    Some(members.with("tools", Some(&format!("[{}]", kept.join(",")))))
}

/// The member of this name, if it stands there once and none differs from it only in case: readers disagree on which
/// of two counts.
fn only<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    let mut all = members.0.iter().filter(|(key, _)| folded(key) == name);
    let (Some((key, value)), None) = (all.next(), all.next()) else { return None };
    (key == name).then_some(*value)
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
