//! Editing before approving, over the form and over the API, and what a page says about arguments that nobody checked.

use super::desk::{Browser, Desk};
use paraph::domain::call::CallId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the edit form of the page would send if nobody touched it.
async fn shown(browser: &Browser<'_>, id: &CallId) -> Vec<(&'static str, String)> {
    let (_, page) = browser.get(&format!("/calls/{id}")).await;
    let (_, form) = page.split_once("<form class=\"edit\"").expect("the page has an edit form");
    let (form, _) = form.split_once("</form>").unwrap();
    let hidden = |name: &str| form.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1.split_once('"').unwrap().0.to_owned();
    let area = |name: &str| {
        let (_, rest) = form.split_once(&format!("name=\"{name}\""))?;
        let (_, text) = rest.split_once(">\n")?;
        Some(plain(text.split_once("</textarea>")?.0))
    };
    let mut fields: Vec<(&'static str, String)> = ["csrf", "digest", "version", "edit"].map(|name| (name, hidden(name))).into();
    fields.extend(area("text").map(|text| ("text", text)));
    fields.extend(area("arguments").map(|text| ("arguments", text)));
    fields.push(("verdict", "approve".to_owned()));
    fields
}

fn plain(text: &str) -> String {
    [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

/// Sends the form with these fields in place of what was shown; line ends go as browsers send them.
async fn submit(browser: &Browser<'_>, id: &CallId, mut fields: Vec<(&'static str, String)>, typed: &[(&'static str, &str)]) -> (StatusCode, String) {
    for (name, value) in typed {
        fields.iter_mut().find(|(field, _)| field == name).unwrap().1 = (*value).to_owned();
    }
    let sent: Vec<(&str, String)> = fields.into_iter().map(|(name, value)| (name, value.replace('\n', "\r\n"))).collect();
    let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post(&format!("/calls/{id}/decision"), &sent).await
}

#[tokio::test]
async fn a_text_is_edited_in_its_own_field_and_everything_else_stays() {
    let desk = Desk::open().await;
    desk.list_dm();
    let seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "You owe me\n\n40 euros, pay <now>!", "n": 12_345_678_901_234_567_890_u64})).await;
    let id = seat.call().clone();
    let ann = desk.sign_in("ann@example.org").await;
    let fields = shown(&ann, &id).await;
    let (status, _) = submit(&ann, &id, fields, &[("text", "You owe me\n\n40 euros, please <b>.")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let call = desk.reviewer("olga@example.org").await.visible(&id).await.unwrap();
    assert_eq!(call.arguments, r#"{"to":"@bob","text":"You owe me\n\n40 euros, please <b>.","n":12345678901234567890}"#);
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    for part in ["A person edited this", "40 euros, <del>pay", "<ins>please", "&#60;b&#62;", call.asked_digest.as_str(), call.digest.as_str()] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("please <b>") && !page.contains("class=\"edit\""));
}

#[tokio::test]
async fn an_untouched_form_approves_the_call_as_it_is() {
    let desk = Desk::open().await;
    desk.list_dm();
    let ann = desk.sign_in("ann@example.org").await;
    for text in ["plain", "\n leading and\r\nmixed\rends\n", "quotes \" and 'ticks' & <tags>", "\u{202e}turned\u{0}"] {
        let id = desk.hold(text).await;
        let fields = shown(&ann, &id).await;
        let (status, page) = submit(&ann, &id, fields, &[]).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{text:?} {page}");
        let call = desk.reviewer("olga@example.org").await.visible(&id).await.unwrap();
        assert!(!call.is_edited(), "{text:?}");
    }
}

#[tokio::test]
async fn what_would_not_be_seen_in_a_field_is_written_out_in_the_json() {
    let desk = Desk::open().await;
    desk.list_dm();
    let id = desk.hold("p\u{430}ypal\u{200b} \u{202e}txt\u{e0041}").await;
    let ann = desk.sign_in("ann@example.org").await;
    let fields = shown(&ann, &id).await;
    assert!(fields.iter().all(|(name, _)| *name != "text"), "there is no field for such a text");
    let arguments = fields.iter().find(|(name, _)| *name == "arguments").unwrap().1.clone();
    assert!(arguments.contains(r"p\u0430ypal\u200b \u202etxt\udb40\udc41"), "{arguments}");
    let mended = arguments.replace(r"\u202e", "");
    assert_eq!(submit(&ann, &id, fields, &[("arguments", &mended)]).await.0, StatusCode::SEE_OTHER);
    let call = desk.reviewer("olga@example.org").await.visible(&id).await.unwrap();
    assert_eq!(call.message.unwrap().text, "p\u{430}ypal\u{200b} txt\u{e0041}");
}

#[tokio::test]
async fn arguments_are_edited_as_json_and_a_refused_edit_keeps_what_was_typed() {
    let desk = Desk::open().await;
    desk.list_dm();
    let id = desk.hold("hi").await;
    let ann = desk.sign_in("ann@example.org").await;
    for (typed, says) in [
        (vec![("arguments", r#"{"to": "@carol"}"#)], "must have a member &#34;text&#34;"),
        (vec![("arguments", r#"{"to": "@carol","#)], "not JSON that Paraph accepts"),
        (vec![("arguments", r#"{"to": "@carol", "text": "x"}"#), ("text", "mine")], "in its own field and in the JSON as well"),
    ] {
        let fields = shown(&ann, &id).await;
        let (status, page) = submit(&ann, &id, fields, &typed).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{page}");
        assert!(page.contains(says) && plain(&page).contains(typed[0].1) && page.contains("<details class=\"raw edit\" open>"), "{page}");
    }
    let fields = shown(&ann, &id).await;
    assert_eq!(submit(&ann, &id, fields, &[("arguments", r#"{"to": "@carol", "text": "hi"}"#)]).await.0, StatusCode::SEE_OTHER);
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("To @<del>bob</del><ins>carol</ins>"), "{page}");
}

#[tokio::test]
async fn an_edit_that_comes_too_late_keeps_the_typed_text_and_counts_for_nothing() {
    let desk = Desk::open().await;
    desk.list_dm();
    let id = desk.hold("hi").await;
    let (ann, ben) = (desk.sign_in("ann@example.org").await, desk.sign_in("ben@example.org").await);
    let (at_ann, at_ben) = (shown(&ann, &id).await, ben.open(&id).await);
    assert_eq!(ben.decide(&id, &at_ben, "reject", "no").await.0, StatusCode::SEE_OTHER);
    let (status, page) = submit(&ann, &id, at_ann, &[("text", "hello")]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(page.contains("Already rejected by ben@example.org"));
}

#[tokio::test]
async fn the_api_edits_with_the_shown_digest_and_tells_both() {
    let desk = Desk::open().await;
    desk.list_dm();
    let id = desk.hold("hi").await;
    let (token, audit) = (desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    let read = async || -> Value { desk.api(&token, Method::GET, &format!("/api/v1/calls/{id}"), None).await.json().await.unwrap() };
    let call = read().await;
    assert_eq!((&call["asked"], &call["unchecked"]), (&Value::Null, &Value::Null));
    let decide = async |body: Value| desk.api(&token, Method::POST, &format!("/api/v1/calls/{id}/decision"), Some(body)).await;
    let decision = json!({"verdict": "approve", "digest": call["digest"], "version": call["version"], "arguments": {"to": "@bob", "text": "Hello"}});
    let with = |name: &str, value: Value| {
        let mut changed = decision.clone();
        changed[name] = value;
        changed
    };
    for (body, status) in [
        (with("verdict", json!("reject")), 422),
        (with("arguments", json!({"to": "@bob"})), 422),
        (with("arguments", json!(["@bob"])), 422),
        (with("arguments", json!("@bob")), 422),
        (with("digest", json!("sha256:00")), 412),
        (with("version", json!(9)), 412),
    ] {
        let answer = decide(body.clone()).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
    }
    let problem: Value = decide(with("arguments", json!({"to": "@bob", "text": "x", "n": "five"}))).await.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("/n must be of type integer") && !problem.to_string().contains("five"), "{problem}");
    let done = decide(decision.clone()).await;
    assert_eq!(done.status(), StatusCode::OK);
    let done: Value = done.json().await.unwrap();
    assert_eq!(done["asked"], json!({"arguments": {"to": "@bob", "text": "hi"}, "digest": call["digest"]}));
    assert_eq!((&done["arguments"]["text"], &done["message"]["text"], &done["version"]), (&json!("Hello"), &json!("Hello"), &json!(2)));
    assert_eq!(decide(decision).await.status(), StatusCode::CONFLICT);
    let entries = desk.api(&audit, Method::GET, "/api/v1/audit?from=1&limit=100", None).await.text().await.unwrap();
    let edited: Vec<&str> = entries.lines().filter(|line| line.contains("call.edited")).collect();
    assert!(edited.len() == 1 && edited[0].contains(call["digest"].as_str().unwrap()) && edited[0].contains(done["digest"].as_str().unwrap()), "{entries}");
}

#[tokio::test]
async fn the_page_says_when_nobody_checked_the_arguments_and_which_schemas_cannot_be_used() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let id = desk.hold("unchecked").await;
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("Nobody checked these arguments") && page.contains("the server has not listed this tool"));
    let fields = shown(&ann, &id).await;
    let (status, page) = submit(&ann, &id, fields, &[("text", "edited")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("Nobody can say whether the server takes edited arguments"), "{page}");
    desk.list_dm();
    let id = desk.hold("checked").await;
    assert!(!ann.get(&format!("/calls/{id}")).await.1.contains("Nobody checked"));
    let (_, servers) = ann.get("/servers").await;
    assert_eq!(servers.matches("Calls of it are not checked").count(), 1);
    assert!(servers.contains("its inputSchema is no object"));
}

#[tokio::test]
async fn who_may_not_decide_sees_no_edit_form() {
    let desk = Desk::open().await;
    desk.list_dm();
    let id = desk.hold("hi").await;
    let aud = desk.sign_in("aud@example.org").await;
    let (_, page) = aud.get(&format!("/calls/{id}")).await;
    assert!(page.contains("@bob") && !page.contains("class=\"edit\""));
}
