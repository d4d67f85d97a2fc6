//! How a call ended, told to those who had a mail about it and did not end it themselves: once, in the thread of the
//! mail that asked them, written in the change that ended it.

use super::{Office, header};
use crate::fakes::Mood;
use crate::life::{HOUR, approve, reject};
use paraph::config::Show;
use paraph::domain::audit::Fact;
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::letter::Letter;
use paraph::domain::people::Role;
use paraph::gate::Clock as _;
use paraph::gate::letters::{Skip, Told};
use paraph::gate::resolve::Resolution;
use paraph::gate::review::Decide;
use paraph::store::{Change, Kind, Row};
use serde_json::{Value, json};
use std::time::Duration;

const ANN: &str = "ann@example.org";
const BEN: &str = "ben@example.org";
const OPS: &str = "ops@example.org";

impl Office {
    /// Lets time pass until the call is there and its letters have left.
    async fn ended(&self, id: &CallId, word: &str) {
        for _ in 0..10_000 {
            if self.call(id).await.state.word() == word && self.letters().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the call is {}, {} letters wait", self.call(id).await.state.word(), self.letters().await);
    }
}

fn ask_for_changes(call: &Call) -> Decide {
    Decide { verdict: Verdict::RequestChanges, reason: Some("Say the day.".into()), ..approve(call) }
}

fn text(mail: &Value) -> &str {
    mail["text"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_was_told_and_did_not_decide_hears_in_the_same_thread_how_it_ended() {
    for (decide, word, title, says) in [
        (approve as fn(&Call) -> Decide, "answered", "A message was sent.", "ann@example.org approved it, and it was sent on "),
        (reject, "rejected", "A message was rejected.", "| Not like this."),
        (ask_for_changes, "changes_requested", "A message has to be changed.", "| Say the day."),
    ] {
        let office = Office::open().await;
        office.gate.resume_work().await.unwrap();
        let ann = office.reviewer(ANN, Role::Reviewer).await;
        office.person(BEN, Role::Reviewer, &[]).await;
        office.start();
        let id = office.dm("Hello\nand more").await;
        office.emptied().await;
        assert_eq!(office.call(&id).await.told, [ANN, BEN]);
        office.decide(&ann, &id, decide).await;
        office.ended(&id, word).await;
        let mails = office.mails_about("settled-");
        assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), [BEN]);
        let (end, held) = (&mails[0].1, &office.mails_about("held-")[1].1);
        for part in [title, says, "Nothing is left to do for you.", "To:      @bob"] {
            assert!(text(end).contains(part), "{part} in {}", text(end));
        }
        assert!(text(end).contains("\n| Hello\n") && !text(end).contains("and more"), "what it is known again by: {}", text(end));
        for thread in ["References", "In-Reply-To", "List-Id"] {
            assert_eq!(header(end, thread), header(held, thread));
        }
        assert_ne!(header(end, "Message-ID"), header(held, "Message-ID"));
        assert_eq!(header(end, "Subject"), format!("Re: {}", header(held, "Subject")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_decided_is_told_to_everybody_who_was_asked() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person(BEN, Role::Reviewer, &[]).await;
    office.start();
    let [expired, withdrawn] = [office.dm("First").await, office.hold("send_pair", json!({"n": 1})).await];
    office.emptied().await;
    // One of two approvals: her word did not count in the end, so she hears of it too.
    office.decide(&ann, &withdrawn, approve).await;
    ann.read(&expired).await.unwrap();
    office.gate.revoke_agent("bot").await.unwrap();
    office.ended(&withdrawn, "withdrawn").await;
    office.ended(&expired, "withdrawn").await;
    let mails = office.mails_about(&format!("settled-{withdrawn}"));
    assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), [ANN, BEN]);
    assert!(text(&mails[0].1).contains("An action was taken back."), "{}", text(&mails[0].1));
    assert!(text(&mails[0].1).contains("agent was revoked"), "{}", text(&mails[0].1));
    assert_eq!(office.mails_about(&format!("settled-{expired}")).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_call_is_told_once() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.start();
    let id = office.dm("Hello").await;
    office.emptied().await;
    ann.read(&id).await.unwrap();
    tokio::time::sleep(HOUR * 30).await;
    office.ended(&id, "expired").await;
    let mails = office.mails_about("settled-");
    assert_eq!(mails.len(), 1);
    assert!(text(&mails[0].1).contains("Nobody decided in time. It was not sent"), "{}", text(&mails[0].1));
    assert_eq!(office.files().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_the_end_of_what_nobody_was_asked_about() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let (ann, _) = (office.reviewer(ANN, Role::Reviewer).await, office.person(BEN, Role::Reviewer, &[]).await);
    let id = office.dm("Hello").await;
    office.decide(&ann, &id, reject).await;
    office.start();
    office.ended(&id, "rejected").await;
    assert!(office.mails().is_empty());
    let kinds: Vec<String> = office.store.entries(1, 1000).await.unwrap().into_iter().map(|entry| entry.kind).collect();
    assert!(!kinds.contains(&"letter.sent".to_owned()), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_to_the_one_whom_a_mail_reached_before_it_failed_for_the_other() {
    let office = Office::open().await;
    let (ann, _) = (office.reviewer(ANN, Role::Reviewer).await, office.person(BEN, Role::Reviewer, &[]).await);
    let id = office.dm("Hello").await;
    let due = office.gate.outbox(64, &Skip::default()).await.unwrap().due.remove(0);
    // Ann's copy has still to be tried again when she refuses the call on the page.
    office.gate.letter_failed(&due.letter, &Told { reached: vec![BEN.into()], ..Told::default() }, due.letter.next_at).await.unwrap();
    office.decide(&ann, &id, reject).await;
    let due = office.gate.outbox(64, &Skip::default()).await.unwrap().due;
    assert_eq!(due.len(), 1, "the letter that asks is put away: {due:?}");
    assert_eq!(due[0].to.iter().map(|person| person.email.as_str()).collect::<Vec<_>>(), [BEN]);
    office.gate.letter_sent(&due[0].letter, &Told::all(&due[0].to)).await.unwrap();
    assert_eq!(office.letters().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_ends_after_the_call_writes_the_letter_that_tells_the_end() {
    let office = Office::open().await;
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person(BEN, Role::Reviewer, &[]).await;
    let id = office.dm("Hello").await;
    let due = office.gate.outbox(64, &Skip::default()).await.unwrap().due.remove(0);
    office.decide(&ann, &id, reject).await;
    assert_eq!(office.letters().await, 1, "nobody is known to have been told");
    office.gate.letter_sent(&due.letter, &Told::all(&due.to)).await.unwrap();
    let rows = office.store.rows(Kind::Letter, None, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.key().to_owned()).collect::<Vec<_>>(), [format!("settled-{id}")]);
    assert_eq!(office.gate.outbox(64, &Skip::default()).await.unwrap().due[0].to.iter().map(|person| person.email.as_str()).collect::<Vec<_>>(), [BEN]);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_call_asks_operators_too_and_then_says_what_was_found() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    office.gate.add_person(OPS, Some("Olga".into()), vec!["other".into()], Role::Operator).await.unwrap();
    *office.upstream.mood.lock().unwrap() = Mood::Vanishes;
    office.start();
    let id = office.hold("send_desk", json!({"n": 1})).await;
    office.emptied().await;
    assert_eq!(office.call(&id).await.told, [OPS], "the group is empty, so an operator is asked");
    office.gate.add_person("dora@example.org", None, vec!["desk".into()], Role::Reviewer).await.unwrap();
    let token = office.gate.make_api_token("dora@example.org", "test", HOUR).await.unwrap();
    let dora = office.gate.by_api_token(&token).await.unwrap().unwrap();
    office.decide(&dora, &id, approve).await;
    office.ended(&id, "unconfirmed").await;
    let mails = office.mails_about("unconfirmed-");
    assert_eq!(mails.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["Olga <ops@example.org>", "dora@example.org"]);
    assert!(header(&mails[0].1, "Subject").starts_with("Unconfirmed: "));
    for part in ["1. Look at the receiving side", "2. Open the call and say what you found", "\"n\": 1", "Nobody knows whether it was done:"] {
        assert!(text(&mails[0].1).contains(part), "{part} in {}", text(&mails[0].1));
    }
    let call = office.call(&id).await;
    dora.resolve(&id, Resolution { sent: false, version: call.version, note: Some("Nothing there, see https://log.example".into()) }).await.unwrap();
    office.ended(&id, "answered").await;
    let mails = office.mails_about("settled-");
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].0, "Olga <ops@example.org>");
    for part in ["dora@example.org found out that it was not done", "| Nothing there, see https[:]//log[.]example"] {
        assert!(text(&mails[0].1).contains(part), "{part} in {}", text(&mails[0].1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_tells_what_waits_apart_from_what_is_settled() {
    let office = Office::open().await;
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person(BEN, Role::Reviewer, &[]).await;
    let outbox = office.start();
    let mut ids = Vec::new();
    for n in 0..3 {
        // Three refusals to one recipient would close the way.
        ids.push(office.hold("send_dm", json!({ "to": format!("@bob{n}"), "text": format!("Early {n}") })).await);
    }
    office.emptied().await;
    outbox.abort();
    for id in &ids {
        office.decide(&ann, id, reject).await;
    }
    for n in 0..9 {
        office.dm(&format!("Late {n}")).await;
    }
    tokio::time::sleep(HOUR).await;
    office.start();
    office.emptied().await;
    let lists = office.mails_about("list-");
    let list = &lists.iter().find(|(to, _)| to == BEN).unwrap().1;
    assert_eq!(header(list, "Subject"), "9 calls wait for you, 3 settled");
    let (waiting, settled) = text(list).split_once("Settled since: nothing is left to do").unwrap();
    assert_eq!((waiting.matches("| Late ").count(), settled.matches("| Early ").count()), (9, 3), "{}", text(list));
    assert_eq!(settled.matches("ann@example.org rejected it on ").count(), 3);
    assert!(!waiting.contains("| Early "));
}

#[tokio::test(start_paused = true)]
async fn the_next_version_of_a_call_stands_in_the_thread_of_the_one_before() {
    let office = Office::open().await;
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.start();
    let first = office.dm("Hello").await;
    office.emptied().await;
    office.decide(&ann, &first, ask_for_changes).await;
    let next = office.hold_with("send_dm", json!({"to": "@bob", "text": "Hello on Friday"}), Some(json!({"paraph/revises": first}))).await;
    office.emptied().await;
    let mails = office.mails_about(&format!("held-{next}"));
    let root = |id: &CallId| format!("<call-{id}@paraph.desk.example.org>");
    assert_eq!(header(&mails[0].1, "References"), format!("{} {}", root(&first), root(&next)));
    assert_eq!(header(&mails[0].1, "In-Reply-To"), root(&next));
}

#[tokio::test(start_paused = true)]
async fn with_show_link_nothing_that_the_agent_wrote_stands_in_any_mail() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person(BEN, Role::Reviewer, &[]).await;
    let outbox = office.start_showing(Show::Link);
    let id = office.hold("send_dm", json!({ "to": "zanzibar", "text": "quagga", "note": "okapi" })).await;
    let action = office.hold("send_gnu", json!({ "a": "okapi" })).await;
    office.emptied().await;
    let quoting = |call: &Call| Decide { reason: Some("No quagga for zanzibar.".into()), ..reject(call) };
    office.decide(&ann, &id, quoting).await;
    office.decide(&ann, &action, reject).await;
    office.emptied().await;
    outbox.abort();
    for n in 0..12 {
        office.hold("send_dm", json!({ "to": "zanzibar", "text": "quagga", "n": n })).await;
    }
    tokio::time::sleep(HOUR).await;
    office.start_showing(Show::Link);
    office.emptied().await;
    let mails = office.mails();
    assert_eq!(mails.len(), 4 + 2 + 2, "two calls for two people, their ends for one, a list for each");
    for mail in &mails {
        let said = format!("{}{}{}", mail["headers"], text(mail), mail["html"].as_str().unwrap()).to_lowercase();
        for word in ["zanzibar", "quagga", "okapi", "send_dm", "send_gnu"] {
            assert!(!said.contains(word), "{word} in {said}");
        }
        assert!(said.contains("bot") && said.contains("https://desk.example.org/"));
    }
    let held = office.mails_about(&format!("held-{id}"));
    assert!(text(&held[0].1).contains(&office.call(&id).await.digest.words()));
    assert_eq!(header(&held[0].1, "Subject"), format!("Held: a call waits for a decision ({})", &id.as_str()[2..8]));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_calls_keeps_no_sign_in_link_and_no_end_back() {
    let office = Office::open().await;
    let ann = office.reviewer(ANN, Role::Reviewer).await;
    office.person(BEN, Role::Reviewer, &[]).await;
    let outbox = office.start();
    let first = office.dm("First").await;
    office.emptied().await;
    outbox.abort();
    office.decide(&ann, &first, reject).await;
    for n in 0..99 {
        office.dm(&format!("Message {n}")).await;
    }
    let now = office.clock.now();
    let fact = Fact { kind: "link.mailed", call: None, actor: "paraph".into(), data: json!({}).into() };
    office.store.commit(Change::of_row(now, Row::Letter(Letter::about_sign_in("1", ANN, now)), fact)).await.unwrap();
    let due = office.gate.outbox(10, &Skip::default()).await.unwrap().due;
    let begins = |with: &str| due.iter().filter(|due| due.letter.id.starts_with(with)).count();
    assert_eq!((begins("held-"), begins("settled-"), begins("sign-in-")), (10, 1, 1));
}
