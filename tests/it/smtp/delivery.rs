//! From a held call to the mail server, through everything that a mail server does on a bad day. Nothing is lost, nothing
//! leaves twice under two names, nobody waits for somebody else's mailbox.

use super::certificates::Authority;
use super::{ANN, SECRET, Server, configure, down, header, hold, kinds, peopled, plain, world};
use crate::world::until;
use serde_json::json;

#[tokio::test]
async fn a_held_call_leaves_encrypted_and_signed_in() {
    let world = world("smtp://localhost:1", "");
    let authority = Authority::new(&world);
    let mut asked = authority.server(&world, "starttls", "localhost");
    asked["user"] = json!("desk@example.org");
    asked["password"] = json!(SECRET);
    let server = Server::start(&world.path("mails"), asked).await;
    std::fs::write(world.path("password"), format!("{SECRET}\n")).unwrap();
    configure(
        &world,
        &format!("smtp://desk%40example.org@localhost:{}", server.port),
        &format!("password = {{ file = \"password\" }}\nca = \"{}\"", authority.file),
    );
    let token = peopled(&world).await;
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    let mail = &server.mails(1).await[0];
    assert_eq!((&mail["encrypted"], &mail["user"]), (&json!(true), &json!("desk@example.org")));
    assert_eq!((&mail["sender"], &mail["to"], &mail["defects"]), (&json!("paraph@example.org"), &json!([ANN]), &json!([])));
    assert!(mail["text"].as_str().unwrap().contains("| Hello Bob"));
    until("the letter is put away", || async { (kinds(&world.told(&["audit", "export"]).await, "letter.sent") == 1).then_some(()) }).await;
    assert!(!gateway.log().contains(SECRET) && !gateway.log().contains(ANN), "{}", gateway.log());
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_server_that_is_down_gets_every_letter_once_it_is_up_also_after_kill_9() {
    let port = down().await;
    let world = world(&format!("smtp://localhost:{port}?tls=none"), "");
    let token = peopled(&world).await;
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    let says = |log: String| (log.matches("the mail server could not be reached").count() == 1).then_some(());
    until("the log says that no mail leaves", || async { says(gateway.log()) }).await;
    gateway.kill().await;

    let gateway = world.serve().await;
    until("the next gateway says so too", || async { (gateway.log().matches("the mail server could not be reached").count() == 2).then_some(()) }).await;
    let server = plain(&world, json!({"port": port})).await;
    server.mails(1).await;
    until("it says that mails leave again", || async { gateway.log().contains("mails leave again").then_some(()) }).await;
    // However often it tried, it said so once.
    assert_eq!(gateway.log().matches("the mail server could not be reached").count(), 2, "{}", gateway.log());
    server.mails(1).await;
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_slow_server_is_given_up_in_time_and_tried_again() {
    let world = world("smtp://localhost:1?tls=none", "");
    let slow = plain(&world, json!({"greeting_delay": 30})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", slow.port), "timeout = \"200ms\"");
    let token = peopled(&world).await;
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    until("the log says what is the matter", || async { gateway.log().contains("took the connection and said nothing in time").then_some(()) }).await;
    let port = slow.port;
    drop(slow);
    let server = until("the port is free", || async { Some(plain(&world, json!({"port": port})).await) }).await;
    server.mails(1).await;
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn what_is_put_off_comes_again_and_what_is_refused_does_not() {
    let world = world("smtp://localhost:1?tls=none", "");
    let server = plain(
        &world,
        json!({"replies": {
            "recipient": {"cleo@example.org": ["450 4.2.0 come back"], "gone@example.org": ["550 5.1.1 <gone@example.org>: nobody here", "550 again"]},
            "data": ["451 4.3.0 not now"],
        }}),
    )
    .await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "");
    let token = peopled(&world).await;
    for email in ["cleo@example.org", "gone@example.org"] {
        world.told(&["reviewer", "add", email]).await;
    }
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    let mut to: Vec<String> = server.mails(2).await.iter().map(|mail| mail["to"][0].as_str().unwrap().to_owned()).collect();
    to.sort_unstable();
    assert_eq!(to, [ANN, "cleo@example.org"]);
    let export =
        until("the letter is put away", || async { Some(world.told(&["audit", "export"]).await).filter(|export| kinds(export, "letter.sent") == 1) }).await;
    assert_eq!(kinds(&export, "letter.refused"), 1, "{export}");
    let asked: Vec<_> = server.noted("recipient").into_iter().filter(|note| note["address"] == "gone@example.org").collect();
    assert_eq!(asked.len(), 1, "what is refused for good is asked once");
    let refused: Vec<_> = export.lines().filter(|line| line.contains("letter.")).collect();
    assert!(refused.iter().all(|line| !line.contains('@')), "{refused:?}");
    assert!(!gateway.log().contains("@example.org"), "{}", gateway.log());
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_server_that_hangs_up_after_the_mail_gets_it_again_under_the_same_message_id() {
    let world = world("smtp://localhost:1?tls=none", "");
    let server = plain(&world, json!({"replies": {"data": ["drop"]}})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "");
    let token = peopled(&world).await;
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    let mails = server.mails(2).await;
    assert_eq!(header(&mails[0], "Message-ID"), header(&mails[1], "Message-ID"));
    assert_eq!(mails[0]["text"], mails[1]["text"]);
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_mailbox_that_hangs_does_not_keep_the_others_waiting() {
    let world = world("smtp://localhost:1?tls=none", "");
    let hangs = vec!["hang"; 20];
    let server = plain(&world, json!({"replies": {"recipient": {"aaa@example.org": hangs}}})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "timeout = \"300ms\"\nconnections = 1");
    let token = peopled(&world).await;
    world.told(&["reviewer", "add", "aaa@example.org"]).await;
    let gateway = world.serve().await;
    for text in ["one", "two", "three"] {
        let _waiting = hold(&world, &gateway, &token, text).await;
    }
    let mails = server.mails(3).await;
    assert!(mails.iter().all(|mail| mail["to"] == json!([ANN])));
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn another_mail_server_is_used_as_soon_as_the_file_names_it() {
    let port = down().await;
    let world = world(&format!("smtp://localhost:{port}?tls=none"), "");
    let token = peopled(&world).await;
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    until("the log says that no mail leaves", || async { gateway.log().contains("the mail server could not be reached").then_some(()) }).await;
    let server = plain(&world, json!({})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "");
    server.mails(1).await;
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn no_more_mails_are_under_way_than_the_bound_and_connections_are_used_again() {
    let world = world("smtp://localhost:1?tls=none", "");
    let server = plain(&world, json!({"data_delay": 0.2})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "connections = 3");
    let token = peopled(&world).await;
    for n in 0..8 {
        world.told(&["reviewer", "add", &format!("r{n}@example.org")]).await;
    }
    let gateway = world.serve().await;
    let _waiting = hold(&world, &gateway, &token, "Hello Bob").await;
    server.mails(9).await;
    let open: Vec<u64> = server.noted("connection").iter().map(|note| note["open"].as_u64().unwrap()).collect();
    assert_eq!((open.len(), open.iter().max()), (3, Some(&3)), "{open:?}");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_mail_that_is_under_way_is_finished_at_a_reload_and_at_a_stop() {
    let world = world("smtp://localhost:1?tls=none", "");
    let server = plain(&world, json!({"data_delay": 1.5})).await;
    let url = format!("smtp://localhost:{}?tls=none", server.port);
    configure(&world, &url, "");
    let token = peopled(&world).await;
    let mut gateway = world.serve().await;
    let under_way = async |count| until("a mail is under way", || async { (server.noted("mail").len() == count).then_some(()) }).await;
    let sent = async |count| {
        until("the letter is put away", || async { (kinds(&world.told(&["audit", "export"]).await, "letter.sent") == count).then_some(()) }).await;
    };
    let _one = hold(&world, &gateway, &token, "one").await;
    under_way(1).await;
    configure(&world, &url, "digest = \"10m\"");
    sent(1).await;
    let _two = hold(&world, &gateway, &token, "two").await;
    under_way(2).await;
    assert!(gateway.stop().await);
    gateway = world.serve().await;
    sent(2).await;
    assert_eq!(server.noted("recipient").len(), 2, "each was given to the server once");
    assert!(gateway.stop().await);
}
