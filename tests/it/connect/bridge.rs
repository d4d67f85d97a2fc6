//! Everything at once over one pair of pipes: held calls, other requests, cancels, refusals, and the end.

use super::{Bed, REVISION};
use crate::world::{Front, text_of, until};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_held_call_holds_up_no_other_request() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    front.dm(1, "read me first").await;
    let held = bed.desk.held("read me first").await;
    for id in 2..6 {
        front.ask(id, "ping", json!({})).await;
        assert_eq!(front.answer_to(id).await["result"], json!({}));
    }
    front.ask(6, "tools/call", json!({"name": "read_inbox", "arguments": {"limit": 1}})).await;
    assert_eq!(text_of(&front.answer_to(6).await["result"]), "@bob: Are we still on for Friday?");
    front.ask(7, "tools/call", json!({"name": "delete_account", "arguments": {}})).await;
    assert!(text_of(&front.answer_to(7).await["result"]).starts_with("NOT DONE. Rule accounts-stay"));
    // A second one is held beside the first, and decided before it.
    front.dm(8, "me too").await;
    bed.desk.approve(&bed.desk.held("me too").await).await;
    assert_eq!(text_of(&front.answer_to(8).await["result"]), "Sent to @bob.");
    // That answer was taken, so the same again is a new call: the front did not hang up on it.
    front.dm(9, "me too").await;
    bed.desk.reject(&bed.desk.held("me too").await, "Once is enough").await;
    front.answer_to(9).await;
    bed.desk.approve(&held).await;
    let answer = front.answer_to(1).await;
    assert_eq!((text_of(&answer["result"]), answer["result"]["content"].as_array().map(Vec::len)), ("Sent to @bob.", Some(1)));
    assert_eq!(bed.world.sent(), [("me too".to_owned(), 1), ("read me first".to_owned(), 1)].into());
    front.close();
    assert_eq!(front.ended().await, (Some(0), Vec::new()));
}

#[tokio::test]
async fn progress_of_a_held_call_passes_while_it_waits() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    let call = json!({"name": "send_dm", "arguments": {"to": "@bob", "text": "slowly"}, "_meta": {"progressToken": "t1"}});
    front.ask(1, "tools/call", call).await;
    let heard = front.answer().await;
    assert_eq!((&heard["method"], &heard["params"]["progressToken"]), (&json!("notifications/progress"), &json!("t1")));
    bed.desk.approve(&bed.desk.held("slowly").await).await;
    assert_eq!(text_of(&front.answer_to(1).await["result"]), "Sent to @bob.");
}

#[tokio::test]
async fn many_calls_wait_at_once_and_each_gets_its_own_answer() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    for id in 1..=30 {
        front.dm(id, &format!("number {id}.")).await;
    }
    for id in (1..=30).rev() {
        bed.desk.approve(&bed.desk.held(&format!("number {id}.")).await).await;
    }
    let mut answered: Vec<u64> = Vec::new();
    for _ in 0..30 {
        let answer = front.answer().await;
        assert_eq!(text_of(&answer["result"]), "Sent to @bob.");
        answered.push(answer["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=30).collect::<Vec<_>>());
    assert!(bed.world.sent().values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_cancel_takes_a_held_call_back_and_nobody_is_answered() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    front.dm(1, "better not").await;
    let held = bed.desk.held("better not").await;
    front.cancel(1).await;
    let id = held["id"].as_str().unwrap();
    until("the call is cancelled", || async { (bed.desk.call(id).await["presence"] == "cancelled").then_some(()) }).await;
    front.ask(2, "ping", json!({})).await;
    front.answer_to(2).await;
    // Asked again, it waits again.
    front.dm(3, "better not").await;
    until("the call waits", || async { (bed.desk.call(id).await["presence"] == "waiting").then_some(()) }).await;
    bed.desk.reject(&bed.desk.call(id).await, "Wrong person").await;
    assert!(text_of(&front.answer_to(3).await["result"]).contains("Wrong person"));
}

#[tokio::test]
async fn a_cancel_right_behind_its_call_is_never_lost() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    for id in 1..=40u64 {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "send_dm", "arguments": {"to": "@bob", "text": format!("hasty {id}")}}});
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        // Both in one write; or the cancel so much later that it meets the call on its way.
        front.write(format!("{call}\n").as_bytes()).await;
        tokio::time::sleep(Duration::from_micros(id * 150)).await;
        front.write(format!("{cancel}\n").as_bytes()).await;
    }
    front.ask(100, "ping", json!({})).await;
    front.answer_to(100).await;
    until("every call that came to be held is taken back", || async {
        let held = bed.desk.calls("held").await;
        held.iter().all(|call| call["presence"] == "cancelled").then_some(())
    })
    .await;
    front.is_silent_for(Duration::from_millis(300)).await;
    assert!(bed.desk.calls("held").await.iter().all(|call| call["presence"] == "cancelled"));
}

