//! What every engine promises about takes: all of them fit or none is taken, nothing is written with a change that
//! was refused, a counter has so many keys and no more, and what was counted is there after the store was closed.

use super::bench::*;
use paraph::domain::limit::{Charge, Counter, CounterKey, GiveBack, Label, ONE, Take};
use paraph::store::{Change, CommitError, Kind, Row, Seen, Store};
use std::sync::Arc;
use std::time::Duration;

/// How long a place of a minute's window stays taken, in milliseconds.
const TAKEN: i64 = 60_100;

/// One call of a counter of so many a minute, for one recipient.
pub(super) fn charge(counter: &str, to: &str, max: u64) -> Charge {
    let label = Label { server: Some("mail".into()), counter: counter.into(), scope: "arg".into(), value: to.into() };
    Charge {
        key: CounterKey::of(&label),
        label,
        name: format!("/limits/{counter}"),
        window: Duration::from_secs(60),
        max: max * ONE,
        amount: ONE,
        reason: None,
    }
}

pub(super) fn takes_of(at: i64, takes: Vec<Take>) -> Change {
    Change { takes, ..Change::of_facts(ms(at), vec![fact("call.allowed")]) }
}

fn both(at: i64, charges: &[Charge]) -> Change {
    takes_of(at, Take::at_once(charges, 1000))
}

