//! People and agents over a call's life: tokens that are replaced, rights that are taken away, owners, rules that ask
//! for people who are not there.

use super::*;
use crate::faulty::store::{FaultyStore, OnCommit};
use paraph::gate::agents::{AgentEdit, OLD_TOKEN_FOR};
use paraph::gate::letters::{About, Skip};
use paraph::gate::people::{PeopleError, PersonEdit};
use paraph::gate::registrar::RegistrarError;
use paraph::gate::signin::{Arrival, Opened};
use paraph::store::Kind;

fn groups(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|&name| name.to_owned()).collect())
}

#[tokio::test]
async fn after_a_rotation_both_tokens_count_for_an_hour_and_a_second_one_ends_the_oldest_at_once() {
    let desk = Desk::new().await;
    let first = desk.gate.add_agent(NewAgent { name: "two".into(), ..NewAgent::default() }).await.unwrap();
    let counts = |token: String| {
        let gate = desk.gate.clone();
        async move { gate.agent_by_token(&token).await.unwrap().is_some() }
    };
    let second = desk.gate.registrar().rotate_agent("two").await.unwrap();
    assert!(counts(first.clone()).await && counts(second.clone()).await);
    let third = desk.gate.registrar().rotate_agent("two").await.unwrap();
    assert!(!counts(first.clone()).await, "there is at most one old token");
    assert!(counts(second.clone()).await && counts(third.clone()).await);
    desk.later(OLD_TOKEN_FOR - Duration::from_secs(1)).await;
    assert!(counts(second.clone()).await);
    desk.later(Duration::from_secs(1)).await;
    assert!(!counts(second).await && counts(third.clone()).await);
    desk.gate.revoke_agent("two").await.unwrap();
    assert!(!counts(third).await);
    let gone = desk.gate.registrar().rotate_agent("two").await;
    assert!(matches!(gone, Err(RegistrarError::People(PeopleError::Unknown { .. }))));
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "agent.rotated").count(), 2);
}

#[tokio::test]
async fn a_rotation_does_not_make_a_token_live_longer_than_it_was_given() {
    let desk = Desk::new().await;
    let new = NewAgent { name: "short".into(), expires_in: Some(Duration::from_secs(600)), ..NewAgent::default() };
    let first = desk.gate.add_agent(new).await.unwrap();
    let second = desk.gate.registrar().rotate_agent("short").await.unwrap();
    desk.later(Duration::from_secs(600)).await;
    for token in [first, second] {
        assert!(desk.gate.agent_by_token(&token).await.unwrap().is_none());
    }
    assert!(desk.gate.registrar().rotate_agent("short").await.is_err(), "an expired agent gets no new token");
}

#[tokio::test]
async fn when_a_token_was_last_used_is_listed_at_once_and_written_at_most_every_five_minutes() {
    let desk = Desk::new().await;
    let token = desk.gate.add_agent(NewAgent { name: "two".into(), ..NewAgent::default() }).await.unwrap();
    let listed = || async { desk.gate.listed_agents().await.unwrap().into_iter().find(|listed| listed.agent.name == "two").unwrap().used_at };
    let secret = paraph::domain::digest::Digest::of_bytes(token.as_bytes());
    let written = || async {
        match desk.store.row(Kind::Credential, secret.as_str()).await.unwrap() {
            Some(paraph::store::Row::Credential(credential)) => credential.used_at,
            _ => panic!("the token's row is gone"),
        }
    };
    assert_eq!(listed().await, None);
    let entries = desk.store.head().await.unwrap().seq;
    desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    let first = desk.clock.now();
    assert_eq!((listed().await, written().await), (Some(first), None), "no request waits for a write");
    desk.gate.write_uses().await;
    assert_eq!(written().await, Some(first));
    desk.clock.advance(Duration::from_secs(299));
    desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    desk.gate.write_uses().await;
    assert_eq!((listed().await, written().await), (Some(desk.clock.now()), Some(first)), "within five minutes nothing is written again");
    desk.clock.advance(Duration::from_secs(1));
    desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    desk.gate.write_uses().await;
    assert_eq!(written().await, Some(desk.clock.now()));
    assert_eq!(desk.store.head().await.unwrap().seq, entries, "a use is no fact of its own");
    desk.gate.agent_by_token("pa_unknown").await.unwrap();
    desk.verified_kinds().await;
}

