//! What operators are told about the gateway itself.

use super::{HOUR, Office, gate_over, header};
use paraph::domain::letter::Trouble;
use paraph::domain::people::Role;
use paraph::gate::LOOK;
use paraph::gate::upstream::{ServerState, ServerStatus};
use std::time::Duration;

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

impl Office {
    /// What the next looks find, and two minutes for them.
    async fn server_is(&self, state: ServerState) {
        *self.upstream.servers.lock().unwrap() = vec![ServerStatus { name: "demo".into(), transport: "http", state, tools: None }];
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_operator_hears_of_a_trouble_that_began_before_there_was_one() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.start();
    office.gate.look_out(LOOK);
    office.server_is(down()).await;
    assert_eq!((office.mails_about("trouble-").len(), office.gate.troubles().borrow().len()), (0, 1));
    office.person("olga@example.org", Role::Operator, &[]).await;
    office.server_is(down()).await;
    let mails = office.mails_about("trouble-");
    assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["olga@example.org"]);
}

fn down() -> ServerState {
    ServerState::Down { why: "its machine refuses connections".into(), stderr: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_mailed_once_however_long_it_lasts_and_the_next_one_again_but_not_within_the_hour() {
    let office = Office::open().await;
    office.person("olga@example.org", Role::Operator, &[]).await;
    office.start();
    office.gate.look_out(LOOK);
    let mails = || office.mails_about("trouble-").len();
    office.server_is(ServerState::Idle).await;
    assert_eq!((mails(), office.gate.troubles().borrow().len()), (0, 0));
    office.server_is(down()).await;
    assert_eq!((mails(), office.gate.troubles().borrow().len()), (1, 1));
    tokio::time::sleep(HOUR * 10).await;
    assert_eq!(mails(), 1, "it lasts and was told");
    office.server_is(ServerState::Up { instances: 1 }).await;
    assert_eq!(office.gate.troubles().borrow().len(), 0);
    office.server_is(down()).await;
    assert_eq!(mails(), 2, "a new outage");
    office.server_is(ServerState::Idle).await;
    office.server_is(down()).await;
    assert_eq!((mails(), office.gate.troubles().borrow().len()), (2, 1), "within the hour it is only shown");
    tokio::time::sleep(HOUR).await;
    assert_eq!(mails(), 3, "it stayed down");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_for_a_moment_is_no_trouble() {
    let office = Office::open().await;
    office.person("olga@example.org", Role::Operator, &[]).await;
    office.start();
    office.gate.look_out(LOOK);
    office.server_is(ServerState::Idle).await;
    for _ in 0..20 {
        *office.upstream.servers.lock().unwrap() = vec![ServerStatus { name: "demo".into(), transport: "http", state: down(), tools: None }];
        tokio::time::sleep(LOOK).await;
        *office.upstream.servers.lock().unwrap() = vec![ServerStatus { name: "demo".into(), transport: "http", state: ServerState::Idle, tools: None }];
        tokio::time::sleep(LOOK).await;
    }
    assert!(office.mails().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_mail_off_a_trouble_is_only_shown_and_it_is_mailed_when_mail_is_on_again() {
    let office = Office::open().await;
    office.person("olga@example.org", Role::Operator, &[]).await;
    let on = office.gate.settings();
    office.gate.reload(paraph::gate::Settings { letters: false, ..(*on).clone() }).await.unwrap();
    office.gate.look_out(LOOK);
    office.server_is(down()).await;
    assert_eq!((office.letters().await, office.gate.troubles().borrow().len()), (0, 1));
    office.gate.reload((*on).clone()).await.unwrap();
    office.start();
    tokio::time::sleep(LOOK * 2).await;
    assert_eq!(office.mails_about("trouble-").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_dies_again_and_again_writes_one_mail_an_hour_about_it() {
    let office = Office::open().await;
    office.person("olga@example.org", Role::Operator, &[]).await;
    office.start();
    for _ in 0..30 {
        // Another process on the same store: the one before never said that it closed.
        let next = gate_over(office.store.clone(), office.clock.clone(), office.upstream.clone());
        next.recover().await.unwrap();
        assert!(next.unclean_start().is_some());
        next.look_out(LOOK);
        tokio::time::sleep(Duration::from_secs(5)).await;
        next.draining().cancel();
    }
    assert_eq!(office.mails_about("trouble-").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn that_no_mail_left_for_a_quarter_of_an_hour_is_told_once_when_mails_leave_again() {
    let office = Office::open().await;
    office.person("olga@example.org", Role::Operator, &[]).await;
    std::fs::write(office.folder(), "in the way").unwrap();
    office.start();
    office.gate.look_out(LOOK);
    office.dm("Hello").await;
    tokio::time::sleep(Duration::from_secs(14 * 60)).await;
    assert_eq!(office.gate.troubles().borrow().len(), 0);
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(office.gate.troubles().borrow()[0].trouble, Trouble::OutboxFailing);
    std::fs::remove_file(office.folder()).unwrap();
    office.emptied().await;
    assert_eq!(office.mails_about("trouble-").len(), 1);
    tokio::time::sleep(LOOK * 2).await;
    assert_eq!((office.mails_about("trouble-").len(), office.gate.troubles().borrow().len()), (1, 0));
}
