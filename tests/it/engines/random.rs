//! Random changes, written to every engine alike: each answer and then every read must be the same, also after
//! the store was closed and opened again.

use super::bench::*;
use super::takes::charge;
use paraph::domain::call::{Call, Event, Outcome, OutcomeKind};
use paraph::domain::limit::{GiveBack, Take};
use paraph::domain::people::Credential;
use paraph::domain::recipient::RecipientKey;
use paraph::store::{CallWrite, Change, Kind, Query, Room, Row, Seen, Store};
use proptest::prelude::*;
use std::sync::Arc;

/// One step of a random run. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Ask {
        agent: u8,
        ask: u8,
        held_at: u8,
        length: u32,
        seen: bool,
        room: Option<(u8, u8)>,
    },
    Move {
        call: u8,
        event: u8,
        stale: bool,
        length: u32,
    },
    Put {
        kind: u8,
        key: u8,
        ahead: bool,
        length: u32,
    },
    Remove {
        kind: u8,
        key: u8,
    },
    Facts {
        count: u8,
    },
    /// Of one or two counters with few keys; `doing` 0 asks, 1 sends, 2 both, 3 counts a send anew, 4 gives it back,
    /// 5 takes the record away.
    Take {
        counter: u8,
        to: u8,
        also: bool,
        doing: u8,
        stale: bool,
    },
    Reopen,
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![6 => 0_u32..600, 3 => 600_u32..9_000, 1 => 66_000_u32..67_000];
    let room = proptest::option::of((1_u8..5, 1_u8..4));
    prop_oneof![
        6 => (0_u8..2, 0_u8..4, 0_u8..4, length(), proptest::bool::weighted(0.8), room)
            .prop_map(|(agent, ask, held_at, length, seen, room)| Step::Ask { agent, ask, held_at, length, seen, room }),
        6 => (any::<u8>(), 0_u8..11, proptest::bool::weighted(0.2), length())
            .prop_map(|(call, event, stale, length)| Step::Move { call, event, stale, length }),
        4 => (0_u8..6, 0_u8..3, proptest::bool::weighted(0.2), length()).prop_map(|(kind, key, ahead, length)| Step::Put { kind, key, ahead, length }),
        2 => (0_u8..6, 0_u8..3).prop_map(|(kind, key)| Step::Remove { kind, key }),
        1 => (0_u8..4).prop_map(|count| Step::Facts { count }),
        6 => (0_u8..2, 0_u8..4, any::<bool>(), 0_u8..6, proptest::bool::weighted(0.1))
            .prop_map(|(counter, to, also, doing, stale)| Step::Take { counter, to, also, doing, stale }),
        1 => Just(Step::Reopen),
    ]
}

const KINDS: [Kind; 6] = [Kind::Agent, Kind::Person, Kind::Credential, Kind::Letter, Kind::Refusals, Kind::Pause];

