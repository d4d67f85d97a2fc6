//! One suite for every engine: what `Store` promises, and for the engine that keeps, that it still holds after
//! the store was closed and opened again.

mod backup;
mod bench;
mod kept;
mod places;
mod random;
mod takes;

use bench::*;
use paraph::domain::audit::{Data, Fact, Head};
use paraph::domain::call::{Call, CallId, Edit, Event, Outcome, OutcomeKind, State};
use paraph::domain::digest::Digest;
use paraph::domain::message::Message;
use paraph::store::{CallWrite, Change, CommitError, Hint, Kind, PAUSE, Query, Room, Seen};
use places::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use takes::*;

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
    open_places_are_of_the_asked_states_and_agent_in_the_order_of_time,
    due_calls_come_earliest_first_with_the_next_deadline,
    a_call_leaves_the_index_of_its_old_state_and_deadline,
    a_mebibyte_of_arguments_comes_back_byte_for_byte,
    an_edited_call_keeps_both_texts_and_an_erased_one_neither,
    long_texts_survive_every_later_revision,
    long_rows_and_facts_come_back_and_can_be_replaced,
    sixty_four_commits_at_once_are_all_kept_and_chained,
    the_chain_has_the_change_s_time_and_verifies_to_its_head,
    a_hint_follows_the_change_and_facts_alone_give_none,
    a_change_that_rests_on_a_row_is_a_conflict_once_the_row_moved,
    a_call_that_is_over_is_found_until_its_texts_are_erased,
    exactly_max_fits_also_after_the_store_was_opened_again,
    a_take_that_does_not_fit_writes_nothing_of_its_change,
    a_refused_change_takes_nothing_and_a_full_limit_is_the_last_reason,
    of_many_that_want_the_last_places_at_once_exactly_so_many_get_them,
    what_comes_back_is_free_again_and_a_send_can_be_counted_anew_in_one_change,
    a_counter_named_twice_in_one_change_is_a_conflict,
    a_counter_has_so_many_keys_and_idle_ones_that_are_taken_away_make_room,
    changes_that_wait_together_count_as_one_after_the_other_also_behind_a_removal,
];

