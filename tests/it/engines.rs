//! One suite for every engine: what `Store` promises, and for the engine that keeps, that it still holds after
//! the store was closed and opened again. A random run then compares the engines with each other.

use jiff::Timestamp;
use paraph::domain::audit::{self, Entry, Fact, Head};
use paraph::domain::call::{Call, CallId, Event, Outcome, OutcomeKind, State, Terms};
use paraph::domain::digest::Digest;
use paraph::domain::letter::{Letter, Occasion};
use paraph::domain::message::Message;
use paraph::domain::people::{Agent, Credential, CredentialKind, Person, Role};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, OpenError, Settings};
use paraph::store::{CallWrite, Change, CommitError, Hint, Kind, Page, Query, Room, Row, Store, StoreError};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An engine to test, and how to open it again.
struct Bench {
    folder: Option<tempfile::TempDir>,
    store: Option<Arc<dyn Store>>,
}

impl Bench {
    fn in_memory() -> Bench {
        Bench { folder: None, store: Some(Arc::new(InMemory::new())) }
    }

    fn on_sled() -> Bench {
        let mut bench = Bench { folder: Some(tempfile::tempdir().unwrap()), store: None };
        bench.reopen();
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("data")
    }

    /// Closes and opens; nothing for an engine that keeps nothing.
    fn reopen(&mut self) {
        if self.folder.is_some() {
            self.store = None;
            self.store = Some(Arc::new(open(&self.path()).unwrap()));
        }
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().unwrap()
    }
}

fn open(path: &Path) -> Result<OnSled, OpenError> {
    OnSled::open(path, &Settings { cache_bytes: 8 * 1024 * 1024, ..Settings::default() })
}

macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            use super::Bench;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name(Bench::in_memory()).await; })*
        }
        mod on_sled {
            use super::Bench;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name(Bench::on_sled()).await; })*
        }
    };
}

on_every_engine![
    a_call_comes_back_whole_and_unknown_ones_are_absent,
    a_revision_that_is_not_the_next_one_is_a_conflict_and_writes_nothing,
    of_two_writers_with_the_same_revision_one_wins,
    an_identical_call_that_was_not_seen_is_a_conflict,
    room_for_held_calls_is_bounded_in_total_and_for_the_agent,
    rows_follow_their_revisions_and_are_listed_by_key,
    a_row_that_is_not_there_cannot_be_taken_away,
    a_one_time_link_that_is_redeemed_twice_at_once_lets_one_in,
    one_refused_part_refuses_the_whole_change,
    a_record_named_twice_in_one_change_is_a_conflict,
    pages_go_both_ways_without_a_gap_or_a_repeat,
    a_page_is_of_the_asked_states_agents_servers_and_groups,
    a_cursor_that_is_none_of_ours_ends_the_listing,
    due_calls_come_earliest_first_with_the_next_deadline,
    a_call_leaves_the_index_of_its_old_state_and_deadline,
    a_mebibyte_of_arguments_comes_back_byte_for_byte,
    long_texts_survive_every_later_revision,
    long_rows_and_facts_come_back_and_can_be_replaced,
    sixty_four_commits_at_once_are_all_kept_and_chained,
    the_chain_has_the_change_s_time_and_verifies_to_its_head,
    a_hint_follows_the_change_and_facts_alone_give_none,
];

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

fn fact(kind: &'static str) -> Fact {
    Fact { kind, call: None, actor: "paraph".into(), data: json!({ "n": 1, "share": 0.25 }) }
}

fn call(number: u32, agent: &str) -> Call {
    let asked = Digest::of_call("mail", "send", &json!({ "n": number }));
    Call {
        id: CallId(format!("c_{number:032x}")),
        revision: 1,
        version: 1,
        state: State::Held { expires_at: ms(1_000_000 + i64::from(number)) },
        server: "mail".into(),
        tool: "send".into(),
        agent: agent.into(),
        arguments: format!("{{\"n\":{number}}}"),
        digest: asked.clone(),
        asked_digest: asked,
        rule: "ask".into(),
        reason: Some("outside".into()),
        reviewers: Vec::new(),
        approvals: 1,
        message: None,
        meta_dropped: false,
        trace: vec![("traceparent".into(), "00-1-2-00".into())],
        held_at: ms(i64::from(number)),
        terms: Terms { expires_in: Duration::from_secs(900), undo: Duration::from_secs(5), permit_for: Duration::from_secs(60) },
        cancelled: false,
        delivered: false,
        decisions: Vec::new(),
        views: Vec::new(),
    }
}

fn person(email: &str, revision: u64, name: &str) -> Row {
    Row::Person(Person {
        email: email.into(),
        revision,
        name: Some(name.into()),
        groups: vec!["sales".into()],
        role: Role::Reviewer,
        disabled_at: None,
        added_at: ms(0),
    })
}

fn agent(name: &str, revision: u64) -> Row {
    Row::Agent(Agent {
        name: name.into(),
        revision,
        token: Digest::of_bytes(name.as_bytes()),
        servers: Vec::new(),
        owner: None,
        keep_open: Some(Duration::from_secs(50)),
        added_at: ms(0),
        expires_at: None,
        revoked_at: None,
    })
}

