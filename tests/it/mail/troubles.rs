//! What operators are told about the gateway itself.

use super::{Office, header};
use paraph::domain::letter::Trouble;
use paraph::domain::people::Role;

#[tokio::test(start_paused = true)]
async fn operators_and_nobody_else_are_told_of_troubles_once_while_they_last() {
    let office = Office::open().await;
    for (email, role) in [
        ("ann@example.org", Role::Reviewer),
        ("dora@example.org", Role::Auditor),
        ("olga@example.org", Role::Operator),
        ("otto@example.org", Role::Operator),
        ("gone@example.org", Role::Operator),
    ] {
        office.person(email, role, &[]).await;
    }
    office.gate.disable_person("gone@example.org").await.unwrap();
    office.start();
    let down = Trouble::UpstreamDown { server: "demo".into() };
    office.gate.tell_operators(std::slice::from_ref(&down)).await.unwrap();
    office.emptied().await;
    let all = [down, Trouble::OutboxFailing, Trouble::DiskLow, Trouble::UncleanStart, Trouble::Unconfirmed { calls: 3 }];
    for _ in 0..3 {
        office.gate.tell_operators(&all).await.unwrap();
        office.emptied().await;
    }
    let mails = office.mails_about("trouble-");
    assert_eq!(mails.len(), 4);
    let to: Vec<&str> = mails.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["olga@example.org", "olga@example.org", "otto@example.org", "otto@example.org"]);
    let text = |subject: &str| mails.iter().find(|(_, mail)| header(mail, "Subject") == subject).unwrap().1["text"].as_str().unwrap().to_owned();
    let first = text("Paraph needs an operator: The server demo cannot be reached");
    assert!(first.contains("* The server demo cannot be reached.\n  Its calls wait"), "{first}");
    let second = text("Paraph needs an operator: 4 troubles");
    assert!(!second.contains("demo cannot") && second.contains("Nobody knows whether 3 calls were sent"), "{second}");
    assert!(!mails[0].1["headers"].to_string().contains("References"));
}