async fn a_call_comes_back_whole_and_unknown_ones_are_absent(mut bench: Bench) {
    let mut held = call(1, "bot");
    held.message = Some(Message { to: "ana".into(), text: "hallo \u{202e}".into(), to_pointer: "/to".into(), text_pointer: "/text".into(), guessed: true });
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
    assert!(bench.store().calls(&of_state("approved")).await.unwrap().calls.iter().eq([&approved]));
    let due = bench.store().due(ms(9_000_000), 5).await.unwrap();
    assert_eq!((due.calls, due.next), (vec![held.id.clone()], None));
    assert_eq!(bench.store().held().await.unwrap(), 0);
    let sending = approved.after(&Event::Send, ms(50)).unwrap();
    bench.store().commit(hold(sending)).await.unwrap();
    assert!(bench.store().due(ms(9_000_000), 5).await.unwrap().calls.is_empty());
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

async fn an_edited_call_keeps_both_texts_and_an_erased_one_neither(mut bench: Bench) {
    for (number, length) in [(1, 20), (2, 9_000), (3, 200_000)] {
        let held = put(bench.store(), Call { arguments: long(length, "asked"), ..call(number, "bot") }).await;
        let edit = Edit {
            arguments: long(length, "edited"),
            digest: Digest::of_bytes(b"edited"),
            message: None,
            recipient: None,
            last_sent: None,
            rule: "ask".into(),
            reason: None,
            reviewers: Vec::new(),
            approvals: 1,
            shadows: Vec::new(),
        };
        let edited = held.edited(edit).touched();
        bench.store().commit(hold(edited.clone())).await.unwrap();
        for _ in 0..2 {
            let kept = bench.store().call(&held.id).await.unwrap().unwrap();
            assert!(kept == edited && kept.asked_arguments == Some(long(length, "asked")));
            bench.reopen();
        }
        let over = edited.after(&Event::Withdraw { why: "gone".into() }, ms(5)).unwrap();
        bench.store().commit(hold(over.clone())).await.unwrap();
        let erased = over.erased(ms(6)).unwrap();
        bench.store().commit(hold(erased.clone())).await.unwrap();
        bench.reopen();
        let kept = bench.store().call(&held.id).await.unwrap().unwrap();
        assert!(kept == erased && kept.asked_arguments.is_none() && kept.arguments == "{}");
    }
    if bench.folder.is_some() {
        let bodies = std::fs::read_dir(bench.path().join("bodies")).unwrap().count();
        assert_eq!(bodies, 0, "the files of both texts are gone");
    }
}

async fn long_rows_and_facts_come_back_and_can_be_replaced(mut bench: Bench) {
    let names = [long(20_000, "a"), "short".to_owned(), long(90_000, "b"), long(5_000, "c")];
    for (revision, name) in (1..).zip(&names) {
        put_row(bench.store(), person("a@x.org", revision, name)).await.unwrap();
        bench.reopen();
        assert!(bench.store().row(Kind::Person, "a@x.org").await.unwrap() == Some(person("a@x.org", revision, name)));
    }
    let wordy = Fact { data: json!({ "list": long(30_000, "fact") }).into(), ..fact("test.wordy") };
    bench.store().commit(Change::of_facts(ms(0), vec![wordy.clone()])).await.unwrap();
    bench.store().commit(take_away(Kind::Person, "a@x.org")).await.unwrap();
    bench.reopen();
    let entries = verified(bench.store()).await;
    assert!(Data::from(entries[4].data.clone()) == wordy.data);
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
    assert_eq!((entries[0].call.clone(), entries[0].kind.as_str(), Data::from(entries[0].data.clone())), (about.call, "call.held", about.data));
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

async fn a_change_that_rests_on_a_row_is_a_conflict_once_the_row_moved(bench: Bench) {
    let store = bench.store();
    let seen = |revision| vec![Seen { kind: Kind::Pause, key: PAUSE.to_owned(), revision }];
    let resting_on = |revision, number| Change { seen: seen(revision), ..hold(call(number, "bot")) };
    store.commit(resting_on(0, 1)).await.unwrap();
    put_row(store, pause(1)).await.unwrap();
    assert_eq!(store.commit(resting_on(0, 2)).await, Err(CommitError::Conflict));
    assert_eq!(store.call(&call(2, "bot").id).await.unwrap(), None);
    store.commit(resting_on(1, 2)).await.unwrap();
    // A row that the same change writes is seen as it was before.
    let change = Change { seen: seen(1), ..Change::of_row(ms(0), pause(2), fact("resumed")) };
    store.commit(change).await.unwrap();
    assert_eq!(store.commit(resting_on(1, 3)).await, Err(CommitError::Conflict));
}

async fn a_call_that_is_over_is_found_until_its_texts_are_erased(mut bench: Bench) {
    let held = put(bench.store(), call(1, "bot")).await;
    let lost = held.after(&Event::Restore { why: "from a backup".into() }, ms(10)).unwrap();
    put(bench.store(), lost.clone()).await;
    assert!(bench.store().over(ms(1_000), 10).await.unwrap().is_empty(), "somebody must still say what became of it");
    let outcome = Outcome { kind: OutcomeKind::Told, body: long(9_000, "note") };
    let told = put(bench.store(), lost.after(&Event::Resolve { outcome }, ms(20)).unwrap()).await;
    bench.reopen();
    assert!(bench.store().over(ms(20), 10).await.unwrap().is_empty());
    assert_eq!(bench.store().over(ms(21), 10).await.unwrap(), std::slice::from_ref(&held.id));
    let erased = put(bench.store(), told.erased(ms(30)).unwrap()).await;
    assert!(bench.store().over(ms(1_000), 10).await.unwrap().is_empty());
    bench.reopen();
    assert_eq!(bench.store().call(&held.id).await.unwrap(), Some(erased.clone()));
    let to_them = Query { recipient: held.recipient, limit: 10, ..Query::default() };
    assert!(bench.store().calls(&to_them).await.unwrap().calls.is_empty(), "the recipient is forgotten with the text");
}
