//! Several calls to one recipient: the agent hears which one waits already, three refusals close the way, and the
//! next version of a call finds the one for which changes were asked.

use super::{DM, Desk, HOUR, approve, notice, read_and_decide, reject};
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::people::Role;
use paraph::domain::recipient::{RecipientKey, Refusals};
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Admission, Ask, Clock as _, Delivery, Notice, Reviewer, TimeIsUp};
use paraph::store::{Change, Row};
use std::time::Duration;

fn dm(to: &str, text: &str) -> String {
    format!(r#"{{"to":"{to}","text":"{text}"}}"#)
}

fn changes(call: &Call) -> Decide {
    Decide { verdict: Verdict::RequestChanges, reason: Some("Friendlier, please.".into()), ..approve(call) }
}

async fn refused(desk: &Desk, ann: &Reviewer, to: &str, text: &str) -> CallId {
    let id = desk.seat("send_dm", &dm(to, text)).await.call().clone();
    read_and_decide(ann, &id, reject).await.unwrap();
    id
}

async fn refusal(desk: &Desk, tool: &str, arguments: &str) -> Option<Notice> {
    match desk.admit(tool, arguments).await {
        Admission::Refused(notice) => Some(notice),
        Admission::Allowed(_) | Admission::Waiting(_) | Admission::Unknown => None,
    }
}

#[tokio::test]
async fn a_different_call_to_the_same_recipient_is_held_too_and_the_agent_hears_which_one_waits() {
    let desk = Desk::new().await;
    let mut first = desk.seat("send_dm", DM).await;
    desk.later(Duration::from_secs(1)).await;
    let mut second = desk.seat("send_dm", &dm("@BOB", "And another thing")).await;
    let mut elsewhere = desk.seat("send_dm", &dm("@carol", "And another thing")).await;
    let told = |waiting: TimeIsUp| match waiting {
        TimeIsUp::Pending(notice) => notice,
        TimeIsUp::Settled(_) => panic!("nobody decided"),
    };
    let notice = told(second.time_is_up().await.unwrap());
    assert!(notice.text.starts_with("NOT SENT YET. ") && notice.text.contains(first.call().as_str()), "{}", notice.text);
    assert_eq!(notice.meta["waitsBefore"], first.call().as_str());
    for alone in [first.time_is_up().await.unwrap(), elsewhere.time_is_up().await.unwrap()] {
        assert!(told(alone).meta.get("waitsBefore").is_none());
    }
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let beside: Vec<_> = ann.beside(&desk.call(first.call()).await).await.unwrap().into_iter().map(|call| call.id).collect();
    assert_eq!(beside, [second.call().clone()]);
}

#[tokio::test]
async fn a_closed_way_is_listed_among_any_number_of_recipients_that_were_refused_lately() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    for number in 0..3_000 {
        let none = Refusals::none(RecipientKey::of("bot", "demo", &format!("@other{number}")), "bot", "demo");
        let row = Row::Refusals(none.refused_again(&CallId("c_gone".into()), desk.clock.now()));
        desk.store.commit(Change { rows: vec![row], ..Change::of_facts(desk.clock.now(), Vec::new()) }).await.unwrap();
    }
    for to in ["@ada", "@bob", "@cleo", "@dora", "@emil"] {
        for text in ["one", "two", "three"] {
            refused(&desk, &ann, to, text).await;
        }
    }
    assert_eq!(ann.closed_ways().await.unwrap().len(), 5);
}

#[tokio::test]
async fn three_refusals_within_an_hour_close_the_way_until_a_person_opens_it() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    refused(&desk, &ann, "@bob", "one").await;
    refused(&desk, &ann, "@Bob", "two").await;
    let open = desk.seat("send_dm", &dm("@bob", "three")).await;
    read_and_decide(&ann, open.call(), reject).await.unwrap();
    assert_eq!(ann.closed_ways().await.unwrap().len(), 1);

    // Also a tool that a rule allows, and also hours later; another recipient is not concerned.
    for (tool, arguments) in [("send_dm", dm("@bob", "four")), ("send_dm", dm("@bob", "five"))] {
        let said = refusal(&desk, tool, &arguments).await.expect("the way is closed");
        assert_eq!((said.meta["state"].as_str(), said.meta["rule"].as_str()), (Some("denied"), Some("three-refusals")));
    }
    desk.later(HOUR * 5).await;
    assert!(refusal(&desk, "send_dm", &dm("@bob", "six")).await.is_some());
    assert!(refusal(&desk, "send_dm", &dm("@carol", "four")).await.is_none());

    assert!(ann.lift(open.call()).await.unwrap());
    assert!(!ann.lift(open.call()).await.unwrap(), "it is open already");
    assert!(refusal(&desk, "send_dm", &dm("@bob", "six")).await.is_none());
    assert!(ann.closed_ways().await.unwrap().is_empty());
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "recipient.opened").count(), 1);
}

