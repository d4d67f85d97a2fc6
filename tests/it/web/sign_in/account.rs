//! The account page: every action needs its form's token, tokens are shown once and end, mails are chosen.

use super::*;
use paraph::domain::people::{MailChoice, Role};

#[tokio::test]
async fn no_action_of_the_account_goes_without_the_token_of_its_session() {
    let (desk, _) = desk().await;
    let (mut ann, mut ben) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    ann.with_link(ANN).await;
    ben.with_link(BEN).await;
    let bens = hidden(&ben.get("/account").await.body, "csrf");
    for path in [
        "/account/mail",
        "/account/password",
        "/account/password/remove",
        "/account/sessions/end",
        "/account/sign-out",
        "/account/tokens",
        "/account/tokens/revoke",
    ] {
        let fields = [("mail", "off"), ("new", GOOD), ("again", GOOD), ("name", "x"), ("days", "5")];
        assert_eq!(Jar::new(&desk, "").post(path, &fields).await.status, StatusCode::UNAUTHORIZED, "{path}");
        for csrf in ["", "x", &bens] {
            let mut all = vec![("csrf", csrf)];
            all.extend(fields);
            assert_eq!(ann.post(path, &all).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(ann.send(Method::GET, path, None, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(ann.act(path, &[("x", &"x".repeat(600 * 1024))]).await.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    let page = ann.get("/account").await.body;
    assert!(page.contains("You have none") && page.contains("value=\"each\" checked") && !page.contains("/account/tokens/revoke"), "{page}");
}

#[tokio::test]
async fn a_token_is_shown_once_named_used_and_revoked_by_its_owner_alone() {
    let (desk, clock) = desk().await;
    let (mut ann, mut ben) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    ann.with_link(ANN).await;
    ben.with_link(BEN).await;
    for (name, days) in [("", "5"), ("x", "0"), ("x", "367"), ("x", "-1"), ("x", "many"), ("x", ""), (&"n".repeat(65), "5"), ("a\u{7}b", "5")] {
        assert_eq!(ann.act("/account/tokens", &[("name", name), ("days", days)]).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {days}");
    }
    let made = ann.act("/account/tokens", &[("name", "<b>night</b> \u{202e}job"), ("days", "366")]).await;
    assert_eq!(made.status, StatusCode::OK);
    let token = made.body.split_once("<pre tabindex=\"0\">").unwrap().1.split_once("</pre>").unwrap().0.to_owned();
    assert!(token.starts_with("pt_") && made.header("cache-control") == Some("no-store"));
    let page = ann.get("/account").await.body;
    assert!(
        !page.contains(&token) && !page.contains("<b>night") && !page.contains('\u{202e}') && page.contains("&#60;b&#62;night") && page.contains("never used"),
        "{page}"
    );
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::OK);
    assert!(ann.get("/account").await.body.contains("last used"));
    assert!(!ben.get("/account").await.body.contains("night"));

    let id = hidden(page.split_once("/account/tokens/revoke").unwrap().1, "id");
    assert_eq!(ben.act("/account/tokens/revoke", &[("id", &id)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ann.act("/account/sessions/end", &[("id", &id)]).await.status, StatusCode::UNPROCESSABLE_ENTITY, "a token is no session");
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::OK);
    assert_eq!(ann.act("/account/tokens/revoke", &[("id", &id)]).await.header("location"), Some("/account?done=token"));
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ann.act("/account/tokens/revoke", &[("id", &id)]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = [entries(&desk, "token.made").await, entries(&desk, "token.revoked").await];
    assert!(told.iter().all(|entries| entries.len() == 1 && entries[0].0 == "person:ann@example.org"), "{told:?}");
    assert!(!format!("{:?}", desk.store.entries(1, 1000).await.unwrap()).contains(&token));

    // One ends by itself, to the second.
    let made = ann.act("/account/tokens", &[("name", "short"), ("days", "1")]).await;
    let token = made.body.split_once("<pre tabindex=\"0\">").unwrap().1.split_once("</pre>").unwrap().0.to_owned();
    clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::OK);
    clock.advance(Duration::from_secs(1));
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_old_session_makes_no_token_without_the_password() {
    let (desk, clock) = desk().await;
    let mut ann = Jar::new(&desk, "");
    ann.with_link(ANN).await;
    clock.advance(10 * MINUTE + Duration::from_secs(1));
    let new = [("name", "x"), ("days", "5")];
    let late = ann.act("/account/tokens", &new).await;
    assert!(late.status == StatusCode::UNPROCESSABLE_ENTITY && late.body.contains("sign in again"), "{}", late.body);
    let page = ann.get("/account").await.body;
    assert!(!page.contains("name=\"days\"") && page.contains("within ten minutes of that it can be made"), "{page}");

    let mut ann = with_password(&desk, ANN, GOOD).await;
    clock.advance(10 * MINUTE + Duration::from_secs(1));
    assert!(ann.get("/account").await.body.contains("id=\"token-old\""));
    for (old, why) in [("", "give the password you have"), ("guess", "password is not right")] {
        let answer = ann.act("/account/tokens", &[new[0], new[1], ("old", old)]).await;
        assert!(answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.body.contains(why), "{old}: {}", answer.body);
    }
    assert!(entries(&desk, "token.made").await.is_empty());
    assert_eq!(ann.act("/account/tokens", &[new[0], new[1], ("old", GOOD)]).await.status, StatusCode::OK);
    let page = ann.get("/account").await.body;
    assert_eq!(page.matches("API tokens go on").count(), 2, "beside the password and beside signing out: {page}");
}

#[tokio::test]
async fn an_old_session_of_an_operator_makes_no_lasting_way_in() {
    let (desk, clock) = desk_with(SignInSettings::default(), false).await;
    desk.gate.add_person("zoe@example.org", None, Vec::new(), Role::Operator).await.unwrap();
    let (mut olga, mut old) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    old.with_link("zoe@example.org").await;
    clock.advance(10 * MINUTE + Duration::from_secs(1));
    olga.with_link("zoe@example.org").await;
    let people = desk.gate.people().await.unwrap();
    let ann = people.iter().find(|person| person.email == ANN).unwrap().clone();
    let path = format!("/people/{}", ann.id());
    let revision = ann.revision.to_string();
    let promote = [("revision", revision.as_str()), ("name", "Ann"), ("role", "operator"), ("groups", "desk")];
    let add = [("email", "new@example.org"), ("role", "operator")];
    let link = format!("{path}/link");
    let keys = format!("{path}/passkeys");
    for (path, fields) in [("/people", add.as_slice()), (&path, &promote), (&link, &[]), (&keys, &[])] {
        let answer = old.act(path, fields).await;
        assert!(answer.status == StatusCode::FORBIDDEN && answer.body.contains("more than ten minutes"), "{path}: {}", answer.body);
    }
    assert_eq!(desk.gate.people().await.unwrap(), people);
    let page = old.get(&path).await.body;
    assert!(!page.contains("Show a sign-in link") && page.contains("To make them an operator"), "{page}");
    let edit = [("revision", revision.as_str()), ("name", "Ann B"), ("role", "reviewer"), ("groups", "desk")];
    assert_eq!(old.act(&path, &edit).await.status, StatusCode::SEE_OTHER, "what gives nobody more goes on");
    for (path, fields, status) in [("/people", add.as_slice(), 303), (&link, &[], 200), (&keys, &[], 200)] {
        assert_eq!(olga.act(path, fields).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_reviewer_reads_in_the_audit_about_themselves_and_not_about_others() {
    let (desk, _) = desk().await;
    let (mut ann, mut ben) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    ann.with_link(ANN).await;
    ben.with_link(BEN).await;
    let tokens = [desk.token(ANN).await, desk.token("aud@example.org").await];
    let mut read = Vec::new();
    for token in &tokens {
        read.push(desk.api(token, Method::GET, "/api/v1/audit", None).await.text().await.unwrap());
    }
    let (anns, auditors) = (&read[0], &read[1]);
    assert!(anns.contains("person:ann@example.org") && anns.contains("\"signed_in\""), "{anns}");
    for kind in ["agent.added", "ben@example.org", "aud@example.org", "olga@example.org"] {
        assert!(!anns.contains(kind), "{kind}: {anns}");
    }
    assert!(auditors.contains("agent.added") && auditors.contains(BEN) && auditors.contains(ANN), "{auditors}");
    assert!(!ann.get("/audit").await.body.contains(BEN));
}

#[tokio::test]
async fn a_person_has_fifty_tokens_at_most() {
    let (desk, _) = desk().await;
    let mut ann = Jar::new(&desk, "");
    ann.with_link(ANN).await;
    for number in 0..50 {
        assert_eq!(ann.act("/account/tokens", &[("name", &format!("n{number}")), ("days", "5")]).await.status, StatusCode::OK);
    }
    let answer = ann.act("/account/tokens", &[("name", "one more"), ("days", "5")]).await;
    assert!(answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.body.contains("50 tokens"));
}

#[tokio::test]
async fn one_chooses_which_mails_come() {
    let (desk, _) = desk().await;
    let mut ann = Jar::new(&desk, "");
    ann.with_link(ANN).await;
    for (word, choice) in [("digest", MailChoice::Digest), ("off", MailChoice::Off), ("off", MailChoice::Off), ("each", MailChoice::Each)] {
        assert_eq!(ann.act("/account/mail", &[("mail", word)]).await.header("location"), Some("/account?done=mail"));
        let Some(Row::Person(person)) = desk.store.row(Kind::Person, ANN).await.unwrap() else { panic!("no Ann") };
        assert_eq!(person.mail, choice);
        assert!(ann.get("/account?done=mail").await.body.contains("Your choice is kept."));
    }
    assert_eq!(entries(&desk, "person.mail_chosen").await.len(), 3, "the same once more is nothing new");
    assert_eq!(ann.act("/account/mail", &[("mail", "<all>")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = ann.get("/account?done=%3Cscript%3E").await;
    assert!(page.status == StatusCode::OK && !page.body.contains("%3Cscript") && !page.body.contains("&#60;script") && page.body.contains("Ann Abel"));
}

#[tokio::test]
async fn a_token_is_made_only_soon_after_signing_in() {
    let (desk, clock) = desk().await;
    let mut ann = Jar::new(&desk, "");
    ann.with_link(ANN).await;
    assert!(ann.get("/account").await.body.contains("action=\"/account/tokens\""));
    clock.advance(Duration::from_secs(601));
    let page = ann.get("/account").await.body;
    assert!(!page.contains("action=\"/account/tokens\"") && page.contains("To make one, sign out and sign in again"), "{page}");
    let refused = ann.act("/account/tokens", &[("name", "x"), ("days", "5")]).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.body.contains("No token was made."), "{}", refused.body);
    assert!(entries(&desk, "token.made").await.is_empty());
}
