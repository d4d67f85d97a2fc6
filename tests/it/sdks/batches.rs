//! Revision 2025-03-26, whose batches an SDK's own transport sends and reads. Of the SDKs only version 2 of the TypeScript one
//! can be asked to speak it; the others always begin with a newer one.

use super::{Case, dm, every, sent, servers_result};
use crate::world::{Gateway, Sdk, text_of, until};
use serde_json::{Value, json};
use std::sync::Arc;

async fn a_batch(case: Case, gateway: Arc<Gateway>) {
    let desk = case.desk(&gateway);
    let mut agent = case.connect(&gateway).await;
    assert_eq!(agent.ready["revision"], "2025-03-26");
    let call =
        |id: &str, tool: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let (friday, monday) = (case.text("Friday works"), case.text("Monday works"));
    let messages = json!([
        call("friday", "send_dm", dm("@bob", &friday)),
        call("inbox", "read_inbox", json!({"limit": 1})),
        call("account", "delete_account", json!({})),
        call("hidden", "list_contacts", json!({})),
        {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"},
        call("monday", "send_dm", dm("@bob", &monday)),
    ]);
    agent.begin(&json!({"do": "batch", "messages": messages})).await;
    let (first, second) = (desk.held(&friday).await, desk.held(&monday).await);
    desk.reject(&second, "Too soon.").await;
    until("the second one's end", || async { (case.held(&desk).await == 1).then_some(()) }).await;
    desk.approve(&first).await;
    let answers = agent.result().await;
    let of = |id: &str| answers.as_array().unwrap().iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{id}: {answers}"));
    sent(&of("friday")["result"], "@bob");
    assert_eq!(text_of(&of("inbox")["result"]), "@bob: Are we still on for Friday?");
    assert_eq!(of("account")["result"]["_meta"]["paraph/call"]["state"], "denied");
    assert_eq!(of("hidden")["error"]["code"], -32602);
    assert_eq!(of("monday")["result"]["_meta"]["paraph/call"]["state"], "rejected");
    assert_eq!((answers.as_array().map(Vec::len), case.sent(&friday), case.sent(&monday)), (Some(5), 1, 0));

    // The connection goes on, one message at a time.
    let tuesday = case.text("Tuesday works");
    agent.begin_call("send_dm", dm("@bob", &tuesday)).await;
    desk.approve(&desk.held(&tuesday).await).await;
    servers_result(&agent.result().await, "@bob");
}

#[tokio::test]
async fn the_user_of_an_sdk_that_sends_a_batch_gets_an_answer_to_each_of_its_calls() {
    every(&[Sdk::TypeScript2March], |_| "50s", a_batch).await;
}
