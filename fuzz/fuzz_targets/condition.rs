//! A `when` and the arguments it looks at, apart by a line break: compiled or refused, evaluated or denied, never a
//! panic and never long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::domain::json::strict;
use paraph::domain::policy::{Action, Asked, Policy, PolicySpec, RuleSpec};
use serde_json::json;

fuzz_target!(|text: &str| {
    let (when, arguments) = text.split_once('\n').unwrap_or((text, "{}"));
    let rule = RuleSpec {
        name: "r".to_owned(),
        tools: vec!["*".to_owned()],
        agents: vec!["*".to_owned()],
        when: Some(when.to_owned()),
        action: Action::Allow,
        ..RuleSpec::default()
    };
    let Ok(policy) = Policy::build(PolicySpec { server: "s".to_owned(), rules: vec![rule], ..PolicySpec::default() }) else { return };
    let arguments = strict(arguments.as_bytes()).unwrap_or_else(|_| json!({}));
    let asked = Asked { agent: "a", tool: "t", arguments: &arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH };
    assert!(matches!(policy.judge(&asked).action, Action::Allow | Action::Deny));
});
