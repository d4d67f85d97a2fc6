//! The agent stays: held then approved, held then refused, and waiting by calling again.

use super::{Case, dm, every, id_of, pending, sent, sent_earlier, told};
use crate::world::{Gateway, Sdk, text_of};
use serde_json::json;
use std::sync::Arc;

async fn every_verdict(case: Case, gateway: Arc<Gateway>) {
    let desk = case.desk(&gateway);
    let (friday, rude) = (case.text("Friday works"), case.text("You owe me"));
    let mut agent = case.connect(&gateway).await;
    assert_eq!(agent.ready["server"]["name"], "paraph-demo-server", "the upstream's name comes through");
    assert_eq!(agent.ready["revision"], "2025-11-25", "whichever revision the SDK asks for first");
    agent.fine(json!({"do": "ping"})).await;

    // Hidden: absent from the list, unknown when called.
    let tools = agent.tools().await;
    assert!(tools.contains(&"read_inbox".to_owned()) && !tools.contains(&"list_contacts".to_owned()), "{tools:?}");
    let hidden = agent.step(json!({"do": "call", "name": "list_contacts", "arguments": {}})).await;
    assert_eq!(hidden["error"]["code"], -32602, "{hidden}");
    assert!(hidden["error"]["message"].as_str().is_some_and(|said| said.ends_with("Unknown tool: list_contacts")), "{hidden}");

    // Allowed: the upstream's own result.
    let inbox = agent.call("read_inbox", json!({"limit": 1})).await;
    assert_eq!(text_of(&inbox), "@bob: Are we still on for Friday?");
    assert_eq!(inbox["structuredContent"]["messages"][0]["from"], "@bob");

    // Denied: the rule's reason.
    let denied = agent.call("delete_account", json!({})).await;
    let sentence = "NOT DONE. Rule accounts-stay refuses this: \u{201c}Accounts are never deleted by an agent\u{201d}. Do not try another tool or wording.";
    told(&denied, "denied", sentence);
    assert_eq!(denied["_meta"]["paraph/call"]["rule"], "accounts-stay");

    // Held, approved meanwhile: the request that waited gets the upstream's result, structured content and all.
    agent.begin_call("send_dm", dm("@bob", &friday)).await;
    let held = desk.held(&friday).await;
    assert_eq!(held["agent_waiting"], true, "{held}");
    assert_eq!(case.sent(&friday), 0, "it was sent before anybody approved it");
    desk.approve(&held).await;
    sent(&agent.result().await, "@bob");

    // Held, refused: send_dm has an outputSchema, and the SDK must not raise. Asked again: the same, and nobody is asked.
    agent.begin_call("send_dm", dm("@bob", &rude)).await;
    let held = desk.held(&rude).await;
    desk.reject(&held, "Too sharp in tone.").await;
    let refused = agent.result().await;
    let sentence = "NOT SENT. A person refused: \u{201c}Too sharp in tone\u{201d}. Do not resend it, also not reworded, unless the user asks.";
    told(&refused, "rejected", sentence);
    assert_eq!(refused["_meta"]["paraph/call"]["reason"], "Too sharp in tone.");
    assert_eq!(agent.call("send_dm", dm("@bob", &rude)).await, refused);
    assert_eq!(case.held(&desk).await, 0);
    assert_eq!((case.sent(&friday), case.sent(&rude)), (1, 0));
}

/// A keep_open shorter than the reviewer: the pending answer, then the identical call.
async fn waiting_by_calling_again(case: Case, gateway: Arc<Gateway>) {
    let desk = case.desk(&gateway);
    let text = case.text("See you there");
    let message = || dm("@bob", &text);
    let mut agent = case.connect(&gateway).await;

    let first = agent.call("send_dm", message()).await;
    let held = desk.held(&text).await;
    pending(&first, id_of(&held));
    pending(&agent.call("send_dm", message()).await, id_of(&held));
    let third = agent.call("send_dm", message()).await;
    told(&third, "held", "STILL WAITING. Stop calling. Tell the user it awaits approval and go on with other work.");
    assert_eq!(case.held(&desk).await, 1, "the identical call attaches");

    desk.approve(&held).await;
    desk.settled(id_of(&held), &["answered"]).await;
    sent_earlier(&agent.call("send_dm", message()).await, "@bob");
    assert_eq!(case.sent(&text), 1);
}

/// Version 2 of the TypeScript SDK comes asking for `initialize` first; here it is also told to ask for the newest revision.
#[tokio::test]
async fn the_user_of_every_sdk_sees_every_verdict_as_a_result() {
    let sdks: Vec<Sdk> = Sdk::ALL.into_iter().chain([Sdk::TypeScript2Auto]).collect();
    every(&sdks, |_| "50s", every_verdict).await;
}

#[tokio::test]
async fn the_user_of_every_sdk_waits_by_calling_again() {
    every(&Sdk::ALL, |_| "1s", waiting_by_calling_again).await;
}
