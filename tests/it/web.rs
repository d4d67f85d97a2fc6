//! The reviewers' edge over HTTP: who gets in, what a page shows, what a decision answers, what the API says.

pub mod counting;
mod desk;
mod edits;

use desk::{Desk, hidden};
use paraph::domain::people::Role;
use paraph::gate::HoldSettings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_link_is_not_used_up_by_looking_and_works_once() {
    let desk = Desk::open().await;
    let link = desk.gate.make_link("ann@example.org").await.unwrap();
    let path = format!("/sign-in/{link}");
    for _ in 0..3 {
        let answer = desk.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().get("set-cookie").is_none());
    }
    let first = desk.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::SEE_OTHER);
    let cookie = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("paraph_session=") && cookie.contains("HttpOnly; SameSite=Lax") && cookie.contains("Path=/;") && !cookie.contains("Secure"));
    for method in [Method::POST, Method::GET] {
        assert_eq!(desk.request(method, &path).send().await.unwrap().status(), StatusCode::GONE);
    }
}

#[tokio::test]
async fn where_tls_is_the_cookie_is_secure_and_bound_to_the_host() {
    let desk = Desk::with(HoldSettings::default(), "https://paraph.example.org", 5).await;
    let link = desk.gate.make_link("ann@example.org").await.unwrap();
    let answer = desk.request(Method::POST, &format!("/sign-in/{link}")).header("host", "paraph.example.org").send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-paraph_session=") && cookie.ends_with("; Secure"), "{cookie}");
}

#[tokio::test]
async fn nobody_sees_a_page_without_a_session_and_a_disabled_person_is_out_at_once() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    for path in [
        "/".to_owned(),
        format!("/calls/{id}"),
        format!("/calls/{id}/row"),
        format!("/calls/{id}/panel"),
        "/audit".into(),
        "/servers".into(),
        "/limits".into(),
        "/live".into(),
        "/pause".into(),
        "/notices".into(),
        "/config".into(),
        "/people".into(),
        "/agents".into(),
        "/agents/support-bot".into(),
    ] {
        assert_eq!(desk.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let ann = desk.sign_in("ann@example.org").await;
    assert_eq!(ann.get("/").await.0, StatusCode::OK);
    desk.gate.disable_person("ann@example.org").await.unwrap();
    assert_eq!(ann.get("/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_page_of_a_held_call_says_what_a_shadow_rule_would_also_have_made_of_it() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let (tried, other) = (desk.hold("tried-out").await, desk.hold("ordinary").await);
    let (_, page) = ann.get(&format!("/calls/{tried}")).await;
    assert!(page.contains("<dt>Shadow rule</dt><dd>trial<br><span class=\"quiet\">would also have been denied by it</span>"), "{page}");
    let (_, page) = ann.get(&format!("/calls/{other}")).await;
    assert!(!page.contains("Shadow rule"));
}

#[tokio::test]
async fn a_person_reads_and_approves_and_the_call_goes_out() {
    let desk = Desk::open().await;
    let mut seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "Lunch at 12?"})).await;
    let id = seat.call().clone();
    let ann = desk.sign_in("ann@example.org").await;
    let (_, inbox) = ann.get("/").await;
    assert!(inbox.contains("@bob") && inbox.contains("Lunch at 12?") && inbox.contains("dms-need-a-person") && inbox.contains("is waiting"));
    let shown = ann.open(&id).await;
    let (status, _) = ann.decide(&id, &shown, "approve", "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    seat.settled().await.unwrap();
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("It was sent, and the server answered.") && page.contains("ann@example.org") && page.contains("sent &#60;b&#62;now&#60;/b&#62;"));
    assert!(!page.contains("class=\"decide\""));
}

#[tokio::test]
async fn a_refusal_needs_a_reason_and_keeps_nothing_half_done() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let ann = desk.sign_in("ann@example.org").await;
    let shown = ann.open(&id).await;
    let (status, page) = ann.decide(&id, &shown, "reject", "  ").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("needs a reason") && page.contains("class=\"decide\""));
    assert_eq!(ann.decide(&id, &shown, "reject", "wrong tone <b>").await.0, StatusCode::SEE_OTHER);
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("wrong tone &#60;b&#62;") && page.contains("Rejected"));
    let (_, done) = ann.get("/?show=rejected").await;
    assert!(done.contains(id.as_str()) && done.contains("rejected by ann@example.org"));
}

#[tokio::test]
async fn the_second_click_learns_who_was_first() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let (ann, ben) = (desk.sign_in("ann@example.org").await, desk.sign_in("ben@example.org").await);
    let (at_ann, at_ben) = (ann.open(&id).await, ben.open(&id).await);
    assert_eq!(ann.decide(&id, &at_ann, "reject", "no").await.0, StatusCode::SEE_OTHER);
    let (status, page) = ben.decide(&id, &at_ben, "approve", "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(page.contains("Already rejected by ann@example.org"));
}

