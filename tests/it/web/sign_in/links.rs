//! Links by mail and links that are opened: one answer for everybody, used once, and the page that was wanted after it.

use super::*;
use crate::world::until;
use paraph::domain::people::{CredentialKind, Passkey};

#[tokio::test]
async fn asking_for_a_link_is_answered_alike_for_everybody_and_only_those_who_exist_get_one() {
    let (desk, clock) = desk().await;
    desk.gate.disable_person(BEN).await.unwrap();
    let mut answers = Vec::new();
    let asked = [ANN, NOBODY, BEN, "", "no address", " ANN@Example.org ", "x@y\r\nBcc: z@example.org", ANN, ANN, ANN];
    for (number, address) in asked.into_iter().enumerate() {
        let mut jar = Jar::new(&desk, &format!("203.0.113.{number}"));
        answers.push(jar.post("/sign-in/link", &[("address", address)]).await);
    }
    assert_eq!(answers[0].status, StatusCode::OK);
    assert!(answers[0].body.contains("If this address belongs to somebody here, a link is on its way"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    until("three letters", || async { (letters(&desk).await == 3).then_some(()) }).await;
    assert_eq!(entries(&desk, "link.asked").await.len(), 3);
    let written = serde_json::to_string(&entries(&desk, "link.asked").await).unwrap();
    assert!(!written.contains(BEN) && !written.contains("nix"), "{written}");
    // A quarter of an hour later there is room again, and a link of an operator was there all the time.
    assert!(desk.gate.make_link(ANN).await.is_ok());
    clock.advance(15 * MINUTE);
    Jar::new(&desk, "203.0.113.99").post("/sign-in/link", &[("address", ANN)]).await;
    until("a fourth letter", || async { (letters(&desk).await == 4).then_some(()) }).await;
}

#[tokio::test]
async fn one_address_asks_for_few_links_and_is_told_when_to_come_again_whoever_it_asks_for() {
    let (desk, clock) = desk().await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    for number in 0..20 {
        assert_eq!(jar.post("/sign-in/link", &[("address", &format!("p{number}@example.org"))]).await.status, StatusCode::OK);
    }
    let refused = [jar.post("/sign-in/link", &[("address", ANN)]).await, jar.post("/sign-in/link", &[("address", NOBODY)]).await];
    assert_eq!((refused[0].status, refused[0].header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("901")));
    assert!(refused[0].body.contains("Too many tries") && refused[0].body.contains("Try again in 16 minutes"));
    assert_eq!(refused[0], refused[1]);
    assert_eq!(Jar::new(&desk, "203.0.113.8").post("/sign-in/link", &[("address", ANN)]).await.status, StatusCode::OK);
    clock.advance(15 * MINUTE);
    assert_eq!(jar.post("/sign-in/link", &[("address", ANN)]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_mail_the_page_says_how_and_no_letter_is_written() {
    let (desk, _) = desk_with(SignInSettings { passwords: false, ..SignInSettings::default() }, false).await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    let page = jar.get("/sign-in").await.body;
    assert!(page.contains("paraph reviewer link") && !page.contains("<form"), "{page}");
    assert_eq!(jar.post("/sign-in/link", &[("address", ANN)]).await.status, StatusCode::OK);
    // The request is looked at behind the answer; one that is written would be here before this one ends.
    desk.gate.close(Duration::from_secs(5)).await;
    assert_eq!(letters(&desk).await, 0);
}

#[tokio::test]
async fn a_reused_expired_forged_or_foreign_link_opens_nothing_and_each_looks_the_same() {
    let (desk, clock) = desk().await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    let [reused, expired, disabled] =
        [desk.gate.make_link(ANN).await.unwrap(), desk.gate.make_link(ANN).await.unwrap(), desk.gate.make_link(BEN).await.unwrap()];
    assert_eq!(jar.post(&format!("/sign-in/{reused}"), &[]).await.status, StatusCode::SEE_OTHER);
    desk.gate.disable_person(BEN).await.unwrap();
    let token = desk.token("olga@example.org").await;
    let session = jar.session().unwrap().clone();
    clock.advance(14 * MINUTE);
    assert_eq!(jar.get(&format!("/sign-in/{expired}")).await.status, StatusCode::OK, "not yet expired");
    // Set back: a link from the future is none.
    clock.set(-3600);
    assert_eq!(jar.get(&format!("/sign-in/{expired}")).await.status, StatusCode::GONE);
    clock.set(15 * 60);
    let secrets = [reused, expired, disabled, token, session, "pl_forged".into(), "%00".into(), "x".repeat(3000)];
    for method in [Method::GET, Method::POST] {
        let mut answers = Vec::new();
        for secret in &secrets {
            let mut stranger = Jar::new(&desk, "203.0.113.8");
            answers.push(stranger.send(method.clone(), &format!("/sign-in/{secret}"), None, &[]).await);
            assert!(stranger.session().is_none());
        }
        assert_eq!(answers[0].status, StatusCode::GONE);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
}

#[tokio::test]
async fn no_other_site_signs_a_browser_in() {
    let (desk, _) = desk().await;
    drop(with_password(&desk, ANN, GOOD).await);
    let link = desk.gate.make_link(ANN).await.unwrap();
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")] {
        for (path, fields) in [
            (format!("/sign-in/{link}"), vec![]),
            ("/sign-in/password".to_owned(), vec![("address", ANN), ("password", GOOD)]),
            ("/sign-in/link".to_owned(), vec![("address", ANN)]),
        ] {
            let mut jar = Jar::new(&desk, "203.0.113.7");
            let answer = jar.send(Method::POST, &path, Some(form(&fields)), &[(name, value)]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value} {path}");
            assert!(jar.cookies.is_empty());
        }
    }
    assert_eq!(letters(&desk).await, 0);
    assert_eq!(Jar::new(&desk, "").post(&format!("/sign-in/{link}"), &[]).await.status, StatusCode::SEE_OTHER, "the link is as good as before");
}

#[tokio::test]
async fn after_signing_in_one_is_where_one_wanted_to_be_and_never_elsewhere() {
    let (desk, _) = desk().await;
    let id = desk.hold("hi").await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    let page = jar.get(&format!("/calls/{id}?agent=secret-bot")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(!jar.cookies.values().any(|value| value.contains("secret-bot")), "{:?}", jar.cookies);
    // The way through the mail box: other pages of the sign-in come between.
    jar.post("/sign-in/link", &[("address", ANN)]).await;
    let link = desk.gate.make_link(ANN).await.unwrap();
    jar.get(&format!("/sign-in/{link}")).await;
    let landed = jar.post(&format!("/sign-in/{link}"), &[]).await;
    assert_eq!(landed.header("location"), Some(format!("/calls/{id}").as_str()));
    assert!(!jar.cookies.contains_key("paraph_wanted"));
    assert_eq!(jar.get(&format!("/calls/{id}")).await.status, StatusCode::OK);

    for planted in ["//evil.example", "https://evil.example/", "/\\evil.example", "/sign-out", "/calls/../x", "/%2e%2e//evil.example", "javascript:alert(1)"] {
        let mut jar = Jar::new(&desk, "203.0.113.7");
        jar.cookies.insert("paraph_wanted".into(), planted.into());
        assert_eq!(jar.with_link(ANN).await.header("location"), Some("/"), "{planted}");
    }
    // What a script fetches, a piece of a page or a form is no place to land on.
    for (method, path, destination) in [
        (Method::GET, "/audit", "empty"),
        (Method::GET, "/live", "document"),
        (Method::GET, "/calls/c_1/row", "document"),
        (Method::POST, "/pause", "document"),
    ] {
        let mut jar = Jar::new(&desk, "203.0.113.7");
        jar.send(method, path, None, &[("sec-fetch-dest", destination)]).await;
        assert!(jar.cookies.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_form_that_anybody_may_send_is_small() {
    let (desk, _) = desk().await;
    for path in ["/sign-in/link", "/sign-in/password"] {
        let mut jar = Jar::new(&desk, "203.0.113.7");
        let long = "x".repeat(16 * 1024);
        assert_eq!(jar.post(path, &[("address", &long)]).await.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert!([StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&jar.post(path, &[("address", &long[..15_000])]).await.status), "{path}");
    }
}

#[tokio::test]
async fn a_link_only_begins_the_sign_in_of_somebody_who_asked_for_a_second_step() {
    let (desk, _) = desk().await;
    change_person(&desk, ANN, |person| Person { second_factor: true, ..person }).await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    let link = desk.gate.make_link(ANN).await.unwrap();
    let answer = jar.post(&format!("/sign-in/{link}"), &[]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, Some("/sign-in/second")));
    assert!(jar.session().is_none() && jar.cookies.contains_key("paraph_half_way"));
    let half = jar.cookies["paraph_half_way"].clone();
    jar.cookies.insert("paraph_session".into(), half);
    assert_eq!(jar.get("/").await.status, StatusCode::UNAUTHORIZED, "what is half done is no session");
    assert_eq!(jar.post(&format!("/sign-in/{link}"), &[]).await.status, StatusCode::GONE);
    assert!(entries(&desk, "signed_in").await.is_empty());
    assert_eq!(entries(&desk, "signed_in.half_way").await, [("person:ann@example.org".to_owned(), serde_json::json!({ "how": "link" }))]);
}

#[tokio::test]
async fn who_asked_for_a_second_step_stays_out_of_an_address_without_passkeys_and_is_told_what_helps() {
    // The desk's address is in numbers, where no browser offers passkeys.
    let (desk, _) = desk().await;
    change_person(&desk, ANN, |person| Person { second_factor: true, ..person }).await;
    let mut jar = Jar::new(&desk, "203.0.113.7");
    jar.with_link(ANN).await;
    for answer in [jar.get("/sign-in/second").await, jar.post("/sign-in/second", &[("sealed", ""), ("answer", "")]).await] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.body.contains("--no-passkeys") && answer.body.contains("listen.public_url"), "{}", answer.body);
    }
    assert_eq!((jar.get("/").await.status, jar.session()), (StatusCode::UNAUTHORIZED, None));
}

#[tokio::test]
async fn an_operator_takes_lost_passkeys_away_and_a_link_alone_lets_in_again() {
    let (desk, _) = desk_with(SignInSettings::default(), false).await;
    let lose = async || {
        change_person(&desk, ANN, |person| Person { second_factor: true, ..person }).await;
        let passkey = |id: &str, email: &str| {
            Row::Passkey(Passkey {
                id: id.to_owned(),
                revision: 1,
                email: email.to_owned(),
                user: String::new(),
                name: "Laptop".to_owned(),
                state: String::new(),
                made_at: desk.gate.clock().now(),
                used_at: None,
            })
        };
        let rows = vec![passkey("a1", ANN), passkey("a2", ANN)];
        desk.store.commit(Change { rows, ..Change::of_facts(desk.gate.clock().now(), Vec::new()) }).await.unwrap();
        if desk.gate.passkeys_of(BEN).await.unwrap().is_empty() {
            let rows = vec![passkey("b1", BEN)];
            desk.store.commit(Change { rows, ..Change::of_facts(desk.gate.clock().now(), Vec::new()) }).await.unwrap();
        }
        let mut begun = Jar::new(&desk, "");
        begun.with_link(ANN).await;
        assert!(begun.cookies.contains_key("paraph_half_way"));
    };
    let helped = async || {
        assert!(desk.gate.passkeys_of(ANN).await.unwrap().is_empty() && desk.gate.passkeys_of(BEN).await.unwrap().len() == 1);
        let rows = desk.store.rows(Kind::Credential, None, 1000).await.unwrap();
        assert!(!rows.iter().any(|row| matches!(row, Row::Credential(its) if its.kind == CredentialKind::HalfWay)), "{rows:?}");
        let mut ann = Jar::new(&desk, "");
        ann.with_link(ANN).await;
        assert_eq!(ann.get("/").await.status, StatusCode::OK);
    };
    lose().await;
    assert_eq!(desk.gate.registrar().remove_passkeys(ANN).await.unwrap(), 2);
    helped().await;
    assert_eq!(desk.gate.registrar().remove_passkeys(ANN).await.unwrap(), 0, "there is nothing left to do, and nothing to tell");
    lose().await;
    let (mut olga, mut aud) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    olga.with_link("olga@example.org").await;
    aud.with_link("aud@example.org").await;
    let people = desk.gate.people().await.unwrap();
    let path = format!("/people/{}", people.iter().find(|person| person.email == ANN).unwrap().id());
    let page = olga.get(&path).await.body;
    assert!(page.contains("<b>2</b> passkeys.") && page.contains("a link or a password alone lets them in"), "{page}");
    assert_eq!(aud.act(&format!("{path}/passkeys"), &[]).await.status, StatusCode::FORBIDDEN);
    let answer = olga.act(&format!("{path}/passkeys"), &[]).await;
    assert!(answer.status == StatusCode::OK && answer.body.contains("Their passkeys are gone"), "{}", answer.body);
    helped().await;
    let data = serde_json::json!({ "person": ANN, "count": 2 });
    assert_eq!(entries(&desk, "passkey.removed").await, [("operator".to_owned(), data.clone()), ("person:olga@example.org".to_owned(), data)]);
}

#[tokio::test]
async fn a_new_password_and_signing_out_everywhere_end_unused_links_and_begun_sign_ins() {
    let (desk, _) = desk().await;
    for path in ["/account/password", "/account/sign-out"] {
        let mut ann = Jar::new(&desk, "");
        ann.with_link(ANN).await;
        change_person(&desk, ANN, |person| Person { second_factor: true, ..person }).await;
        let mut thief = Jar::new(&desk, "");
        thief.with_link(ANN).await;
        let half = desk.store.rows(Kind::Credential, None, 1000).await.unwrap();
        let mine = |rows: Vec<Row>| rows.into_iter().filter(|row| matches!(row, Row::Credential(its) if its.email == ANN)).count();
        let (unused, bens) = (desk.gate.make_link(ANN).await.unwrap(), desk.gate.make_link(BEN).await.unwrap());
        assert!(mine(half) >= 2 && thief.cookies.contains_key("paraph_half_way"));
        ann.act(path, &[("new", GOOD), ("again", GOOD)]).await;
        assert_eq!(Jar::new(&desk, "").post(&format!("/sign-in/{unused}"), &[]).await.status, StatusCode::GONE, "{path}");
        assert_eq!(Jar::new(&desk, "").post(&format!("/sign-in/{bens}"), &[]).await.status, StatusCode::SEE_OTHER, "{path}");
        let left = mine(desk.store.rows(Kind::Credential, None, 1000).await.unwrap());
        assert_eq!(left, usize::from(path.ends_with("password")), "{path}");
        change_person(&desk, ANN, |person| Person { second_factor: false, ..person }).await;
    }
    assert_eq!(entries(&desk, "password.set").await[0].1["sessions_ended"], 0);
}
