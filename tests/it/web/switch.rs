//! The kill switch: who may turn it, what it answers, and that every page says how it stands.

use super::api::body;
use super::*;
use paraph::gate::Space;

#[tokio::test]
async fn everybody_reads_the_switch_and_an_operator_turns_it() {
    let desk = Desk::with(HoldSettings { undo: Duration::from_secs(3600), ..HoldSettings::default() }, "", 5).await;
    let id = desk.hold("hi").await;
    desk.approve(&id).await;
    let (olga, ann) = (desk.token("olga@example.org").await, desk.token("ann@example.org").await);
    let nothing = json!({"paused": false, "at": null, "by": null, "reason": null});
    assert_eq!(body(desk.api(&ann, Method::GET, "/api/v1/pause", None).await).await, nothing);
    for (token, path, sent, status) in [
        (&ann, "/api/v1/pause", json!({"reason": "x"}), 403),
        (&ann, "/api/v1/resume", Value::Null, 403),
        (&olga, "/api/v1/resume", Value::Null, 409),
        (&olga, "/api/v1/pause", json!({}), 422),
        (&olga, "/api/v1/pause", json!({"reason": "  "}), 422),
        (&olga, "/api/v1/pause", json!({"reason": "x".repeat(501)}), 422),
        (&olga, "/api/v1/pause", json!({"reason": "x", "until": "noon"}), 422),
    ] {
        let answer = desk.api(token, Method::POST, path, Some(sent.clone())).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].as_bytes()), (status, &b"application/problem+json"[..]), "{path} {sent}");
    }
    let paused = body(desk.api(&olga, Method::POST, "/api/v1/pause", Some(json!({"reason": "The bot is wild."}))).await).await;
    assert_eq!(paused, json!({"paused": true, "taken_back": 1}));
    let now = body(desk.api(&ann, Method::GET, "/api/v1/pause", None).await).await;
    assert_eq!((&now["paused"], &now["by"], &now["reason"]), (&json!(true), &json!("person:olga@example.org"), &json!("The bot is wild.")));
    assert_eq!(desk.api(&olga, Method::POST, "/api/v1/pause", Some(json!({"reason": "again"}))).await.status(), StatusCode::CONFLICT);
    assert_eq!(body(desk.api(&olga, Method::POST, "/api/v1/resume", None).await).await, json!({"paused": false}));
    assert_eq!(body(desk.api(&ann, Method::GET, "/api/v1/pause", None).await).await, nothing);
}

