//! Arguments are held against the tool's `inputSchema` before anybody is asked, and a schema that is not known stops
//! nothing but says so.

use super::{DM, Desk, approve, read_and_decide, rule, settings};
use paraph::domain::people::Role;
use paraph::domain::policy::{Action, LimitSpec, Policy, PolicySpec, ScopeSpec};
use paraph::domain::schema::Schema;
use paraph::gate::{Admission, Notice, ServerSettings, Settings};
use paraph::store::in_memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

const STRICT: &str =
    r#"{"type":"object","properties":{"to":{"type":"string"},"text":{"type":"string"}},"required":["to","text"],"additionalProperties":false}"#;

async fn refused(desk: &Desk, tool: &str, arguments: &str) -> Notice {
    match desk.admit(tool, arguments).await {
        Admission::Refused(notice) => notice,
        Admission::Allowed(_) | Admission::Unknown | Admission::Waiting(_) => panic!("{tool} {arguments} was not refused"),
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_place_and_nobody_is_asked() {
    let desk = Desk::new().await;
    desk.upstream.lists("send_dm", STRICT);
    desk.upstream.lists("write_note", STRICT);
    for (tool, arguments, reason) in [
        ("send_dm", r#"{"to":"@bob"}"#, "the arguments as a whole must have a member \"text\""),
        ("send_dm", r#"{"to":"@bob","text":4711}"#, "/text must be of type string"),
        ("send_dm", r#"{"to":"@bob","text":"x","cc":"@eve"}"#, "/cc is a member that the tool does not take"),
        ("write_note", r#"{"to":["@bob"],"text":"x"}"#, "/to must be of type string"),
    ] {
        let notice = refused(&desk, tool, arguments).await;
        let reason = &format!("{reason}; mend the arguments and call again");
        let not = if tool == "send_dm" { "NOT SENT" } else { "NOT DONE" };
        assert_eq!(notice.text, format!("{not}. Rule inputSchema refuses this: \u{201c}{reason}\u{201d}. Do not try another tool or wording."));
        assert_eq!(
            (notice.meta["state"].as_str(), notice.meta["rule"].as_str(), notice.meta["reason"].as_str()),
            (Some("denied"), Some("inputSchema"), Some(reason.as_str()))
        );
        for value in ["4711", "@eve", "@bob"] {
            assert!(!notice.text.contains(value) && !notice.meta.to_string().contains(value), "{notice:?}");
        }
    }
    assert_eq!(desk.store.held().await.unwrap(), 0);
    let entries = desk.store.entries(1, 100).await.unwrap();
    let denied: Vec<_> = entries.iter().filter(|entry| entry.kind == "call.denied").collect();
    assert_eq!(denied.len(), 4);
    assert!(denied.iter().all(|entry| entry.data["rule"] == "inputSchema" && !entry.data.to_string().contains("@eve")));
    let call = desk.call(desk.seat("send_dm", DM).await.call()).await;
    assert_eq!(call.unchecked, None);
    assert!(matches!(desk.admit("write_note", DM).await, Admission::Allowed(_)));
}

#[tokio::test]
async fn the_policy_goes_first_so_a_hidden_tool_stays_unknown_and_a_denied_one_names_its_rule() {
    let desk = Desk::new().await;
    for tool in ["hidden_dm", "delete_all"] {
        desk.upstream.lists(tool, STRICT);
    }
    assert!(matches!(desk.admit("hidden_dm", "{}").await, Admission::Unknown));
    assert_eq!(refused(&desk, "delete_all", "{}").await.meta["rule"], "default");
}

#[tokio::test]
async fn a_misfit_takes_nothing_from_limits_and_says_nothing_of_a_closed_way() {
    let limit = LimitSpec { counter: "rate".into(), window: Duration::from_secs(60), max: 1, scope: ScopeSpec::Grant, increment_from: None, on_deny: None };
    let spec = PolicySpec {
        server: "demo".into(),
        rules: vec![rule("notes", &["write_*"], Action::Allow), rule("dms", &["send_*"], Action::RequireApproval)],
        limits: vec![limit],
        ..PolicySpec::default()
    };
    let policy = Policy::build(spec).unwrap();
    let settings = Settings { servers: [("demo".to_owned(), ServerSettings { policy, messages: Default::default() })].into(), ..settings() };
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    desk.upstream.lists("send_dm", STRICT);
    desk.upstream.lists("write_note", STRICT);
    for _ in 0..5 {
        assert_eq!(refused(&desk, "send_dm", "{}").await.meta["rule"], "inputSchema");
        assert_eq!(refused(&desk, "write_note", "{}").await.meta["rule"], "inputSchema");
    }
    desk.seat("send_dm", DM).await;
    assert_eq!(refused(&desk, "write_note", DM).await.meta["state"], "limited");
}

#[tokio::test]
async fn what_is_held_already_is_attached_to_without_being_checked_again() {
    let desk = Desk::new().await;
    let first = desk.seat("send_dm", DM).await;
    desk.upstream.lists("send_dm", r#"{"required":["subject"]}"#);
    assert_eq!(desk.seat("send_dm", DM).await.call(), first.call());
    assert_eq!(refused(&desk, "send_dm", r#"{"to":"@bob","text":"another"}"#).await.meta["rule"], "inputSchema");
}

#[tokio::test]
async fn a_new_list_replaces_what_was_known_before() {
    let desk = Desk::new().await;
    desk.upstream.lists("write_note", STRICT);
    assert_eq!(refused(&desk, "write_note", r#"{"to":"@bob","text":"x","cc":1}"#).await.meta["rule"], "inputSchema");
    desk.upstream.lists("write_note", r#"{"required":["cc"]}"#);
    assert!(matches!(desk.admit("write_note", r#"{"to":"@bob","text":"x","cc":1}"#).await, Admission::Allowed(_)));
    assert_eq!(refused(&desk, "write_note", DM).await.meta["reason"], "the arguments as a whole must have a member \"cc\"; mend the arguments and call again");
}

#[tokio::test]
async fn a_server_that_was_never_listed_is_asked_before_a_call_would_be_held_and_not_before_an_allowed_one() {
    let desk = Desk::new().await;
    let listed = [("send_dm".to_owned(), Schema::compile(STRICT).map(Arc::new))];
    *desk.upstream.lists_when_asked.lock().unwrap() = Some(listed.into());
    assert!(matches!(desk.admit("write_note", "{}").await, Admission::Allowed(_)));
    assert_eq!(*desk.upstream.asked_for.lock().unwrap(), Vec::<String>::new());
    assert_eq!(refused(&desk, "send_dm", r#"{"to":"@bob"}"#).await.meta["rule"], "inputSchema");
    assert_eq!(*desk.upstream.asked_for.lock().unwrap(), ["bot"]);
}

#[tokio::test]
async fn without_a_schema_an_allowed_call_passes_and_a_held_one_says_that_nobody_checked() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    assert!(matches!(desk.admit("write_note", DM).await, Admission::Allowed(_)));
    let unlisted = desk.seat("send_dm", DM).await;
    assert_eq!(ann.look(unlisted.call()).await.unwrap().to_json()["unchecked"], "the server has not listed this tool");
    desk.upstream.lists("send_dm", r#"{"$ref":"https://example.org/schema.json"}"#);
    let beyond = desk.seat("send_dm", r#"{"to":"@bob","text":"two"}"#).await;
    let why = "its inputSchema refers to another document, which Paraph does not fetch";
    assert_eq!(ann.look(beyond.call()).await.unwrap().to_json()["unchecked"], why);
    read_and_decide(&ann, beyond.call(), approve).await.unwrap();
    desk.until(beyond.call(), "answered").await;
}

#[tokio::test]
async fn a_schema_made_to_cost_without_end_costs_the_agent_a_refusal_and_the_gateway_nothing() {
    let desk = Desk::new().await;
    let doubled: Vec<String> =
        (0..30).map(|n| format!(r##""d{n}":{{"anyOf":[{{"$ref":"#/$defs/d{0}"}},{{"allOf":[{{"$ref":"#/$defs/d{0}"}}]}}]}}"##, n + 1)).collect();
    let doubled = format!(r##"{{"$defs":{{{},"d30":{{"type":"string"}}}},"$ref":"#/$defs/d0"}}"##, doubled.join(","));
    for (tool, schema) in [("send_self", r##"{"$ref":"#"}"##), ("send_doubled", doubled.as_str())] {
        desk.upstream.lists(tool, schema);
        let notice = refused(&desk, tool, DM).await;
        let reason = notice.meta["reason"].as_str().unwrap();
        assert_eq!(notice.meta["rule"], "inputSchema");
        assert!(reason.starts_with("the arguments c") && reason.contains("not be checked"), "{reason}");
    }
    desk.upstream.lists("send_pattern", r#"{"properties":{"text":{"pattern":"^(a+)+$(?!x)"},"list":{"uniqueItems":true}}}"#);
    let stuck = format!(r#"{{"to":"@bob","text":"{}!"}}"#, "a".repeat(200_000));
    assert_eq!(refused(&desk, "send_pattern", &stuck).await.meta["rule"], "inputSchema");
    let many: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let seat = desk.seat("send_pattern", &format!(r#"{{"to":"@bob","text":"aaa","list":[{}]}}"#, many.join(","))).await;
    assert_eq!(desk.call(seat.call()).await.unchecked, None);
}