#[tokio::test]
async fn a_form_needs_its_token_its_origin_and_a_known_host() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let ann = desk.sign_in("ann@example.org").await;
    let [_, digest, version] = ann.open(&id).await;
    let ben = desk.sign_in("ben@example.org").await;
    let [stolen, ..] = ben.open(&id).await;
    for csrf in ["", "x", stolen.1.as_str()] {
        let shown = [("csrf", csrf.to_owned()), digest.clone(), version.clone()];
        assert_eq!(ann.decide(&id, &shown, "reject", "no").await.0, StatusCode::FORBIDDEN);
    }
    let path = format!("/calls/{id}/decision");
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("host", "evil.example")]
    {
        let shown = ann.open(&id).await;
        let body = shown.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&") + "&verdict=reject&reason=no";
        let answer = ann.request(Method::POST, &path).header(name, value).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(desk.request(Method::GET, "/sign-in").header("host", "evil.example").send().await.unwrap().status(), StatusCode::FORBIDDEN);
    // What a browser sends with our own forms under `Referrer-Policy: no-referrer`.
    let shown = ann.open(&id).await;
    let body = shown.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&") + "&verdict=reject&reason=no";
    let answer = ann.request(Method::POST, &path).header("origin", "null").header("sec-fetch-site", "same-origin").body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_one_may_not_see_is_not_there_and_an_auditor_reads_without_deciding() {
    let desk = Desk::open().await;
    let id = desk.ask("send_message", &json!({"to": "@ceo", "message": "board only"})).await.call().clone();
    let ann = desk.sign_in("ann@example.org").await;
    for path in [format!("/calls/{id}"), format!("/calls/{id}/row"), format!("/calls/{id}/panel"), "/calls/c_none".into()] {
        assert_eq!(ann.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!ann.get("/").await.1.contains("board only"));
    assert!(!ann.get("/audit").await.1.contains(id.as_str()));
    let aud = desk.sign_in("aud@example.org").await;
    let (status, page) = aud.get(&format!("/calls/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("board only") && !page.contains("class=\"decide\""));
    let digest = page.split_once("data-digest=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let shown = [("csrf", hidden(&page, "csrf")), ("digest", digest), ("version", "1".to_owned())];
    assert_eq!(aud.decide(&id, &shown, "reject", "no").await.0, StatusCode::FORBIDDEN);
    assert!(aud.get("/audit").await.1.contains(id.as_str()));
}

#[tokio::test]
async fn hostile_text_is_escaped_whole_and_made_visible() {
    let desk = Desk::open().await;
    let long = format!("<script>alert(1)</script>\"'&\u{202e}evil\u{200b} p\u{430}ypal {} the-very-end", "x".repeat(100_000));
    let id = desk.ask("send_dm", &json!({"to": "<img src=x onerror=alert(1)>", "text": long, "extra\"><b>": {"deep": "<u>"}})).await.call().clone();
    let ann = desk.sign_in("ann@example.org").await;
    for path in ["/".to_owned(), format!("/calls/{id}"), "/audit".into(), "/servers".into()] {
        let (status, page) = ann.get(&path).await;
        assert_eq!(status, StatusCode::OK);
        for raw in ["<script>alert", "<img src=x", "<u>", "\"><b>", "<i>messages", "\u{202e}", "\u{200b}"] {
            assert!(!page.contains(raw), "{raw:?} on {path}");
        }
        assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains("javascript:") && !page.contains(" onclick"));
    }
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains(&"x".repeat(100_000)) && page.contains("the-very-end") && page.contains("&#60;script&#62;alert(1)"));
    assert!(page.contains("U+202E") && page.contains("U+200B") && page.contains("Cyrillic letter that looks like Latin a"));
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_bind_a_browser() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    for path in
        ["/", "/audit", "/servers", "/sign-in", "/nowhere", "/calls/c_none", "/static/app.css", "/api/v1/calls", "/api/openapi.json", "/calls/c_none/decision"]
    {
        let answer = ann.request(Method::GET, path).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).unwrap_or_else(|| panic!("{name} on {path}")).to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!((header("x-content-type-options").as_str(), header("referrer-policy").as_str()), ("nosniff", "no-referrer"));
        assert_eq!(header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(header("cache-control").contains("no-store"), !path.starts_with("/static/"), "{path}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let csrf = hidden(&ann.get("/").await.1, "csrf");
    assert_eq!(ann.post("/sign-out", &[("csrf", "wrong")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ann.get("/").await.0, StatusCode::OK);
    assert_eq!(ann.post("/sign-out", &[("csrf", &csrf)]).await.0, StatusCode::OK);
    assert_eq!(ann.get("/").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_approval_can_be_taken_back_while_it_waits() {
    let desk = Desk::with(HoldSettings { undo: Duration::from_secs(3600), ..HoldSettings::default() }, "", 5).await;
    let id = desk.hold("hi").await;
    let ann = desk.sign_in("ann@example.org").await;
    let shown = ann.open(&id).await;
    assert_eq!(ann.decide(&id, &shown, "approve", "").await.0, StatusCode::SEE_OTHER);
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("Take the approval back"));
    let (status, _) = ann.post(&format!("/calls/{id}/undo"), &[("csrf", &hidden(&page, "csrf"))]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    // What was shown before the undo is not what is current now.
    let (status, page) = ann.decide(&id, &shown, "reject", "no").await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert!(page.contains("changed after it was shown"));
}

#[tokio::test]
async fn a_call_that_needs_two_people_waits_for_the_second() {
    let desk = Desk::open().await;
    let id = desk.ask("pay", &json!({"amount": 5})).await.call().clone();
    let (ann, ben) = (desk.sign_in("ann@example.org").await, desk.sign_in("ben@example.org").await);
    let shown = ann.open(&id).await;
    assert_eq!(ann.decide(&id, &shown, "approve", "").await.0, StatusCode::SEE_OTHER);
    let (_, page) = ann.get(&format!("/calls/{id}")).await;
    assert!(page.contains("1 of 2") && page.contains("Approved by you"));
    let shown = ben.open(&id).await;
    assert_eq!(ben.decide(&id, &shown, "approve", "").await.0, StatusCode::SEE_OTHER);
    assert!(!ben.get(&format!("/calls/{id}")).await.1.contains("class=\"decide\""));
}

mod agents;
mod api;
mod config;
mod crowd;
mod limits;
mod live;
mod mailing;
mod people;
mod sign_in;
mod switch;
mod troubles;
mod unknown;
mod walk;
