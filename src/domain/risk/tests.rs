//! The five published servers as a table, every tool of theirs, and what a hostile server might list: what is
//! right for each was decided by hand, from its description. Beside them spellings, hints and twins.

use super::*;
use serde_json::{Value, json};

fn definitions(text: &str) -> Vec<String> {
    serde_json::from_str::<Vec<Value>>(text).unwrap().iter().map(Value::to_string).collect()
}

/// Compares with what is expected of the tools that are named; every other one must be unclear.
fn expect(text: &str, sends: &[&str], reads: &[&str], takes: &[&str], dangerous: &[&str]) {
    for tool in judge(&definitions(text)) {
        let lists = [(sends, Risk::Sends), (reads, Risk::Reads), (takes, Risk::Takes), (dangerous, Risk::Dangerous)];
        let expected = lists.iter().find(|(names, _)| names.contains(&tool.name.as_str())).map_or(Risk::Unclear, |(_, risk)| *risk);
        assert_eq!(tool.risk, expected, "{}: {}", tool.name, tool.why);
    }
}

macro_rules! seed {
    ($name:literal) => {
        include_str!(concat!("../../../tests/it/policy/seeds/tools/", $name, ".json"))
    };
}

#[test]
fn instagram() {
    expect(seed!("instagram-dm"), &["send_dm"], &["read_dms", "health_check"], &[], &[]);
}

#[test]
fn agentdm_whose_inbox_moves_a_cursor() {
    expect(seed!("agentdm"), &["send_message"], &["list_channels", "list_agents", "message_status", "list_skills"], &["read_messages"], &[]);
}

#[test]
fn just_facebook() {
    let reads: Vec<String> = judge(&definitions(seed!("just-facebook"))).into_iter().map(|tool| tool.name).filter(|name| name.starts_with("get_")).collect();
    assert_eq!(reads.len(), 20);
    let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
    let sends = ["post_to_facebook", "reply_to_comment", "post_image_to_facebook", "send_dm_to_user", "schedule_post"];
    expect(seed!("just-facebook"), &sends, &reads, &[], &["delete_post", "delete_comment", "delete_comment_from_post"]);
}

#[test]
fn avatarbook() {
    let reads = [
        "list_agents",
        "get_agent",
        "whoami",
        "get_replies",
        "read_feed",
        "list_skills",
        "get_orders",
        "get_skill",
        "read_dms",
        "list_webhooks",
        "list_bridges",
        "list_tasks",
        "get_task",
    ];
    let dangerous = ["delete_agent", "rotate_key", "revoke_key", "order_skill"];
    expect(seed!("avatarbook"), &["create_post", "create_human_post", "send_dm"], &reads, &[], &dangerous);
}

#[test]
fn fruitflies() {
    let sends = ["post_message", "ask_question", "answer_question", "send_dm", "post_to_community"];
    let reads = ["get_challenge", "whoami", "search_agents", "get_feed", "list_communities", "get_community", "moderate_status"];
    // heartbeat only reads, and only its server says so.
    expect(seed!("fruitflies"), &sends, &reads, &[], &["rotate_key", "leave_community", "moderate_delete_post"]);
}

#[test]
fn the_message_of_the_five_dm_tools_is_found_with_certainty() {
    for (text, tool, to, body) in [
        (seed!("instagram-dm"), "send_dm", "/username", "/message"),
        (seed!("agentdm"), "send_message", "/to", "/message"),
        (seed!("just-facebook"), "send_dm_to_user", "/user_id", "/message"),
        (seed!("avatarbook"), "send_dm", "/to_agent_id", "/content"),
        (seed!("fruitflies"), "send_dm", "/to_handle", "/content"),
    ] {
        let judged = judge(&definitions(text));
        let pointers = judged.iter().find(|judged| judged.name == tool).and_then(|judged| judged.message.clone());
        assert_eq!(pointers, Some(MessagePointers { to: to.into(), text: body.into() }), "{tool}");
    }
}

fn tool(name: &str, properties: &Value, more: &Value) -> String {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    let mut tool = json!({ "name": name, "inputSchema": { "type": "object", "properties": properties, "required": required } });
    tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    tool.to_string()
}

fn one(name: &str, arguments: &[&str], more: &Value) -> Judged {
    let properties = arguments.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    judge(&[tool(name, &Value::Object(properties), more)]).remove(0)
}

fn risk(name: &str, arguments: &[&str]) -> Risk {
    one(name, arguments, &json!({})).risk
}

