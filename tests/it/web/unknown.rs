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
    let last = desk.close_way().await;
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

#[tokio::test]
async fn an_unconfirmed_call_asks_what_happened_and_then_shows_who_said_what() {
    let desk = Desk::open().await;
    let (sent, not_sent) = (desk.lose("did it leave?").await, desk.lose("and this one?").await);
    let (ann, aud) = (desk.sign_in("ann@example.org").await, desk.sign_in("aud@example.org").await);
    let (_, inbox) = ann.get("/").await;
    assert!(inbox.contains("Unknown whether sent <span class=\"count warns\">2</span>") && inbox.contains("Nobody knows whether some calls were sent."));
    let (_, list) = ann.get("/?show=unconfirmed").await;
    assert!(list.contains(sent.as_str()) && list.contains(not_sent.as_str()));
    let (_, page) = aud.get(&format!("/calls/{sent}")).await;
    assert!(page.contains("Nobody knows whether this was sent") && !page.contains("class=\"resolve\"") && page.contains("There is no form here"));

    let (_, page) = ann.get(&format!("/calls/{sent}")).await;
    assert!(
        page.contains("the connection was cut before the server answered")
            && page.contains("It was sent</button>")
            && page.contains("It was not sent</button>")
    );
    let (csrf, version) = (hidden(&page, "csrf"), hidden(&page, "version"));
    let path = format!("/calls/{sent}/resolution");
    for (fields, status) in [
        (vec![("csrf", "wrong"), ("version", version.as_str()), ("sent", "yes")], StatusCode::FORBIDDEN),
        (vec![("csrf", csrf.as_str()), ("version", version.as_str()), ("sent", "perhaps"), ("note", "kept")], StatusCode::UNPROCESSABLE_ENTITY),
        (vec![("csrf", csrf.as_str()), ("version", "1"), ("sent", "yes"), ("note", "kept")], StatusCode::PRECONDITION_FAILED),
        (vec![("csrf", csrf.as_str()), ("version", version.as_str()), ("sent", "yes"), ("note", "Bob <b>has</b> it.")], StatusCode::SEE_OTHER),
        (vec![("csrf", csrf.as_str()), ("version", version.as_str()), ("sent", "no")], StatusCode::CONFLICT),
    ] {
        let (got, page) = ann.post(&path, &fields).await;
        assert_eq!(got, status, "{fields:?}");
        assert!(!fields.contains(&("note", "kept")) || page.contains(">kept</textarea>"), "{fields:?}");
        assert!(status != StatusCode::CONFLICT || page.contains("Already told by ann@example.org"), "{page}");
    }
    let (_, page) = ann.get(&format!("/calls/{sent}")).await;
    assert!(page.contains("<b>ann@example.org</b> looked and says: it was sent.") && page.contains("Bob &#60;b&#62;has&#60;/b&#62; it."));
    let (_, other) = ann.get(&format!("/calls/{not_sent}")).await;
    let fields = [("csrf", csrf.as_str()), ("version", &hidden(&other, "version")), ("sent", "no"), ("note", "")];
    assert_eq!(ann.post(&format!("/calls/{not_sent}/resolution"), &fields).await.0, StatusCode::SEE_OTHER);
    assert!(ann.get(&format!("/calls/{not_sent}")).await.1.contains("looked and says: it was <b>not</b> sent."));
    let (_, inbox) = ann.get("/").await;
    assert!(!inbox.contains("Nobody knows whether some calls were sent.") && !inbox.contains("count warns"));
    assert!(ann.get("/?show=done").await.1.contains("told by ann@example.org"));
}

