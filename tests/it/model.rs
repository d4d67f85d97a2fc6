//! Random histories against the real gate over every engine, with restarts, and against a naive table that
//! shares no code with it. After each step: the states agree, nothing left twice, nothing left without an
//! approval in the chain, the chain verifies, nobody waits who left (the invariants of docs/decisions/0001).

use crate::fakes::{CountingUpstream, ManualClock};
use crate::life::{HOUR, approve, reject, settings};
use paraph::domain::audit::{Head, follow};
use paraph::domain::call::CallId;
use paraph::domain::people::{Agent, Role};
use paraph::gate::people::NewAgent;
use paraph::gate::{Admission, Ask, Clock, Delivery, Gate, Reviewer, Seat};
use paraph::store::Store;
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SLOTS: usize = 3;

/// One step of a history. A slot is one text to one recipient: asking twice for it is "the identical call".
#[derive(Debug, Clone, Copy)]
enum Step {
    Ask(usize),
    Leave(usize),
    Cancel(usize),
    Approve(usize),
    Reject(usize),
    Collect(usize),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS;
    prop_oneof![
        5 => slot.clone().prop_map(Step::Ask),
        1 => slot.clone().prop_map(Step::Leave),
        2 => slot.clone().prop_map(Step::Cancel),
        3 => slot.clone().prop_map(Step::Approve),
        1 => slot.clone().prop_map(Step::Reject),
        2 => slot.prop_map(Step::Collect),
        2 => (1u64..30).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// What a slot should be, by the contract's words alone. Times are hours since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    Free,
    Held { until: u64, cancelled: bool },
    Permit { until: u64 },
    Sent { at: u64, delivered: bool },
    Refused { at: u64 },
    Over { word: &'static str, at: u64, delivered: bool },
}

#[derive(Debug, Default)]
struct Table {
    now: u64,
    rows: [Option<Row>; SLOTS],
    seats: [usize; SLOTS],
    sends: [usize; SLOTS],
    approvals: [usize; SLOTS],
}

impl Table {
    fn row(&self, slot: usize) -> Row {
        self.rows[slot].unwrap_or(Row::Free)
    }

    fn ask(&mut self, slot: usize) {
        let now = self.now;
        let next = match self.row(slot) {
            Row::Held { until, .. } => Row::Held { until, cancelled: false },
            Row::Permit { .. } => {
                self.sends[slot] += 1;
                Row::Sent { at: now, delivered: false }
            }
            row @ Row::Refused { at } if now < at + 24 => row,
            row @ (Row::Sent { at, delivered: false } | Row::Over { at, delivered: false, .. }) if now < at + 1 => row,
            Row::Free | Row::Refused { .. } | Row::Sent { .. } | Row::Over { .. } => {
                self.seats[slot] = 0;
                Row::Held { until: now + 24, cancelled: false }
            }
        };
        self.rows[slot] = Some(next);
        self.seats[slot] += 1;
    }

    fn cancel(&mut self, slot: usize) {
        self.seats[slot] -= 1;
        if let (0, Row::Held { until, .. }) = (self.seats[slot], self.row(slot)) {
            self.rows[slot] = Some(Row::Held { until, cancelled: true });
        }
    }

    fn approve(&mut self, slot: usize) {
        if let Row::Held { cancelled, .. } = self.row(slot) {
            self.approvals[slot] += 1;
            self.rows[slot] = Some(if cancelled {
                Row::Permit { until: self.now + 1 }
            } else {
                self.sends[slot] += 1;
                Row::Sent { at: self.now, delivered: false }
            });
        }
    }

    fn wait(&mut self, hours: u64) {
        self.now += hours;
        for row in self.rows.iter_mut().flatten() {
            match *row {
                Row::Held { until, .. } if self.now >= until => *row = Row::Over { word: "expired", at: self.now, delivered: false },
                Row::Permit { until } if self.now >= until => *row = Row::Over { word: "lapsed", at: self.now, delivered: false },
                Row::Free | Row::Held { .. } | Row::Permit { .. } | Row::Sent { .. } | Row::Refused { .. } | Row::Over { .. } => {}
            }
        }
    }

    fn word(&self, slot: usize) -> &'static str {
        match self.row(slot) {
            Row::Free => "",
            Row::Held { .. } => "held",
            Row::Permit { .. } => "approved",
            Row::Sent { .. } => "answered",
            Row::Refused { .. } => "rejected",
            Row::Over { word, .. } => word,
        }
    }
}

/// Where a history is kept.
enum Engine {
    Memory(Arc<InMemory>),
    Sled { data: PathBuf, open: Option<OnSled> },
}

impl Engine {
    fn store(&self) -> Arc<dyn Store> {
        match self {
            Engine::Memory(store) => store.clone(),
            Engine::Sled { open, .. } => Arc::new(open.clone().expect("open")),
        }
    }

