//! `paraph mail test`: what a person sees, with its exit codes.

use super::certificates::Authority;
use super::{ANN, SECRET, Server, configure, down, header, plain, world};
use crate::world::World;
use serde_json::json;

async fn test(world: &World, code: i32) -> (String, String) {
    let output = world.run(&["mail", "test", ANN]).await;
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    (out, err)
}

#[tokio::test]
async fn one_mail_leaves_and_says_how() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let mut asked = authority.server(&world, "starttls", "localhost");
    (asked["user"], asked["password"]) = (json!("paraph"), json!(SECRET));
    let server = Server::start(&world.path("mails"), asked).await;
    configure(&world, &format!("smtp://paraph@localhost:{}", server.port), &format!("password = \"{SECRET}\"\nca = \"{}\"", authority.file));
    let (out, err) = test(&world, 0).await;
    let mail = &server.mails(1).await[0];
    let id = header(mail, "Message-ID");
    for line in ["STARTTLS, certificate checked", "Signed in    paraph", "To           ann@example.org", id, "250 OK, taken", "took the mail"] {
        assert!(out.contains(line) || (line.starts_with("250") && out.contains("OK, taken")), "{line} in {out}");
    }
    assert_eq!(err, "");
    assert_eq!((header(mail, "Subject"), header(mail, "To"), &mail["defects"]), ("A test mail from Paraph", ANN, &json!([])));
    assert!(!world.path("data").exists(), "it needs no data");
}

#[tokio::test]
async fn what_went_wrong_is_named_with_what_to_do() {
    let world = world(&format!("smtp://localhost:{}?tls=none", down().await), "");
    let (_, err) = test(&world, 3).await;
    assert!(err.contains("\"connect\": the mail server could not be reached.") && err.contains("firewall"), "{err}");

    configure(&world, "smtp://mail.invalid:25", "timeout = \"5s\"");
    let (_, err) = test(&world, 3).await;
    assert!(err.contains("\"resolve\""), "{err}");

    for (replies, code, parts) in [
        (json!({"sender": ["553 5.7.1 not yours"]}), 1, ["\"sender\": the mail server refused the sender", "[mail] from"]),
        (
            json!({"recipient": {ANN: ["550 5.1.1 nobody \u{1b}[2Jhere"]}}),
            1,
            ["\"recipient\": the mail server refused the recipient", "550 5.1.1 nobody [U+001B][2Jhere"],
        ),
        (json!({"recipient": {ANN: ["530 5.7.0 sign in"]}}), 2, ["wants somebody to sign in first", "[mail] password"]),
        (json!({"data": ["552 5.3.4 too large"]}), 1, ["\"text\": the mail server refused the mail itself", "552 5.3.4"]),
        (json!({"data": ["451 4.3.0 later"]}), 1, ["puts the mail off", "451"]),
        (json!({"data": ["drop"]}), 3, ["it may have it", "log"]),
    ] {
        let server = plain(&world, json!({"replies": replies})).await;
        configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "");
        let (_, err) = test(&world, code).await;
        assert!(parts.iter().all(|part| err.contains(part)), "{parts:?} in {err}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let mut asked = authority.server(&world, "starttls", "localhost");
    (asked["user"], asked["password"]) = (json!("paraph"), json!("another"));
    let server = Server::start(&world.path("mails"), asked).await;
    configure(&world, &format!("smtp://paraph@localhost:{}", server.port), &format!("password = \"{SECRET}\"\nca = \"{}\"", authority.file));
    let (_, err) = test(&world, 2).await;
    assert!(err.contains("refused the user or the password"), "{err}");
    assert_eq!(server.noted("mail").len(), 0);
}

#[tokio::test]
async fn mails_to_a_folder_and_no_mails_at_all_are_told_apart() {
    let world = World::with_demo_server("");
    let (out, _) = test(&world, 0).await;
    assert!(out.contains("Written to ") && out.contains(".eml"), "{out}");
    let text = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), text.replace("transport = \"file\"", "transport = \"off\"")).unwrap();
    let (_, err) = test(&world, 1).await;
    assert!(err.contains("no mail is sent"), "{err}");
    let wrong = world.run(&["mail", "test", "ann@example.org\r\nBcc: b@example.org"]).await;
    assert_eq!(wrong.status.code(), Some(2));
}
