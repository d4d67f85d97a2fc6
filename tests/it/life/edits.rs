//! A person edits a call before approving it (semantics.md 13 to 15): judged from the start, sent as edited, known by
//! its agent as it was asked, and on record both ways.

use super::{DM, Desk, HOUR, approve, notice, read_and_decide, rule, settings};
use crate::fakes::RESULT;
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::people::Role;
use paraph::domain::policy::{Action, ConditionSpec, LimitSpec, Operator, Policy, PolicySpec, RuleSpec, ScopeSpec};
use paraph::gate::letters::{Skip, Told};
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Admission, Delivery, Reviewer, Seat, ServerSettings, Settings, TimeIsUp};
use paraph::store::Kind;
use paraph::store::in_memory::InMemory;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SCHEMA: &str = r#"{"type":"object","properties":{"to":{"type":"string"},"text":{"type":"string","maxLength":9000}},"required":["to","text"],"additionalProperties":false}"#;
const FRIENDLY: &str = r#"{"to":"@bob","text":"Hello Bob, please"}"#;

fn when(name: &str, word: &str, action: Action) -> RuleSpec {
    let condition = ConditionSpec { path: "args.text".into(), op: Operator::Contains, value: json!(word) };
    RuleSpec { conditions: vec![condition], ..rule(name, &["send_*"], action) }
}

/// `http` is refused, `invoice` needs two, `board` is the board's, everything else needs one person.
fn judged(limits: Vec<LimitSpec>) -> Settings {
    let spec = PolicySpec {
        server: "demo".into(),
        rules: vec![
            when("no-links", "http", Action::Deny),
            when("notes-go", "note to self", Action::Allow),
            RuleSpec { approvals: Some(2), ..when("two-for-money", "invoice", Action::RequireApproval) },
            RuleSpec { reviewers: vec!["board".into()], ..when("the-board", "board", Action::RequireApproval) },
            rule("dms", &["send_*"], Action::RequireApproval),
        ],
        limits,
        ..PolicySpec::default()
    };
    let policy = Policy::build(spec).expect("the rules are in order");
    Settings { servers: [("demo".to_owned(), ServerSettings { policy, messages: Default::default() })].into(), ..settings() }
}

async fn desk() -> Desk {
    let desk = Desk::over(Arc::new(InMemory::default()), judged(Vec::new())).await;
    desk.upstream.lists("send_dm", SCHEMA);
    desk
}

async fn ann(desk: &Desk) -> Reviewer {
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await
}

fn edit(call: &Call, arguments: &str) -> Decide {
    Decide { arguments: Some(arguments.to_owned()), ..approve(call) }
}

async fn edited(person: &Reviewer, id: &CallId, arguments: &str) -> Result<Call, ReviewError> {
    let shown = person.read(id).await?;
    person.decide(id, edit(&shown.call, arguments)).await.map(|listed| listed.call)
}

async fn result(seat: &mut Seat) -> (String, Option<String>, Option<String>) {
    match seat.settled().await.unwrap() {
        Delivery::Result { body, earlier, edited } => (body, earlier, edited),
        Delivery::Error(_) | Delivery::Notice(_) => panic!("no result"),
    }
}