    async fn reopen(&mut self) {
        if let Engine::Sled { data, open } = self {
            if let Some(store) = open.take() {
                store.close().await;
            }
            *open = Some(OnSled::open(data, &SledSettings::default()).expect("it opens again"));
        }
    }
}

struct System {
    engine: Engine,
    clock: Arc<ManualClock>,
    upstream: Arc<CountingUpstream>,
    /// Taken out for a restart: the old gate lets go of the store before it is opened again.
    gate: Option<Gate>,
    agent: Agent,
    ann: Option<Reviewer>,
    seats: HashMap<usize, Vec<Seat>>,
    newest: [Option<CallId>; SLOTS],
    ticks: usize,
    token: String,
}

fn arguments(slot: usize) -> String {
    format!(r#"{{"to":"@r{slot}","text":"Hello"}}"#)
}

impl System {
    async fn start(mut engine: Engine) -> System {
        engine.reopen().await;
        let (clock, upstream) = (Arc::new(ManualClock::default()), Arc::new(CountingUpstream::default()));
        let gate = Gate::open(engine.store(), upstream.clone(), clock.clone(), settings());
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        gate.add_person("ann@example.org", None, Vec::new(), Role::Operator).await.unwrap();
        let token = gate.make_api_token("ann@example.org", 10_000 * HOUR).await.unwrap();
        let ann = gate.by_api_token(&token).await.unwrap().unwrap();
        System { engine, clock, upstream, gate: Some(gate), agent, ann: Some(ann), seats: HashMap::new(), newest: Default::default(), ticks: 0, token }
    }

    fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("the gate is open")
    }

    async fn ask(&mut self, slot: usize) {
        let text = arguments(slot);
        let ask = Ask {
            agent: self.agent.clone(),
            server: "demo".into(),
            tool: "send_dm".into(),
            value: serde_json::from_str(&text).unwrap(),
            arguments: text,
            meta: None,
            trace: Vec::new(),
        };
        let Admission::Waiting(seat) = self.gate().admit(ask).await.unwrap() else { panic!("not held") };
        if self.newest[slot].as_ref() != Some(seat.call()) {
            self.seats.remove(&slot);
        }
        self.newest[slot] = Some(seat.call().clone());
        self.seats.entry(slot).or_default().push(seat);
    }

    async fn decide(&self, slot: usize, yes: bool) {
        let Some(id) = &self.newest[slot] else { return };
        let ann = self.ann.as_ref().expect("ann is signed in");
        let call = ann.read(id).await.unwrap().call;
        let _ = ann.decide(id, if yes { approve(&call) } else { reject(&call) }).await;
    }

    async fn tick(&mut self) {
        self.ticks += 1;
        self.gate().add_person(&format!("tick-{}@example.org", self.ticks), None, Vec::new(), Role::Auditor).await.unwrap();
    }

    async fn restart(&mut self) {
        self.seats.clear();
        self.ann = None;
        if let Some(gate) = self.gate.take() {
            gate.close(Duration::from_secs(20)).await;
        }
        self.engine.reopen().await;
        let gate = Gate::open(self.engine.store(), self.upstream.clone(), self.clock.clone(), settings());
        gate.recover().await.unwrap();
        self.ann = gate.by_api_token(&self.token).await.unwrap();
        self.gate = Some(gate);
    }

    /// Waits until the slot's call has the state that the table says.
    async fn settle(&self, slot: usize, word: &str) -> String {
        let Some(id) = &self.newest[slot] else { return String::new() };
        let store = self.engine.store();
        let mut hints = self.gate().watch();
        for _ in 0..50 {
            let call = store.call(id).await.unwrap().unwrap();
            if call.state.word() == word {
                return word.to_owned();
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), hints.recv()).await;
        }
        store.call(id).await.unwrap().unwrap().state.word().to_owned()
    }