#[tokio::test]
async fn a_client_that_closes_its_end_takes_nothing_back() {
    let bed = Bed::new().await;
    for (text, by_signal) in [("gone by itself", false), ("asked to go", true)] {
        let mut front = bed.front().await;
        front.dm(1, text).await;
        let held = bed.desk.held(text).await;
        if by_signal {
            front.signal();
        } else {
            front.close();
        }
        let begun = tokio::time::Instant::now();
        assert_eq!(front.ended().await, (Some(0), Vec::new()));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let id = held["id"].as_str().unwrap();
        until("nobody waits", || async { (bed.desk.call(id).await["presence"] == "gone").then_some(()) }).await;
        bed.desk.approve(&bed.desk.call(id).await).await;
        bed.desk.settled(id, &["answered"]).await;
        // The next client collects it.
        let mut next = bed.front().await;
        next.dm(1, text).await;
        let answer = next.answer_to(1).await;
        assert!(answer["result"]["content"][1]["text"].as_str().unwrap().contains("for your earlier call"), "{answer}");
    }
    assert!(bed.world.sent().values().all(|times| *times == 1));
}

#[tokio::test]
async fn what_is_taken_back_just_before_the_end_is_taken_back() {
    let bed = Bed::new().await;
    for number in 0..5 {
        let mut front = bed.front().await;
        let text = format!("taken back at the end {number}");
        front.dm(1, &text).await;
        let held = bed.desk.held(&text).await;
        front.cancel(1).await;
        front.close();
        assert_eq!(front.ended().await, (Some(0), Vec::new()));
        let id = held["id"].as_str().unwrap();
        until("the call is cancelled", || async { (bed.desk.call(id).await["presence"] == "cancelled").then_some(()) }).await;
    }
}

#[tokio::test]
async fn what_was_asked_just_before_the_end_is_still_answered() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    front.ask(1, "tools/list", json!({})).await;
    front.close();
    let (code, rest) = front.ended().await;
    let answer: Value = serde_json::from_str(&rest[0]).unwrap();
    assert_eq!((code, rest.len(), &answer["id"]), (Some(0), 1, &json!(1)));
}

#[tokio::test]
async fn who_is_not_let_in_is_told_once_on_each_side_and_with_exit_code_2() {
    let bed = Bed::new().await;
    let elsewhere = bed.world.told(&["agent", "add", "elsewhere", "--server", "other"]).await;
    let rows = [
        (bed.gateway.url.clone(), "par_wrong".to_owned(), "does not know the token"),
        (bed.gateway.url.clone(), elsewhere, "does not let this agent in"),
        (format!("{}/nowhere/mcp/demo", bed.gateway.url), bed.token.clone(), "has no such server"),
    ];
    for (url, token, why) in rows {
        let mut front = Front::start(&url, &token, &[]);
        front.ask(7, "initialize", json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}})).await;
        let refusal = front.answer_to(7).await;
        assert!(refusal["error"]["message"].as_str().unwrap().contains(why), "{refusal}");
        front.says(why).await;
        assert!(!front.said().contains(&token), "the token is told");
        assert_eq!(front.ended().await, (Some(2), Vec::new()), "{why}");
    }
}