fn link(secret: &str) -> Row {
    Row::Credential(Credential {
        secret: Digest::of_bytes(secret.as_bytes()),
        revision: 1,
        kind: CredentialKind::Link,
        email: "ana@example.com".into(),
        made_at: ms(0),
        expires_at: ms(900_000),
    })
}

fn letter(id: &str, revision: u64) -> Row {
    Row::Letter(Letter {
        id: id.into(),
        revision,
        call: CallId("c_1".into()),
        occasion: Occasion::Held,
        written_at: ms(0),
        attempts: u32::try_from(revision).unwrap(),
        next_at: ms(1),
        delivered_to: Vec::new(),
    })
}

fn hold(call: Call) -> Change {
    Change::of_call(ms(0), call, fact("call.held"))
}

async fn put(store: &Arc<dyn Store>, call: Call) -> Call {
    store.commit(hold(call.clone())).await.unwrap();
    call
}

async fn put_row(store: &Arc<dyn Store>, row: Row) -> Result<Head, CommitError> {
    store.commit(Change::of_row(ms(0), row, fact("row.put"))).await
}

fn take_away(kind: Kind, key: &str) -> Change {
    Change { removed: vec![(kind, key.to_owned())], ..Change::of_facts(ms(0), vec![fact("row.removed")]) }
}

fn ids(page: &Page) -> Vec<&str> {
    page.calls.iter().map(|call| call.id.as_str()).collect()
}