    async fn check(&self, table: &Table) {
        // What must not happen gets its chance first: in memory, every task of the gate runs to rest within these.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        for slot in 0..SLOTS {
            assert_eq!(self.settle(slot, table.word(slot)).await, table.word(slot), "slot {slot}: {table:?}");
            assert_eq!(self.upstream.count(&arguments(slot)), table.sends[slot], "sends of slot {slot}");
            assert_eq!(self.seats.get(&slot).map_or(0, Vec::len), table.seats[slot], "waiters of slot {slot}");
        }
        let entries = self.engine.store().entries(1, 1_000_000).await.unwrap();
        entries.iter().try_fold(Head::default(), |head, entry| follow(&head, entry)).expect("the chain verifies");
        let mut approved: HashMap<&CallId, usize> = HashMap::new();
        for entry in &entries {
            let Some(call) = &entry.call else { continue };
            match entry.kind.as_str() {
                "call.decided" if entry.data["verdict"] == "approve" => *approved.entry(call).or_default() += 1,
                "call.sending" => {
                    let left = approved.get_mut(call).expect("a send follows an approval");
                    *left = left.checked_sub(1).expect("at most one send per approval");
                }
                _ => {}
            }
        }
    }
}

async fn play(engine: Engine, steps: &[Step]) {
    let mut system = System::start(engine).await;
    let mut table = Table::default();
    for &step in steps {
        match step {
            Step::Ask(slot) => {
                table.ask(slot);
                system.ask(slot).await;
            }
            Step::Leave(slot) => {
                if system.seats.get_mut(&slot).and_then(Vec::pop).is_some() {
                    table.seats[slot] -= 1;
                }
            }
            Step::Cancel(slot) => {
                if let Some(seat) = system.seats.get_mut(&slot).and_then(Vec::pop) {
                    table.cancel(slot);
                    seat.cancel().await.unwrap();
                }
            }
            Step::Approve(slot) => {
                table.approve(slot);
                system.decide(slot, true).await;
            }
            Step::Reject(slot) => {
                if let Row::Held { .. } = table.row(slot) {
                    table.rows[slot] = Some(Row::Refused { at: table.now });
                }
                system.decide(slot, false).await;
            }
            Step::Collect(slot) => {
                let settled = !matches!(table.row(slot), Row::Free | Row::Held { .. } | Row::Permit { .. });
                if let Some(mut seat) = settled.then(|| system.seats.get_mut(&slot).and_then(Vec::pop)).flatten() {
                    let delivery = tokio::time::timeout(Duration::from_secs(20), seat.settled()).await.expect("no waiter outlives its call").unwrap();
                    assert_eq!(matches!(delivery, Delivery::Result { .. }), matches!(table.row(slot), Row::Sent { .. }));
                    seat.delivered().await.unwrap();
                    table.seats[slot] -= 1;
                    if let Some(Row::Sent { delivered, .. } | Row::Over { delivered, .. }) = &mut table.rows[slot] {
                        *delivered = true;
                    }
                }
            }
            Step::Wait(hours) => {
                table.wait(hours);
                system.clock.advance(Duration::from_secs(3600 * hours));
                system.tick().await;
            }
            Step::Restart => {
                table.seats = [0; SLOTS];
                system.restart().await;
            }
        }
        system.check(&table).await;
    }
    system.seats.clear();
    system.gate().close(Duration::from_secs(20)).await;
    if let Engine::Sled { open: Some(store), .. } = &system.engine {
        store.close().await;
    }
    assert!(system.clock.now() >= ManualClock::default().now());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn rounds(fixed: u32) -> ProptestConfig {
    let cases = std::env::var("PARAPH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(fixed);
    ProptestConfig { cases, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(rounds(256))]

    #[test]
    fn every_history_in_memory_ends_as_the_table_says(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(play(Engine::Memory(Arc::default()), &steps));
    }
}

proptest! {
    #![proptest_config(rounds(256))]

    #[test]
    fn every_history_over_sled_ends_as_the_table_says(steps in prop::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(play(Engine::Sled { data: folder.path().join("data"), open: None }, &steps));
    }
}
