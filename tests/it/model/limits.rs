//! Random histories under limits: two gates, a clock that goes on, crashes, and a store that fails, loses answers and
//! is late. The table of the big model says what must happen; here only what must never: a window that holds more
//! sends or asks than it may, a place that comes back although something left, a send that nobody counted.

use crate::fakes::{ManualClock, Mood, RESULT};
use crate::faulty::store::{FaultyStore, OnCommit};
use crate::life::{self, approve};
use async_trait::async_trait;
use paraph::domain::call::CallId;
use paraph::domain::people::{Agent, Role};
use paraph::domain::policy::{LimitSpec, ScopeSpec};
use paraph::gate::people::NewAgent;
use paraph::gate::upstream::{InputSchema, Sent, ServerStatus, Ticket, Upstream};
use paraph::gate::{Admission, Ask, Clock as _, Gate, Reviewer, Settings};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use paraph::store::{Kind, Row, Store, StoreError};
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

const MAX: usize = 3;
const WINDOW: i64 = 60_000;
/// How long a place stays taken.
const TAKEN: i64 = 60_100;
const GATES: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Allowed {
        gate: usize,
        to: usize,
    },
    Hold {
        gate: usize,
        to: usize,
    },
    Approve {
        gate: usize,
        which: usize,
    },
    Undo {
        gate: usize,
        which: usize,
    },
    Cancel {
        which: usize,
    },
    AskAgain {
        gate: usize,
        which: usize,
    },
    Look {
        gate: usize,
        which: usize,
    },
    Later {
        ms: i64,
    },
    Mood(Mood),
    /// The next commits meet this.
    Fault {
        fault: u8,
        after: u8,
    },
    Forget {
        gate: usize,
    },
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (gate, to, which) = (0..GATES, 0_usize..2, 0_usize..8);
    prop_oneof![
        8 => (gate.clone(), to.clone()).prop_map(|(gate, to)| Step::Allowed { gate, to }),
        8 => (gate.clone(), to).prop_map(|(gate, to)| Step::Hold { gate, to }),
        12 => (gate.clone(), which.clone()).prop_map(|(gate, which)| Step::Approve { gate, which }),
        2 => (gate.clone(), which.clone()).prop_map(|(gate, which)| Step::Undo { gate, which }),
        2 => which.clone().prop_map(|which| Step::Cancel { which }),
        2 => (gate.clone(), which.clone()).prop_map(|(gate, which)| Step::AskAgain { gate, which }),
        2 => (gate.clone(), which).prop_map(|(gate, which)| Step::Look { gate, which }),
        12 => prop_oneof![1_i64..500, 500_i64..30_000, 50_000_i64..70_000].prop_map(|ms| Step::Later { ms }),
        3 => prop_oneof![3 => Just(Mood::Answers), 2 => Just(Mood::NeverReached), 1 => Just(Mood::Vanishes)].prop_map(Step::Mood),
        3 => (0_u8..4, 0_u8..3).prop_map(|(fault, after)| Step::Fault { fault, after }),
        1 => gate.prop_map(|gate| Step::Forget { gate }),
        1 => Just(Step::Crash),
    ]
}

/// Notes when each call left.
struct Clocked {
    clock: Arc<ManualClock>,
    mood: Mutex<Mood>,
    left: Mutex<Vec<i64>>,
}

#[async_trait]
impl Upstream for Clocked {
    async fn send(&self, ticket: Ticket) -> Sent {
        let _outgoing = ticket.spend();
        let mood = *self.mood.lock().unwrap();
        if mood != Mood::NeverReached {
            self.left.lock().unwrap().push(self.clock.now().as_millisecond());
        }
        match mood {
            Mood::Answers | Mood::ToolError => Sent::Result(RawValue::from_string(RESULT.to_owned()).unwrap()),
            Mood::NeverReached => Sent::NeverLeft("the server could not be reached".into()),
            Mood::Vanishes => Sent::Unknown("the connection was cut".into()),
        }
    }

    async fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }

    async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
        None
    }

    async fn input_schema(&self, _server: &str, _tool: &str, _ask_for: Option<&str>) -> InputSchema {
        InputSchema::NotListed
    }

    async fn close_agent(&self, _agent: &str) {}
}

