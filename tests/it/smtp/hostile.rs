//! Hostile text in every field that an agent, a rule or a person's name brings into a mail, over a real connection: the
//! server gets exactly one mail for the one recipient, and another program's parser finds our headers and no others.

use super::{ANN, configure, header, plain, world};
use crate::world::{Agent, World, until};
use serde_json::{Value, json};

/// What ends a header, a mail, an answer of the server, or a reader's patience.
fn evil() -> String {
    let lines = "\r\nBcc: thief@example.org\r\nSubject: x\r\n\r\n.\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<thief@example.org>\r\nDATA\r\n\n.\n\r.\r.\n..\r\n";
    format!("{lines}{}\0\u{202e}\u{2066}\u{feff}\u{85}\u{2028}=?utf-8?q?=0D=0ABcc:thief@example.org?= <!-- \u{1f469}\u{200d}\u{1f680}", "x".repeat(3000))
}

async fn hostile_world() -> (World, super::Server) {
    let world = world("smtp://localhost:1?tls=none", "");
    let server = plain(&world, json!({})).await;
    configure(&world, &format!("smtp://localhost:{}?tls=none", server.port), "");
    let text = std::fs::read_to_string(world.path("config.toml")).unwrap();
    // A rule's reason is the operator's, but rules are copied from strangers too.
    let reason = format!("reason = {}", json!(format!("Read it.\r\nBcc: thief@example.org {}", "y".repeat(440))));
    let text = text.replacen("reason = \"Direct messages are read by a person first.\"", &reason, 1).replace("tools  = [\"send_dm\"]", "tools  = [\"send_*\"]");
    std::fs::write(world.path("config.toml"), text).unwrap();
    (world, server)
}

#[tokio::test]
async fn one_mail_for_one_person_whatever_an_agent_writes() {
    let (world, server) = hostile_world().await;
    let token = world.agent("bot.SUBJECT-x_1").await;
    world.told(&["reviewer", "add", ANN, "--name", "Ann <thief@example.org>, \"Bcc: x\""]).await;
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let evil = evil();
    let asked: Vec<Value> = vec![
        json!({"to": evil, "text": evil}),
        json!({"to": "@bob", "text": format!(".\r\n{evil}")}),
        json!({"to": "@bob\r\nBcc: thief@example.org", "text": "hello", &evil: {"deep": [&evil, 1]}}),
    ];
    let mut waiting = Vec::new();
    for (number, arguments) in asked.iter().enumerate() {
        waiting.push(agent.begin("send_dm", arguments.clone()));
        until("the mail is there", || async { (server.noted("mail").len() > number || waiting.iter().any(|call| call.is_finished())).then_some(()) }).await;
    }
    let mails = server.mails(asked.len()).await;
    for mail in &mails {
        assert_eq!((&mail["sender"], &mail["to"], &mail["defects"]), (&json!("paraph@example.org"), &json!([ANN]), &json!([])), "{mail}");
        let mut names: Vec<&str> = mail["headers"].as_array().unwrap().iter().map(|header| header[0].as_str().unwrap()).collect();
        names.sort_unstable();
        let ours = ["Auto-Submitted", "Content-Type", "Date", "From", "In-Reply-To", "List-Id", "MIME-Version", "Message-ID", "References", "Subject", "To"];
        assert!(
            ours.iter().all(|name| names.contains(name))
                && names.iter().all(|name| ours.contains(name) || name.starts_with("X-Auto-Response") || name.starts_with("List-")),
            "{names:?}"
        );
        assert!(header(mail, "Subject").starts_with("Held: "));
        assert!(header(mail, "To").ends_with(&format!("<{ANN}>")), "{}", header(mail, "To"));
        assert!(mail["longest"].as_u64().unwrap() <= 998 && mail["bare"] == json!(0) && mail["ascii"] == json!(true), "{mail}");
        let text = mail["text"].as_str().unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Bcc") || line.starts_with('.')), "{text}");
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\0']), "{text}");
        assert_eq!(text.matches("/calls/c_").count(), 1);
    }
    assert!(mails[1]["text"].as_str().unwrap().contains("| .") && mails[1]["text"].as_str().unwrap().contains("thief@"), "the text is shown, not dropped");
    let spoken: Vec<Value> = server.noted("recipient").into_iter().map(|note| note["address"].clone()).collect();
    assert!(spoken.iter().all(|address| address == ANN), "{spoken:?}");
    assert_eq!(server.noted("not_taken").len(), 0);
    assert!(gateway.stop().await);
}