#[tokio::test]
async fn uses_are_written_when_the_gate_closes() {
    let desk = Desk::new().await;
    let token = desk.gate.add_agent(NewAgent { name: "two".into(), ..NewAgent::default() }).await.unwrap();
    desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    desk.gate.close(HOUR).await;
    let secret = paraph::domain::digest::Digest::of_bytes(token.as_bytes());
    let row = desk.store.row(Kind::Credential, secret.as_str()).await.unwrap();
    assert!(matches!(row, Some(paraph::store::Row::Credential(credential)) if credential.used_at.is_some()));
}

#[tokio::test]
async fn who_leaves_the_group_or_may_only_read_takes_their_unsent_approvals_along() {
    for (edit, told) in [
        (PersonEdit { role: Some(Role::Auditor), ..PersonEdit::default() }, "an auditor decides nothing"),
        (PersonEdit { groups: groups(&["sales"]), ..PersonEdit::default() }, "the rule asks for the desk"),
    ] {
        let mut settings = settings();
        settings.hold.undo = HOUR;
        let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
        let ann = desk.reviewer("ann@example.org", Role::Reviewer, &["desk"]).await;
        let seat = desk.seat("send_desk", DM).await;
        let id = seat.call().clone();
        let free = desk.seat("send_pair", DM).await;
        read_and_decide(&ann, free.call(), approve).await.unwrap();
        read_and_decide(&ann, &id, approve).await.unwrap();
        assert_eq!(desk.call(&id).await.state.word(), "approved");
        desk.gate.registrar().set_person("ann@example.org", edit).await.unwrap();
        let call = desk.call(&id).await;
        assert_eq!((call.state.word(), call.approved_by().count()), ("held", 0), "{told}");
        let pair = desk.call(free.call()).await.approved_by().count();
        assert_eq!(pair, usize::from(told.contains("desk")), "an approval that may still count stays: {told}");
        // The handle is from before the change: its rights are those of now.
        assert!(matches!(read_and_decide(&ann, &id, approve).await, Err(ReviewError::NotFound | ReviewError::NotEntitled(_))), "{told}");
        desk.verified_kinds().await;
    }
}

#[tokio::test]
async fn a_change_that_takes_no_right_away_takes_nothing_back() {
    let mut settings = settings();
    settings.hold.undo = HOUR;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &["desk"]).await;
    let seat = desk.seat("send_desk", DM).await;
    read_and_decide(&ann, seat.call(), approve).await.unwrap();
    let edit = PersonEdit { name: Some(Some("Ann Abel".into())), groups: groups(&["desk", "sales"]), ..PersonEdit::default() };
    desk.gate.registrar().set_person("ann@example.org", edit).await.unwrap();
    assert_eq!(desk.call(seat.call()).await.state.word(), "approved");
}