enum Engine {
    Memory(Arc<InMemory>),
    Sled(tempfile::TempDir),
}

impl Engine {
    fn open(&self) -> Arc<dyn Store> {
        match self {
            Engine::Memory(store) => store.clone(),
            Engine::Sled(folder) => {
                let settings = SledSettings { cache_bytes: 4 << 20, ..SledSettings::default() };
                Arc::new(OnSled::open(&folder.path().join("data"), &settings).expect("it opens again"))
            }
        }
    }
}

fn settings() -> Settings {
    let limit = |counter: &str, max: u64, scope| LimitSpec {
        counter: counter.into(),
        window: Duration::from_millis(60_000),
        max,
        scope,
        increment_from: None,
        on_deny: None,
    };
    life::limited::limited_by(vec![limit("all", MAX as u64, ScopeSpec::Server), limit("per_recipient", 2, ScopeSpec::Arg("/to".into()))])
}

struct Process {
    store: Arc<FaultyStore>,
    gates: Vec<Gate>,
    people: Vec<Reviewer>,
}

struct Play {
    engine: Engine,
    clock: Arc<ManualClock>,
    upstream: Arc<Clocked>,
    agent: Agent,
    token: String,
    calls: Vec<(CallId, String)>,
    asked: usize,
}

impl Play {
    async fn first(engine: Engine) -> Play {
        let clock = Arc::new(ManualClock::default());
        let upstream = Arc::new(Clocked { clock: clock.clone(), mood: Mutex::new(Mood::Answers), left: Mutex::default() });
        let gate = Gate::open(engine.open(), upstream.clone(), clock.clone(), settings());
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        gate.add_person("ann@example.org", None, Vec::new(), Role::Operator).await.unwrap();
        let token = gate.make_api_token("ann@example.org", "test", Duration::from_secs(1 << 30)).await.unwrap();
        gate.close(Duration::from_secs(20)).await;
        Play { engine, clock, upstream, agent, token, calls: Vec::new(), asked: 0 }
    }

    async fn begin(&self) -> Process {
        let store = FaultyStore::over(self.engine.open());
        let gates: Vec<Gate> = (0..GATES).map(|_| Gate::open(store.clone(), self.upstream.clone(), self.clock.clone(), settings())).collect();
        let mut people = Vec::new();
        for gate in &gates {
            gate.recover().await.unwrap();
        }
        for gate in &gates {
            gate.resume_work().await.unwrap();
            people.push(gate.by_api_token(&self.token).await.unwrap().unwrap());
        }
        Process { store, gates, people }
    }

