//! The real thing under a history: two gates with two people and two agents over one store. It answers every
//! step in the table's words. A crash drops the runtime with every task in it, wherever it stands; a restart
//! closes in order. Behind a faulty store the same steps are tried, and a fault is an answer like any other.

use super::checks::Books;
use super::table::{AGENTS, EXPIRES_IN, GATES, How, MAX_HELD, OUTCOME_FOR, PEOPLE, PERMIT_FOR, REFUSE_AGAIN_FOR, Step, TEXTS, Table, UNDO, Verdict};
use crate::fakes::ManualClock;
use crate::faulty::store::FaultyStore;
use crate::faulty::witness::{Manner, Witness};
use crate::life;
use paraph::domain::call::{self, Call, CallId};
use paraph::domain::digest::Digest;
use paraph::domain::people::{Agent, Role};
use paraph::gate::pause::PauseError;
use paraph::gate::people::NewAgent;
use paraph::gate::resolve::Resolution;
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Admission, Ask, Delivery, Gate, HoldSettings, Reviewer, Seat, Settings, TimeIsUp};
use paraph::store::Store;
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PERSONS: [&str; PEOPLE] = ["ann@example.org", "ben@example.org"];
const FOR_EVER: Duration = Duration::from_secs(100_000 * 3600);

/// Where a history is kept.
pub enum Engine {
    Memory(Arc<InMemory>),
    Sled(TempDir),
}

impl Engine {
    /// Also after a crash: whoever had it open is gone.
    fn open(&self) -> Arc<dyn Store> {
        match self {
            Engine::Memory(store) => store.clone(),
            Engine::Sled(folder) => {
                let settings = SledSettings { cache_bytes: 4 * 1024 * 1024, ..SledSettings::default() };
                Arc::new(OnSled::open(&folder.path().join("data"), &settings).expect("it opens again"))
            }
        }
    }
}

/// What lives as long as the process.
pub struct Process {
    pub store: Arc<FaultyStore>,
    pub gates: Vec<Gate>,
    people: Vec<Vec<Reviewer>>,
}

pub struct System {
    runtime: Option<Runtime>,
    engine: Engine,
    pub process: Option<Process>,
    pub clock: Arc<ManualClock>,
    pub upstream: Arc<Witness>,
    agents: Vec<Agent>,
    tokens: Vec<String>,
    pub seats: Vec<Vec<Vec<Seat>>>,
    pub newest: Vec<Option<CallId>>,
    /// Ids and versions that somebody was told.
    pub told: HashMap<CallId, u64>,
    pub books: Books,
    /// Entries of earlier processes.
    pub entries_before: u64,
    pub said: String,
    /// Nothing that a fault delayed can come between a look and an answer.
    pub alone: bool,
}