async fn counter(store: &Arc<dyn Store>, charge: &Charge) -> Option<Counter> {
    match store.row(Kind::Counter, charge.key.as_str()).await.unwrap() {
        Some(Row::Counter(counter)) => Some(counter),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn limited(charge: &Charge, until: i64) -> Result<(), CommitError> {
    Err(CommitError::Limited { limit: charge.name.clone(), until: ms(until) })
}

pub(super) async fn exactly_max_fits_also_after_the_store_was_opened_again(mut bench: Bench) {
    let two = [charge("rate", "bob", 2)];
    for at in [0, 10] {
        bench.store().commit(both(at, &two)).await.unwrap();
        bench.reopen();
    }
    assert_eq!(bench.store().commit(both(20, &two)).await.map(drop), limited(&two[0], TAKEN));
    bench.store().commit(both(TAKEN, &two)).await.unwrap();
    let counted = counter(bench.store(), &two[0]).await.unwrap();
    assert_eq!((counted.revision, counted.sent.used(ms(TAKEN), two[0].window)), (3, 2 * ONE));
}

pub(super) async fn a_take_that_does_not_fit_writes_nothing_of_its_change(mut bench: Bench) {
    let (wide, narrow) = (charge("wide", "", 9), charge("narrow", "bob", 1));
    bench.store().commit(both(0, std::slice::from_ref(&narrow))).await.unwrap();
    let before = bench.store().head().await.unwrap();
    let change = Change { rows: vec![letter("l1", 1)], takes: Take::at_once(&[wide.clone(), narrow.clone()], 1000), ..hold(call(1, "bot")) };
    assert_eq!(bench.store().commit(Change { at: ms(5), ..change }).await.map(drop), limited(&narrow, TAKEN));
    bench.reopen();
    let store = bench.store();
    assert_eq!((counter(store, &wide).await, store.call(&call(1, "bot").id).await.unwrap()), (None, None));
    assert_eq!((store.row(Kind::Letter, "l1").await.unwrap(), store.head().await.unwrap()), (None, before));
}

pub(super) async fn a_refused_change_takes_nothing_and_a_full_limit_is_the_last_reason(bench: Bench) {
    let (store, one) = (bench.store(), [charge("rate", "bob", 1)]);
    let stale = vec![Seen { kind: Kind::Pause, key: "pause".into(), revision: 7 }];
    assert_eq!(store.commit(Change { seen: stale.clone(), ..both(0, &one) }).await.map(drop), Err(CommitError::Conflict));
    assert_eq!(counter(store, &one[0]).await, None);
    store.commit(both(0, &one)).await.unwrap();
    assert_eq!(
        store.commit(Change { seen: stale, ..both(0, &one) }).await.map(drop),
        Err(CommitError::Conflict),
        "whoever is told of a limit would have passed"
    );
}

pub(super) async fn of_many_that_want_the_last_places_at_once_exactly_so_many_get_them(bench: Bench) {
    let (store, seven) = (bench.store(), [charge("rate", "bob", 7)]);
    let asks = (0..40).map(|_| store.commit(both(0, &seven)));
    let answers = futures_util::future::join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    assert!(answers.into_iter().filter(Result::is_err).all(|answer| answer.map(drop) == limited(&seven[0], TAKEN)));
}

pub(super) async fn what_comes_back_is_free_again_and_a_send_can_be_counted_anew_in_one_change(bench: Bench) {
    let (store, one) = (bench.store(), [charge("rate", "bob", 1)]);
    store.commit(both(0, &one)).await.unwrap();
    let again = Change { given_back: GiveBack::of(&one, ms(0)), ..takes_of(500, Take::sent(&one, 1000)) };
    store.commit(again).await.unwrap();
    assert_eq!(store.commit(takes_of(TAKEN, Take::sent(&one, 1000))).await.map(drop), limited(&one[0], TAKEN + 500), "it counts from later");
    let back = Change { given_back: GiveBack::of(&one, ms(500)), ..Change::of_facts(ms(600), vec![fact("call.ended")]) };
    store.commit(back.clone()).await.unwrap();
    store.commit(back).await.unwrap();
    store.commit(takes_of(700, Take::sent(&one, 1000))).await.unwrap();
    assert_eq!(store.commit(both(800, &one)).await.map(drop), limited(&one[0], TAKEN + 700));
}

pub(super) async fn a_counter_named_twice_in_one_change_is_a_conflict(bench: Bench) {
    let (store, one) = (bench.store(), charge("rate", "bob", 9));
    let twice = [one.clone(), one.clone()];
    assert_eq!(store.commit(both(0, &twice)).await.map(drop), Err(CommitError::Conflict));
    assert_eq!(store.commit(Change { given_back: GiveBack::of(&twice, ms(0)), ..both(0, &[]) }).await.map(drop), Ok(()), "of nothing, nothing comes back");
    store.commit(both(0, std::slice::from_ref(&one))).await.unwrap();
    assert_eq!(store.commit(Change { given_back: GiveBack::of(&twice, ms(0)), ..both(0, &[]) }).await.map(drop), Err(CommitError::Conflict));
}

pub(super) async fn a_counter_has_so_many_keys_and_idle_ones_that_are_taken_away_make_room(mut bench: Bench) {
    let of = |to: &str| [charge("rate", to, 1)];
    let within = |at: i64, charges: &[Charge]| takes_of(at, Take::at_once(charges, 2));
    let crowded = |at: i64| Err(CommitError::Limited { limit: "/limits/rate".into(), until: ms(at + 60_000) });
    assert_eq!(
        bench.store().commit(within(0, &[charge("rate", "a", 1), charge("rate", "b", 1), charge("rate", "c", 1)])).await.map(drop),
        crowded(0),
        "also within one change"
    );
    for to in ["a", "b"] {
        bench.store().commit(within(0, &of(to))).await.unwrap();
        bench.reopen();
    }
    assert_eq!(bench.store().commit(within(1, &of("c"))).await.map(drop), crowded(1));
    bench.store().commit(within(1, &[charge("other", "c", 1)])).await.unwrap();
    let change = take_away(Kind::Counter, of("a")[0].key.as_str());
    bench.store().commit(change).await.unwrap();
    bench.reopen();
    bench.store().commit(within(2, &of("c"))).await.unwrap();
    assert_eq!(bench.store().commit(within(3, &of("a"))).await.map(drop), crowded(3));
}

pub(super) async fn changes_that_wait_together_count_as_one_after_the_other_also_behind_a_removal(mut bench: Bench) {
    let three = [charge("rate", "bob", 3), charge("rate", "eve", 3)];
    let key = three[0].key.as_str();
    let refused = |at: i64| limited(&three[0], TAKEN + at).map(|()| 0);
    // Below 4 KiB a counter stands in its row, above it apart: both ways.
    for (round, many) in (0..).zip([1_u32, 300]) {
        let wide = Charge { max: 10_000 * ONE, ..charge("wide", &round.to_string(), 1) };
        let mut changes: Vec<Change> = (0..i64::from(many)).map(|at| both(at, std::slice::from_ref(&wide))).collect();
        let begun = changes.len();
        let away = || take_away(Kind::Counter, key);
        let right = |revision: u64, at: i64| {
            let counter = Counter::of(&three[0]).taken(&Take::at_once(&three[..1], 9)[0], ms(at)).unwrap();
            Change { rows: vec![Row::Counter(Counter { revision, ..counter })], ..Change::of_facts(ms(at), vec![fact("limit.set_right")]) }
        };
        changes.extend([both(0, &three), both(1, &three), both(2, &three), both(3, &three), away(), away()]);
        changes.extend([both(4, &three[..1]), right(7, 5), right(2, 5), both(6, &three[..1]), both(7, &three[..1]), both(8, &three[..1])]);
        let seen = Seen { kind: Kind::Counter, key: key.to_owned(), revision: 4 };
        changes.push(Change { seen: vec![seen.clone()], ..both(9, &[]) });
        changes.push(Change { seen: vec![Seen { revision: 3, ..seen }], ..both(9, &[]) });
        let before = bench.store().head().await.unwrap().seq;
        let answers = at_once(bench.store(), changes).await;
        let numbers: Vec<_> = answers.into_iter().skip(begun).map(|answer| answer.map(|head| head.seq - before - u64::from(many))).collect();
        let conflict = Err(CommitError::Conflict);
        let first = [Ok(1), Ok(2), Ok(3), refused(0), Ok(4), conflict.clone()];
        assert_eq!(numbers[..6], first);
        assert_eq!(numbers[6..], [Ok(5), conflict.clone(), Ok(6), Ok(7), Ok(8), refused(5), Ok(9), conflict]);
        for _ in 0..2 {
            let store = bench.store();
            let [bob, eve, wide] = [&three[0], &three[1], &wide].map(|charge| counter(store, charge));
            let (bob, eve, wide) = (bob.await.unwrap(), eve.await.unwrap(), wide.await.unwrap());
            assert_eq!((bob.revision, bob.sent.used(ms(9), three[0].window)), (4, 3 * ONE));
            assert_eq!((eve.revision, eve.sent.used(ms(9), three[1].window)), (3, 3 * ONE));
            assert_eq!((wide.revision, wide.sent.used(ms(9), three[1].window)), (u64::from(many), u64::from(many) * ONE));
            bench.reopen();
        }
        for charge in &three {
            bench.store().commit(take_away(Kind::Counter, charge.key.as_str())).await.unwrap();
        }
    }
}