/// Follows the cursors to the end.
async fn walk(store: &Arc<dyn Store>, query: &Query) -> Vec<Call> {
    let mut query = query.clone();
    let mut all = Vec::new();
    for _ in 0..1_000 {
        let page = store.calls(&query).await.unwrap();
        assert!(page.calls.len() <= query.limit);
        all.extend(page.calls);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
    panic!("the cursors do not end");
}

async fn verified(store: &Arc<dyn Store>) -> Vec<Entry> {
    let entries = store.entries(1, 10_000).await.unwrap();
    let head = entries.iter().try_fold(Head::default(), |head, entry| audit::follow(&head, entry)).unwrap();
    assert_eq!(head, store.head().await.unwrap());
    entries
}

async fn a_call_comes_back_whole_and_unknown_ones_are_absent(mut bench: Bench) {
    let mut held = call(1, "bot");
    held.message =
        Some(Message { to: "ana".into(), text: "hallo \u{202e}".into(), to_pointer: "/to".into(), text_pointer: "/text".into(), guessed: true });
    put(bench.store(), held.clone()).await;
    for _ in 0..2 {
        assert_eq!(bench.store().call(&held.id).await.unwrap(), Some(held.clone()));
        assert_eq!(bench.store().newest(&held.ask_key()).await.unwrap(), Some(held.clone()));
        assert_eq!(bench.store().call(&CallId("c_0".into())).await.unwrap(), None);
        assert_eq!(bench.store().newest(&call(2, "bot").ask_key()).await.unwrap(), None);
        bench.reopen();
    }
}

async fn a_revision_that_is_not_the_next_one_is_a_conflict_and_writes_nothing(bench: Bench) {
    let store = bench.store();
    let first = put(store, call(1, "bot")).await;
    for revision in [0, 1, 3, u64::MAX] {
        let stale = Call { revision, cancelled: true, ..first.clone() };
        assert_eq!(store.commit(hold(stale)).await, Err(CommitError::Conflict), "revision {revision}");
    }
    assert_eq!(store.commit(hold(Call { revision: 2, ..call(9, "bot") })).await, Err(CommitError::Conflict), "a new call starts at 1");
    assert_eq!(store.call(&first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(verified(store).await.len(), 1);
    store.commit(hold(first.touched())).await.unwrap();
    assert_eq!(store.call(&first.id).await.unwrap().unwrap().revision, 2);
}

async fn of_two_writers_with_the_same_revision_one_wins(bench: Bench) {
    let store = bench.store();
    for number in 0..20 {
        let held = put(store, call(number, "bot")).await;
        let approve = held.after(&Event::Approve { release_at: ms(5), send_by: ms(50) }, ms(1)).unwrap();
        let reject = held.after(&Event::Reject { reason: "no".into() }, ms(1)).unwrap();
        let (one, two) = tokio::join!(store.commit(hold(approve.clone())), store.commit(hold(reject.clone())));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert!([&one, &two].contains(&&Err(CommitError::Conflict)));
        assert_eq!(store.call(&held.id).await.unwrap(), Some(if one.is_ok() { approve } else { reject }));
    }
    assert_eq!(verified(store).await.len(), 40);
}

async fn an_identical_call_that_was_not_seen_is_a_conflict(mut bench: Bench) {
    let first = put(bench.store(), call(1, "bot")).await;
    bench.reopen();
    let store = bench.store();
    let again = |id: u32, after: Option<&CallId>| {
        let call = Call { id: CallId(format!("c_{id:032x}")), ..call(1, "bot") };
        let write = CallWrite { call, after: after.cloned(), room: None };
        Change { call: Some(write), ..Change::of_facts(ms(2), vec![]) }
    };
    assert_eq!(store.commit(again(2, None)).await, Err(CommitError::Conflict));
    assert_eq!(store.commit(again(2, Some(&CallId("c_other".into())))).await, Err(CommitError::Conflict));
    store.commit(again(2, Some(&first.id))).await.unwrap();
    assert_eq!(store.commit(again(3, Some(&first.id))).await, Err(CommitError::Conflict), "the second is the newest now");
    assert_eq!(store.newest(&first.ask_key()).await.unwrap().unwrap().id, CallId(format!("c_{:032x}", 2)));
    // A later revision of the older call does not make it the newest.
    store.commit(hold(first.touched())).await.unwrap();
    assert_eq!(store.newest(&first.ask_key()).await.unwrap().unwrap().id, CallId(format!("c_{:032x}", 2)));
    put(store, Call { agent: "other".into(), ..call(1, "bot") }.renamed(4)).await;
}

trait Renamed {
    fn renamed(self, number: u32) -> Self;
}

impl Renamed for Call {
    fn renamed(self, number: u32) -> Call {
        Call { id: CallId(format!("c_{number:032x}")), ..self }
    }
}

async fn room_for_held_calls_is_bounded_in_total_and_for_the_agent(mut bench: Bench) {
    let within = |number: u32, agent: &str| {
        let write = CallWrite { call: call(number, agent), after: None, room: Some(Room { total: 3, of_agent: 2 }) };
        Change { call: Some(write), ..Change::of_facts(ms(0), vec![fact("call.held")]) }
    };
    bench.store().commit(within(1, "a")).await.unwrap();
    bench.store().commit(within(2, "a")).await.unwrap();
    assert_eq!(bench.store().commit(within(3, "a")).await, Err(CommitError::Full { of_agent: true }));
    bench.store().commit(within(4, "b")).await.unwrap();
    bench.reopen();
    let store = bench.store();
    assert_eq!(store.held().await.unwrap(), 3);
    assert_eq!(store.commit(within(5, "b")).await, Err(CommitError::Full { of_agent: false }));
    assert_eq!(store.call(&call(5, "b").id).await.unwrap(), None);
    let settled = call(1, "a").after(&Event::Withdraw { why: "taken back".into() }, ms(1)).unwrap();
    store.commit(hold(settled)).await.unwrap();
    assert_eq!(store.held().await.unwrap(), 2);
    store.commit(within(6, "a")).await.unwrap();
    // The bound also holds for calls that ask in the same moment.
    let asks = (10..30).map(|number| store.commit(within(number, "c")));
    assert!(futures_util::future::join_all(asks).await.iter().all(|answer| *answer == Err(CommitError::Full { of_agent: false })));
    assert_eq!(store.held().await.unwrap(), 3);
}

async fn rows_follow_their_revisions_and_are_listed_by_key(mut bench: Bench) {
    for email in ["c@x.org", "a@x.org", "b@x.org"] {
        put_row(bench.store(), person(email, 1, "One")).await.unwrap();
    }
    put_row(bench.store(), agent("bot", 1)).await.unwrap();
    put_row(bench.store(), letter("l1", 1)).await.unwrap();
    put_row(bench.store(), link("s")).await.unwrap();
    assert_eq!(put_row(bench.store(), person("a@x.org", 1, "Two")).await, Err(CommitError::Conflict));
    assert_eq!(put_row(bench.store(), person("a@x.org", 3, "Two")).await, Err(CommitError::Conflict));
    put_row(bench.store(), person("a@x.org", 2, "Two")).await.unwrap();
    bench.reopen();
    let store = bench.store();
    let all = store.rows(Kind::Person, None, 10).await.unwrap();
    assert_eq!(all, [person("a@x.org", 2, "Two"), person("b@x.org", 1, "One"), person("c@x.org", 1, "One")]);
    assert_eq!(store.rows(Kind::Person, None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.rows(Kind::Person, Some("a@x.org"), 10).await.unwrap(), all[1..]);
    assert_eq!(store.rows(Kind::Person, Some("bb"), 10).await.unwrap(), all[2..], "the key behind which a page starts may be gone");
    assert_eq!(store.rows(Kind::Agent, None, 10).await.unwrap(), [agent("bot", 1)]);
    assert_eq!(store.row(Kind::Letter, "l1").await.unwrap(), Some(letter("l1", 1)));
    assert_eq!(store.row(Kind::Agent, "a@x.org").await.unwrap(), None, "kinds do not share keys");
    assert_eq!(store.row(Kind::Credential, link("s").key()).await.unwrap(), Some(link("s")));
}

async fn a_row_that_is_not_there_cannot_be_taken_away(mut bench: Bench) {
    assert_eq!(bench.store().commit(take_away(Kind::Letter, "l1")).await, Err(CommitError::Conflict));
    put_row(bench.store(), letter("l1", 1)).await.unwrap();
    assert_eq!(bench.store().commit(take_away(Kind::Agent, "l1")).await, Err(CommitError::Conflict));
    bench.store().commit(take_away(Kind::Letter, "l1")).await.unwrap();
    bench.reopen();
    assert_eq!(bench.store().row(Kind::Letter, "l1").await.unwrap(), None);
    assert_eq!(bench.store().commit(take_away(Kind::Letter, "l1")).await, Err(CommitError::Conflict));
    put_row(bench.store(), letter("l1", 1)).await.unwrap();
}

async fn a_one_time_link_that_is_redeemed_twice_at_once_lets_one_in(bench: Bench) {
    let store = bench.store();
    for round in 0..20 {
        let link = link(&format!("secret {round}"));
        put_row(store, link.clone()).await.unwrap();
        let redeem = || store.commit(take_away(Kind::Credential, link.key()));
        let (one, two) = tokio::join!(redeem(), redeem());
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(one.and(two), Err(CommitError::Conflict));
        assert_eq!(store.row(Kind::Credential, link.key()).await.unwrap(), None);
    }
}

async fn one_refused_part_refuses_the_whole_change(mut bench: Bench) {
    put_row(bench.store(), letter("l1", 1)).await.unwrap();
    let change = Change { rows: vec![agent("bot", 1), person("a@x.org", 7, "no")], removed: vec![(Kind::Letter, "l1".into())], ..hold(call(1, "bot")) };
    let good = hold(call(2, "bot"));
    let (refused, taken) = tokio::join!(bench.store().commit(change), bench.store().commit(good));
    assert_eq!(refused, Err(CommitError::Conflict));
    taken.unwrap();
    bench.reopen();
    let store = bench.store();
    assert_eq!(store.call(&call(1, "bot").id).await.unwrap(), None);
    assert_eq!(store.newest(&call(1, "bot").ask_key()).await.unwrap(), None);
    assert_eq!(store.row(Kind::Agent, "bot").await.unwrap(), None);
    assert!(store.row(Kind::Letter, "l1").await.unwrap().is_some());
    assert_eq!(store.held().await.unwrap(), 1);
    assert_eq!(verified(store).await.len(), 2);
}

async fn a_record_named_twice_in_one_change_is_a_conflict(bench: Bench) {
    let store = bench.store();
    let twice = Change { rows: vec![agent("bot", 1), agent("bot", 1)], ..Change::of_facts(ms(0), vec![]) };
    assert_eq!(store.commit(twice).await, Err(CommitError::Conflict));
    put_row(store, agent("bot", 1)).await.unwrap();
    let both = Change { rows: vec![agent("bot", 2)], ..take_away(Kind::Agent, "bot") };
    assert_eq!(store.commit(both).await, Err(CommitError::Conflict));
    assert_eq!(store.row(Kind::Agent, "bot").await.unwrap(), Some(agent("bot", 1)));
}

async fn pages_go_both_ways_without_a_gap_or_a_repeat(mut bench: Bench) {
    for number in [3, 1, 4, 0, 2, 6, 5] {
        // Pairs share a time, so that the id has to order them; two states, so that they have to be merged.
        let mut held = Call { held_at: ms(i64::from(number) / 2), ..call(number, "bot") };
        if number % 3 == 0 {
            held.state = State::Expired { at: ms(9) };
        }
        put(bench.store(), held).await;
    }
    bench.reopen();
    let store = bench.store();
    let expected: Vec<String> = (0..7).map(|number| format!("c_{number:032x}")).collect();
    for limit in [1, 2, 3, 7, 100] {
        let mut query = Query { limit, ..Query::default() };
        let oldest: Vec<String> = walk(store, &query).await.into_iter().map(|call| call.id.0).collect();
        assert_eq!(oldest, expected, "limit {limit}");
        query.newest_first = true;
        let mut newest: Vec<String> = walk(store, &query).await.into_iter().map(|call| call.id.0).collect();
        newest.reverse();
        assert_eq!(newest, expected, "limit {limit}, newest first");
    }
    let first = store.calls(&Query { limit: 3, ..Query::default() }).await.unwrap();
    assert_eq!(ids(&first), &expected[..3]);
    assert!(first.next.is_some());
    assert_eq!(store.calls(&Query { limit: 7, ..Query::default() }).await.unwrap().next, None, "the last page has no cursor");
}

async fn a_page_is_of_the_asked_states_agents_servers_and_groups(bench: Bench) {
    let store = bench.store();
    put(store, call(1, "a")).await;
    put(store, Call { reviewers: vec!["sales".into()], ..call(2, "b") }).await;
    put(store, Call { server: "chat".into(), state: State::Lapsed { at: ms(1) }, ..call(3, "a") }).await;
    let base = Query { limit: 10, ..Query::default() };
    let numbers = async |query: Query| -> Vec<u32> {
        let calls = walk(store, &query).await;
        calls.iter().map(|call| u32::from_str_radix(&call.id.as_str()[2..], 16).unwrap()).collect()
    };
    assert_eq!(numbers(Query { states: vec!["held".into()], ..base.clone() }).await, [1, 2]);
    assert_eq!(numbers(Query { states: vec!["lapsed".into(), "held".into()], ..base.clone() }).await, [1, 2, 3]);
    assert_eq!(numbers(Query { states: vec!["nonsense".into()], ..base.clone() }).await, [] as [u32; 0]);
    assert_eq!(numbers(Query { agent: Some("a".into()), ..base.clone() }).await, [1, 3]);
    assert_eq!(numbers(Query { server: Some("chat".into()), ..base.clone() }).await, [3]);
    assert_eq!(numbers(Query { groups: Some(vec!["legal".into()]), ..base.clone() }).await, [1, 3]);
    assert_eq!(numbers(Query { groups: Some(vec!["sales".into()]), limit: 1, ..base }).await, [1, 2, 3]);
}

async fn a_cursor_that_is_none_of_ours_ends_the_listing(bench: Bench) {
    put(bench.store(), call(1, "a")).await;
    for cursor in ["", "x", "1", "99999999999999999999999999999999999999999.c_1", "\u{202e}.c"] {
        let page = bench.store().calls(&Query { limit: 5, cursor: Some(cursor.into()), ..Query::default() }).await.unwrap();
        assert!(page.calls.is_empty() && page.next.is_none(), "{cursor:?}");
    }
}

async fn due_calls_come_earliest_first_with_the_next_deadline(mut bench: Bench) {
    for (number, deadline) in [(1, 30), (2, 10), (3, 20), (4, 20), (5, 90)] {
        put(bench.store(), Call { state: State::Held { expires_at: ms(deadline) }, ..call(number, "bot") }).await;
    }
    put(bench.store(), Call { state: State::Lapsed { at: ms(1) }, ..call(6, "bot") }).await;
    bench.reopen();
    let store = bench.store();
    let id = |number: u32| call(number, "bot").id;
    let due = store.due(ms(30), 10).await.unwrap();
    assert_eq!((due.calls, due.next), (vec![id(2), id(3), id(4), id(1)], Some(ms(90))));
    let due = store.due(ms(30), 2).await.unwrap();
    assert_eq!((due.calls, due.next), (vec![id(2), id(3)], Some(ms(20))));
    let due = store.due(ms(5), 10).await.unwrap();
    assert_eq!((due.calls, due.next), (vec![], Some(ms(10))));
    assert_eq!(store.due(ms(90), 10).await.unwrap().next, None);
}

async fn a_call_leaves_the_index_of_its_old_state_and_deadline(mut bench: Bench) {
    let held = put(bench.store(), call(1, "bot")).await;
    let approved = held.after(&Event::Approve { release_at: ms(40), send_by: ms(80) }, ms(2)).unwrap();
    bench.store().commit(hold(approved.clone())).await.unwrap();
    bench.reopen();
    let of_state = |word: &str| Query { states: vec![word.into()], limit: 5, ..Query::default() };
    assert!(bench.store().calls(&of_state("held")).await.unwrap().calls.is_empty());
    assert_eq!(bench.store().calls(&of_state("approved")).await.unwrap().calls, [approved.clone()]);
    let due = bench.store().due(ms(9_000_000), 5).await.unwrap();
    assert_eq!((due.calls, due.next), (vec![held.id.clone()], None));
    assert_eq!(bench.store().held().await.unwrap(), 0);
    let sending = approved.after(&Event::Send, ms(50)).unwrap();
    bench.store().commit(hold(sending)).await.unwrap();
    assert!(bench.store().due(ms(9_000_000), 5).await.unwrap().calls.is_empty());
}

fn long(bytes: usize, salt: &str) -> String {
    salt.chars().chain("0123456789äöü😀\n".chars().cycle()).take(bytes).collect()
}

async fn a_mebibyte_of_arguments_comes_back_byte_for_byte(mut bench: Bench) {
    for (number, bytes) in [(1, 1024 * 1024), (2, 64 * 1024), (3, 64 * 1024 + 1), (4, 4096), (5, 513)] {
        put(bench.store(), Call { arguments: "x".repeat(bytes - 1) + "y", ..call(number, "bot") }).await;
    }
    bench.reopen();
    for (number, bytes) in [(1, 1024 * 1024), (2, 64 * 1024), (3, 64 * 1024 + 1), (4, 4096), (5, 513)] {
        let found = bench.store().call(&call(number, "bot").id).await.unwrap().unwrap();
        assert!(found.arguments == "x".repeat(bytes - 1) + "y", "{bytes} bytes");
    }
}

async fn long_texts_survive_every_later_revision(mut bench: Bench) {
    let text = long(9_000, "text");
    let message = Message { to: "ana".into(), text, to_pointer: "/to".into(), text_pointer: "/text".into(), guessed: false };
    let mut now = put(bench.store(), Call { arguments: long(70_000, "first"), message: Some(message), ..call(1, "bot") }).await;
    let twin = put(bench.store(), Call { arguments: long(70_000, "first"), ..call(2, "bot") }).await;
    let outcome = Outcome { kind: OutcomeKind::Ok, body: long(200_000, "answer") };
    for event in [Event::Approve { release_at: ms(1), send_by: ms(90) }, Event::Send, Event::Answer { outcome }] {
        now = now.after(&event, ms(2)).unwrap();
        bench.store().commit(hold(now.clone())).await.unwrap();
        bench.reopen();
        assert!(bench.store().call(&now.id).await.unwrap().unwrap() == now);
    }
    // An edit replaces the text, and the other call that has the same text keeps it.
    now = Call { arguments: long(80_000, "second"), message: None, ..now.touched() };
    bench.store().commit(hold(now.clone())).await.unwrap();
    for _ in 0..2 {
        assert!(bench.store().call(&now.id).await.unwrap().unwrap() == now);
        assert!(bench.store().call(&twin.id).await.unwrap().unwrap() == twin);
        bench.reopen();
    }
}

async fn long_rows_and_facts_come_back_and_can_be_replaced(mut bench: Bench) {
    let names = [long(20_000, "a"), "short".to_owned(), long(90_000, "b"), long(5_000, "c")];
    for (revision, name) in (1..).zip(&names) {
        put_row(bench.store(), person("a@x.org", revision, name)).await.unwrap();
        bench.reopen();
        assert!(bench.store().row(Kind::Person, "a@x.org").await.unwrap() == Some(person("a@x.org", revision, name)));
    }
    let wordy = Fact { data: json!({ "list": long(30_000, "fact") }), ..fact("test.wordy") };
    bench.store().commit(Change::of_facts(ms(0), vec![wordy.clone()])).await.unwrap();
    bench.store().commit(take_away(Kind::Person, "a@x.org")).await.unwrap();
    bench.reopen();
    let entries = verified(bench.store()).await;
    assert!(entries[4].data == wordy.data);
    assert_eq!(bench.store().row(Kind::Person, "a@x.org").await.unwrap(), None);
}

async fn sixty_four_commits_at_once_are_all_kept_and_chained(mut bench: Bench) {
    let store = bench.store();
    let commits = (0..64).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.commit(Change { rows: vec![letter(&format!("l{number}"), 1)], ..hold(call(number, "bot")) }).await })
    });
    let mut heads = BTreeSet::new();
    for done in futures_util::future::join_all(commits).await {
        heads.insert(done.unwrap().unwrap().seq);
    }
    assert_eq!(heads, (1..=64).collect(), "each learns its own place in the chain");
    bench.reopen();
    assert_eq!(verified(bench.store()).await.len(), 64);
    assert_eq!(walk(bench.store(), &Query { limit: 10, ..Query::default() }).await.len(), 64);
    assert_eq!(bench.store().rows(Kind::Letter, None, 100).await.unwrap().len(), 64);
    assert_eq!(bench.store().held().await.unwrap(), 64);
}