pub fn arguments(text: usize) -> String {
    format!(r#"{{"to":"{}","text":"{}"}}"#, TEXTS[text].2, TEXTS[text].3)
}

fn settings(gate: usize) -> Settings {
    let span = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
    let hold = HoldSettings {
        expires_in: span(EXPIRES_IN),
        undo: span(UNDO[gate]),
        permit_for: span(PERMIT_FOR),
        outcome_for: span(OUTCOME_FOR),
        refuse_again_for: span(REFUSE_AGAIN_FOR),
        max_held: MAX_HELD,
        max_held_per_agent: MAX_HELD,
        ..HoldSettings::default()
    };
    // Compiling the rules costs more than a step.
    static RULES: LazyLock<Settings> = LazyLock::new(life::settings);
    Settings { hold, in_flight_per_server: 16, ..RULES.clone() }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl System {
    pub fn start(engine: Engine) -> System {
        let mut system = System {
            runtime: Some(runtime()),
            engine,
            process: None,
            clock: Arc::default(),
            upstream: Arc::default(),
            agents: Vec::new(),
            tokens: Vec::new(),
            seats: Vec::new(),
            newest: vec![None; TEXTS.len()],
            told: HashMap::new(),
            books: Books::default(),
            entries_before: 0,
            said: String::new(),
            alone: true,
        };
        system.on_runtime(async |system| system.first_start().await);
        system
    }

    /// The runtime stands outside while it runs something that may use all of the system.
    pub fn on_runtime<T>(&mut self, what: impl AsyncFnOnce(&mut System) -> T) -> T {
        let runtime = self.runtime.take().expect("a runtime");
        let answer = runtime.block_on(what(self));
        self.runtime = Some(runtime);
        answer
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    async fn first_start(&mut self) {
        let store = self.engine.open();
        let gate = Gate::open(store.clone(), self.upstream.clone(), self.clock.clone(), settings(0));
        for name in AGENTS {
            let token = gate.add_agent(NewAgent { name: name.into(), ..NewAgent::default() }).await.unwrap();
            self.agents.push(gate.agent_by_token(&token).await.unwrap().unwrap());
        }
        for (email, role) in PERSONS.into_iter().zip([Role::Operator, Role::Reviewer]) {
            gate.add_person(email, None, Vec::new(), role).await.unwrap();
            self.tokens.push(gate.make_api_token(email, "test", FOR_EVER).await.unwrap());
        }
        gate.close(Duration::from_secs(20)).await;
        drop(gate);
        drop(store);
        self.begin().await;
    }

    /// Opens the store and two gates as `serve` does: nothing is let in before both have recovered.
    async fn begin(&mut self) {
        self.seats = TEXTS.iter().map(|_| (0..GATES).map(|_| Vec::new()).collect()).collect();
        let store = FaultyStore::over(self.engine.open());
        self.entries_before = store.truth().head().await.unwrap().seq;
        self.upstream.look_into(Some(store.clone()));
        let gates: Vec<Gate> = (0..GATES).map(|gate| Gate::open(store.clone(), self.upstream.clone(), self.clock.clone(), settings(gate))).collect();
        for gate in &gates {
            gate.recover().await.unwrap();
        }
        for gate in &gates {
            gate.resume_work().await.unwrap();
        }
        let mut people = Vec::new();
        for gate in &gates {
            let mut at_gate = Vec::new();
            for token in &self.tokens {
                at_gate.push(gate.by_api_token(token).await.unwrap().unwrap());
            }
            people.push(at_gate);
        }
        self.process = Some(Process { store, gates, people });
    }

    /// Everything in memory is gone, wherever it stood.
    pub fn crash(&mut self, now: i64) {
        self.seats.clear();
        self.upstream.look_into(None);
        drop(self.runtime.take());
        self.process = None;
        self.runtime = Some(runtime());
        self.clock.set(now);
        self.on_runtime(async |system| {
            system.begin().await;
            system.process().store.rest().await;
        });
    }

    pub fn restart(&mut self, now: i64) {
        self.seats.clear();
        self.on_runtime(async |system| {
            // A send that hangs is not waited for: it is unconfirmed at the next start.
            let limit = if system.upstream.manner() == Manner::Hangs { Duration::from_millis(1) } else { Duration::from_secs(20) };
            for gate in &system.process().gates {
                gate.close(limit).await;
            }
        });
        self.crash(now);
    }

    pub fn play(&mut self, step: Step, table: &Table) {
        match step {
            Step::Crash { .. } => self.crash(table.now),
            Step::Restart { .. } => self.restart(table.now),
            Step::Ask { .. }
            | Step::Leave { .. }
            | Step::Cancel { .. }
            | Step::Collect { .. }
            | Step::Decide { .. }
            | Step::DecideTooLate { .. }
            | Step::Undo { .. }
            | Step::Resolve { .. }
            | Step::Lift { .. }
            | Step::Pause { .. }
            | Step::Resume { .. }
            | Step::EditClock { .. }
            | Step::Upstream(_) => {
                self.said = self.on_runtime(async |system| {
                    let said = system.step(step, table).await.unwrap_or_else(|fault| fault);
                    system.process().store.rest().await;
                    said
                });
                return;
            }
        }
        self.said = String::new();
    }

    async fn step(&mut self, step: Step, table: &Table) -> Result<String, String> {
        match step {
            Step::Ask { text, gate } => self.ask(text, gate).await,
            Step::Leave { text, gate } => {
                self.seats[text][gate].pop();
                Ok(String::new())
            }
            Step::Cancel { text, gate } => {
                if let Some(seat) = self.seats[text][gate].pop() {
                    seat.cancel().await.map_err(|e| e.to_string())?;
                }
                Ok(String::new())
            }
            Step::Collect { text, gate } => self.collect(text, gate).await,
            Step::Decide { text, gate, person, verdict, how } => self.decide(text, &self.person(gate, person), verdict, how).await,
            Step::DecideTooLate { text, gate, person } => {
                let answer = self.decide_too_late(text, &self.person(gate, person), table.now).await;
                self.clock.set(table.now);
                self.process().store.poke();
                answer
            }
            Step::Undo { text, gate, person } => {
                let Some(id) = self.newest[text].clone() else { return Ok(String::new()) };
                let before = self.truth(&id).await;
                let answer = self.person(gate, person).undo(&id).await;
                self.told_of(&id, before, "undone", answer.map(|listed| listed.call)).await
            }
            Step::Resolve { text, gate, person, sent, stale } => {
                let Some(id) = self.newest[text].clone() else { return Ok(String::new()) };
                let before = self.truth(&id).await;
                let version = before.version - u64::from(stale);
                let answer = self.person(gate, person).resolve(&id, Resolution { sent, version, note: None }).await;
                self.told_of(&id, before, "resolved", answer.map(|listed| listed.call)).await
            }
            Step::Lift { text, gate, person } => {
                let Some(id) = self.newest[text].clone() else { return Ok(String::new()) };
                let lifted = self.person(gate, person).lift(&id).await.map_err(|e| e.to_string())?;
                Ok(format!("lifted {lifted}"))
            }
            Step::Pause { gate } => turned(self.process().gates[gate].pause("Something is wrong", "operator").await.map(drop)),
            Step::Resume { gate } => turned(self.process().gates[gate].resume_sending("operator").await),
            Step::EditClock { .. } => {
                self.clock.set(table.now);
                self.process().store.poke();
                Ok(String::new())
            }
            Step::Upstream(manner) => {
                self.upstream.become_now(manner);
                Ok(String::new())
            }
            Step::Crash { .. } | Step::Restart { .. } => unreachable!("played outside of the runtime"),
        }
    }

    fn person(&self, gate: usize, person: usize) -> Reviewer {
        self.process().people[gate][person].clone()
    }

    /// The record itself, past every fault.
    pub async fn truth(&self, id: &CallId) -> Call {
        self.process().store.truth().call(id).await.unwrap().expect("a call that somebody was told of is in the store")
    }

    async fn ask(&mut self, text: usize, gate: usize) -> Result<String, String> {
        let (agent, tool, ..) = TEXTS[text];
        let arguments = arguments(text);
        let value = serde_json::from_str(&arguments).unwrap();
        let ask =
            Ask { agent: self.agents[agent].clone(), server: "demo".into(), tool: tool.into(), value, arguments, meta: None, session: None, trace: Vec::new() };
        let admission = self.process().gates[gate].admit(ask).await.map_err(|e| e.to_string())?;
        match admission {
            Admission::Waiting(seat) => {
                if self.newest[text].as_ref() != Some(seat.call()) {
                    self.seats[text].iter_mut().for_each(Vec::clear);
                }
                self.newest[text] = Some(seat.call().clone());
                self.told.entry(seat.call().clone()).or_insert(1);
                self.seats[text][gate].push(seat);
                Ok("seated".to_owned())
            }
            Admission::Refused(notice) => {
                let state = notice.meta["state"].as_str().unwrap().to_owned();
                Ok(notice.meta["rule"].as_str().map_or(state.clone(), |rule| format!("{state} {rule}")))
            }
            Admission::Allowed(_) | Admission::Unknown => panic!("no rule says so"),
        }
    }

    async fn collect(&mut self, text: usize, gate: usize) -> Result<String, String> {
        let Some(mut seat) = self.seats[text][gate].pop() else { return Ok(String::new()) };
        let open = self.truth(seat.call()).await.state.settled_at().is_none();
        if open && let TimeIsUp::Pending(_) = seat.time_is_up().await.map_err(|e| e.to_string())? {
            return Ok("pending".to_owned());
        }
        let delivery = tokio::time::timeout(Duration::from_secs(20), seat.settled()).await.expect("no waiter outlives its call").map_err(|e| e.to_string())?;
        let said = match delivery {
            Delivery::Result { .. } => "result".to_owned(),
            Delivery::Error(error) => error,
            Delivery::Notice(notice) => format!("told {}", notice.meta["state"].as_str().unwrap()),
        };
        seat.delivered().await.map_err(|e| e.to_string())?;
        Ok(said)
    }

    async fn decide(&mut self, text: usize, person: &Reviewer, verdict: Verdict, how: How) -> Result<String, String> {
        let Some(id) = self.newest[text].clone() else { return Ok(String::new()) };
        if how != How::Blind {
            person.read(&id).await.map_err(|e| e.to_string())?;
        }
        let before = self.truth(&id).await;
        let decide = Decide {
            verdict: match verdict {
                Verdict::Approve => call::Verdict::Approve,
                Verdict::Reject => call::Verdict::Reject,
                Verdict::RequestChanges => call::Verdict::RequestChanges,
            },
            digest: if how == How::OtherText { Digest::claimed("sha256:00") } else { before.digest.clone() },
            version: before.version - u64::from(how == How::OtherVersion),
            reason: (how != How::Silent).then(|| "Not like this.".to_owned()),
            arguments: None,
        };
        let answer = person.decide(&id, decide).await;
        let word = answer.as_ref().map_or("", |listed| if listed.call.state.word() == "held" { "held" } else { settling_word(verdict) }).to_owned();
        self.told_of(&id, before, &format!("decided {word}"), answer.map(|listed| listed.call)).await
    }

    async fn decide_too_late(&mut self, text: usize, person: &Reviewer, then: i64) -> Result<String, String> {
        let Some(id) = self.newest[text].clone() else { return Ok(String::new()) };
        let shown = person.read(&id).await.map_err(|e| e.to_string())?;
        self.clock.set(then);
        match person.decide(&id, life::approve(&shown.call)).await {
            Err(ReviewError::Settled(listed)) => Ok(format!("settled {}", listed.call.state.word())),
            other => Err(format!("{:?}", other.map(|listed| listed.call.state))),
        }
    }

    /// An answer in the table's words; who was refused changed nothing, who was not was promised a version.
    async fn told_of(&mut self, id: &CallId, before: Call, done: &str, answer: Result<Call, ReviewError>) -> Result<String, String> {
        let refused = match answer {
            Ok(call) => {
                let told = self.told.entry(id.clone()).or_default();
                *told = call.version.max(*told);
                return Ok(done.to_owned());
            }
            Err(ReviewError::Settled(listed)) => format!("settled {}", listed.call.state.word()),
            Err(ReviewError::Stale(_)) => "stale".to_owned(),
            Err(ReviewError::NotShown) => "not shown".to_owned(),
            Err(ReviewError::Incomplete(_)) => "incomplete".to_owned(),
            Err(other @ (ReviewError::NotFound | ReviewError::NotEntitled(_) | ReviewError::Unfit(_) | ReviewError::Failure(_))) => {
                return Err(other.to_string());
            }
        };
        if self.alone {
            self.books.refused(&refused, &before, &self.truth(id).await);
        }
        Ok(refused)
    }
}

fn settling_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
        Verdict::RequestChanges => "changes_requested",
    }
}

fn turned(answer: Result<(), PauseError>) -> Result<String, String> {
    match answer {
        Ok(()) => Ok("turned".to_owned()),
        Err(PauseError::Already(_)) => Ok("already".to_owned()),
        Err(other @ (PauseError::Incomplete(_) | PauseError::Failure(_))) => Err(other.to_string()),
    }
}
