//! The kill switch: who may turn it, what it answers, and that every page says how it stands.

use super::api::body;
use super::*;

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
