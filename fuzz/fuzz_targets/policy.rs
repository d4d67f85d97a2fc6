//! A `policy.json`: read or refused, never a panic; what is read judges every call without one, and never lets through
//! what it hides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::domain::policy::{Action, Asked, Document, Policy, PolicySpec};
use serde_json::json;

fuzz_target!(|text: &str| {
    let Ok(document) = Document::read(text) else { return };
    let Ok(policy) = Policy::build(PolicySpec { server: "s".to_owned(), document: Some(document), ..PolicySpec::default() }) else { return };
    for arguments in [json!({}), json!({"to": "@bob", "text": "hi", "amount": -1}), json!({"to": [1], "a": {"b": null}})] {
        for tool in ["send_dm", "*", ""] {
            let asked = Asked { agent: "a", tool, arguments: &arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH };
            let said = policy.judge(&asked).action;
            assert!(!policy.hides("a", tool) || matches!(said, Action::Hide | Action::Deny));
        }
    }
});
