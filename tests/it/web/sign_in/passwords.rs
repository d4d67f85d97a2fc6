//! Passwords: who gets in, what everybody else is told, and how guessing ends without locking anybody else out.

use super::*;

/// The answer without the address that the form shows again.
fn masked(mut answer: Answer, typed: &str) -> Answer {
    answer.body = answer.body.replace(typed, "ADDRESS");
    answer
}

#[tokio::test]
async fn a_password_lets_in_and_every_wrong_try_costs_and_looks_the_same() {
    let (desk, _) = desk().await;
    drop(with_password(&desk, ANN, GOOD).await);
    drop(with_password(&desk, BEN, GOOD).await);
    desk.gate.disable_person(BEN).await.unwrap();
    let mut answers = Vec::new();
    // Wrong, nobody, disabled with the right one, without a password, empty, far too long.
    let too_long = "x".repeat(2000);
    for (address, password) in [(ANN, "wrong"), (NOBODY, GOOD), (BEN, GOOD), ("aud@example.org", GOOD), (ANN, ""), (ANN, &too_long)] {
        let before = desk.gate.passwords_compared();
        let mut jar = Jar::new(&desk, "203.0.113.7");
        answers.push(masked(jar.with_password(address, password).await, address));
        assert_eq!(desk.gate.passwords_compared(), before + 1, "{address}");
        assert!(jar.cookies.is_empty());
    }
    assert_eq!(answers[0].status, StatusCode::UNAUTHORIZED);
    assert!(answers[0].body.contains("Address and password do not belong together"));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");

    let mut jar = Jar::new(&desk, "203.0.113.7");
    assert_eq!(jar.with_password(" ANN@example.org", GOOD).await.status, StatusCode::SEE_OTHER);
    assert_eq!(jar.get("/").await.status, StatusCode::OK);
    assert_eq!(entries(&desk, "signed_in").await.last().unwrap().1["how"], "password");
    let everything = format!("{:?}", desk.store.entries(1, 1000).await.unwrap());
    assert!(!everything.contains(GOOD) && !everything.contains("argon2") && !everything.contains("nix"));
}

