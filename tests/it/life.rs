//! The life of a held call through the real gate, over both engines: what contract.md 4 and semantics.md 1 to 4
//! promise, one sentence a test.

mod arguments;
mod crowds;
mod edits;
mod judging;
mod leasing;
pub mod limited;
mod pausing;
mod people;
mod queueing;
mod recipients;
mod sending;
mod starting;
mod unconfirmed;

use crate::fakes::{CountingUpstream, ManualClock, Mood, RESULT};
use paraph::domain::audit::{Head, follow};
use paraph::domain::call::{Call, CallId, State, Verdict};
use paraph::domain::people::{Agent, Role};
use paraph::domain::policy::{Action, Policy, PolicySpec, RuleSpec};
use paraph::gate::people::NewAgent;
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Admission, Ask, Clock, Delivery, Gate, Notice, Reviewer, Seat, ServerSettings, Settings, TimeIsUp};
use paraph::store::Store;
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use std::sync::Arc;
use std::time::Duration;

pub const HOUR: Duration = Duration::from_secs(3600);

/// A gate over a store, with one agent and one reviewer.
pub struct Desk {
    pub gate: Gate,
    pub store: Arc<dyn Store>,
    pub clock: Arc<ManualClock>,
    pub upstream: Arc<CountingUpstream>,
    pub agent: Agent,
    pub settings: Settings,
}

fn rule(name: &str, tools: &[&str], action: Action) -> RuleSpec {
    RuleSpec {
        name: name.into(),
        tools: tools.iter().map(|&t| t.to_owned()).collect(),
        agents: vec!["*".into()],
        conditions: Vec::new(),
        action,
        reason: Some("Direct messages are read by a person first.".into()),
        reviewers: Vec::new(),
        approvals: None,
        expires_in: None,
        ..RuleSpec::default()
    }
}

pub fn settings() -> Settings {
    let mut pair = rule("two-people", &["send_pair"], Action::RequireApproval);
    pair.approvals = Some(2);
    let mut desk = rule("only-desk", &["send_desk"], Action::RequireApproval);
    desk.reviewers = vec!["desk".into()];
    let spec = PolicySpec {
        default: Action::Deny,
        reads: vec!["read_*".into()],
        rules: vec![
            rule("reads-are-free", &["read_*", "write_note"], Action::Allow),
            rule("secret", &["hidden_*"], Action::Hide),
            pair,
            desk,
            rule("dms-need-a-person", &["send_*"], Action::RequireApproval),
        ],
        server: "demo".into(),
        ..PolicySpec::default()
    };
    let policy = Policy::build(spec).expect("the rules are in order");
    Settings {
        servers: [("demo".to_owned(), ServerSettings { policy, messages: Default::default() })].into(),
        audit_queue: 100,
        in_flight_per_server: 4,
        letters: true,
        ..Settings::default()
    }
}

impl Desk {
    pub async fn over(store: Arc<dyn Store>, settings: Settings) -> Desk {
        let (clock, upstream) = (Arc::new(ManualClock::default()), Arc::new(CountingUpstream::default()));
        let gate = Gate::open(store.clone(), upstream.clone(), clock.clone(), settings.clone());
        gate.resume_work().await.unwrap();
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        Desk { gate, store, clock, upstream, agent, settings }
    }

    pub async fn new() -> Desk {
        Desk::over(Arc::new(InMemory::default()), settings()).await
    }

    pub async fn reviewer(&self, email: &str, role: Role, groups: &[&str]) -> Reviewer {
        self.gate.add_person(email, None, groups.iter().map(|&g| g.to_owned()).collect(), role).await.unwrap();
        let token = self.gate.make_api_token(email, "test", HOUR).await.unwrap();
        self.gate.by_api_token(&token).await.unwrap().unwrap()
    }

    pub fn ask_of(&self, tool: &str, arguments: &str) -> Ask {
        Ask {
            agent: self.agent.clone(),
            server: "demo".into(),
            tool: tool.into(),
            arguments: arguments.into(),
            value: serde_json::from_str(arguments).unwrap(),
            meta: None,
            session: None,
            trace: Vec::new(),
        }
    }