#[tokio::test]
async fn the_edited_text_is_sent_and_the_agent_is_told_what_was_really_sent() {
    let desk = desk().await;
    let mut seat = desk.seat("send_dm", DM).await;
    let ann = ann(&desk).await;
    let id = seat.call().clone();
    let before = desk.call(&id).await;
    let after = edited(&ann, &id, FRIENDLY).await.unwrap();
    assert_eq!((after.version, after.asked_digest.clone()), (before.version + 1, before.digest.clone()));
    assert_ne!(after.digest, before.digest);
    assert_eq!(after.message.as_ref().map(|message| message.text.as_str()), Some("Hello Bob, please"));
    let (body, earlier, told) = result(&mut seat).await;
    assert_eq!((body.as_str(), earlier), (RESULT, None));
    assert_eq!(told.as_deref(), Some(format!("A person changed this before approving it. Sent with these arguments: {FRIENDLY}").as_str()));
    assert_eq!((desk.upstream.count(FRIENDLY), desk.upstream.count(DM)), (1, 0));
    let shown = ann.look(&id).await.unwrap().to_json();
    assert_eq!(shown["asked"], json!({"arguments": {"to": "@bob", "text": "Hello Bob"}, "digest": before.digest}));
    assert_eq!(shown["arguments"], serde_json::from_str::<Value>(FRIENDLY).unwrap());
    let entries = desk.store.entries(1, 100).await.unwrap();
    let told = entries.iter().find(|entry| entry.kind == "call.edited").expect("the audit says so");
    assert_eq!((told.actor.as_str(), &told.data["from"], &told.data["to"]), ("person:ann@example.org", &json!(before.digest), &json!(after.digest)));
    assert!(!entries.iter().any(|entry| entry.data.to_string().contains("please")));
    let kinds = desk.verified_kinds().await;
    let life: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| kind.starts_with("call.")).collect();
    assert_eq!(life, ["call.held", "call.viewed", "call.edited", "call.decided", "call.sending", "call.answered"]);
}

#[tokio::test]
async fn what_the_agent_asked_for_stays_the_key_and_the_edited_text_is_a_new_call() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    drop(seat);
    edited(&ann, &id, FRIENDLY).await.unwrap();
    desk.until(&id, "answered").await;
    let mut again = desk.seat("send_dm", DM).await;
    assert_eq!(again.call(), &id);
    let (_, earlier, told) = result(&mut again).await;
    assert!(earlier.unwrap().starts_with("Sent at ") && told.unwrap().contains("please"));
    again.delivered().await.unwrap();
    assert_ne!(desk.seat("send_dm", FRIENDLY).await.call(), &id);
    // What went out was another text: the page must not say that this one was sent before.
    let anew = desk.seat("send_dm", DM).await;
    assert_ne!(anew.call(), &id);
    assert_eq!(desk.call(anew.call()).await.last_sent, None);
}

