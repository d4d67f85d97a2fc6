//! What people are shown of secrets in arguments (semantics.md 18): a mark in place of the value, the way back from an
//! edit, and whether the agent used the same one before. `leaks` looks for planted secrets in everything that comes out.

mod leaks;
mod seen;
mod written;

use crate::life::{Desk, HOUR, approve, settings};
use crate::world::World;
use paraph::domain::audit::Fact;
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::digest::Digest;
use paraph::domain::mask::Names;
use paraph::domain::people::Role;
use paraph::gate::letters::{About, Skip};
use paraph::gate::masking::Before;
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Reviewer, Settings};
use paraph::store::Change;
use paraph::store::in_memory::InMemory;
use paraph::store::rules::SCAN_MOST;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "planted-5f1e77ab";

async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.upstream.lists("send_dm", r#"{"type":"object","properties":{"api_key":{"type":"string","maxLength":40}}}"#);
    desk
}

async fn ann(desk: &Desk) -> Reviewer {
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await
}

fn dm(text: &str, key: &str) -> String {
    json!({"to": "@bob", "text": text, "api_key": key}).to_string()
}

fn edit(digest: &paraph::domain::call::Call, arguments: &Value) -> Decide {
    Decide { arguments: Some(arguments.to_string()), ..approve(digest) }
}

#[tokio::test]
async fn a_mark_left_in_its_place_sends_the_value_and_the_digest_is_over_it() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let shown = ann.read(seat.call()).await.unwrap();
    let call = shown.to_json();
    assert!(!call.to_string().contains(KEY));
    let mark = call["arguments"]["api_key"].clone();
    let digits = mark["$masked"].as_str().and_then(|text| text.strip_prefix("sha256:")).expect("a mark");
    assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{mark}");
    assert_eq!(shown.call.digest, desk.call(seat.call()).await.digest);
    // Everything as it is shown is no edit.
    let friendlier = json!({"to": "@bob", "text": "Hello, dear Bob", "api_key": mark});
    let after = ann.decide(seat.call(), edit(&shown.call, &friendlier)).await.unwrap();
    assert!(after.call.is_edited() && !after.to_json().to_string().contains(KEY));
    desk.until(seat.call(), "answered").await;
    assert_eq!(desk.upstream.count(&json!({"to": "@bob", "text": "Hello, dear Bob", "api_key": KEY}).to_string()), 1);
}

#[tokio::test]
async fn what_is_shown_and_sent_back_unchanged_is_no_edit() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let shown = ann.read(seat.call()).await.unwrap();
    let same: Value = shown.to_json()["arguments"].clone();
    let after = ann.decide(seat.call(), edit(&shown.call, &same)).await.unwrap();
    assert!(!after.call.is_edited());
    desk.until(seat.call(), "answered").await;
    assert_eq!(desk.upstream.count(&dm("Hello Bob", KEY)), 1);
}

#[tokio::test]
async fn a_mark_anywhere_else_is_refused_with_its_place_and_another_value_may_take_its_place() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let shown = ann.read(seat.call()).await.unwrap();
    let mark = shown.to_json()["arguments"]["api_key"].clone();
    let before = desk.call(seat.call()).await;
    for (edited, place) in [
        (json!({"to": "@bob", "text": mark}), "/text holds a mark"),
        (json!({"to": "@bob", "text": "x", "api_key": {"$masked": "sha256:00000000"}}), "/api_key holds a mark"),
        (json!({"to": "@bob", "text": "x", "other": [{"api_key": mark}]}), "/other/0/api_key holds a mark"),
        (json!({"$masked": "sha256:00000000"}), "the arguments as a whole holds a mark"),
    ] {
        match ann.decide(seat.call(), edit(&shown.call, &edited)).await {
            Err(ReviewError::Unfit(why)) => assert!(why.contains(place), "{why}"),
            other => panic!("{edited} {other:?}"),
        }
    }
    assert_eq!(desk.call(seat.call()).await, before);
    let replaced = json!({"to": "@bob", "text": "Hello Bob", "api_key": "another-5f1e"});
    let after = ann.decide(seat.call(), edit(&shown.call, &replaced)).await.unwrap();
    assert!(!after.to_json().to_string().contains("another-5f1e"), "what a person put there is a secret, too");
    desk.until(seat.call(), "answered").await;
    assert_eq!(desk.upstream.count(&replaced.to_string()), 1);
}

#[tokio::test]
async fn a_value_that_the_schema_refuses_is_not_repeated() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let shown = ann.read(seat.call()).await.unwrap();
    let long = format!("{KEY}{}", "x".repeat(40));
    match ann.decide(seat.call(), edit(&shown.call, &json!({"to": "@bob", "text": "x", "api_key": long}))).await {
        Err(ReviewError::Unfit(why)) => assert!(why.contains("/api_key must have at most 40 characters") && !why.contains(KEY), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_masked_value_says_whether_the_agent_used_it_before() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let ask = async |text: &str, key: &str| -> (CallId, Vec<Before>) {
        let seat = desk.seat("send_dm", &dm(text, key)).await;
        let id = seat.call().clone();
        desk.clock.advance(Duration::from_secs(1));
        let before = ann.used_before(&ann.look(&id).await.unwrap()).await.unwrap();
        (id, before)
    };
    let (first, before) = ask("one", KEY).await;
    assert_eq!(before, [Before::None]);
    let (second, before) = ask("two", KEY).await;
    assert_eq!(before, [Before::Same(Some(first.clone()))]);
    let (third, before) = ask("three", "planted-another").await;
    assert_eq!(before, [Before::Other(Some(second))]);
    let (_, before) = ask("four", KEY).await;
    assert_eq!(before, [Before::Other(Some(third))]);
    // A call knows only what came before it.
    assert_eq!(ann.used_before(&ann.look(&first).await.unwrap()).await.unwrap(), [Before::None]);
}

#[tokio::test]
async fn a_masked_value_is_found_among_the_agent_s_calls_behind_thousands_of_others() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let first = desk.seat("send_dm", &dm("one", KEY)).await.call().clone();
    let like = desk.call(&first).await;
    for number in 0..SCAN_MOST + 500 {
        let id = CallId(format!("c_{number:032x}"));
        let digest = Digest::of_bytes(id.as_str().as_bytes());
        let held_at = like.held_at + Duration::from_millis(1 + number as u64);
        let other = Call { id: id.clone(), agent: "loud".into(), revision: 1, asked_digest: digest.clone(), digest, held_at, ..like.clone() };
        let fact = Fact { kind: "call.held", call: Some(id), actor: "agent:loud".into(), data: json!({}).into() };
        desk.store.commit(Change::of_call(held_at, other, fact)).await.unwrap();
    }
    desk.clock.advance(HOUR);
    let second = desk.seat("send_dm", &dm("two", KEY)).await.call().clone();
    assert_eq!(ann.used_before(&ann.look(&second).await.unwrap()).await.unwrap(), [Before::Same(Some(first))]);
}