#[tokio::test]
async fn a_closed_way_stands_in_the_inbox_and_at_its_calls_until_somebody_opens_it() {
    let desk = Desk::open().await;
    let last = desk.close_way().await;
    let (ann, aud) = (desk.sign_in("ann@example.org").await, desk.sign_in("aud@example.org").await);
    assert!(aud.get("/").await.1.contains("Closed after three refusals") && !aud.get("/").await.1.contains("Let messages through again"));
    let (_, page) = ann.get(&format!("/calls/{last}")).await;
    assert!(page.contains("After three refusals within an hour nothing more from <b>support-bot</b> to <b dir=\"auto\">@bob</b> goes through."));
    let csrf = hidden(&ann.get("/").await.1, "csrf");
    assert_eq!(aud.post(&format!("/calls/{last}/lift"), &[("csrf", &hidden(&aud.get("/").await.1, "csrf"))]).await.0, StatusCode::FORBIDDEN);
    for _ in 0..2 {
        assert_eq!(ann.post(&format!("/calls/{last}/lift"), &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    }
    assert!(!ann.get(&format!("/calls/{last}")).await.1.contains("The way is closed") && !ann.get("/").await.1.contains("Closed after three refusals"));
    desk.hold("it goes through again").await;
}

#[tokio::test]
async fn asking_for_changes_needs_a_comment_and_ties_the_two_versions_together() {
    let desk = Desk::open().await;
    let first = desk.hold("Dear Bob, could you send the slides for Friday until noon?").await;
    let ann = desk.sign_in("ann@example.org").await;
    let shown = ann.open(&first).await;
    let (status, page) = ann.decide(&first, &shown, "request_changes", " \u{200b} ").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("Say what should be changed"));
    assert_eq!(ann.decide(&first, &shown, "request_changes", "Say <i>please</i>.\u{202e}").await.0, StatusCode::SEE_OTHER);
    let (_, page) = ann.get(&format!("/calls/{first}")).await;
    assert!(page.contains("sent back for changes over the page") && page.contains("Say &#60;i&#62;please&#60;/i&#62;.") && !page.contains('\u{202e}'));
    assert!(ann.get("/?show=changes_requested").await.1.contains(first.as_str()));
    let second = desk.hold("Dear Bob, could you please send the slides for Friday until noon?").await;
    let (_, page) = ann.get(&format!("/calls/{second}")).await;
    assert!(page.contains(&format!("The next version of <a href=\"/calls/{first}\">")) && page.contains("<b>ann@example.org</b> asked for changes"));
    assert!(page.contains("Say &#60;i&#62;please&#60;/i&#62;.") && page.contains("could you send the slides"));
    let (_, page) = ann.get(&format!("/calls/{first}")).await;
    assert!(page.contains("Its next version") && page.contains(&format!("<a href=\"/calls/{second}\">")));
}

#[tokio::test]
async fn other_open_calls_to_the_same_recipient_and_an_earlier_sending_stand_beside() {
    let desk = Desk::open().await;
    let mut seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "Lunch?"})).await;
    desk.approve(&seat.call().clone()).await;
    seat.settled().await.unwrap();
    seat.delivered().await.unwrap();
    let again = desk.hold("Lunch?").await;
    let other = desk.hold("Or dinner <b>?").await;
    let ann = desk.sign_in("ann@example.org").await;
    let (_, page) = ann.get(&format!("/calls/{again}")).await;
    assert!(page.contains("The same text last went to them") && page.contains("Also open, by support-bot to the same recipient"));
    assert!(page.contains(&format!("<a href=\"/calls/{other}\">")) && page.contains("Or dinner &#60;b&#62;?"));
}

#[tokio::test]
async fn an_erased_call_says_so_and_has_no_text_on_its_page() {
    let desk = Desk::forgetful().await;
    let id = desk.hold("the secret of the day").await;
    desk.decide(&id, Verdict::Reject, Some("a secret reason")).await;
    let reader = desk.reviewer("ann@example.org").await;
    // The gate's own round may be the one that erases it.
    crate::world::until("the text is erased", || async {
        desk.gate.forget_old().await.unwrap();
        reader.visible(&id).await.unwrap().erased_at.map(|_| ())
    })
    .await;
    let ann = desk.sign_in("ann@example.org").await;
    let (status, page) = ann.get(&format!("/calls/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("The text was erased") && page.contains("Its digests and the audit remain.") && !page.contains("secret") && !page.contains("Raw call")
    );
}

#[tokio::test]
async fn a_way_is_opened_also_after_the_refused_texts_were_erased() {
    let desk = Desk::forgetful().await;
    let last = desk.close_way().await;
    let ann = desk.reviewer("ann@example.org").await;
    crate::world::until("the last text is erased", || async {
        desk.gate.forget_old().await.unwrap();
        ann.visible(&last).await.unwrap().erased_at.map(|_| ())
    })
    .await;
    let browser = desk.sign_in("ann@example.org").await;
    assert!(browser.get("/").await.1.contains("a recipient whose name was erased"));
    assert!(browser.get(&format!("/calls/{last}")).await.1.contains("The way is closed."));
    assert!(ann.lift(&last).await.unwrap(), "nobody could open the way any more");
    desk.hold("it goes through again").await;
}
