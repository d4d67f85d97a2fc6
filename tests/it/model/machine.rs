//! Plays histories: proposes steps, applies them to the table and to the system, and compares after each.

use super::checks::invariants;
use super::system::{Engine, System};
use super::table::{GATES, How, Is, PEOPLE, Step, TEXTS, Table, Verdict};
use crate::fakes::{ManualClock, Mood};
use crate::faulty::random;
use crate::faulty::witness::Manner;
use paraph::domain::call::{Call, State};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// In every third history people refuse nearly everything, so that ways close and are opened again.
fn some_step(crashes: u32, table: &Table) -> BoxedStrategy<Step> {
    let strict = table.seed.is_multiple_of(3);
    let (yes, no, lift) = if strict { (1, 9, 4) } else { (5, 2, 1) };
    let (text, gate, person) = (0..TEXTS.len(), 0..GATES, 0..PEOPLE);
    let seat = (text.clone(), gate.clone());
    let click = (text, gate.clone(), person);
    let verdict = prop_oneof![yes => Just(Verdict::Approve), no => Just(Verdict::Reject), 1 => Just(Verdict::RequestChanges)];
    let how = prop_oneof![
        12 => Just(How::Honest),
        1 => Just(How::OtherVersion),
        1 => Just(How::OtherText),
        1 => Just(How::Silent),
        1 => Just(How::Blind),
    ];
    let manner = prop_oneof![
        3 => Just(Manner::Is(Mood::Answers)),
        1 => Just(Manner::Is(Mood::ToolError)),
        2 => Just(Manner::Is(Mood::NeverReached)),
        2 => Just(Manner::Is(Mood::Vanishes)),
        2 => Just(Manner::Hangs),
    ];
    let by = prop_oneof![3 => 1i64..=15, 2 => 60i64..=1800, 2 => 3600i64..=8000, 1 => -900i64..=-1];
    let steps = prop_oneof![
        14 => seat.clone().prop_map(|(text, gate)| Step::Ask { text, gate }),
        1 => seat.clone().prop_map(|(text, gate)| Step::Leave { text, gate }),
        3 => seat.clone().prop_map(|(text, gate)| Step::Cancel { text, gate }),
        4 => seat.prop_map(|(text, gate)| Step::Collect { text, gate }),
        16 => (click.clone(), verdict, how).prop_map(|((text, gate, person), verdict, how)| Step::Decide { text, gate, person, verdict, how }),
        1 => click.clone().prop_map(|(text, gate, person)| Step::DecideTooLate { text, gate, person }),
        3 => click.clone().prop_map(|(text, gate, person)| Step::Undo { text, gate, person }),
        3 => (click.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|((text, gate, person), sent, stale)| Step::Resolve { text, gate, person, sent, stale }),
        lift => click.prop_map(|(text, gate, person)| Step::Lift { text, gate, person }),
        2 => gate.clone().prop_map(|gate| Step::Pause { gate }),
        3 => gate.prop_map(|gate| Step::Resume { gate }),
        6 => by.prop_map(|by| Step::EditClock { by }),
        3 => manner.prop_map(Step::Upstream),
    ];
    let likely = table.rare_by_chance(crashes > 0);
    let steps = if likely.is_empty() { steps.boxed() } else { prop_oneof![3 => steps, 1 => prop::sample::select(likely)].boxed() };
    let down = prop_oneof![Just(0i64), 1i64..=30, 60i64..=8000];
    match crashes {
        0 => steps,
        crashes => {
            prop_oneof![60 => steps, crashes => down.clone().prop_map(|down| Step::Crash { down }), crashes => down.prop_map(|down| Step::Restart { down })]
                .boxed()
        }
    }
}

/// Every step, or all but those that end the process.
struct Histories<const CRASHES: u32>;

impl<const CRASHES: u32> ReferenceStateMachine for Histories<CRASHES> {
    type State = Table;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Table> {
        any::<u64>().prop_map(Table::new).boxed()
    }

    fn transitions(table: &Table) -> BoxedStrategy<Step> {
        some_step(CRASHES, table)
    }

    fn apply(mut table: Table, step: &Step) -> Table {
        table.apply(step);
        table
    }

    /// Steps that nothing can come of only make histories longer.
    fn preconditions(table: &Table, step: &Step) -> bool {
        match *step {
            Step::Leave { text, gate } | Step::Cancel { text, gate } | Step::Collect { text, gate } => table.lines[text].seats[gate] > 0,
            Step::Decide { text, .. } | Step::Undo { text, .. } | Step::Lift { text, .. } => table.lines[text].is != Is::Free,
            Step::Resolve { text, .. } => matches!(table.lines[text].is, Is::Over { .. }),
            Step::DecideTooLate { text, .. } => matches!(table.lines[text].is, Is::Held { .. }),
            Step::Upstream(manner) => manner != table.manner,
            Step::Ask { .. } | Step::Pause { .. } | Step::Resume { .. } | Step::EditClock { .. } | Step::Crash { .. } | Step::Restart { .. } => true,
        }
    }
}