async fn the_chain_has_the_change_s_time_and_verifies_to_its_head(mut bench: Bench) {
    assert_eq!(bench.store().head().await.unwrap(), Head::default());
    let about = Fact { call: Some(CallId("c_1".into())), ..fact("call.held") };
    let head = bench.store().commit(Change::of_facts(ms(7), vec![about.clone(), fact("letter.sent")])).await.unwrap();
    assert_eq!(head.seq, 2);
    bench.reopen();
    assert_eq!(bench.store().head().await.unwrap(), head);
    bench.store().commit(Change::of_facts(ms(8), vec![fact("call.sent")])).await.unwrap();
    let entries = verified(bench.store()).await;
    assert_eq!(entries.iter().map(|entry| entry.at).collect::<Vec<_>>(), [ms(7), ms(7), ms(8)]);
    assert_eq!((entries[0].call.clone(), entries[0].kind.as_str(), &entries[0].data), (about.call, "call.held", &about.data));
    assert_eq!(bench.store().entries(2, 1).await.unwrap(), entries[1..2]);
    assert!(bench.store().entries(4, 9).await.unwrap().is_empty());
    assert_eq!(bench.store().entries(0, 9).await.unwrap(), entries);
}

async fn a_hint_follows_the_change_and_facts_alone_give_none(bench: Bench) {
    let store = bench.store();
    let mut hints = store.hints();
    store.commit(Change::of_facts(ms(0), vec![fact("call.allowed")])).await.unwrap();
    let held = put(store, call(1, "bot")).await;
    put_row(store, letter("l1", 1)).await.unwrap();
    assert_eq!(hints.recv().await.unwrap(), Hint { call: Some(held.id) });
    assert_eq!(hints.recv().await.unwrap(), Hint { call: None });
}

