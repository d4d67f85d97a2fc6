//! The pages and the API of people: who sees them, what a form changes, and what it answers when it may not.

use super::api::body;
use super::*;
use paraph::gate::people::PersonEdit;

fn id_of(page: &str, name: &str) -> String {
    let (before, _) = page.split_once(&format!(">{name}</a>")).unwrap_or_else(|| panic!("{name} is not in {page}"));
    before.rsplit_once("/people/").unwrap().1.trim_end_matches('"').to_owned()
}

async fn open(browser: &desk::Browser<'_>, name: &str) -> (String, String, [(&'static str, String); 2]) {
    let path = format!("/people/{}", id_of(&browser.get("/people").await.1, name));
    let (status, page) = browser.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    // An auditor's page has no form but the one to sign out.
    let fields = ["csrf", "revision"].map(|name| (name, if page.contains(&format!("name=\"{name}\"")) { hidden(&page, name) } else { String::new() }));
    (path, page, fields)
}

#[tokio::test]
async fn operators_and_auditors_see_people_and_reviewers_do_not() {
    let desk = Desk::open().await;
    let (olga, ann, aud) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await, desk.sign_in("aud@example.org").await);
    for path in ["/people", "/agents", "/agents/support-bot", "/people/0123456789abcdef"] {
        assert_eq!(ann.get(path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(!ann.get("/").await.1.contains("href=\"/people\""), "a reviewer is offered a page that is not theirs");
    let (_, page) = aud.get("/people").await;
    assert!(page.contains("ann@example.org") && page.contains(">desk<") && !page.contains("<form class=\"fields\""), "{page}");
    let (path, page, _) = open(&aud, "Ann Abel").await;
    assert!(page.contains("reviewer") && !page.contains("Disable") && !path.contains('@'));
    let csrf = hidden(&aud.get("/").await.1, "csrf");
    for action in ["", "/disable", "/enable", "/link", "/sign-out", "/tokens"] {
        let form = [("csrf", csrf.as_str()), ("revision", "1"), ("role", "operator")];
        assert_eq!(aud.post(&format!("{path}{action}"), &form).await.0, StatusCode::FORBIDDEN, "{action}");
        assert_eq!(ann.post(&format!("{path}{action}"), &[("csrf", &hidden(&ann.get("/").await.1, "csrf"))]).await.0, StatusCode::FORBIDDEN, "{action}");
        assert_eq!(olga.post(&format!("{path}{action}"), &[("csrf", "wrong")]).await.0, StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(aud.post("/people", &[("csrf", &csrf), ("email", "x@example.org"), ("role", "operator")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(desk.gate.people().await.unwrap().len(), 4);
    for path in ["/people/0123456789abcdef", "/people/%20", "/agents/none"] {
        assert_eq!(olga.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_operator_adds_changes_and_shuts_out_and_the_audit_says_who_did_it() {
    let desk = Desk::with(HoldSettings { undo: Duration::from_secs(3600), ..HoldSettings::default() }, "", 5).await;
    let olga = desk.sign_in("olga@example.org").await;
    let csrf = hidden(&olga.get("/people").await.1, "csrf");
    let new = [("csrf", csrf.as_str()), ("email", "Cy@Example.org"), ("name", "Cy Cole"), ("role", "reviewer"), ("groups", "desk, north wing,")];
    assert_eq!(olga.post("/people", &new).await.0, StatusCode::SEE_OTHER);
    let (path, page, [_, revision]) = open(&olga, "Cy Cole").await;
    assert!(page.contains("value=\"desk, north wing\"") && page.contains("cy@example.org"), "{page}");
    let cy = desk.sign_in("cy@example.org").await;
    let id = desk.hold("hi").await;
    let shown = cy.open(&id).await;
    assert_eq!(cy.decide(&id, &shown, "approve", "").await.0, StatusCode::SEE_OTHER);
    assert!(open(&olga, "Cy Cole").await.1.contains("<b>1</b> of their approvals has not left and goes back to held"));
    // The role counts at once, in the session that is open.
    let edit = [("csrf", csrf.as_str()), ("revision", revision.1.as_str()), ("name", "Cy Cole"), ("role", "auditor"), ("groups", "")];
    assert_eq!(olga.post(&path, &edit).await.0, StatusCode::SEE_OTHER);
    assert!(cy.get("/people").await.0 == StatusCode::OK && !cy.get(&format!("/calls/{id}")).await.1.contains("class=\"decide\""));
    desk.settled(&id, "held").await;
    // What was shown before is not what stands there now.
    let (status, page) = olga.post(&path, &edit).await;
    assert!(status == StatusCode::CONFLICT && page.contains("Somebody else has changed this"), "{page}");
    let (status, _) = olga.post(&format!("{path}/disable"), &[("csrf", &csrf), ("revision", &revision.1)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, _, [_, revision]) = open(&olga, "Cy Cole").await;
    let (status, page) = olga.post(&format!("{path}/disable"), &[("csrf", &csrf), ("revision", &revision.1)]).await;
    assert!(status == StatusCode::OK && page.contains(">disabled</span>") && page.contains("Let in again"), "{page}");
    assert_eq!(cy.get("/").await.0, StatusCode::UNAUTHORIZED);
    let (status, page) = olga.post(&format!("{path}/enable"), &[("csrf", &csrf)]).await;
    assert!(status == StatusCode::OK && page.contains("They may sign in again"));
    assert_eq!(cy.get("/").await.0, StatusCode::UNAUTHORIZED, "an old session does not come back to life");
    let entries = desk.reviewer("olga@example.org").await.entries(1, 1000).await.unwrap();
    for kind in ["person.added", "person.changed", "person.disabled", "person.enabled"] {
        let mine = entries.iter().filter(|entry| entry.kind == kind && entry.actor == "person:olga@example.org").count();
        assert_eq!(mine, 1, "{kind}");
    }
    assert!(entries.iter().any(|entry| entry.kind == "call.undone" && entry.actor == "person:olga@example.org"));
    assert!(!entries.iter().any(|entry| entry.data.to_string().contains("Cy Cole")), "a name stands in the chain");
}

#[tokio::test]
async fn a_form_that_cannot_be_is_refused_keeps_what_was_written_and_changes_nothing() {
    let desk = Desk::open().await;
    let olga = desk.sign_in("olga@example.org").await;
    let csrf = hidden(&olga.get("/people").await.1, "csrf");
    let long = "x".repeat(10_000);
    for (email, name, role, groups, status) in [
        ("ann@example.org", "", "reviewer", "", 409),
        ("ANN@EXAMPLE.ORG", "", "reviewer", "", 409),
        ("ann", "", "reviewer", "", 422),
        ("\u{430}nn@example.org", "", "reviewer", "", 422),
        ("x@example.org", "a\u{202e}b", "reviewer", "", 422),
        ("x@example.org", "a\u{7}b", "reviewer", "", 422),
        ("x@example.org", long.as_str(), "reviewer", "", 422),
        ("x@example.org", "", "king", "", 422),
        ("x@example.org", "", "reviewer", "desk, \u{200b}", 422),
        (long.as_str(), "", "reviewer", "", 422),
    ] {
        let form = [("csrf", csrf.as_str()), ("email", email), ("name", name), ("role", role), ("groups", groups)];
        let (answered, page) = olga.post("/people", &form).await;
        assert_eq!(answered.as_u16(), status, "{email:.20} {name:.20} {role} {groups}");
        assert!(page.contains("Nothing was changed") && !page.contains("<b>x</b>"));
        if name.is_ascii() && !name.is_empty() && status == 422 && name.len() < 50 && !name.contains('\u{7}') {
            assert!(page.contains(&format!("value=\"{name}\"")));
        }
    }
    assert_eq!(desk.gate.people().await.unwrap().len(), 4);
    let (path, _, [_, revision]) = open(&olga, "Olga Olsen").await;
    let last = [("csrf", csrf.as_str()), ("revision", revision.1.as_str()), ("name", "Olga"), ("role", "reviewer"), ("groups", "")];
    for action in ["", "/disable"] {
        let (status, page) = olga.post(&format!("{path}{action}"), &last).await;
        assert!(status == StatusCode::CONFLICT && page.contains("This is the last operator"), "{page}");
    }
    assert_eq!(olga.post(&path, &[("csrf", &csrf), ("role", "operator")]).await.0, StatusCode::UNPROCESSABLE_ENTITY, "without a revision");
    let huge = "y".repeat(600 * 1024);
    assert_eq!(olga.post("/people", &[("csrf", &csrf), ("name", &huge)]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn links_sessions_and_tokens_of_a_person_are_made_and_ended_on_their_page() {
    let desk = Desk::open().await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    let token = desk.token("ann@example.org").await;
    desk.gate.by_api_token(&token).await.unwrap().unwrap();
    let (path, page, [csrf, _]) = open(&olga, "Ann Abel").await;
    assert!(page.contains("<b>1</b> open session.") && page.contains("Show a sign-in link") && page.matches("aria-label=\"Revoke token").count() == 1);
    let (_, page) = olga.post(&format!("{path}/link"), &[("csrf", &csrf.1)]).await;
    let link = page.split_once("class=\"secret\">").unwrap().1.split_once('<').unwrap().0.to_owned();
    assert!(link.starts_with(&format!("{}/sign-in/pl_", desk.url)), "{link}");
    let secret = link.rsplit_once('/').unwrap().1;
    assert!(desk.gate.link_is_good(secret).await.unwrap() && !olga.get(&path).await.1.contains("pl_"), "it is shown once");
    let (_, page) = olga.post(&format!("{path}/sign-out"), &[("csrf", &csrf.1)]).await;
    assert!(page.contains("Every session and sign-in link of theirs has ended.") && page.contains("No open session."));
    assert!(ann.get("/").await.0 == StatusCode::UNAUTHORIZED && !desk.gate.link_is_good(secret).await.unwrap());
    let id = page.split_once("name=\"token\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let (status, page) = olga.post(&format!("{path}/tokens"), &[("csrf", &csrf.1), ("token", &id)]).await;
    assert!(status == StatusCode::OK && page.contains("The token counts no more."));
    assert!(desk.gate.by_api_token(&token).await.unwrap().is_none());
    assert_eq!(olga.post(&format!("{path}/tokens"), &[("csrf", &csrf.1), ("token", &id)]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn operators_are_told_of_rules_that_ask_for_people_who_are_not_there() {
    let desk = Desk::open().await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    assert!(olga.get("/").await.1.contains("A rule asks") && !ann.get("/").await.1.contains("for people who are not there"));
    let (_, page) = olga.get("/people").await;
    assert!(page.contains("<b>secret-desk</b> of demo needs 1 approval: nobody it asks for is active."), "{page}");
    assert!(!page.contains("A rule asks"), "the page itself repeats its notice");
    let edit = PersonEdit { groups: Some(vec!["board".into()]), ..PersonEdit::default() };
    desk.gate.registrar().set_person("ben@example.org", edit).await.unwrap();
    assert!(!olga.get("/").await.1.contains("for people who are not there"));
    assert!(!olga.get("/people").await.1.contains("nobody it asks for is active"));
}

#[tokio::test]
async fn scripts_of_operators_and_auditors_read_people_without_secrets() {
    let desk = Desk::open().await;
    let (olga, ann, aud) = (desk.token("olga@example.org").await, desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    for token in [&olga, &aud] {
        let people = body(desk.api(token, Method::GET, "/api/v1/people", None).await).await;
        let one = people["people"].as_array().unwrap().iter().find(|person| person["email"] == "ann@example.org").unwrap().clone();
        assert_eq!((&one["role"], &one["groups"], &one["state"], &one["tokens"]), (&json!("reviewer"), &json!(["desk"]), &json!("active"), &json!(1)));
        assert!(!people.to_string().contains("sha256") && !people.to_string().contains("pt_"));
    }
    let refused = desk.api(&ann, Method::GET, "/api/v1/people", None).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["content-type"].as_bytes()), (403, &b"application/problem+json"[..]));
}
