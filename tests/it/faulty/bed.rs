//! A gate behind a faulty store, with an agent and two people: what the sentences about faults and races share.

use super::store::FaultyStore;
use super::witness::Witness;
use crate::fakes::ManualClock;
use crate::life::{self, HOUR, approve, reject};
use paraph::domain::audit::{Head, follow};
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::people::{Agent, Role};
use paraph::gate::people::NewAgent;
use paraph::gate::review::{Decide, ReviewError};
use paraph::gate::{Admission, Ask, Failure, Gate, HoldSettings, Reviewer, Seat, Settings};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use paraph::store::{Query, Store};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub const DM: &str = r#"{"to":"@bob","text":"Hello Bob"}"#;
pub const UNDO: Duration = Duration::from_secs(10);

pub struct Bed {
    pub store: Arc<FaultyStore>,
    pub gate: Gate,
    pub clock: Arc<ManualClock>,
    pub upstream: Arc<Witness>,
    pub agent: Agent,
    /// Ann and Ben.
    pub people: Vec<Reviewer>,
    /// Olga, so that Ann can be disabled.
    pub settings: Settings,
    _folder: Option<tempfile::TempDir>,
}

impl Bed {
    pub async fn in_memory(undo: Duration) -> Bed {
        Bed::over(Arc::new(InMemory::new()), None, undo).await
    }

    pub async fn on_sled(undo: Duration) -> Bed {
        let folder = tempfile::tempdir().unwrap();
        let store = OnSled::open(&folder.path().join("data"), &SledSettings { cache_bytes: 4 << 20, ..SledSettings::default() }).unwrap();
        Bed::over(Arc::new(store), Some(folder), undo).await
    }

    async fn over(engine: Arc<dyn Store>, folder: Option<tempfile::TempDir>, undo: Duration) -> Bed {
        static RULES: LazyLock<Settings> = LazyLock::new(life::settings);
        let settings = Settings { hold: HoldSettings { undo, ..HoldSettings::default() }, ..RULES.clone() };
        let (clock, upstream): (Arc<ManualClock>, Arc<Witness>) = Default::default();
        let store = FaultyStore::over(engine);
        upstream.look_into(Some(store.clone()));
        let gate = Gate::open(store.clone(), upstream.clone(), clock.clone(), settings.clone());
        gate.resume_work().await.unwrap();
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        gate.add_person("olga@example.org", None, Vec::new(), Role::Operator).await.unwrap();
        let mut people = Vec::new();
        for email in ["ann@example.org", "ben@example.org"] {
            gate.add_person(email, None, Vec::new(), Role::Reviewer).await.unwrap();
            let token = gate.make_api_token(email, "test", 1000 * HOUR).await.unwrap();
            people.push(gate.by_api_token(&token).await.unwrap().unwrap());
        }
        Bed { store, gate, clock, upstream, agent, people, settings, _folder: folder }
    }

    pub async fn ask(&self, text: &str) -> Result<Admission, Failure> {
        let value = serde_json::from_str(text).unwrap();
        let ask = Ask {
            agent: self.agent.clone(),
            server: "demo".into(),
            tool: "send_dm".into(),
            value,
            arguments: text.into(),
            meta: None,
            session: None,
            trace: Vec::new(),
        };
        self.gate.admit(ask).await
    }

    pub async fn seat(&self, text: &str) -> Seat {
        match self.ask(text).await.unwrap() {
            Admission::Waiting(seat) => seat,
            Admission::Allowed(_) | Admission::Refused(_) | Admission::Unknown => panic!("the call was not held"),
        }
    }

    pub async fn call(&self, id: &CallId) -> Call {
        self.store.truth().call(id).await.unwrap().expect("it is there")
    }

    pub async fn word(&self, id: &CallId) -> &'static str {
        self.call(id).await.state.word()
    }

    pub async fn all(&self) -> Vec<Call> {
        self.store.truth().calls(&Query { limit: 1000, ..Query::default() }).await.unwrap().calls
    }

    /// Decides what was read before.
    pub async fn decide(&self, person: usize, id: &CallId, verdict: Verdict) -> Result<Call, ReviewError> {
        self.decide_as_shown(person, &self.call(id).await, verdict).await
    }

    pub async fn decide_as_shown(&self, person: usize, call: &Call, verdict: Verdict) -> Result<Call, ReviewError> {
        let decide = match verdict {
            Verdict::Approve => approve(call),
            Verdict::Reject => reject(call),
            Verdict::RequestChanges => Decide { verdict, ..reject(call) },
        };
        self.people[person].decide(&call.id, decide).await.map(|listed| listed.call)
    }

    /// Both read it, Ann approves.
    pub async fn read_and_approve(&self, id: &CallId) -> Result<Call, ReviewError> {
        for person in &self.people {
            person.read(id).await?;
        }
        self.decide(0, id, Verdict::Approve).await
    }

    pub async fn later(&self, by: Duration) {
        self.clock.advance(by);
        self.store.poke();
        self.store.rest().await;
    }

    /// The process ends in order and another one starts on the same store, as `serve` does it.
    pub async fn start_again(&mut self) {
        self.gate.close(Duration::from_millis(10)).await;
        self.gate = Gate::open(self.store.clone(), self.upstream.clone(), self.clock.clone(), self.settings.clone());
        self.gate.recover().await.unwrap();
        self.gate.resume_work().await.unwrap();
        self.store.rest().await;
    }

    /// Nothing was wrong when something left, and the chain is whole and knows every change.
    pub async fn is_whole(&self) -> Vec<String> {
        assert_eq!((self.upstream.faults(), self.store.unusual()), (Vec::<String>::new(), Vec::<String>::new()));
        let entries = self.store.truth().entries(1, 1_000_000).await.unwrap();
        assert_eq!(entries.len() as u64, self.store.entries_written());
        entries.iter().try_fold(Head::default(), |head, entry| follow(&head, entry)).expect("the chain verifies");
        entries.into_iter().map(|entry| entry.kind).collect()
    }
}