    pub async fn admit(&self, tool: &str, arguments: &str) -> Admission {
        self.gate.admit(self.ask_of(tool, arguments)).await.unwrap()
    }

    pub async fn seat(&self, tool: &str, arguments: &str) -> Seat {
        match self.admit(tool, arguments).await {
            Admission::Waiting(seat) => seat,
            Admission::Allowed(_) | Admission::Refused(_) | Admission::Unknown => panic!("the call was not held"),
        }
    }

    pub async fn call(&self, id: &CallId) -> Call {
        self.store.call(id).await.unwrap().expect("the call is in the store")
    }

    /// Waits for a state; the gate works in its own tasks.
    pub async fn until(&self, id: &CallId, word: &str) -> Call {
        let mut hints = self.gate.watch();
        let reached = async {
            loop {
                let call = self.call(id).await;
                if call.state.word() == word {
                    return call;
                }
                let _ = hints.recv().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap_or_else(|_| panic!("the call never became {word}"))
    }

    /// Moves the clock and lets the gate look at it.
    pub async fn later(&self, by: Duration) {
        self.clock.advance(by);
        let name = format!("tick-{}@example.org", self.clock.now().as_millisecond());
        self.gate.add_person(&name, None, Vec::new(), Role::Auditor).await.unwrap();
    }

    pub async fn verified_kinds(&self) -> Vec<String> {
        let entries = self.store.entries(1, 100_000).await.unwrap();
        entries.iter().try_fold(Head::default(), |head, entry| follow(&head, entry)).expect("the chain verifies");
        entries.into_iter().map(|entry| entry.kind).collect()
    }
}

pub fn approve(call: &Call) -> Decide {
    Decide { verdict: Verdict::Approve, digest: call.digest.clone(), version: call.version, reason: None, arguments: None }
}

pub fn reject(call: &Call) -> Decide {
    Decide { verdict: Verdict::Reject, reason: Some("Not like this.".into()), ..approve(call) }
}

async fn read_and_decide(reviewer: &Reviewer, id: &CallId, decide: fn(&Call) -> Decide) -> Result<(), ReviewError> {
    let shown = reviewer.read(id).await?;
    reviewer.decide(id, decide(&shown.call)).await.map(drop)
}

fn notice(delivery: Delivery) -> Notice {
    match delivery {
        Delivery::Notice(notice) => notice,
        Delivery::Result { .. } | Delivery::Error(_) => panic!("the agent got an answer instead of a sentence"),
    }
}

const DM: &str = r#"{"to":"@bob","text":"Hello Bob"}"#;

#[tokio::test]
async fn an_approved_call_is_sent_once_and_the_agent_gets_the_servers_bytes() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    assert_eq!(desk.upstream.count(DM), 0);
    read_and_decide(&ann, &id, approve).await.unwrap();
    let Delivery::Result { body, earlier, edited: None } = seat.settled().await.unwrap() else { panic!("no result") };
    assert_eq!((body.as_str(), earlier), (RESULT, None));
    assert_eq!(desk.upstream.count(DM), 1);
    seat.delivered().await.unwrap();
    let kinds = desk.verified_kinds().await;
    let life: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| kind.starts_with("call.")).collect();
    assert_eq!(life, ["call.held", "call.viewed", "call.decided", "call.sending", "call.answered", "call.delivered"]);
}

#[tokio::test]
async fn a_refused_call_is_never_sent_and_the_identical_call_gets_the_same_refusal_without_asking_anybody() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, reject).await.unwrap();
    let told = notice(seat.settled().await.unwrap());
    assert_eq!(told.text, "NOT SENT. A person refused: \u{201c}Not like this\u{201d}. Do not resend it, also not reworded, unless the user asks.");
    assert_eq!(told.meta["state"], "rejected");
    seat.delivered().await.unwrap();
    desk.later(HOUR).await;
    let mut again = desk.seat("send_dm", DM).await;
    assert_eq!(notice(again.settled().await.unwrap()), told);
    assert_eq!(again.call(), &id);
    desk.later(24 * HOUR).await;
    assert_ne!(desk.seat("send_dm", DM).await.call(), &id);
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn the_identical_call_attaches_and_both_waiters_get_the_outcome() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut first = desk.seat("send_dm", DM).await;
    let mut second = desk.seat("send_dm", r#"{"text":"Hello Bob","to":"@bob"}"#).await;
    assert_eq!(first.call(), second.call());
    read_and_decide(&ann, &first.call().clone(), approve).await.unwrap();
    for seat in [&mut first, &mut second] {
        assert!(matches!(seat.settled().await.unwrap(), Delivery::Result { .. }));
    }
    assert_eq!(desk.upstream.count(DM), 1);
}