#[tokio::test]
async fn a_call_that_waits_on_says_both_digests() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let after = edited(&ann, seat.call(), r#"{"to":"@bob","text":"The invoice, please"}"#).await.unwrap();
    let TimeIsUp::Pending(told) = seat.time_is_up().await.unwrap() else { panic!("settled") };
    assert_eq!((&told.meta["digest"], &told.meta["askedDigest"]), (&json!(after.digest), &json!(after.asked_digest)));
    assert!(!told.text.contains("invoice"));
    let mut other = desk.seat("send_dm", r#"{"to":"@carol","text":"hi"}"#).await;
    let TimeIsUp::Pending(told) = other.time_is_up().await.unwrap() else { panic!("settled") };
    assert!(told.meta.get("askedDigest").is_none());
}

#[tokio::test]
async fn what_may_not_be_sent_is_refused_with_its_reason_and_changes_nothing() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    ann.read(&id).await.unwrap();
    let before = desk.call(&id).await;
    let large = format!(r#"{{"to":"@bob","text":"{}"}}"#, "x".repeat(1024 * 1024));
    for (arguments, why) in [
        (r#"{"to":"@bob","text":"see http://example.org"}"#, "rule no-links refuses the edited arguments: Direct messages are read by a person first"),
        (r#"{"to":"@bob"}"#, "the edited arguments do not fit the tool's inputSchema: the arguments as a whole must have a member \"text\""),
        (r#"{"to":5,"text":"x"}"#, "/to must be of type string"),
        (r#"{"to":"@bob","text":"x","text":"y"}"#, "the same key stands twice"),
        (r#"{"to":"@bob","text":"\ud800"}"#, "not JSON that Paraph accepts"),
        (r#"["@bob"]"#, "not a JSON object"),
        ("{", "not JSON that Paraph accepts"),
        (large.as_str(), "more than 1048576 bytes"),
    ] {
        match ann.decide(&id, edit(&before, arguments)).await {
            Err(ReviewError::Unfit(told)) => assert!(told.contains(why), "{told}"),
            other => panic!("{arguments:.60} {other:?}"),
        }
    }
    for verdict in [Verdict::Reject, Verdict::RequestChanges] {
        let edit = Decide { verdict, reason: Some("no".into()), ..edit(&before, FRIENDLY) };
        assert!(matches!(ann.decide(&id, edit).await, Err(ReviewError::Incomplete(_))));
    }
    assert_eq!(desk.call(&id).await, before);
}

#[tokio::test]
async fn without_a_known_schema_there_is_no_edit_and_the_call_can_still_be_approved() {
    let desk = Desk::over(Arc::new(InMemory::default()), judged(Vec::new())).await;
    let ann = ann(&desk).await;
    for (number, schema) in [None, Some(r#"{"$ref":"other.json"}"#)].into_iter().enumerate() {
        if let Some(schema) = schema {
            desk.upstream.lists("send_dm", schema);
        }
        let seat = desk.seat("send_dm", &format!(r#"{{"to":"@bob","text":"{number}"}}"#)).await;
        let Err(ReviewError::Unfit(why)) = edited(&ann, seat.call(), FRIENDLY).await else { panic!("edited") };
        assert!(why.starts_with("nobody can say whether the server takes edited arguments"), "{why}");
        read_and_decide(&ann, seat.call(), approve).await.unwrap();
    }
}

#[tokio::test]
async fn an_edit_names_the_text_that_was_shown_and_all_of_it() {
    let desk = desk().await;
    let (ann, ben) = (ann(&desk).await, desk.reviewer("ben@example.org", Role::Reviewer, &[]).await);
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    let before = desk.call(&id).await;
    assert!(matches!(ann.decide(&id, edit(&before, FRIENDLY)).await, Err(ReviewError::NotShown)));
    ben.read(&id).await.unwrap();
    edited(&ann, &id, r#"{"to":"@bob","text":"The invoice"}"#).await.unwrap();
    assert!(matches!(ben.decide(&id, edit(&before, FRIENDLY)).await, Err(ReviewError::Stale(_))));
    // Nobody but the editor was shown the edited text.
    let now = desk.call(&id).await;
    assert!(matches!(ben.decide(&id, approve(&now)).await, Err(ReviewError::NotShown)));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_is_an_approval() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let mut seat = desk.seat("send_dm", DM).await;
    edited(&ann, &seat.call().clone(), r#" {"text":"Hello Bob",  "to":"@bob"} "#).await.unwrap();
    assert_eq!(result(&mut seat).await.2, None);
    assert_eq!(desk.upstream.count(DM), 1);
    assert!(!desk.verified_kinds().await.contains(&"call.edited".to_owned()));
}

#[tokio::test]
async fn an_edit_that_needs_more_people_is_held_on_under_that_rule_and_drops_earlier_approvals() {
    let desk = desk().await;
    let (ann, ben) = (ann(&desk).await, desk.reviewer("ben@example.org", Role::Reviewer, &[]).await);
    let carl = desk.reviewer("carl@example.org", Role::Reviewer, &[]).await;
    let mut seat = desk.seat("send_dm", r#"{"to":"@bob","text":"invoice one"}"#).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    let after = edited(&ben, &id, r#"{"to":"@bob","text":"invoice two"}"#).await.unwrap();
    assert_eq!((after.state.word(), after.rule.as_str(), after.approvals), ("held", "two-for-money", 2));
    assert_eq!(after.approved_by().collect::<Vec<_>>(), ["ben@example.org"]);
    let letters = async || desk.store.rows(Kind::Letter, None, 10).await.unwrap().len();
    assert_eq!(letters().await, 1, "the first letter has not left and tells whoever is asked now");
    read_and_decide(&carl, &id, approve).await.unwrap();
    assert!(result(&mut seat).await.2.unwrap().contains("invoice two"));
    assert_eq!(desk.upstream.count(r#"{"to":"@bob","text":"invoice two"}"#), 1);

    // One was enough for what the agent asked; the edited text needs two.
    let plain = desk.seat("send_dm", DM).await;
    for due in desk.gate.outbox(10, &Skip::default()).await.unwrap().due {
        desk.gate.letter_sent(&due.letter, &Told::default()).await.unwrap();
    }
    assert_eq!(letters().await, 0);
    let after = edited(&ann, plain.call(), r#"{"to":"@bob","text":"The invoice"}"#).await.unwrap();
    assert_eq!((after.state.word(), after.version, after.approvals), ("held", 2, 2));
    assert_eq!(letters().await, 1, "whoever is asked now is told");
    // And back: what needs one person only is content with the editor.
    let after = edited(&ben, plain.call(), DM).await.unwrap();
    assert_eq!((after.state.word(), after.is_edited(), after.arguments.as_str()), ("approved", false, DM));
    assert_eq!(after.asked_arguments, None);
}

#[tokio::test]
async fn an_editor_whom_the_new_rule_does_not_ask_has_edited_and_not_approved() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let bea = desk.reviewer("bea@example.org", Role::Reviewer, &["board"]).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    let after = edited(&ann, &id, r#"{"to":"@bob","text":"From the board"}"#).await.unwrap();
    assert_eq!((after.state.word(), after.rule.as_str(), after.approved_by().count(), after.version), ("held", "the-board", 0, 2));
    assert_eq!(after.reviewers, ["board"]);
    assert!(after.decisions.iter().any(|decision| decision.by == "ann@example.org" && decision.void));
    assert!(matches!(ann.read(&id).await, Err(ReviewError::NotFound)));
    read_and_decide(&bea, &id, approve).await.unwrap();
    assert!(result(&mut seat).await.2.unwrap().contains("From the board"));
}

#[tokio::test]
async fn a_text_that_would_pass_without_anybody_stays_with_those_who_were_asked() {
    let desk = desk().await;
    let (ann, ben) = (ann(&desk).await, desk.reviewer("ben@example.org", Role::Reviewer, &[]).await);
    let seat = desk.seat("send_dm", r#"{"to":"@bob","text":"invoice"}"#).await;
    let after = edited(&ann, seat.call(), r#"{"to":"@bob","text":"note to self"}"#).await.unwrap();
    assert_eq!((after.state.word(), after.rule.as_str(), after.approvals), ("held", "two-for-money", 2));
    read_and_decide(&ben, seat.call(), approve).await.unwrap();
    desk.until(seat.call(), "answered").await;
}

#[tokio::test]
async fn an_undone_edit_is_held_as_edited_and_rejecting_it_tells_both_digests() {
    let mut settings = judged(Vec::new());
    settings.hold.undo = HOUR;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    desk.upstream.lists("send_dm", SCHEMA);
    let ann = ann(&desk).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    edited(&ann, &id, FRIENDLY).await.unwrap();
    let undone = ann.undo(&id).await.unwrap().call;
    assert_eq!((undone.state.word(), undone.arguments.as_str(), undone.approved_by().count()), ("held", FRIENDLY, 0));
    read_and_decide(&ann, &id, super::reject).await.unwrap();
    let told = notice(seat.settled().await.unwrap());
    assert_eq!(told.meta["askedDigest"], json!(undone.asked_digest));
    let again = desk.seat("send_dm", DM).await;
    assert_eq!(again.call(), &id, "the refusal is of what the agent asked for");
    assert_eq!(desk.upstream.count(FRIENDLY), 0);
}

#[tokio::test]
async fn a_text_beyond_four_kibibytes_is_not_repeated_to_the_agent() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let mut seat = desk.seat("send_dm", DM).await;
    edited(&ann, &seat.call().clone(), &json!({"to": "@bob", "text": "x".repeat(5_000)}).to_string()).await.unwrap();
    assert_eq!(result(&mut seat).await.2.as_deref(), Some("A person changed this before approving it. What you asked for is not what was sent."));
}

#[tokio::test]
async fn another_recipient_is_counted_shown_and_refused_as_that_recipient() {
    let limit =
        LimitSpec { counter: "to".into(), window: Duration::from_secs(60), max: 1, scope: ScopeSpec::Arg("/to".into()), increment_from: None, on_deny: None };
    let desk = Desk::over(Arc::new(InMemory::default()), judged(vec![limit])).await;
    desk.upstream.lists("send_dm", SCHEMA);
    let ann = ann(&desk).await;
    let to = |to: &str, text: &str| json!({"to": to, "text": text}).to_string();
    let first = desk.seat("send_dm", &to("@bob", "one")).await;
    edited(&ann, first.call(), &to("@carol", "one")).await.unwrap();
    desk.until(first.call(), "answered").await;
    let beside = desk.seat("send_dm", &to("@carol", "two")).await;
    read_and_decide(&ann, beside.call(), approve).await.unwrap();
    let mut hints = desk.gate.watch();
    let waits = async {
        while desk.call(beside.call()).await.waits_for.is_none() {
            let _ = hints.recv().await;
        }
        desk.call(beside.call()).await
    };
    let waits = tokio::time::timeout(Duration::from_secs(20), waits).await.expect("the edited call counted on sent for @carol");
    assert_eq!((waits.state.word(), waits.waits_for.as_deref()), ("approved", Some("/limits/to")));
    let recipient = desk.call(first.call()).await.recipient;
    assert_eq!(recipient, desk.call(beside.call()).await.recipient);

    // People refused three messages to her: an edit does not go round that.
    desk.clock.advance(HOUR);
    for text in ["a", "b", "c"] {
        desk.clock.advance(Duration::from_secs(61));
        let seat = desk.seat("send_dm", &to("@dora", text)).await;
        read_and_decide(&ann, seat.call(), super::reject).await.unwrap();
    }
    desk.clock.advance(Duration::from_secs(61));
    let other = desk.seat("send_dm", &to("@ed", "x")).await;
    let Err(ReviewError::Unfit(why)) = edited(&ann, other.call(), &to("@dora", "x")).await else { panic!("edited") };
    assert!(why.contains("three-refusals"), "{why}");
}

#[tokio::test]
async fn erasing_takes_both_texts() {
    let mut settings = judged(Vec::new());
    settings.keep_text = HOUR;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    desk.upstream.lists("send_dm", SCHEMA);
    let ann = ann(&desk).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    edited(&ann, &id, FRIENDLY).await.unwrap();
    seat.settled().await.unwrap();
    desk.clock.advance(2 * HOUR);
    assert_eq!(desk.gate.forget_old().await.unwrap(), 1);
    let erased = desk.call(&id).await;
    assert!(!format!("{erased:?}").contains("Hello"), "{erased:?}");
    let shown = ann.look(&id).await.unwrap().to_json();
    assert_eq!(shown["asked"], json!({"arguments": null, "digest": erased.asked_digest}));
}

#[tokio::test]
async fn an_edited_permit_is_sent_as_edited_when_the_agent_asks_again() {
    let desk = desk().await;
    let ann = ann(&desk).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    seat.cancel().await.unwrap();
    edited(&ann, &id, FRIENDLY).await.unwrap();
    assert!(desk.call(&id).await.is_permit());
    let Admission::Waiting(mut again) = desk.admit("send_dm", DM).await else { panic!("not attached") };
    assert!(result(&mut again).await.2.unwrap().contains("please"));
    assert_eq!((again.call(), desk.upstream.count(FRIENDLY)), (&id, 1));
}