/// The change of a step, as a gate that read `model` would write it.
pub(super) async fn change_of(step: &Step, number: u32, model: &Arc<dyn Store>) -> Option<Change> {
    let at = ms(i64::from(number));
    match step {
        Step::Reopen => None,
        Step::Facts { count } => Some(Change::of_facts(at, vec![fact("test.fact"); usize::from(*count)])),
        Step::Ask { agent, ask, held_at, length, seen, room } => {
            let asked = call(u32::from(*ask), if *agent == 0 { "a" } else { "b" });
            let reviewers =
                [vec![], vec!["sales".to_owned()], vec!["legal".to_owned(), "sales".to_owned()], vec!["legal".to_owned()]][usize::from(*ask)].clone();
            let new = Call { arguments: long(*length as usize, "args"), held_at: ms(i64::from(*held_at)), reviewers, ..asked }.renamed(number);
            let newest = model.newest(&new.ask_key()).await.unwrap().map(|call| call.id);
            let room = room.map(|(total, of_agent)| Room { total: total.into(), of_agent: of_agent.into() });
            let write = CallWrite { call: new, after: newest.filter(|_| *seen), room };
            Some(Change { call: Some(write), ..Change::of_facts(at, vec![fact("call.held")]) })
        }
        Step::Move { call, event, stale, length } => {
            let calls = walk(model, &Query { limit: 50, ..Query::default() }).await;
            let old = calls.get(usize::from(*call) % calls.len().max(1))?;
            let outcome = Outcome { kind: OutcomeKind::ToolError, body: long(*length as usize, "body") };
            let event_number = *event;
            let event = match event {
                0 | 1 => Event::Approve { release_at: at, send_by: ms(500) },
                2 | 3 => Event::Send,
                4 => Event::Answer { outcome },
                5 => Event::Undo { expires_at: ms(700) },
                6 => Event::Reject { reason: long(*length as usize, "reason") },
                7 => Event::Lose { why: "cut".into() },
                8 => Event::Resolve { outcome },
                _ => Event::Restore { why: "from a backup".into() },
            };
            let erased = if event_number == 10 { old.erased(at) } else { None };
            let mut next =
                erased.unwrap_or_else(|| old.after(&event, at).unwrap_or_else(|_| Call { delivered: true, cancelled: !old.cancelled, ..old.touched() }));
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
                3 => letter(&key, revision),
                4 => refusals(&key, revision),
                _ => pause(revision),
            };
            let stored = model.row(at_revision(1).kind(), at_revision(1).key()).await.unwrap().map_or(0, |row| row.revision());
            Some(Change::of_row(at, at_revision(stored + 1 + u64::from(*ahead)), fact("row.put")))
        }
        Step::Take { counter, to, also, doing, stale } => {
            // Steps are a few seconds apart for counters, so that windows end within a history.
            let at = ms(7_000 * i64::from(number - 99));
            let mut charges = vec![charge(["few", "many"][usize::from(*counter)], &to.to_string(), 2 + u64::from(*counter))];
            if *also {
                charges.push(charge("all", "", 4));
            }
            let takes = match doing {
                0 => Take::asked(&charges, 3),
                1 | 3 => Take::sent(&charges, 3),
                2 => Take::at_once(&charges, 3),
                _ => Vec::new(),
            };
            let given_back = if *doing == 3 || *doing == 4 { GiveBack::of(&charges, ms(7_000 * i64::from(number - 100))) } else { Vec::new() };
            let removed = if *doing == 5 { vec![(Kind::Counter, charges[0].key.as_str().to_owned())] } else { Vec::new() };
            let seen = if *stale { vec![Seen { kind: Kind::Counter, key: charges[0].key.as_str().to_owned(), revision: 1 }] } else { Vec::new() };
            Some(Change { seen, takes, given_back, removed, ..Change::of_facts(at, vec![fact("call.allowed")]) })
        }
        Step::Remove { kind, key } => {
            let kind = KINDS[usize::from(*kind)];
            let key = format!("key{key}");
            let key = if kind == Kind::Credential { link(&key).key().to_owned() } else { key };
            Some(Change { at, ..take_away(kind, &key) })
        }
    }
}

