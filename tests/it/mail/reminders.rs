//! Half of a call's time is over and nobody has opened it: those who were told are told once more.

use super::{Office, header};
use crate::life::{HOUR, reject};
use paraph::domain::people::{MailChoice, Person, Role};
use paraph::store::{Change, Kind, Row};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const ANN: &str = "ann@example.org";

impl Office {
    async fn wants(&self, email: &str, mail: MailChoice) {
        let Some(Row::Person(person)) = self.store.row(Kind::Person, email).await.unwrap() else { panic!("no such person") };
        let next = Person { revision: person.revision + 1, mail, ..person };
        let change = Change { rows: vec![Row::Person(next)], ..Change::of_facts(paraph::gate::Clock::now(&*self.clock), Vec::new()) };
        self.store.commit(change).await.unwrap();
    }
}

fn text(mail: &Value) -> &str {
    mail["text"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_reminder_leaves_at_half_time_if_nobody_has_opened_the_call() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person("ben@example.org", Role::Reviewer, &[]).await;
    office.start();
    let [unopened, opened] = [office.dm("Nobody looks").await, office.dm("Ann looks").await];
    office.emptied().await;
    ann.read(&opened).await.unwrap();
    tokio::time::sleep(HOUR * 12 - HOUR / 60).await;
    assert_eq!(office.mails_about("reminder-").len(), 0, "half of a day is not over");
    tokio::time::sleep(HOUR / 20).await;
    let mails = office.mails_about("reminder-");
    assert_eq!(mails.len(), 2, "one for each, about the one call");
    let held = office.mails_about(&format!("held-{unopened}"));
    for part in ["A message still waits for a decision", "Half of its time is over and nobody has opened it.", "| Nobody looks"] {
        assert!(text(&mails[0].1).contains(part), "{part} in {}", text(&mails[0].1));
    }
    assert_eq!(header(&mails[0].1, "References"), header(&held[0].1, "References"));
    assert_eq!(header(&mails[0].1, "Subject"), format!("Re: {}", header(&held[0].1, "Subject")));
    tokio::time::sleep(HOUR * 10).await;
    assert_eq!(office.mails_about("reminder-").len(), 2, "only once");
    let kinds: Vec<String> = office.store.entries(1, 1000).await.unwrap().into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "call.unopened").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reminder_that_has_not_left_when_somebody_opens_the_call_does_not_leave() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    let outbox = office.start();
    let id = office.dm("Hello").await;
    office.emptied().await;
    outbox.abort();
    tokio::time::sleep(HOUR * 12 + HOUR / 20).await;
    assert_eq!(office.letters().await, 1);
    ann.read(&id).await.unwrap();
    office.start();
    office.emptied().await;
    assert_eq!(office.files().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_reminded_of_what_nobody_was_told() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    office.person(ANN, Role::Reviewer, &[]).await;
    office.dm("Hello").await;
    tokio::time::sleep(HOUR * 13).await;
    office.start();
    office.emptied().await;
    assert_eq!(office.mails().len(), 1);
    assert_eq!(office.mails_about("held-").len(), 1, "the first mail says it all");
}

/// In real time: sled's thread does not keep paused time from running ahead.
#[tokio::test]
async fn a_restart_forgets_neither_the_reminder_nor_who_was_told() {
    let home = tempfile::tempdir().unwrap();
    let kept = home.path().join("data");
    let opened = |path: &Path| -> Arc<dyn paraph::store::Store> {
        Arc::new(paraph::store::on_sled::OnSled::open(path, &paraph::store::on_sled::Settings::default()).unwrap())
    };
    let office = Office::over(opened(&kept), home).await;
    let (_, _) = (office.reviewer(ANN, Role::Reviewer).await, office.person("ben@example.org", Role::Reviewer, &[]).await);
    let id = office.dm("Hello").await;
    let outbox = office.start();
    office.emptied().await;
    let remind_at = office.call(&id).await.remind_at.unwrap();
    let (home, clock, agent) = office.close(Some(outbox)).await;

    let store = opened(&kept);
    let office = Office::again(store, clock, agent, home);
    let due = office.store.due(remind_at, 10).await.unwrap();
    assert_eq!(due.calls, std::slice::from_ref(&id), "the reminder is the call's next deadline");
    let token = office.gate.make_api_token(ANN, "test", HOUR).await.unwrap();
    let ann = office.gate.by_api_token(&token).await.unwrap().unwrap();
    office.decide(&ann, &id, reject).await;
    let outbox = office.start();
    office.emptied().await;
    let mails = office.mails_about("settled-");
    assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["ben@example.org"]);
    office.close(Some(outbox)).await;
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_mails_gets_none_and_keeps_no_letter_waiting() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person("ben@example.org", Role::Reviewer, &[]).await;
    office.wants("ben@example.org", MailChoice::Off).await;
    office.start();
    let id = office.dm("Hello").await;
    office.emptied().await;
    office.decide(&ann, &id, reject).await;
    office.wants(ANN, MailChoice::Off).await;
    office.dm("Another").await;
    office.emptied().await;
    let to: Vec<String> = office.mails_about("").into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [ANN]);
}
