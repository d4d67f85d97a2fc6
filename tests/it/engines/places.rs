//! What is open, without reading calls: the register that every engine keeps tells where open calls stand, of whom and in
//! what state, also after the store was opened again.

use super::*;
use jiff::Timestamp;
use paraph::store::Store;
use paraph::store::rules::Cursor;

/// Every place, so many in one read.
async fn places(store: &Arc<dyn Store>, states: &[&str], agent: Option<&str>, most: usize) -> Vec<CallId> {
    let (mut all, mut after): (Vec<Cursor>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let some = store.open_places(states, agent, after.as_ref(), most).await.unwrap();
        assert!(some.len() <= most);
        let is_last = some.len() < most;
        after = some.last().cloned();
        all.extend(some);
        if is_last {
            return all.into_iter().map(|place| place.id).collect();
        }
    }
}

pub(super) async fn open_places_are_of_the_asked_states_and_agent_in_the_order_of_time(mut bench: Bench) {
    let mut all = Vec::new();
    for number in 0..90 {
        let at: Timestamp = ms(i64::from(number));
        let state = match number % 5 {
            0 | 1 => State::Held { expires_at: ms(9_000) },
            2 => State::Approved { at, release_at: at, send_by: ms(9_000), tries: 0 },
            3 => State::Sending { at, approved_at: at, send_by: ms(9_000), tries: 0 },
            _ => State::Lapsed { at },
        };
        let groups = if number % 3 == 0 { vec!["sales".to_owned()] } else { Vec::new() };
        // Some stand at the same time.
        let held_at = ms(i64::from(number / 2));
        let agent = ["a", "b", "often"][if number % 7 == 0 { 0 } else { 2 - usize::from(number % 11 == 0) }];
        all.push(put(bench.store(), Call { state, reviewers: groups, held_at, cancelled: number % 4 == 0, ..call(number, agent) }).await);
    }
    for reopened in [false, true] {
        for states in [&["held"][..], &["approved"], &["held", "approved"], &["sending", "held", "approved"], &["lapsed"], &[]] {
            for agent in [None, Some("a"), Some("b"), Some("often"), Some("nobody")] {
                let asked =
                    |call: &&Call| states.contains(&call.state.word()) && call.state.word() != "lapsed" && agent.is_none_or(|agent| agent == call.agent);
                let expected: Vec<CallId> = all.iter().filter(asked).map(|call| call.id.clone()).collect();
                for most in [1, 7, 1_000] {
                    assert_eq!(places(bench.store(), states, agent, most).await, expected, "{states:?} {agent:?} {most} {reopened}");
                }
            }
        }
        bench.reopen();
    }
    // A call that goes on keeps its place.
    let gone = Call { state: State::Approved { at: ms(1), release_at: ms(1), send_by: ms(2), tries: 0 }, ..all[10].touched() };
    put(bench.store(), gone).await;
    let behind = Cursor::of(&all[9]);
    let next = bench.store().open_places(&["held", "approved"], None, Some(&behind), 1).await.unwrap();
    assert_eq!(next, [Cursor::of(&all[10])]);
    // Whose calls are all over has none, and is not listed.
    let one = all.iter().find(|call| call.agent == "b" && call.state.word() == "sending").unwrap();
    for call in all.iter().filter(|call| call.agent == "b" && matches!(call.state.word(), "held" | "approved")) {
        put(bench.store(), Call { state: State::Lapsed { at: ms(1) }, ..call.touched() }).await;
    }
    assert_eq!(bench.store().open_of_agents().await.unwrap().get("b"), None, "none that has not begun to leave");
    assert!(places(bench.store(), &["sending"], Some("b"), 9).await.contains(&one.id));
}