    fn ask(&self, tool: &str, arguments: &str) -> Ask {
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

    /// Faults are answers like any other: whatever they make of a step, the end must hold.
    async fn step(&mut self, step: &Step, process: &Process) {
        let pick = |which: usize| self.calls.get(which % self.calls.len().max(1)).cloned();
        match step {
            Step::Allowed { gate, to } => {
                self.asked += 1;
                let text = format!(r#"{{"to":"@r{to}","n":{}}}"#, self.asked);
                if let Ok(Admission::Allowed(pass)) = process.gates[*gate].admit(self.ask("write_note", &text)).await {
                    pass.send(None, Default::default()).await;
                }
            }
            Step::Hold { gate, to } => {
                self.asked += 1;
                let text = format!(r#"{{"to":"@r{to}","text":"{}"}}"#, self.asked);
                if let Ok(Admission::Waiting(seat)) = process.gates[*gate].admit(self.ask("send_dm", &text)).await {
                    self.calls.push((seat.call().clone(), text));
                }
            }
            Step::Approve { gate, which } => {
                let Some((id, _)) = pick(*which) else { return };
                if let Ok(listed) = process.people[*gate].read(&id).await {
                    let _whatever_comes = process.people[*gate].decide(&id, approve(&listed.call)).await;
                }
            }
            Step::Undo { gate, which } => {
                if let Some((id, _)) = pick(*which) {
                    let _whatever_comes = process.people[*gate].undo(&id).await;
                }
            }
            Step::Cancel { which } => {
                if let Some((id, _)) = pick(*which) {
                    let _whatever_comes = process.gates[0].cancel_late(&id).await;
                }
            }
            Step::AskAgain { gate, which } => {
                if let Some((_, text)) = pick(*which) {
                    drop(process.gates[*gate].admit(self.ask("send_dm", &text)).await);
                }
            }
            Step::Look { gate, which } => {
                let Some((id, _)) = pick(*which) else { return };
                if let Ok(call) = process.people[*gate].visible(&id).await {
                    let _whatever_comes = process.people[*gate].leaves_at(&call).await;
                }
            }
            Step::Later { ms } => {
                self.clock.advance(Duration::from_millis(ms.unsigned_abs()));
                process.store.poke();
            }
            Step::Mood(mood) => *self.upstream.mood.lock().unwrap() = *mood,
            Step::Fault { fault, after } => {
                let (fault, mut left) = (*fault, *after);
                process.store.script_commits(move |_| {
                    if left > 0 {
                        left -= 1;
                        return OnCommit::Pass;
                    }
                    left = 7;
                    match fault {
                        0 => OnCommit::Fail(StoreError::Busy),
                        1 => OnCommit::WriteAndLose,
                        2 => OnCommit::DropAndLose,
                        _ => OnCommit::Pass,
                    }
                });
            }
            Step::Forget { gate } => drop(process.gates[*gate].forget_old().await),
            Step::Crash => unreachable!("played outside"),
        }
    }

    /// No window holds more asks in the chain, or more sends at the server, than it may; and what was sent and still
    /// counts stands in the counter.
    async fn holds(&self, truth: &Arc<dyn Store>) {
        let entries = truth.entries(1, 1_000_000).await.unwrap();
        let asks = entries.iter().filter(|entry| entry.kind == "call.held" || entry.kind == "call.allowed");
        let (asked, sent): (Vec<i64>, _) = (asks.map(|entry| entry.at.as_millisecond()).collect(), self.upstream.left.lock().unwrap().clone());
        for (what, times) in [("asked", &asked), ("sent", &sent)] {
            for from in times {
                let within = times.iter().filter(|at| (*from..from + WINDOW).contains(at)).count();
                assert!(within <= MAX, "{within} {what} within a window: {times:?}");
            }
        }
        let now = self.clock.now();
        let rows = truth.rows(Kind::Counter, None, 100).await.unwrap();
        let all = rows.iter().find_map(|row| match row {
            Row::Counter(counter) if counter.label.counter == "all" => Some(counter),
            _ => None,
        });
        let used = all.map_or(0, |counter| counter.sent.used(now, counter.window) / 1_000_000);
        let counts = sent.iter().filter(|at| *at + TAKEN > now.as_millisecond()).count();
        assert!(used >= counts as u64, "{counts} were sent and {used} are counted");
        assert!(used <= MAX as u64, "{used} are counted");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn play(engine: Engine, steps: &[Step]) {
    let mut at = runtime();
    let mut play = at.block_on(Play::first(engine));
    let mut process = at.block_on(play.begin());
    for step in steps {
        if matches!(step, Step::Crash) {
            // Everything in memory is gone, wherever it stood.
            drop(at);
            drop(process);
            at = runtime();
            process = at.block_on(play.begin());
        } else {
            at.block_on(async {
                play.step(step, &process).await;
                process.store.rest().await;
                play.holds(process.store.truth()).await;
            });
        }
    }
    // In the end everything works and time passes: whatever is still approved leaves at the limit's pace, or its
    // time is over.
    at.block_on(async {
        process.store.mend();
        *play.upstream.mood.lock().unwrap() = Mood::Answers;
        for _ in 0..40 {
            play.clock.advance(Duration::from_millis(30_000));
            process.store.poke();
            process.store.rest().await;
        }
        play.holds(process.store.truth()).await;
        for (id, _) in &play.calls {
            let call = process.store.truth().call(id).await.unwrap().unwrap();
            assert!(call.cancelled || call.state.word() != "approved", "{id} never left: {:?}", call.state);
        }
    });
    drop(process);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::load::rounds(96) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_lets_a_window_hold_more_than_it_may(steps in prop::collection::vec(any_step(), 1..80)) {
        play(Engine::Memory(Arc::default()), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::load::rounds(16) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nor_does_one_on_disk(steps in prop::collection::vec(any_step(), 1..60)) {
        play(Engine::Sled(tempfile::tempdir().unwrap()), &steps);
    }
}