/// The table's row as the record shows it.
fn row_of(call: &Call) -> (&'static str, u64, bool, bool, Vec<i64>) {
    let at = |times: &[jiff::Timestamp]| times.iter().map(|at| ManualClock::seconds_of(*at)).collect();
    let times = match &call.state {
        State::Held { expires_at } => at(&[*expires_at]),
        State::Approved { release_at, send_by, .. } => at(&[*release_at, *send_by]),
        State::Sending { .. } => Vec::new(),
        State::Answered { at: when, .. }
        | State::Rejected { at: when, .. }
        | State::ChangesRequested { at: when, .. }
        | State::Expired { at: when }
        | State::Withdrawn { at: when, .. }
        | State::Lapsed { at: when }
        | State::Unconfirmed { at: when, .. } => at(&[*when]),
    };
    (call.state.word(), call.version, call.cancelled, call.delivered, times)
}

async fn compare(system: &System, table: &Table) {
    assert_eq!(system.said, table.said, "{table:#?}");
    for (text, line) in table.lines.iter().enumerate() {
        let Some(id) = &system.newest[text] else {
            assert_eq!(line.is, Is::Free);
            continue;
        };
        let times = match line.is {
            Is::Free | Is::Sending => Vec::new(),
            Is::Held { until } => vec![until],
            Is::Approved { release, send_by, .. } => vec![release, send_by],
            Is::Over { at, .. } => vec![at],
        };
        let expected = (line.word(), line.version, line.cancelled, line.delivered, times);
        assert_eq!(row_of(&system.truth(id).await), expected, "text {text}: {table:#?}");
        assert_eq!(system.upstream.count(id), line.sends, "sends of text {text}");
        let seats: Vec<usize> = system.seats[text].iter().map(Vec::len).collect();
        assert_eq!(seats, line.seats, "waiters of text {text}");
    }
}

/// Steps, comparison, invariants; `KIND` 0 is in memory, 1 is sled, 2 is in memory behind faults.
struct Play<const KIND: u8>;

impl<const KIND: u8> Play<KIND> {
    const FAULTY: bool = KIND == 2;

    fn begin(table: &Table) -> System {
        let engine = if KIND == 1 { Engine::Sled(tempfile::tempdir().unwrap()) } else { Engine::Memory(std::sync::Arc::default()) };
        let mut system = System::start(engine);
        if Self::FAULTY {
            system.alone = false;
            random::script(&system.process().store, table.seed);
        }
        system
    }

    fn step(mut system: System, table: &Table, step: Step) -> System {
        system.play(step, table);
        system.on_runtime(async |system| {
            invariants(system).await;
            if !Self::FAULTY {
                compare(system, table).await;
            }
        });
        system
    }

    /// Once the store works again and everybody has looked, nothing that is due is left lying.
    fn end(mut system: System, table: &Table) {
        if Self::FAULTY {
            system.on_runtime(async |system| {
                system.process().store.mend();
                system.process().store.poke();
                system.process().store.rest().await;
                let now = paraph::gate::Clock::now(system.clock.as_ref());
                let due = system.process().store.truth().due(now, 1000).await.unwrap();
                let paused = system.process().gates[0].pause_record().await.unwrap().stopped.is_some();
                for id in due.calls {
                    assert!(paused && system.truth(&id).await.state.word() == "approved", "{id} was due and is left lying");
                }
                invariants(system).await;
            });
        }
        system.restart(table.now);
        system.on_runtime(async |system| invariants(system).await);
    }
}

macro_rules! play {
    ($kind:literal, $crashes:literal) => {
        impl StateMachineTest for Play<$kind> {
            type SystemUnderTest = System;
            type Reference = Histories<$crashes>;

            fn init_test(table: &Table) -> System {
                Play::<$kind>::begin(table)
            }

            fn apply(system: System, table: &Table, step: Step) -> System {
                Play::<$kind>::step(system, table, step)
            }

            fn teardown(system: System, table: Table) {
                Play::<$kind>::end(system, &table);
            }
        }
    };
}

play!(0, 2);
play!(1, 1);
play!(2, 0);

fn rounds(fixed: u32) -> ProptestConfig {
    let cases = std::env::var("PARAPH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(fixed);
    ProptestConfig { cases, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() }
}

prop_state_machine! {
    #![proptest_config(rounds(256))]

    #[test]
    fn every_history_in_memory_ends_as_the_table_says(sequential 1..100 => Play<0>);
}

prop_state_machine! {
    #![proptest_config(rounds(256))]

    #[test]
    fn every_history_over_sled_ends_as_the_table_says(sequential 1..24 => Play<1>);
}

prop_state_machine! {
    #![proptest_config(rounds(256))]

    #[test]
    fn no_history_behind_a_faulty_store_breaks_an_invariant(sequential 1..100 => Play<2>);
}