#[tokio::test]
async fn who_becomes_the_owner_loses_the_approval_they_gave_where_two_are_needed_and_only_there() {
    let mut settings = settings();
    settings.hold.undo = HOUR;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let ben = desk.reviewer("ben@example.org", Role::Reviewer, &[]).await;
    let (pair, done, single) = (desk.seat("send_pair", DM).await, desk.seat("send_pair", r#"{"to":"@x"}"#).await, desk.seat("send_dm", DM).await);
    for seat in [&pair, &done, &single] {
        read_and_decide(&ann, seat.call(), approve).await.unwrap();
    }
    read_and_decide(&ben, done.call(), approve).await.unwrap();
    assert_eq!(desk.call(done.call()).await.state.word(), "approved");
    let edit = AgentEdit { owner: Some(Some("Ann@Example.org".into())), ..AgentEdit::default() };
    let agent = desk.gate.registrar().set_agent("bot", edit).await.unwrap();
    assert_eq!(agent.owner.as_deref(), Some("ann@example.org"));
    assert_eq!(desk.call(pair.call()).await.approved_by().count(), 0);
    assert_eq!((desk.call(done.call()).await.state.word(), desk.call(done.call()).await.approved_by().count()), ("held", 1));
    assert_eq!(desk.call(single.call()).await.state.word(), "approved");
    assert!(matches!(read_and_decide(&ann, done.call(), approve).await, Err(ReviewError::NotEntitled(_))));
    // Another owner, and the first one may decide again.
    let edit = AgentEdit { owner: Some(Some("ben@example.org".into())), ..AgentEdit::default() };
    desk.gate.registrar().set_agent("bot", edit).await.unwrap();
    read_and_decide(&ann, pair.call(), approve).await.unwrap();
}

#[tokio::test]
async fn an_approval_by_somebody_who_may_not_give_it_any_more_never_lets_a_call_out() {
    let mut settings = settings();
    settings.hold.undo = HOUR;
    let desk = Desk::over(Arc::new(InMemory::default()), settings).await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &["desk"]).await;
    let seat = desk.seat("send_desk", DM).await;
    let id = seat.call().clone();
    read_and_decide(&ann, &id, approve).await.unwrap();
    // As after a crash in the middle: the role is written and nothing was taken back.
    let Some(paraph::store::Row::Person(person)) = desk.store.row(Kind::Person, "ann@example.org").await.unwrap() else { panic!("no Ann") };
    let next = paraph::domain::people::Person { revision: person.revision + 1, role: Role::Auditor, ..person };
    let change = paraph::store::Change { rows: vec![paraph::store::Row::Person(next)], ..paraph::store::Change::of_facts(desk.clock.now(), Vec::new()) };
    desk.store.commit(change).await.unwrap();
    desk.later(HOUR).await;
    let call = desk.until(&id, "held").await;
    assert_eq!(call.approved_by().count(), 0);
    assert_eq!(desk.upstream.count(DM), 0);
}

#[tokio::test]
async fn an_agent_that_loses_a_server_has_its_calls_there_withdrawn() {
    let desk = Desk::new().await;
    let mut seat = desk.seat("send_dm", DM).await;
    let edit = AgentEdit { servers: groups(&["other"]), ..AgentEdit::default() };
    desk.gate.registrar().set_agent("bot", edit).await.unwrap();
    assert_eq!(notice(seat.settled().await.unwrap()).meta["state"], "withdrawn");
    let back = AgentEdit { servers: groups(&[]), shown: Some(1), ..AgentEdit::default() };
    assert_eq!(desk.gate.registrar().set_agent("bot", back).await.err(), Some(RegistrarError::Changed));
}

#[tokio::test]
async fn the_last_operator_is_neither_disabled_nor_demoted_and_of_two_demotions_at_once_one_is_first() {
    let store = FaultyStore::over(Arc::new(InMemory::default()));
    let desk = Desk::over(store.clone(), settings()).await;
    let olga = desk.reviewer("olga@example.org", Role::Operator, &[]).await;
    let demote = || PersonEdit { role: Some(Role::Reviewer), ..PersonEdit::default() };
    let last = Some(RegistrarError::People(PeopleError::LastOperator));
    assert_eq!(desk.gate.registrar().set_person("olga@example.org", demote()).await.err(), last);
    assert_eq!(olga.registrar().unwrap().disable_person("olga@example.org", None).await.err(), last);
    desk.reviewer("oto@example.org", Role::Operator, &[]).await;
    // Both are read before either is written.
    store.every("person.changed", OnCommit::Late(Duration::from_millis(20)));
    let (one, other) = (desk.gate.registrar(), desk.gate.registrar());
    let both = tokio::join!(one.set_person("oto@example.org", demote()), other.set_person("olga@example.org", demote()));
    let people = desk.gate.people().await.unwrap();
    let operators = people.iter().filter(|person| person.role == Role::Operator).count();
    assert_eq!(operators, 1, "{both:?}");
    assert!(both.0.is_ok() != both.1.is_ok() && [both.0.err(), both.1.err()].contains(&last));
}

#[tokio::test]
async fn an_operator_who_was_demoted_meanwhile_changes_nothing() {
    let desk = Desk::new().await;
    desk.reviewer("olga@example.org", Role::Operator, &[]).await;
    let oto = desk.reviewer("oto@example.org", Role::Operator, &[]).await;
    let registrar = oto.registrar().unwrap();
    desk.gate.registrar().set_person("oto@example.org", PersonEdit { role: Some(Role::Reviewer), ..PersonEdit::default() }).await.unwrap();
    let new = NewAgent { name: "backdoor".into(), ..NewAgent::default() };
    assert_eq!(registrar.add_agent(new).await.err(), Some(RegistrarError::Changed));
    assert_eq!(registrar.revoke_agent("bot").await.err(), Some(RegistrarError::Changed));
    assert_eq!(desk.gate.agents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_let_a_disabled_person_in_stays_gone_when_they_are_let_in_again() {
    let desk = Desk::new().await;
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let (token, link) = (desk.gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap(), desk.gate.make_link("ann@example.org").await.unwrap());
    let session = signed_in(&desk.gate, &desk.gate.make_link("ann@example.org").await.unwrap()).await;
    desk.gate.disable_person("ann@example.org").await.unwrap();
    desk.gate.registrar().enable_person("ann@example.org").await.unwrap();
    assert!(desk.gate.by_api_token(&token).await.unwrap().is_none() && desk.gate.by_session(&session).await.unwrap().is_none());
    assert!(!desk.gate.link_is_good(&link).await.unwrap());
    signed_in(&desk.gate, &desk.gate.make_link("ann@example.org").await.unwrap()).await;
    assert!(desk.gate.registrar().enable_person("ann@example.org").await.is_err(), "she is not disabled");
}

#[tokio::test]
async fn signing_somebody_out_ends_sessions_and_links_and_leaves_tokens() {
    let desk = Desk::new().await;
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let token = desk.gate.make_api_token("ann@example.org", "test", HOUR).await.unwrap();
    let mut links = Vec::new();
    for _ in 0..70 {
        links.push(desk.gate.make_link("ann@example.org").await.unwrap());
    }
    let session = signed_in(&desk.gate, &links[0]).await;
    assert_eq!(desk.gate.registrar().sign_out_person("ann@example.org").await.unwrap(), 70);
    assert!(desk.gate.by_session(&session).await.unwrap().is_none() && !desk.gate.link_is_good(&links[9]).await.unwrap());
    assert!(desk.gate.by_api_token(&token).await.unwrap().is_some());
    let [first, second] = desk.gate.api_tokens("ann@example.org").await.unwrap().try_into().unwrap();
    let id = if paraph::domain::digest::Digest::of_bytes(token.as_bytes()) == first.secret { first.id() } else { second.id() }.to_owned();
    desk.gate.registrar().revoke_token("ann@example.org", &id).await.unwrap();
    assert!(desk.gate.by_api_token(&token).await.unwrap().is_none());
    assert!(desk.gate.registrar().revoke_token("ann@example.org", &id).await.is_err());
}

#[tokio::test]
async fn a_rule_with_too_few_people_is_named_and_its_mail_goes_to_operators_too() {
    let desk = Desk::new().await;
    desk.reviewer("olga@example.org", Role::Operator, &[]).await;
    let told = || async {
        let outbox = desk.gate.outbox(100, &Skip::default()).await.unwrap();
        let letter = outbox.due.into_iter().next_back().unwrap();
        assert!(matches!(letter.about, About::Call(_)));
        let mut to: Vec<String> = letter.to.into_iter().map(|person| person.email.split('@').next().unwrap().to_owned()).collect();
        to.sort();
        to
    };
    let gaps = || async { desk.gate.gaps().await.unwrap().into_iter().map(|(_, gap)| (gap.rule, gap.able, gap.agent)).collect::<Vec<_>>() };
    assert_eq!(gaps().await, [("two-people".to_owned(), 1, None), ("only-desk".to_owned(), 0, None)]);
    let _lonely = desk.seat("send_desk", DM).await;
    assert_eq!(told().await, ["olga"]);
    desk.reviewer("ann@example.org", Role::Reviewer, &["desk"]).await;
    desk.reviewer("aud@example.org", Role::Auditor, &["desk"]).await;
    assert_eq!(gaps().await, []);
    assert_eq!(told().await, ["ann"], "the rule's own people are enough");
    desk.gate.registrar().set_agent("bot", AgentEdit { owner: Some(Some("ann@example.org".into())), ..AgentEdit::default() }).await.unwrap();
    assert_eq!(gaps().await, [("two-people".to_owned(), 1, Some("bot".to_owned()))]);
}

#[tokio::test]
async fn the_owner_gets_no_mail_about_a_call_that_they_may_not_decide_and_operators_do() {
    let desk = Desk::new().await;
    desk.reviewer("olga@example.org", Role::Operator, &[]).await;
    desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    desk.gate.registrar().set_agent("bot", AgentEdit { owner: Some(Some("ann@example.org".into())), ..AgentEdit::default() }).await.unwrap();
    let _pair = desk.seat("send_pair", DM).await;
    let outbox = desk.gate.outbox(10, &Skip::default()).await.unwrap();
    assert_eq!(outbox.due[0].to.iter().map(|person| person.email.as_str()).collect::<Vec<_>>(), ["olga@example.org"]);
}

#[tokio::test]
async fn names_that_nobody_can_read_are_refused_and_addresses_differ_by_more_than_their_case() {
    let desk = Desk::new().await;
    let registrar = desk.gate.registrar();
    let long = "x".repeat(101);
    for name in ["a\u{202e}b", "a\nb", "a\u{0}", "p\u{430}ypal", long.as_str()] {
        let refused = registrar.add_person("ann@example.org", Some(name.into()), Vec::new(), Role::Reviewer).await;
        assert!(matches!(refused, Err(RegistrarError::People(PeopleError::BadName(_)))), "{name:?}");
        let refused = registrar.add_person("ann@example.org", None, vec![name.into()], Role::Reviewer).await;
        assert!(matches!(refused, Err(RegistrarError::People(PeopleError::BadName(_)))), "{name:?}");
    }
    for group in ["", " ", "a,b"] {
        assert!(registrar.add_person("ann@example.org", None, vec![group.into()], Role::Reviewer).await.is_err(), "{group:?}");
    }
    for email in ["ann\u{430}@example.org", "\u{212a}@example.org", "ann @example.org", "ann@b@c", "ann@example.org\u{0}", "a<b@example.org", "-oQ@example.org"]
    {
        assert!(registrar.add_person(email, None, Vec::new(), Role::Reviewer).await.is_err(), "{email:?}");
    }
    let anna = registrar.add_person("ann@example.org", Some(" \u{410}\u{43d}\u{43d}\u{430} ".into()), vec!["desk".into(), "desk".into()], Role::Reviewer).await;
    let anna = anna.unwrap();
    assert_eq!((anna.name.as_deref(), anna.groups.len()), (Some("\u{410}\u{43d}\u{43d}\u{430}"), 1), "a name in one script is a name");
    let twice = registrar.add_person(" ANN@Example.ORG", None, Vec::new(), Role::Reviewer).await;
    assert!(matches!(twice, Err(RegistrarError::People(PeopleError::Exists { .. }))));
    for name in ["", ".", "..", "a b", "a/b", "\u{430}"] {
        assert!(registrar.add_agent(NewAgent { name: name.into(), ..NewAgent::default() }).await.is_err(), "{name:?}");
    }
}

/// The cookie that a link opens.
async fn signed_in(gate: &Gate, link: &str) -> String {
    match gate.redeem_link(link, &Arrival::default()).await.unwrap() {
        Some(Opened::In(session)) => session.secret,
        other => panic!("the link did not let anybody in: {other:?}"),
    }
}