#[tokio::test]
async fn an_agent_that_is_revoked_meanwhile_is_told_at_its_next_request() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    front.dm(1, "still there?").await;
    bed.desk.held("still there?").await;
    bed.world.told(&["agent", "revoke", "desktop"]).await;
    assert!(text_of(&front.answer_to(1).await["result"]).contains("taken back"));
    front.ask(2, "tools/list", json!({})).await;
    let refusal = front.answer_to(2).await;
    assert!(refusal["error"]["message"].as_str().unwrap().contains("bearer token"), "{refusal}");
    front.close();
    assert_eq!(front.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_line_that_is_no_message_is_answered_and_the_next_one_is_heard() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    for (line, code, id) in [
        ("hello\n", -32700, json!(null)),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\n", -32700, json!(null)),
        ("\u{feff}{}\n", -32700, json!(null)),
        ("7\n", -32600, json!(null)),
        ("{\"jsonrpc\":\"2.0\",\"id\":2,\"id\":3,\"method\":\"ping\"}\n", -32600, json!(2)),
        ("{\"jsonrpc\":\"1.0\",\"id\":4,\"method\":\"ping\"}\n", -32600, json!(4)),
        ("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"no/such\"}\n", -32601, json!(5)),
        ("[{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"ping\"}]\n", -32600, json!(6)),
    ] {
        front.write(line.as_bytes()).await;
        let answer = front.answer().await;
        assert_eq!((answer["error"]["code"].as_i64(), &answer["id"]), (Some(code), &id), "{line}: {answer}");
    }
    front.write(b"\xff\xfe\n\n  \r\n").await;
    assert_eq!(front.answer().await["error"]["code"], -32700);
    front.write(b"{\"jsonrpc\":\"2.0\",\"id\":\"\\u0061\",\"method\":\"ping\"}\r\n").await;
    assert_eq!(front.line().await, r#"{"jsonrpc":"2.0","id":"\u0061","result":{}}"#);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_under_its_id_and_the_next_one_is_heard() {
    let bed = Bed::new().await;
    let mut front = bed.front().await;
    // The TypeScript SDK writes the id last.
    let long = format!("{{\"method\":\"ping\",\"params\":{{\"x\":\"{}\"}},\"jsonrpc\":\"2.0\",\"id\":1}}\n", "x".repeat(paraph::mcp::front::LINE));
    front.write(long.as_bytes()).await;
    assert_eq!(front.answer_to(1).await["error"]["code"], -32600);
    let longer = [vec![b'x'; 9 * paraph::mcp::front::LINE], b"\n".to_vec()].concat();
    front.write(&longer).await;
    assert_eq!(front.answer().await["error"]["code"], -32600);
    front.ask(2, "ping", json!({})).await;
    front.answer_to(2).await;
}

#[tokio::test]
async fn a_batch_of_the_first_revision_is_answered_message_by_message() {
    let bed = Bed::new().await;
    let (mut front, _) = Front::connect(&bed.gateway.url, &bed.token, "2025-03-26", &[]).await;
    let dm = json!({"name": "send_dm", "arguments": {"to": "@bob", "text": "one of two"}});
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": dm}]);
    front.say(&batch).await;
    front.answer_to(1).await;
    bed.desk.approve(&bed.desk.held("one of two").await).await;
    assert_eq!(text_of(&front.answer_to(2).await["result"]), "Sent to @bob.");
}

#[tokio::test]
async fn a_client_of_the_newest_revision_is_told_to_begin_with_initialize() {
    let bed = Bed::new().await;
    let mut front = Front::start(&bed.gateway.mcp("demo"), &bed.token, &[]);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    front.ask(0, "server/discover", json!({"_meta": meta})).await;
    let refusal = front.answer_to(0).await;
    assert_eq!(refusal["error"]["code"], -32600, "{refusal}");
    front.hello(REVISION).await;
    front.ask(1, "ping", json!({})).await;
    front.answer_to(1).await;
}