#[test]
fn names_in_every_spelling() {
    for (name, arguments, expected) in [
        ("sendDirectMessage", &["recipient", "text"][..], Risk::Sends),
        ("email-send", &["template"], Risk::Sends),
        ("whisper", &["to", "body"], Risk::Sends),
        ("poke", &["recipient_id", "msg"], Risk::Sends),
        ("create_draft", &["subject", "body"], Risk::Unclear),
        ("draft_email", &["subject", "body"], Risk::Unclear),
        ("update_message", &["to", "text"], Risk::Unclear),
        ("react_to_post", &["post_id", "type"], Risk::Unclear),
        ("listChannels", &["limit"], Risk::Reads),
        ("search_messages", &["user", "text"], Risk::Reads),
        ("get_or_create_chat", &["user"], Risk::Unclear),
        ("fetch_and_delete", &[], Risk::Unclear),
        ("check_in", &[], Risk::Unclear),
        ("fetch", &["url"], Risk::Unclear),
        ("read_inbox", &["delete_after"], Risk::Unclear),
        ("read_inbox", &["mark_as_read"], Risk::Takes),
        ("query", &["sql"], Risk::Dangerous),
        ("get_access_token", &[], Risk::Dangerous),
        ("send_payment", &["to", "text"], Risk::Dangerous),
        ("publish_post", &["text"], Risk::Dangerous),
        ("SENDDM", &["handle"], Risk::Unclear),
        ("frobnicate", &[], Risk::Unclear),
    ] {
        let judged = one(name, arguments, &json!({}));
        assert_eq!(judged.risk, expected, "{name}: {}", judged.why);
    }
}

#[test]
fn annotations_make_a_tool_stricter_and_never_looser_by_themselves() {
    let harmless = json!({ "annotations": { "readOnlyHint": true, "destructiveHint": false, "openWorldHint": false } });
    assert_eq!(one("send_dm", &["to", "text"], &harmless).risk, Risk::Sends);
    assert!(one("send_dm", &["to", "text"], &harmless).why.ends_with("although its server says that it only reads"));
    assert_eq!(one("delete_account", &[], &harmless).risk, Risk::Dangerous);
    assert_eq!(one("frobnicate", &[], &harmless).risk, Risk::Unclear);
    assert_eq!(one("get_orders", &[], &json!({ "annotations": { "readOnlyHint": false } })).risk, Risk::Unclear);
    assert_eq!(one("get_orders", &[], &json!({ "annotations": { "readOnlyHint": true, "destructiveHint": true } })).risk, Risk::Unclear);
    assert_eq!(one("frobnicate", &[], &json!({ "annotations": { "destructiveHint": true } })).risk, Risk::Dangerous);
    // Name and server agree.
    assert_eq!(risk("delivery_status", &["id"]), Risk::Unclear);
    assert_eq!(one("delivery_status", &["id"], &harmless).risk, Risk::Reads);
    // What is no hint counts for nothing.
    assert_eq!(one("delivery_status", &["id"], &json!({ "annotations": { "readOnlyHint": "true" } })).risk, Risk::Unclear);
}

#[test]
fn a_description_makes_stricter_too() {
    assert_eq!(one("get_inbox", &[], &json!({ "description": "Returns new messages and marks them as read." })).risk, Risk::Takes);
    assert_eq!(one("frobnicate", &[], &json!({ "description": "Only reads." })).risk, Risk::Unclear);
}

#[test]
fn odd_names_and_twins_are_denied_and_say_why() {
    for name in ["read_\u{1b}[2J", "read dms", "read_\"x\"", "read_*", "r\u{435}ad_dms", "", "read_\n", &"read_".repeat(40)] {
        assert_eq!(risk(name, &[]), Risk::Unclear, "{name:?}");
    }
    let list = |names: &[&str]| judge(&names.iter().map(|name| tool(name, &json!({}), &json!({}))).collect::<Vec<_>>());
    assert!(list(&["read_dms", "read_dms"]).iter().all(|judged| judged.risk == Risk::Unclear));
    assert!(list(&["read_dms", "Read-DMs"]).iter().all(|judged| judged.why.contains("nearly")));
    assert_eq!(judge(&[r#"{"name":"read_dms","name":"send_dm"}"#.to_owned()])[0].risk, Risk::Unclear);
    assert_eq!(judge(&["7".to_owned(), "{".to_owned(), "{\"name\":7}".to_owned()]).len(), 3);
}

#[test]
fn a_prefix_that_the_tools_share_is_no_verb() {
    let list = |names: &[&str]| judge(&names.iter().map(|name| tool(name, &json!({}), &json!({}))).collect::<Vec<_>>());
    let judged = list(&["slack_list_channels", "slack_get_users", "slack_delete_channel"]);
    assert_eq!(judged.iter().map(|judged| judged.risk).collect::<Vec<_>>(), [Risk::Reads, Risk::Reads, Risk::Dangerous]);
    assert_eq!(list(&["clobber_list_items", "get_users"])[0].risk, Risk::Unclear, "an unknown verb is no prefix");
    assert_eq!(list(&["react_list", "react_get_x"])[1].risk, Risk::Unclear, "a verb that we know is no prefix");
}

#[test]
fn copies_and_second_texts_leave_the_place_of_the_message_open() {
    let message = |arguments: &[&str]| one("send_email", arguments, &json!({})).message;
    assert_eq!(message(&["to", "subject", "body"]), Some(MessagePointers { to: "/to".into(), text: "/body".into() }));
    assert_eq!(message(&["to", "bcc", "body"]), None);
    assert_eq!(message(&["to", "text", "body"]), None);
    assert_eq!(message(&["to", "email", "body"]), None);
    let odd = one(
        "send_email",
        &["to", "body"],
        &json!({ "inputSchema": { "properties": { "to": { "type": "object" }, "body": { "type": "string" } }, "required": ["to", "body"] } }),
    );
    assert_eq!(odd.message, None);
}