#[tokio::test]
async fn guessing_from_many_addresses_ends_and_the_owner_still_gets_in() {
    let (desk, clock) = desk().await;
    let mut own = with_password(&desk, ANN, GOOD).await;
    let mut refused = Vec::new();
    for address in [ANN, NOBODY] {
        for number in 0..10 {
            let mut stranger = Jar::new(&desk, &format!("203.0.113.{number}"));
            assert_eq!(stranger.with_password(address, &format!("guess {number}")).await.status, StatusCode::UNAUTHORIZED);
        }
        let compared = desk.gate.passwords_compared();
        let answer = Jar::new(&desk, "203.0.113.99").with_password(address, GOOD).await;
        assert_eq!(desk.gate.passwords_compared(), compared, "nothing is compared any more");
        refused.push(masked(answer, address));
    }
    assert_eq!((refused[0].status, refused[0].header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("3601")));
    assert!(refused[0].body.contains("Too many tries"));
    assert_eq!(refused[0], refused[1], "as for a name that nobody has");

    // Her own browser, signed out, knows her; so does a link. Ben is not concerned.
    own.cookies.remove("paraph_session");
    assert_eq!(own.with_password(ANN, GOOD).await.status, StatusCode::SEE_OTHER);
    assert_eq!(Jar::new(&desk, "203.0.113.99").with_link(ANN).await.status, StatusCode::SEE_OTHER);
    drop(with_password(&desk, BEN, GOOD).await);
    assert_eq!(Jar::new(&desk, "203.0.113.99").with_password(BEN, GOOD).await.status, StatusCode::SEE_OTHER);
    // Another's browser is a strange one for her, and a forged cookie is none.
    let device = own.cookies["paraph_device"].clone();
    let mut bens = with_password(&desk, BEN, GOOD).await;
    bens.cookies.remove("paraph_session");
    assert_eq!(bens.with_password(ANN, GOOD).await.status, StatusCode::TOO_MANY_REQUESTS);
    for forged in [format!("{device}A"), device[1..].to_owned(), "x".repeat(5000)] {
        let mut jar = Jar::new(&desk, "203.0.113.99");
        jar.cookies.insert("paraph_device".into(), forged);
        assert_eq!(jar.with_password(ANN, GOOD).await.status, StatusCode::TOO_MANY_REQUESTS);
    }
    // Whoever took her browser has its budget and no more.
    for _ in 0..10 {
        assert_eq!(own.with_password(ANN, "guess").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(own.with_password(ANN, GOOD).await.status, StatusCode::TOO_MANY_REQUESTS);
    clock.advance(60 * MINUTE);
    assert_eq!(Jar::new(&desk, "203.0.113.99").with_password(ANN, GOOD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn one_address_guesses_at_many_names_until_it_may_no_more_and_others_go_on() {
    let (desk, _) = desk().await;
    drop(with_password(&desk, ANN, GOOD).await);
    let mut stranger = Jar::new(&desk, "203.0.113.7");
    for number in 0..30 {
        assert_eq!(stranger.with_password(&format!("p{number}@example.org"), "guess").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(stranger.with_password(ANN, GOOD).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(Jar::new(&desk, "203.0.113.8").with_password(ANN, GOOD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_audit_tells_of_failures_once_for_each_person_and_never_which_unknown_names_were_tried() {
    let (desk, clock) = desk().await;
    drop(with_password(&desk, ANN, GOOD).await);
    for number in 0..12 {
        let mut stranger = Jar::new(&desk, &format!("203.0.113.{number}"));
        stranger.with_password(ANN, "guess").await;
        stranger.with_password(&format!("nobody-{}@example.org", number % 3), "guess").await;
    }
    clock.advance(14 * MINUTE);
    desk.gate.tell_failures(false).await;
    assert!(entries(&desk, "sign_in.failed").await.is_empty(), "it is gathered");
    clock.advance(MINUTE);
    desk.gate.tell_failures(false).await;
    let told = entries(&desk, "sign_in.failed").await;
    assert_eq!(told.len(), 2, "{told:?}");
    let of = |person: Value| told.iter().find(|(_, data)| data["person"] == person).unwrap().1.clone();
    assert_eq!((of(ANN.into())["wrong"].clone(), of(ANN.into())["refused"].clone()), (10.into(), 2.into()));
    assert_eq!((of(Value::Null)["wrong"].clone(), of(Value::Null)["names"].clone()), (12.into(), 3.into()));
    assert!(!format!("{:?}", desk.store.entries(1, 1000).await.unwrap()).contains("nobody-"));
    // What is left is told when the gateway stops.
    Jar::new(&desk, "203.0.113.7").with_password(BEN, "guess").await;
    desk.gate.close(Duration::from_secs(5)).await;
    assert_eq!(entries(&desk, "sign_in.failed").await.len(), 3);
}

#[tokio::test]
async fn an_operator_can_switch_passwords_off() {
    let (desk, _) = desk().await;
    drop(with_password(&desk, ANN, GOOD).await);
    let settings = desk.gate.settings();
    let sign_in = SignInSettings { passwords: false, ..SignInSettings::default() };
    desk.gate.reload(Settings { sign_in, ..(*settings).clone() }).await.unwrap();
    let mut jar = Jar::new(&desk, "203.0.113.7");
    assert!(!jar.get("/sign-in").await.body.contains("With a password"));
    assert_eq!(jar.with_password(ANN, GOOD).await.status, StatusCode::FORBIDDEN);
    jar.with_link(ANN).await;
    assert!(jar.get("/account").await.body.contains("The operator has switched passwords off"));
    assert_eq!(jar.act("/account/password", &[("new", GOOD), ("again", GOOD)]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_new_password_needs_a_fresh_proof_is_not_weak_and_ends_every_other_session() {
    let (desk, clock) = desk().await;
    let (mut ann, mut elsewhere) = (Jar::new(&desk, "198.51.100.1"), Jar::new(&desk, "198.51.100.2"));
    ann.with_link(ANN).await;
    elsewhere.with_link(ANN).await;
    for (new, again, why) in [
        (GOOD, "another one entirely", "differ"),
        ("short", "short", "at least 12"),
        ("annabel.example", "annabel.example", "would guess"),
        ("", "", "at least 12"),
    ] {
        let answer = ann.act("/account/password", &[("new", new), ("again", again)]).await;
        assert!(answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.body.contains(why), "{new}: {}", answer.body);
        assert!(new.is_empty() || !answer.body.contains(new));
    }
    clock.advance(10 * MINUTE + Duration::from_secs(1));
    let late = ann.act("/account/password", &[("new", GOOD), ("again", GOOD)]).await;
    assert!(late.status == StatusCode::UNPROCESSABLE_ENTITY && late.body.contains("more than ten minutes"), "{}", late.body);
    assert!(!ann.get("/account").await.body.contains("name=\"new\""));

    ann.with_link(ANN).await;
    assert_eq!(ann.act("/account/password", &[("new", GOOD), ("again", GOOD)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!((ann.get("/").await.status, elsewhere.get("/").await.status), (StatusCode::OK, StatusCode::UNAUTHORIZED));
    assert_eq!(entries(&desk, "password.set").await, [("person:ann@example.org".to_owned(), serde_json::json!({ "sessions_ended": 1 }))]);

    // Later only with the old one, which cannot be guessed here either.
    clock.advance(10 * MINUTE + Duration::from_secs(1));
    let next = "schraube tulpe 77";
    for _ in 0..10 {
        let answer = ann.act("/account/password", &[("old", "guess"), ("new", next), ("again", next)]).await;
        assert!(answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.body.contains("old password is not right"));
    }
    assert_eq!(ann.act("/account/password", &[("old", GOOD), ("new", next), ("again", next)]).await.status, StatusCode::TOO_MANY_REQUESTS);
    clock.advance(60 * MINUTE);
    assert_eq!(ann.act("/account/password", &[("old", GOOD), ("new", next), ("again", next)]).await.status, StatusCode::SEE_OTHER);
    let mut jar = Jar::new(&desk, "203.0.113.7");
    assert_eq!(jar.with_password(ANN, GOOD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(jar.with_password(ANN, next).await.status, StatusCode::SEE_OTHER);
    assert_eq!(jar.act("/account/password/remove", &[]).await.header("location"), Some("/account?done=no-password"));
    assert_eq!(Jar::new(&desk, "203.0.113.7").with_password(ANN, next).await.status, StatusCode::UNAUTHORIZED);
}
