//! Calls of which nobody knows whether they left, refusals that close a way, next versions, erased texts: what
//! the API says of them and what it takes.

use super::api::body;
use super::*;
use paraph::domain::call::Verdict;

#[tokio::test]
async fn a_resolution_answers_in_the_order_of_a_decision_and_counts_once() {
    let desk = Desk::open().await;
    let id = desk.lose("hi").await;
    let held = desk.hold("not yet decided").await;
    let hidden_id = desk.ask("send_message", &json!({"to": "@ceo", "message": "x"})).await.call().clone();
    let (ann, aud) = (desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    let call = body(desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}"), None).await).await;
    assert_eq!((&call["state"], &call["outcome"]), (&json!("unconfirmed"), &Value::Null));
    let good = json!({"sent": true, "version": call["version"], "note": "Bob has it."});
    let path = |id: &paraph::domain::call::CallId| format!("/api/v1/calls/{id}/resolution");
    for (token, path, body, status) in [
        (&ann, path(&hidden_id), json!({"nonsense": 1}), 404),
        (&aud, path(&id), good.clone(), 403),
        (&ann, path(&held), good.clone(), 409),
        (&ann, path(&held), json!({"nonsense": 1}), 409),
        (&ann, path(&id), json!({"sent": true, "version": 1}), 412),
        (&ann, path(&id), json!({"sent": "yes", "version": call["version"]}), 422),
        (&ann, path(&id), json!({"version": call["version"]}), 422),
        (&ann, path(&id), json!({"sent": true, "version": call["version"], "notes": "misspelt"}), 422),
        (&ann, path(&id), json!({"sent": true, "version": call["version"], "note": "x".repeat(4001)}), 422),
        (&ann, path(&id), good.clone(), 200),
    ] {
        assert_eq!(desk.api(token, Method::POST, &path, Some(body.clone())).await.status().as_u16(), status, "{body}");
    }
    let second = desk.api(&ann, Method::POST, &path(&id), Some(json!({"sent": false, "version": 1}))).await;
    assert_eq!(second.status(), StatusCode::CONFLICT);
    let told = body(second).await["outcome"].clone();
    assert_eq!((&told["kind"], &told["result"]), (&json!("told"), &json!({"sent": true, "note": "Bob has it.", "by": "ann@example.org"})));
    let streamed = desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}/outcome"), None).await;
    assert_eq!(streamed.headers()["content-type"], "application/json");
    assert_eq!(body(streamed).await["sent"], true);
}

#[tokio::test]
async fn a_closed_way_is_told_with_the_call_and_opened_once() {
    let desk = Desk::open().await;
    let mut last = desk.hold("0").await;
    for text in ["0", "1", "2"] {
        last = desk.hold(text).await;
        desk.decide(&last, Verdict::Reject, Some("no")).await;
    }
    let (ann, aud) = (desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    let closed = async |token: &str| body(desk.api(token, Method::GET, &format!("/api/v1/calls/{last}"), None).await).await["recipient_closed"].clone();
    assert_eq!(closed(&ann).await, true);
    let path = format!("/api/v1/calls/{last}/lift");
    assert_eq!(desk.api(&aud, Method::POST, &path, None).await.status(), StatusCode::FORBIDDEN);
    for lifted in [true, false] {
        assert_eq!(body(desk.api(&ann, Method::POST, &path, None).await).await, json!({ "lifted": lifted }));
    }
    assert_eq!(closed(&ann).await, false);
    desk.hold("it goes through again").await;
}

#[tokio::test]
async fn an_erased_call_keeps_its_facts_and_shows_no_text() {
    let desk = Desk::forgetful().await;
    let mut seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "the secret of the day"})).await;
    let id = seat.call().clone();
    desk.approve(&id).await;
    seat.settled().await.unwrap();
    crate::world::until("the text is erased", || async { (desk.gate.forget_old().await.unwrap() > 0).then_some(()) }).await;
    let ann = desk.token("ann@example.org").await;
    let call = body(desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}"), None).await).await;
    assert_eq!((&call["arguments"], &call["message"], &call["outcome"]["result"]), (&Value::Null, &Value::Null, &Value::Null));
    assert!(call["erased_at"].is_string() && call["digest"].is_string() && !call.to_string().contains("secret"));
    assert_eq!(desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}/outcome"), None).await.status(), StatusCode::GONE);
}

#[tokio::test]
async fn the_next_version_names_the_call_it_revises() {
    let desk = Desk::open().await;
    let first = desk.hold("Dear Bob, could you send the slides for Friday until noon?").await;
    desk.decide(&first, Verdict::RequestChanges, Some("Say please.")).await;
    let second = desk.hold("Dear Bob, could you please send the slides for Friday until noon?").await;
    let ann = desk.token("ann@example.org").await;
    let call = body(desk.api(&ann, Method::GET, &format!("/api/v1/calls/{second}"), None).await).await;
    assert_eq!(call["revises"], json!(first));
    let ann = desk.reviewer("ann@example.org").await;
    let earlier = ann.visible(&first).await.unwrap();
    assert_eq!(ann.next_version(&earlier).await.unwrap().unwrap().id, second);
    assert!(ann.next_version(&ann.visible(&second).await.unwrap()).await.unwrap().is_none());
}