#[tokio::test]
async fn an_uncollected_outcome_waits_for_the_identical_call_once() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    drop(seat);
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.until(&id, "answered").await;
    let mut again = desk.seat("send_dm", DM).await;
    let Delivery::Result { earlier: Some(block), .. } = again.settled().await.unwrap() else { panic!("no earlier result") };
    assert!(block.starts_with("Sent at ") && block.ends_with("nothing was sent now."));
    again.delivered().await.unwrap();
    assert_ne!(desk.seat("send_dm", DM).await.call(), &id);
    assert_eq!(desk.upstream.count(DM), 1);
}

#[tokio::test]
async fn a_held_call_keeps_its_trace_and_says_that_other_meta_is_dropped() {
    let desk = Desk::new().await;
    let trace = vec![("traceparent".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())];
    let ask = |text: &str, meta: &str| Ask { meta: Some(meta.into()), trace: trace.clone(), ..desk.ask_of("send_dm", text) };
    for (text, meta, dropped) in [
        (r#"{"to":"@a","text":"x"}"#, r#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#, false),
        (r#"{"to":"@b","text":"x"}"#, r#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","vendor/x":1}"#, true),
    ] {
        let Admission::Waiting(seat) = desk.gate.admit(ask(text, meta)).await.unwrap() else { panic!("not held") };
        assert_eq!((desk.call(seat.call()).await.meta_dropped, desk.call(seat.call()).await.trace), (dropped, trace.clone()));
    }
}

#[tokio::test]
async fn after_a_cancel_an_approval_waits_as_a_permit_for_the_identical_call() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    seat.cancel().await.unwrap();
    assert_eq!(ann.look(&id).await.unwrap().to_json()["on_approval"], "permit");
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.later(Duration::from_secs(60)).await;
    // A gate that sent it anyway gets its chance to be seen.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!((desk.call(&id).await.state.word(), desk.upstream.count(DM)), ("approved", 0));
    let mut again = desk.seat("send_dm", DM).await;
    assert!(matches!(again.settled().await.unwrap(), Delivery::Result { earlier: None, .. }));
    assert_eq!((again.call(), desk.upstream.count(DM)), (&id, 1));
}

#[tokio::test]
async fn a_permit_that_nobody_asks_for_lapses() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    seat.cancel().await.unwrap();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.later(HOUR).await;
    desk.until(&id, "lapsed").await;
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn a_cancel_ends_only_its_own_waiter() {
    let desk = Desk::new().await;
    let first = desk.seat("send_dm", DM).await;
    let second = desk.seat("send_dm", DM).await;
    first.cancel().await.unwrap();
    assert!(!desk.call(second.call()).await.cancelled);
    let id = second.call().clone();
    second.cancel().await.unwrap();
    assert!(desk.call(&id).await.cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_cancels_at_the_same_moment_one_is_the_last() {
    let desk = Desk::new().await;
    for round in 0..50 {
        let text = format!(r#"{{"to":"@bob","text":"{round}"}}"#);
        let (one, two) = (desk.seat("send_dm", &text).await, desk.seat("send_dm", &text).await);
        let id = one.call().clone();
        let (one, two) = tokio::join!(tokio::spawn(one.cancel()), tokio::spawn(two.cancel()));
        one.unwrap().unwrap();
        two.unwrap().unwrap();
        assert!(desk.call(&id).await.cancelled, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_meets_a_cancel_is_never_left_waiting_for_a_permit() {
    let desk = Desk::new().await;
    for round in 0..50 {
        let text = format!(r#"{{"to":"@bob","text":"{round}"}}"#);
        let first = desk.seat("send_dm", &text).await;
        let again = desk.gate.admit(desk.ask_of("send_dm", &text));
        let (cancelled, again) = tokio::join!(tokio::spawn(first.cancel()), again);
        cancelled.unwrap().unwrap();
        let Ok(Admission::Waiting(seat)) = again else { panic!("not held") };
        assert!(!desk.call(seat.call()).await.cancelled, "round {round}");
    }
}

#[tokio::test]
async fn nobody_decided_in_time_and_a_click_after_the_deadline_meets_the_expired_call() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    let shown = ann.read(&id).await.unwrap();
    desk.clock.advance(24 * HOUR);
    let late = ann.decide(&id, approve(&shown.call)).await.unwrap_err();
    assert!(matches!(late, ReviewError::Settled(listed) if listed.call.state.word() == "expired"));
    assert_eq!(notice(seat.settled().await.unwrap()).text, "NOT SENT. Nobody decided in time. Tell the user.");
}

#[tokio::test]
async fn the_second_click_learns_who_was_first() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let ben = desk.reviewer("ben@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    let shown = ben.read(&id).await.unwrap();
    read_and_decide(&ann, &id, reject).await.unwrap();
    let changes = Decide { verdict: Verdict::RequestChanges, ..reject(&shown.call) };
    assert!(matches!(ben.decide(&id, changes).await, Err(ReviewError::Settled(_))));
    let Err(ReviewError::Settled(as_it_is)) = ben.decide(&id, approve(&shown.call)).await else { panic!("two decisions counted") };
    assert_eq!(as_it_is.to_json()["decisions"][0]["by"], "ann@example.org");
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn two_decisions_at_the_same_moment_have_one_winner() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let ben = desk.reviewer("ben@example.org", Role::Reviewer, &[]).await;
    for round in 0..20 {
        let seat = desk.seat("send_dm", &format!(r#"{{"to":"@bob","text":"{round}"}}"#)).await;
        let id = seat.call().clone();
        ann.read(&id).await.unwrap();
        let shown = ben.read(&id).await.unwrap().call;
        let (yes, no) = tokio::join!(ann.decide(&id, approve(&shown)), ben.decide(&id, reject(&shown)));
        assert_eq!(usize::from(yes.is_ok()) + usize::from(no.is_ok()), 1);
    }
}

#[tokio::test]
async fn a_decision_needs_the_text_that_was_shown_and_all_of_it() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_dm", DM).await;
    let call = desk.call(seat.call()).await;
    assert!(matches!(ann.decide(&call.id, approve(&call)).await, Err(ReviewError::NotShown)));
    ann.read(&call.id).await.unwrap();
    let other = Decide { digest: paraph::domain::digest::Digest::claimed("sha256:00"), ..approve(&call) };
    assert!(matches!(ann.decide(&call.id, other).await, Err(ReviewError::Stale(_))));
    let old = Decide { version: 7, ..approve(&call) };
    assert!(matches!(ann.decide(&call.id, old).await, Err(ReviewError::Stale(_))));
    for invisible in ["  ", " \u{200b} ", "\u{2063}\u{ad}"] {
        let silent = Decide { reason: Some(invisible.into()), ..reject(&call) };
        assert!(matches!(ann.decide(&call.id, silent).await, Err(ReviewError::Incomplete(_))));
    }
    assert!(ann.decide(&call.id, approve(&call)).await.is_ok());
}

#[tokio::test]
async fn a_rule_that_asks_for_two_people_is_not_content_with_one_twice() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let ben = desk.reviewer("ben@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_pair", DM).await;
    let id = seat.call().clone();
    for _ in 0..2 {
        read_and_decide(&ann, &id, approve).await.unwrap();
        assert_eq!(desk.call(&id).await.state.word(), "held");
    }
    assert_eq!(desk.call(&id).await.version, 1);
    read_and_decide(&ben, &id, approve).await.unwrap();
    desk.until(&id, "answered").await;
    assert_eq!(desk.upstream.count(DM), 1);
}

#[tokio::test]
async fn the_owner_never_decides_where_a_rule_asks_for_two() {
    let desk = Desk::new().await;
    let token = desk.gate.add_agent(NewAgent { name: "owned".into(), owner: Some("Ann@example.org".into()), ..NewAgent::default() }).await.unwrap();
    let agent = desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let seat = |tool| Ask { agent: agent.clone(), ..desk.ask_of(tool, DM) };
    let Admission::Waiting(pair) = desk.gate.admit(seat("send_pair")).await.unwrap() else { panic!("not held") };
    assert!(matches!(read_and_decide(&ann, pair.call(), approve).await, Err(ReviewError::NotEntitled(_))));
    let Admission::Waiting(single) = desk.gate.admit(seat("send_dm")).await.unwrap() else { panic!("not held") };
    read_and_decide(&ann, single.call(), approve).await.unwrap();
}

#[tokio::test]
async fn a_call_for_another_group_does_not_exist_for_a_reviewer_and_an_auditor_decides_nothing() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &["sales"]).await;
    let dan = desk.reviewer("dan@example.org", Role::Reviewer, &["desk"]).await;
    let aud = desk.reviewer("aud@example.org", Role::Auditor, &[]).await;
    let seat = desk.seat("send_desk", DM).await;
    let id = seat.call().clone();
    assert!(matches!(read_and_decide(&ann, &id, approve).await, Err(ReviewError::NotFound)));
    assert!(matches!(read_and_decide(&aud, &id, approve).await, Err(ReviewError::NotEntitled(_))));
    read_and_decide(&dan, &id, approve).await.unwrap();
}

#[tokio::test]
async fn a_send_that_never_left_is_tried_again_and_one_that_vanished_is_not() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    *desk.upstream.mood.lock().unwrap() = Mood::NeverReached;
    let seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    let waits = async {
        loop {
            if matches!(desk.call(&id).await.state, State::Approved { tries: 1, .. }) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("the send was tried");
    *desk.upstream.mood.lock().unwrap() = Mood::Vanishes;
    desk.later(Duration::from_secs(2)).await;
    desk.until(&id, "unconfirmed").await;
    desk.later(HOUR).await;
    let mut again = desk.seat("send_dm", DM).await;
    assert_eq!(notice(again.settled().await.unwrap()).text, "UNKNOWN whether it was sent. Do not send it again; a person is checking.");
    assert_eq!((again.call(), desk.upstream.count(DM)), (&id, 1));
}

#[tokio::test]
async fn a_tool_error_is_an_answer_and_is_handed_over_unchanged() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    *desk.upstream.mood.lock().unwrap() = Mood::ToolError;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    let Delivery::Result { body, .. } = seat.settled().await.unwrap() else { panic!("no result") };
    assert_eq!(body, r#"{"content":[],"isError":true}"#);
    assert_eq!(ann.look(&id).await.unwrap().to_json()["outcome"]["kind"], "tool_error");
}

#[tokio::test]
async fn what_was_sending_when_the_process_died_is_unconfirmed_and_never_sent_by_itself() {
    let desk = Desk::new().await;
    let seat = desk.seat("send_dm", DM).await;
    let call = desk.call(seat.call()).await;
    drop(seat);
    let now = desk.clock.now();
    let approved = call.after(&paraph::domain::call::Event::Approve { release_at: now + HOUR, send_by: now + 2 * HOUR }, now).unwrap();
    let mut sending = approved.after(&paraph::domain::call::Event::Send, now + HOUR).unwrap();
    for (revision, written) in [(2, approved), (3, sending.clone())] {
        let fact =
            paraph::domain::audit::Fact { kind: "call.sending", call: Some(call.id.clone()), actor: "paraph".into(), data: serde_json::json!({}).into() };
        desk.store.commit(paraph::store::Change::of_call(now, Call { revision, ..written }, fact)).await.unwrap();
    }
    sending.revision = 3;
    desk.gate.close(Duration::from_secs(5)).await;
    let gate = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone());
    assert_eq!(gate.recover().await.unwrap(), 1);
    assert_eq!(desk.call(&call.id).await.state.word(), "unconfirmed");
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn revoking_the_agent_withdraws_its_calls_and_ends_its_token() {
    let desk = Desk::new().await;
    let mut seat = desk.seat("send_dm", DM).await;
    assert_eq!(desk.gate.revoke_agent("bot").await.unwrap(), 1);
    assert_eq!(notice(seat.settled().await.unwrap()).meta["state"], "withdrawn");
    assert!(desk.gate.revoke_agent("bot").await.is_err());
}

#[tokio::test]
async fn a_denied_call_names_the_rule_a_hidden_one_does_not_exist_and_an_allowed_one_goes_through_once() {
    let desk = Desk::new().await;
    let Admission::Refused(no) = desk.admit("delete_account", "{}").await else { panic!("not denied") };
    assert_eq!(no.text, "NOT DONE. Rule default refuses this. Do not try another tool or wording.");
    assert!(matches!(desk.admit("hidden_tool", "{}").await, Admission::Unknown));
    for tool in ["read_inbox", "write_note"] {
        let Admission::Allowed(pass) = desk.admit(tool, "{}").await else { panic!("not allowed") };
        pass.send(None, Default::default()).await;
    }
    assert_eq!(desk.upstream.count("{}"), 2);
    desk.gate.close(Duration::from_secs(5)).await;
    let kinds = desk.verified_kinds().await;
    for (kind, times) in [("call.denied", 2), ("call.allowed", 2), ("call.ended", 2)] {
        assert_eq!(kinds.iter().filter(|k| *k == kind).count(), times, "{kind}");
    }
}

#[tokio::test]
async fn a_full_queue_is_a_clear_refusal_at_the_door_and_attaching_needs_no_room() {
    let mut settings = settings();
    settings.hold.max_held_per_agent = 1;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let first = desk.seat("send_dm", DM).await;
    let Admission::Refused(no) = desk.admit("send_dm", r#"{"to":"@eve","text":"x"}"#).await else { panic!("not refused") };
    assert_eq!(no.meta["state"], "limited");
    assert!(no.meta["retryAfterMs"].as_u64().is_some_and(|ms| ms > 0));
    assert_eq!(desk.seat("send_dm", DM).await.call(), first.call());
}

#[tokio::test]
async fn an_answer_that_comes_when_time_is_up_is_not_told_as_pending() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut seat = desk.seat("send_dm", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    desk.until(&id, "answered").await;
    assert!(matches!(seat.time_is_up().await.unwrap(), TimeIsUp::Settled(Delivery::Result { .. })));
}

#[tokio::test]
async fn from_the_third_pending_answer_on_the_agent_is_told_to_stop() {
    let desk = Desk::new().await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        let mut seat = desk.seat("send_dm", DM).await;
        let TimeIsUp::Pending(notice) = seat.time_is_up().await.unwrap() else { panic!("nobody decided") };
        texts.push(notice.text);
    }
    assert!(texts[0].starts_with("NOT SENT YET. A person must approve this (c_") && texts[0] == texts[1], "{texts:?}");
    assert_eq!(texts[2], "STILL WAITING. Stop calling. Tell the user it awaits approval and go on with other work.");
}

#[tokio::test]
async fn held_calls_survive_a_restart_over_sled_and_can_be_approved_then() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = OnSled::open(&data, &SledSettings::default()).unwrap();
    let desk = Desk::over(Arc::new(store.clone()), settings()).await;
    let ids: Vec<CallId> = {
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(desk.seat("send_dm", &format!(r#"{{"to":"@bob","text":"{n}"}}"#)).await.call().clone());
        }
        ids
    };
    desk.gate.close(Duration::from_secs(5)).await;
    let (clock, upstream) = (desk.clock.clone(), desk.upstream.clone());
    drop(desk);
    store.close().await;
    drop(store);
    let store: Arc<dyn Store> = Arc::new(OnSled::open(&data, &SledSettings::default()).unwrap());
    let gate = Gate::open(store.clone(), upstream.clone(), clock.clone(), settings());
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    gate.add_person("ann@example.org", None, Vec::new(), Role::Operator).await.unwrap();
    let token = gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
    let ann = gate.by_api_token(&token).await.unwrap().unwrap();
    let mut hints = gate.watch();
    for id in &ids {
        read_and_decide(&ann, id, approve).await.unwrap();
    }
    for id in &ids {
        while store.call(id).await.unwrap().unwrap().state.word() != "answered" {
            tokio::time::timeout(Duration::from_secs(20), hints.recv()).await.expect("the call is released").ok();
        }
    }
    assert_eq!(upstream.sent.lock().unwrap().values().copied().collect::<Vec<_>>(), [1; 5]);
}