#[tokio::test]
async fn refusals_over_more_than_an_hour_and_requests_for_changes_close_nothing() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    refused(&desk, &ann, "@bob", "one").await;
    refused(&desk, &ann, "@bob", "two").await;
    let id = desk.seat("send_dm", &dm("@bob", "three")).await.call().clone();
    read_and_decide(&ann, &id, changes).await.unwrap();
    desk.later(HOUR).await;
    refused(&desk, &ann, "@bob", "four").await;
    assert!(refusal(&desk, "send_dm", &dm("@bob", "five")).await.is_none());
}

#[tokio::test]
async fn what_waits_already_can_still_be_approved_after_the_way_was_closed_and_only_an_entitled_person_opens_it() {
    let desk = Desk::new().await;
    let (ann, eve) = (desk.reviewer("ann@example.org", Role::Reviewer, &[]).await, desk.reviewer("eve@example.org", Role::Auditor, &[]).await);
    let waits = desk.seat("send_dm", &dm("@bob", "before")).await;
    let mut last = None;
    for text in ["one", "two", "three"] {
        last = Some(refused(&desk, &ann, "@bob", text).await);
    }
    let last = last.unwrap();
    assert!(matches!(eve.lift(&last).await, Err(ReviewError::NotEntitled(_))));
    read_and_decide(&ann, waits.call(), approve).await.unwrap();
    desk.until(waits.call(), "answered").await;
}

#[tokio::test]
async fn a_request_for_changes_settles_the_call_and_the_next_version_is_linked() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut first = desk.seat("send_dm", &dm("@bob", "You owe me 40 euros since May, pay now")).await;
    let shown = ann.read(first.call()).await.unwrap();
    let without = Decide { reason: Some("  ".into()), ..changes(&shown.call) };
    assert!(matches!(ann.decide(first.call(), without).await, Err(ReviewError::Incomplete(_))));
    read_and_decide(&ann, first.call(), changes).await.unwrap();
    let Delivery::Notice(said) = first.settled().await.unwrap() else { panic!("an answer instead of a sentence") };
    assert_eq!(said.text, "NOT SENT. A person asked for changes. This is not a tool failure. Do not send it unchanged: \u{201c}Friendlier, please\u{201d}.");
    first.delivered().await.unwrap();

    // Unchanged it meets the same answer, and nobody is asked.
    let mut same = desk.seat("send_dm", &dm("@bob", "You owe me 40 euros since May, pay now")).await;
    assert_eq!(same.call(), first.call());
    assert_eq!(notice(same.settled().await.unwrap()).meta["state"], "changes_requested");

    let alike = desk.seat("send_dm", &dm("@bob", "Hi Bob, do you still owe me 40 euros since May?")).await;
    assert_eq!(desk.call(alike.call()).await.revises.as_ref(), Some(first.call()));
    let other = desk.seat("send_dm", &dm("@bob", "Lunch on Friday?")).await;
    assert_eq!(desk.call(other.call()).await.revises, None);
    let meta = |id: &CallId| Some(format!(r#"{{"paraph/revises":"{id}"}}"#));
    let named = Ask { meta: meta(first.call()), ..desk.ask_of("send_dm", &dm("@bob", "Hello!")) };
    let Admission::Waiting(named) = desk.gate.admit(named).await.unwrap() else { panic!("not held") };
    let call = desk.call(named.call()).await;
    assert_eq!((call.revises.as_ref(), call.meta_dropped), (Some(first.call()), false));
    let foreign = Ask { meta: meta(other.call()), ..desk.ask_of("send_dm", &dm("@bob", "Hello again!")) };
    let Admission::Waiting(foreign) = desk.gate.admit(foreign).await.unwrap() else { panic!("not held") };
    assert_eq!(desk.call(foreign.call()).await.revises, None, "nobody asked for changes there");
}

#[tokio::test]
async fn the_same_text_again_says_when_it_last_went_out() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut first = desk.seat("send_dm", DM).await;
    read_and_decide(&ann, first.call(), approve).await.unwrap();
    first.settled().await.unwrap();
    first.delivered().await.unwrap();
    let sent_at = desk.call(first.call()).await.sent_at();
    assert!(sent_at.is_some());
    desk.later(HOUR).await;
    let second = desk.seat("send_dm", DM).await;
    assert_eq!(desk.call(second.call()).await.last_sent, sent_at);
    desk.later(HOUR * 24).await;
    desk.until(second.call(), "expired").await;
    second.delivered().await.unwrap();
    let third = desk.seat("send_dm", DM).await;
    assert_eq!(desk.call(third.call()).await.last_sent, sent_at, "the one between was never sent");
}

#[tokio::test]
async fn a_reviewer_sees_that_the_server_was_started_anew_since_the_hold() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let id = desk.seat("send_dm", DM).await.call().clone();
    assert!(!ann.server_restarted(&desk.call(&id).await).await);
    for instance in [Some("two".to_owned()), None] {
        *desk.upstream.instance.lock().unwrap() = instance;
        assert!(ann.server_restarted(&desk.call(&id).await).await);
    }
    read_and_decide(&ann, &id, approve).await.unwrap();
    assert!(!ann.server_restarted(&desk.until(&id, "answered").await).await, "it has left: nothing can be asked any more");
}