pub(super) async fn compare(one: &Arc<dyn Store>, two: &Arc<dyn Store>) {
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
    for groups in [None, Some(vec![]), Some(vec!["sales".to_owned()]), Some(vec!["legal".to_owned(), "other".to_owned()])] {
        let tally = one.tally(groups.as_deref()).await.unwrap();
        assert_eq!(Ok(tally), two.tally(groups.as_deref()).await);
        let visible = Query { groups: groups.clone(), ..Query::default() };
        let count =
            |word: &str, permit: bool| all.iter().filter(|call| visible.matches(call) && call.state.word() == word && call.is_permit() == permit).count();
        assert_eq!((tally.held, tally.permits, tally.unconfirmed), (count("held", false), count("approved", true), count("unconfirmed", false)));
        assert_eq!(tally.leaving, count("approved", false) + count("sending", false));
        for (newest_first, permit) in [(true, None), (false, None), (true, Some(true)), (false, Some(false))] {
            let states = ["held", "approved", "unconfirmed"].map(str::to_owned).to_vec();
            let mut query = Query { limit: 2, newest_first, states, permit, ..visible.clone() };
            let mut walked = Vec::new();
            loop {
                let (left, right) = (one.calls(&query).await.unwrap(), two.calls(&query).await.unwrap());
                assert_eq!((&left.calls, &left.next), (&right.calls, &right.next));
                walked.extend(left.calls);
                let Some(next) = left.next else { break };
                query.cursor = Some(next);
            }
            let mut asked: Vec<Call> = all.iter().filter(|call| query.matches(call)).cloned().collect();
            asked.sort_by_key(|call| (call.held_at, call.id.clone()));
            if newest_first {
                asked.reverse();
            }
            assert_eq!(walked, asked);
        }
    }
    let of_agents = one.open_of_agents().await.unwrap();
    assert_eq!(of_agents.values().sum::<usize>(), all.iter().filter(|call| ["held", "approved"].contains(&call.state.word())).count());
    assert_eq!(Ok(of_agents), two.open_of_agents().await);
    assert_eq!(one.tally(None).await.unwrap().letters, one.rows(Kind::Letter, None, 100).await.unwrap().len());
    for recipient in all.iter().filter_map(|call| call.recipient.clone()).chain([RecipientKey::of("a", "mail", "nobody")]) {
        for (newest_first, states) in [(true, vec![]), (false, vec!["held".to_owned(), "unconfirmed".to_owned()])] {
            let query = Query { limit: 3, newest_first, states, recipient: Some(recipient.clone()), ..Query::default() };
            let (left, right) = (one.calls(&query).await.unwrap(), two.calls(&query).await.unwrap());
            assert!(left.calls.iter().all(|call| call.recipient.as_ref() == Some(&recipient)));
            assert_eq!((left.calls, left.next), (right.calls, right.next));
        }
    }
    for (until, most) in [(0, 5), (110, 2), (2_000_000, 100)] {
        assert_eq!(one.over(ms(until), most).await, two.over(ms(until), most).await);
    }
    for (until, most) in [(0, 5), (20, 2), (600, 100), (2_000_000, 3), (2_000_000, 100)] {
        let (left, right) = (one.due(ms(until), most).await.unwrap(), two.due(ms(until), most).await.unwrap());
        assert_eq!((left.calls, left.next), (right.calls, right.next));
    }
    for kind in KINDS.into_iter().chain([Kind::Counter]) {
        assert_eq!(one.rows(kind, None, 100).await, two.rows(kind, None, 100).await);
        assert_eq!(one.rows(kind, Some("key0"), 1).await, two.rows(kind, Some("key0"), 1).await);
    }
    assert_eq!(verified(one).await, verified(two).await);
    assert_eq!(one.held().await, two.held().await);
}

/// More rounds where time does not matter: `PARAPH_ROUNDS`.
pub(super) fn rounds(usual: u32) -> u32 {
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

    /// Changes that wait for the engine while it syncs are planned one behind the other, before any is durable.
    #[test]
    fn random_changes_that_wait_together_leave_both_engines_alike(steps in proptest::collection::vec(any_step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let model = Bench::in_memory();
            let mut kept = Bench::on_sled();
            for (round, steps) in (1..).zip(steps.split_inclusive(|step| matches!(step, Step::Reopen))) {
                let (mut changes, mut expected) = (Vec::new(), Vec::new());
                for (number, step) in (100 * round..).zip(steps) {
                    if let Some(change) = change_of(step, number, model.store()).await {
                        expected.push(model.store().commit(change.clone()).await);
                        changes.push(change);
                    }
                }
                assert_eq!(at_once(kept.store(), changes).await, expected);
                compare(model.store(), kept.store()).await;
                kept.reopen();
                compare(model.store(), kept.store()).await;
            }
        });
    }
}