#[tokio::test]
async fn letters_and_lists_carry_no_secret() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let outbox = desk.gate.outbox(10, &Skip::default()).await.unwrap();
    let About::Call(call) = &outbox.due[0].about else { panic!("no letter about a call") };
    assert_eq!(&call.id, seat.call());
    assert!(!format!("{call:?}").contains(KEY) && call.message.as_ref().is_some_and(|message| message.text == "Hello Bob"));
    for call in ann.calls(paraph::gate::Query { limit: 10, ..Default::default() }).await.unwrap().calls {
        assert!(!format!("{call:?}").contains(KEY));
    }
    assert!(!format!("{:?}", ann.visible(seat.call()).await.unwrap()).contains(KEY));
    let stale = Decide { version: 9, ..approve(&desk.call(seat.call()).await) };
    let Err(ReviewError::Stale(listed)) = ann.decide(seat.call(), stale).await else { panic!("not stale") };
    assert!(!format!("{listed:?}").contains(KEY));
    let rejected = Decide { verdict: Verdict::Reject, reason: Some("no".into()), ..approve(&desk.call(seat.call()).await) };
    ann.read(seat.call()).await.unwrap();
    assert!(!format!("{:?}", ann.decide(seat.call(), rejected.clone()).await.unwrap()).contains(KEY));
    let Err(ReviewError::Settled(listed)) = ann.decide(seat.call(), rejected).await else { panic!("not settled") };
    assert!(!format!("{listed:?}").contains(KEY));
}

#[tokio::test]
async fn the_operators_names_are_masked_and_left_alone() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let names = Names::new(&list(&["internal_*"]), &list(&["api_key"]));
    let desk = Desk::over(Arc::new(InMemory::default()), Settings { mask: names, ..settings() }).await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &json!({"to": "@bob", "text": "hi", "api_key": KEY, "internalRef": "planted-ref"}).to_string()).await;
    let shown = ann.look(seat.call()).await.unwrap().to_json();
    assert_eq!(shown["arguments"]["api_key"], KEY);
    assert!(shown["arguments"]["internalRef"]["$masked"].is_string());
    desk.gate.reload(settings()).await.unwrap();
    let shown = ann.look(seat.call()).await.unwrap().to_json();
    assert!(shown["arguments"]["api_key"]["$masked"].is_string());
    assert_eq!(shown["arguments"]["internalRef"], "planted-ref");
}

#[tokio::test]
async fn nothing_is_left_of_a_masked_value_once_the_text_is_erased() {
    let desk = Desk::over(Arc::new(InMemory::default()), Settings { keep_text: HOUR, ..settings() }).await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", &dm("Hello Bob", KEY)).await;
    let id = seat.call().clone();
    let shown = ann.read(&id).await.unwrap();
    let mark = shown.to_json()["arguments"]["api_key"]["$masked"].as_str().unwrap().to_owned();
    ann.decide(&id, Decide { verdict: Verdict::Reject, reason: Some("no".into()), ..approve(&shown.call) }).await.unwrap();
    desk.later(2 * HOUR).await;
    desk.gate.forget_old().await.unwrap();
    let kept = format!("{:?}", desk.call(&id).await);
    assert!(desk.call(&id).await.erased_at.is_some() && !kept.contains(KEY) && !kept.contains(&mark));
    let listed = ann.look(&id).await.unwrap();
    assert!(listed.masks.is_empty() && listed.to_json()["arguments"].is_null());
    // And nothing is compared with it.
    let again = desk.seat("send_dm", &dm("Hello again", KEY)).await;
    assert_eq!(ann.used_before(&ann.look(again.call()).await.unwrap()).await.unwrap(), [Before::None]);
}

#[tokio::test]
async fn marks_are_the_same_after_a_restart_and_their_key_is_for_the_owner_alone() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let agent = crate::world::Agent::connect(&gateway.mcp("demo"), &token).await;
    let _waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "hi", "api_key": KEY}));
    let before = gateway.desk(&ann).held("hi").await;
    let mark = before["arguments"]["api_key"].clone();
    assert!(mark["$masked"].is_string() && before["masked"][0]["at"] == "/api_key", "{before}");
    let key = world.path("data/mask.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(gateway.stop().await);
    let gateway = world.serve().await;
    let after = gateway.desk(&ann).call(before["id"].as_str().unwrap()).await;
    assert_eq!(after["arguments"]["api_key"], mark);
    assert!(gateway.stop().await);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = world.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("mask.key"));
}