#[tokio::test]
async fn an_operator_pauses_with_a_reason_and_every_page_says_so() {
    let desk = Desk::with(HoldSettings { undo: Duration::from_secs(3600), ..HoldSettings::default() }, "", 5).await;
    let id = desk.hold("hi").await;
    desk.approve(&id).await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    assert_eq!(ann.get("/pause").await.0, StatusCode::FORBIDDEN);
    let csrf = hidden(&ann.get("/").await.1, "csrf");
    assert_eq!(ann.post("/pause", &[("csrf", &csrf), ("reason", "x")]).await.0, StatusCode::FORBIDDEN);
    assert!(!ann.get("/").await.1.contains("href=\"/pause\""), "a reviewer is offered a switch that is not theirs");
    let (_, page) = olga.get("/pause").await;
    assert!(page.contains("is taken back and held again: at the moment <b>1</b>"), "{page}");
    let csrf = hidden(&page, "csrf");
    assert_eq!(olga.post("/pause", &[("csrf", "wrong"), ("reason", "x")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(olga.post("/pause", &[("csrf", &csrf), ("reason", " ")]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(olga.post("/pause", &[("csrf", &csrf), ("reason", "Wild <bot>.\u{202e}")]).await.0, StatusCode::SEE_OTHER);
    let (_, page) = olga.get("/pause?taken=1").await;
    assert!(page.contains("One approval was taken back") && page.contains("Wild &#60;bot&#62;."));
    let (status, page) = olga.post("/pause", &[("csrf", &csrf), ("reason", "again")]).await;
    assert!(status == StatusCode::CONFLICT && page.contains("The gateway is paused already."));
    for path in ["/".to_owned(), "/?show=soon".into(), format!("/calls/{id}"), "/audit".into(), "/servers".into(), "/calls/c_none".into(), "/notices".into()] {
        let (_, page) = ann.get(&path).await;
        assert!(page.contains("Nothing is sent and new calls are refused") && page.contains("by <b>olga@example.org</b>"), "{path}");
        assert!(page.contains("Wild &#60;bot&#62;.") && !page.contains('\u{202e}'), "{path}");
    }
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("once an operator resumes: Paraph is paused"), "{page}");
    assert_eq!(olga.post("/resume", &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(olga.post("/resume", &[("csrf", &csrf)]).await.0, StatusCode::CONFLICT);
    assert!(!ann.get("/").await.1.contains("Nothing is sent and new calls are refused"));
}

#[tokio::test]
async fn the_panel_says_before_the_click_what_approving_does_now() {
    let undo = Duration::from_secs(600);
    let desk = Desk::with(HoldSettings { undo, ..HoldSettings::default() }, "", 5).await;
    let ann = desk.sign_in("ann@example.org").await;
    let waiting = desk.ask("send_dm", &json!({"to": "@bob", "text": "one"})).await;
    let (_, page) = ann.get(&format!("/calls/{}", waiting.call())).await;
    assert!(
        page.contains("The agent is waiting for the answer.")
            && page.contains("Approving sends it after the undo window of 10 min, at <time")
            && page.contains("data-after=\"600\"")
    );
    assert!(page.contains("The agent gets the answer.") && page.contains("refused for 1 d without asking anybody"), "{page}");
    let gone = desk.hold("two").await;
    let (_, page) = ann.get(&format!("/calls/{gone}")).await;
    assert!(
        page.contains("The agent has gone")
            && page.contains("sends it all the same after the undo window")
            && page.contains("next identical call gets the outcome")
    );
    let cancelled = desk.ask("send_dm", &json!({"to": "@bob", "text": "three"})).await;
    let id = cancelled.call().clone();
    cancelled.cancel().await.unwrap();
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("does not send it. It becomes a permit for 1 h, until <time") && page.contains("leaves only if the agent asks again"));
    assert!(page.contains("Agent took it back: approving sends nothing yet"));
    let pay = desk.ask("pay", &json!({"amount": 5})).await.call().clone();
    assert!(ann.get(&format!("/calls/{pay}")).await.1.contains("counts as one of 2 approvals. Nothing is done before another person approves, too."));
}

#[tokio::test]
async fn what_leaves_soon_and_what_waits_for_its_agent_stand_in_lists_of_their_own() {
    let desk = Desk::with(HoldSettings { undo: Duration::from_secs(600), ..HoldSettings::default() }, "", 5).await;
    let soon = desk.hold("leaves soon").await;
    desk.approve(&soon).await;
    let cancelled = desk.ask("send_dm", &json!({"to": "@bob", "text": "taken back"})).await;
    let permit = cancelled.call().clone();
    cancelled.cancel().await.unwrap();
    desk.approve(&permit).await;
    let (ann, aud) = (desk.sign_in("ann@example.org").await, desk.sign_in("aud@example.org").await);
    let (_, list) = ann.get("/?show=soon").await;
    assert!(list.contains("Sending soon <span class=\"count\">1</span>") && list.contains("Waiting for agent <span class=\"count\">1</span>"));
    assert!(list.contains("leaves soon") && !list.contains("taken back") && list.contains("data-count"));
    assert!(!aud.get("/?show=soon").await.1.contains("class=\"undo\""), "an auditor is offered an undo");
    let (_, permits) = ann.get("/?show=agent").await;
    assert!(permits.contains("taken back") && !permits.contains("leaves soon") && permits.contains("permit ends"));
    let (_, page) = ann.get(&format!("/calls/{permit}")).await;
    assert!(page.contains("Nothing goes out unless it asks for the same again"));
    let (_, page) = ann.get(&format!("/calls/{soon}")).await;
    assert!(page.contains("It goes out <time") && page.contains("Take the approval back"));
    assert_eq!(ann.post(&format!("/calls/{soon}/undo"), &[("csrf", &hidden(&list, "csrf"))]).await.0, StatusCode::SEE_OTHER);
    assert!(!ann.get("/?show=soon").await.1.contains("leaves soon") && ann.get("/").await.1.contains("leaves soon"));
}

#[tokio::test]
async fn operators_are_told_of_an_unclean_start_and_others_are_not() {
    let desk = Desk::open().await;
    desk.hold("hi").await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    assert!(!olga.get("/").await.1.contains("was not stopped cleanly"));
    // What a start does; the entry before it is not the one that a clean stop leaves.
    desk.gate.recover().await.unwrap();
    assert!(olga.get("/").await.1.contains("was not stopped cleanly") && !ann.get("/").await.1.contains("was not stopped cleanly"));
}

#[tokio::test]
async fn open_pages_are_told_to_look_when_the_switch_is_turned_and_not_for_every_row() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let mut live = ann.request(Method::GET, "/live").send().await.unwrap();
    let mut seen = String::new();
    assert!(super::live::until(&mut live, &mut seen, "event: look").await);
    desk.gate.add_person("cy@example.org", None, Vec::new(), Role::Reviewer).await.unwrap();
    let id = desk.hold("hi").await;
    assert!(super::live::until(&mut live, &mut seen, id.as_str()).await);
    assert_eq!(seen.matches("event: look").count(), 1, "a new person made every page look again");
    desk.reviewer("olga@example.org").await.pause("wild").await.unwrap();
    seen.clear();
    assert!(super::live::until(&mut live, &mut seen, "event: look").await);
}

#[tokio::test]
async fn a_reviewer_sees_that_the_server_was_started_anew_since_the_hold() {
    let desk = Desk::open().await;
    *desk.upstream.instance.lock().unwrap() = Some("one".into());
    let id = desk.hold("Send it from the account I chose.").await;
    let (ann, token) = (desk.sign_in("ann@example.org").await, desk.token("ann@example.org").await);
    let path = format!("/calls/{id}");
    for (instance, restarted) in [("one", false), ("two", true)] {
        *desk.upstream.instance.lock().unwrap() = Some(instance.into());
        assert_eq!(ann.get(&path).await.1.contains("was started anew since this was held"), restarted, "{instance}");
        let call: serde_json::Value = desk.api(&token, reqwest::Method::GET, &format!("/api/v1{path}"), None).await.json().await.unwrap();
        assert_eq!(call["server_restarted"], restarted, "{instance}");
    }
}

#[tokio::test]
async fn operators_are_told_that_the_disk_is_nearly_full_as_long_as_it_is() {
    let desk = Desk::open().await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    for (free, told) in [(100, false), (99, true), (100, false)] {
        desk.store.set_space(Space { free: Some(free), floor: 100 });
        assert_eq!(olga.get("/").await.1.contains("The disk is nearly full"), told, "{free}");
        assert!(!ann.get("/").await.1.contains("The disk is nearly full"), "{free}");
    }
}