#[tokio::test]
async fn a_data_folder_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    drop(open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for mode in [0o755, 0o710, 0o701] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::TooOpen { mode: found, .. } if found == mode));
        assert!(refused.to_string().contains("chmod 700"));
    }
}

#[tokio::test]
async fn a_second_open_says_that_the_store_is_in_use() {
    let bench = Bench::on_sled();
    assert!(matches!(open(&bench.path()), Err(OpenError::InUse(_))));
    let path = bench.path();
    let Bench { folder, store } = bench;
    drop(store);
    drop(open(&path).unwrap());
    drop(folder);
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_numbers_and_an_unfit_one_as_damage() {
    let mut bench = Bench::on_sled();
    bench.store = None;
    let stored = |number: &[u8]| sled::open(bench.path().join("store")).unwrap().open_tree("meta").unwrap().insert("format", number).unwrap();
    stored(&7_u32.to_be_bytes());
    let refused = open(&bench.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 7, known: 1 }));
    stored(b"x");
    assert!(matches!(open(&bench.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_never_an_absent_one() {
    let mut bench = Bench::on_sled();
    let settled = put(bench.store(), Call { state: State::Lapsed { at: ms(1) }, ..call(1, "bot") }).await;
    let texts = put(bench.store(), Call { arguments: long(9_000, "x"), ..call(2, "bot") }).await;
    bench.store = None;
    {
        let db = sled::open(bench.path().join("store")).unwrap();
        db.open_tree("calls").unwrap().insert(settled.id.as_str(), &b"\0{\"call\":"[..]).unwrap();
        let chunks = db.open_tree("chunks").unwrap();
        let (key, mut value) = chunks.first().unwrap().map(|(key, value)| (key, value.to_vec())).unwrap();
        value[0] ^= 1;
        chunks.insert(key, value).unwrap();
    }
    bench.reopen();
    assert!(matches!(bench.store().call(&settled.id).await, Err(StoreError::Corrupt(_))));
    assert!(matches!(bench.store().call(&texts.id).await, Err(StoreError::Corrupt(_))), "a changed text does not have its hash");
    assert!(matches!(bench.store().commit(hold(settled.touched())).await, Err(CommitError::Store(StoreError::Corrupt(_)))));
    put(bench.store(), call(3, "bot")).await;
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_the_way_out_and_stays_as_it_is() {
    let mut bench = Bench::on_sled();
    for number in 0..50 {
        put(bench.store(), Call { arguments: long(3_000, "x"), ..call(number, "bot") }).await;
    }
    bench.store = None;
    let database = bench.path().join("store").join("db");
    let mut bytes = std::fs::read(&database).unwrap();
    let length = bytes.len();
    bytes[..length / 2].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let refused = open(&bench.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(refused.to_string().contains("restore from a backup"));
    assert!(open(&bench.path()).is_err(), "nor does the next start begin afresh");
}

#[tokio::test]
async fn body_files_without_an_owner_are_swept_and_the_others_stay() {
    let mut bench = Bench::on_sled();
    let held = put(bench.store(), Call { arguments: long(70_000, "x"), ..call(1, "bot") }).await;
    let bodies = bench.path().join("bodies");
    let count = || std::fs::read_dir(&bodies).unwrap().count();
    assert_eq!(count(), 1);
    std::fs::write(bodies.join("ab".repeat(32)), "orphan").unwrap();
    std::fs::write(bodies.join("half.tmp"), "half").unwrap();
    bench.reopen();
    assert_eq!(count(), 1);
    let erased = Call { arguments: String::new(), ..held.touched() };
    bench.store().commit(hold(erased)).await.unwrap();
    assert_eq!(count(), 0, "an erased text leaves the disk with its last owner");
}

#[tokio::test]
async fn a_closed_store_works_off_its_queue_refuses_changes_and_still_reads() {
    let bench = Bench::on_sled();
    let path = bench.path().with_file_name("closing");
    let store = open(&path).unwrap();
    let commits: Vec<_> = (0..32).map(|number| store.commit(hold(call(number, "bot")))).collect();
    let (done, ()) = tokio::join!(futures_util::future::join_all(commits), store.close());
    assert!(done.iter().all(Result::is_ok));
    assert!(matches!(store.commit(hold(call(99, "bot"))).await, Err(CommitError::Store(StoreError::Poisoned(_)))));
    let clone: Arc<dyn Store> = Arc::new(store.clone());
    assert_eq!(verified(&clone).await.len(), 32);
    assert_eq!(*store.poisoned().borrow(), None, "closing is no fault");
}

/// One step of a random run. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Ask { agent: u8, ask: u8, held_at: u8, length: u32, seen: bool, room: Option<(u8, u8)> },
    Move { call: u8, event: u8, stale: bool, length: u32 },
    Put { kind: u8, key: u8, ahead: bool, length: u32 },
    Remove { kind: u8, key: u8 },
    Facts { count: u8 },
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![6 => 0_u32..600, 3 => 600_u32..9_000, 1 => 66_000_u32..67_000];
    let room = proptest::option::of((1_u8..5, 1_u8..4));
    prop_oneof![
        6 => (0_u8..2, 0_u8..4, 0_u8..4, length(), proptest::bool::weighted(0.8), room)
            .prop_map(|(agent, ask, held_at, length, seen, room)| Step::Ask { agent, ask, held_at, length, seen, room }),
        6 => (any::<u8>(), 0_u8..8, proptest::bool::weighted(0.2), length())
            .prop_map(|(call, event, stale, length)| Step::Move { call, event, stale, length }),
        4 => (0_u8..4, 0_u8..3, proptest::bool::weighted(0.2), length()).prop_map(|(kind, key, ahead, length)| Step::Put { kind, key, ahead, length }),
        2 => (0_u8..4, 0_u8..3).prop_map(|(kind, key)| Step::Remove { kind, key }),
        1 => (0_u8..4).prop_map(|count| Step::Facts { count }),
        1 => Just(Step::Reopen),
    ]
}

const KINDS: [Kind; 4] = [Kind::Agent, Kind::Person, Kind::Credential, Kind::Letter];

/// The change of a step, as a gate that read `model` would write it.
async fn change_of(step: &Step, number: u32, model: &Arc<dyn Store>) -> Option<Change> {
    let at = ms(i64::from(number));
    match step {
        Step::Reopen => None,
        Step::Facts { count } => Some(Change::of_facts(at, vec![fact("test.fact"); usize::from(*count)])),
        Step::Ask { agent, ask, held_at, length, seen, room } => {
            let asked = call(u32::from(*ask), if *agent == 0 { "a" } else { "b" });
            let new = Call { arguments: long(*length as usize, "args"), held_at: ms(i64::from(*held_at)), ..asked }.renamed(number);
            let newest = model.newest(&new.ask_key()).await.unwrap().map(|call| call.id);
            let room = room.map(|(total, of_agent)| Room { total: total.into(), of_agent: of_agent.into() });
            let write = CallWrite { call: new, after: newest.filter(|_| *seen), room };
            Some(Change { call: Some(write), ..Change::of_facts(at, vec![fact("call.held")]) })
        }
        Step::Move { call, event, stale, length } => {
            let calls = walk(model, &Query { limit: 50, ..Query::default() }).await;
            let old = calls.get(usize::from(*call) % calls.len().max(1))?;
            let outcome = Outcome { kind: OutcomeKind::ToolError, body: long(*length as usize, "body") };
            let event = match event {
                0 | 1 => Event::Approve { release_at: at, send_by: ms(500) },
                2 | 3 => Event::Send,
                4 => Event::Answer { outcome },
                5 => Event::Undo { expires_at: ms(700) },
                6 => Event::Reject { reason: long(*length as usize, "reason") },
                _ => Event::Lose { why: "cut".into() },
            };
            let mut next = old.after(&event, at).unwrap_or_else(|_| Call { delivered: true, ..old.touched() });
            next.revision += u64::from(*stale);
            Some(Change::of_call(at, next, fact("call.moved")))
        }
        Step::Put { kind, key, ahead, length } => {
            let key = format!("key{key}");
            let at_revision = |revision: u64| match kind {
                0 => agent(&key, revision),
                1 => person(&key, revision, &long(*length as usize, "name")),
                2 => match link(&key) {
                    Row::Credential(link) => Row::Credential(Credential { revision, ..link }),
                    row => row,
                },
                _ => letter(&key, revision),
            };
            let stored = model.row(at_revision(1).kind(), at_revision(1).key()).await.unwrap().map_or(0, |row| row.revision());
            Some(Change::of_row(at, at_revision(stored + 1 + u64::from(*ahead)), fact("row.put")))
        }
        Step::Remove { kind, key } => {
            let kind = KINDS[usize::from(*kind)];
            let key = format!("key{key}");
            let key = if kind == Kind::Credential { link(&key).key().to_owned() } else { key };
            Some(Change { at, ..take_away(kind, &key) })
        }
    }
}

async fn compare(one: &Arc<dyn Store>, two: &Arc<dyn Store>) {
    let all = walk(one, &Query { limit: 50, ..Query::default() }).await;
    for call in &all {
        assert_eq!(one.call(&call.id).await, two.call(&call.id).await);
        assert_eq!(one.newest(&call.ask_key()).await, two.newest(&call.ask_key()).await);
    }
    for newest_first in [false, true] {
        for (states, agent) in [(vec![], None), (vec!["held".to_owned(), "answered".to_owned()], None), (vec![], Some("a".to_owned()))] {
            let mut query = Query { limit: 2, newest_first, states, agent, ..Query::default() };
            loop {
                let (left, right) = (one.calls(&query).await.unwrap(), two.calls(&query).await.unwrap());
                assert_eq!((&left.calls, &left.next), (&right.calls, &right.next));
                let Some(next) = left.next else { break };
                query.cursor = Some(next);
            }
        }
    }
    for (until, most) in [(0, 5), (20, 2), (600, 100), (2_000_000, 3), (2_000_000, 100)] {
        let (left, right) = (one.due(ms(until), most).await.unwrap(), two.due(ms(until), most).await.unwrap());
        assert_eq!((left.calls, left.next), (right.calls, right.next));
    }
    for kind in KINDS {
        assert_eq!(one.rows(kind, None, 100).await, two.rows(kind, None, 100).await);
        assert_eq!(one.rows(kind, Some("key0"), 1).await, two.rows(kind, Some("key0"), 1).await);
    }
    assert_eq!(verified(one).await, verified(two).await);
    assert_eq!(one.held().await, two.held().await);
}

/// More rounds where time does not matter: `PARAPH_ROUNDS`.
fn rounds(usual: u32) -> u32 {
    std::env::var("PARAPH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(32), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_changes_leave_both_engines_alike(steps in proptest::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let model = Bench::in_memory();
            let mut kept = Bench::on_sled();
            for (number, step) in (100..).zip(&steps) {
                match change_of(step, number, model.store()).await {
                    Some(change) => assert_eq!(model.store().commit(change.clone()).await, kept.store().commit(change).await),
                    None if matches!(step, Step::Reopen) => {
                        kept.reopen();
                        compare(model.store(), kept.store()).await;
                    }
                    None => {}
                }
            }
            kept.reopen();
            compare(model.store(), kept.store()).await;
        });
    }
}
