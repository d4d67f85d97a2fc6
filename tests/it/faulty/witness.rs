//! An upstream that looks into the store in the instant in which a call leaves: the call must stand there as
//! `sending`, with its entry in the chain, under the digest of the very bytes. It can also keep a call hanging,
//! lose it, or say that it was never reached.

use super::store::FaultyStore;
use crate::fakes::{Mood, RESULT};
use async_trait::async_trait;
use paraph::domain::call::{CallId, State};
use paraph::domain::digest::Digest;
use paraph::gate::upstream::{InputSchema, Outgoing, Sent, ServerStatus, Ticket, Upstream};
use paraph::store::Query;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What the upstream does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Is(Mood),
    /// It left, and nothing comes back until the manner changes.
    Hangs,
}

/// Counts what left, by call.
pub struct Witness {
    manner: watch::Sender<Manner>,
    /// Replaced when a test opens the store again.
    store: Mutex<Option<Arc<FaultyStore>>>,
    left: Mutex<HashMap<CallId, usize>>,
    faults: Mutex<Vec<String>>,
}

impl Default for Witness {
    fn default() -> Witness {
        Witness { manner: watch::Sender::new(Manner::Is(Mood::Answers)), store: Mutex::default(), left: Mutex::default(), faults: Mutex::default() }
    }
}

impl Witness {
    pub fn look_into(&self, store: Option<Arc<FaultyStore>>) {
        *self.store.lock().unwrap() = store;
    }

    pub fn become_now(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    pub fn manner(&self) -> Manner {
        *self.manner.borrow()
    }

    /// How often a call's bytes left.
    pub fn count(&self, id: &CallId) -> usize {
        self.left.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    pub fn total(&self) -> usize {
        self.left.lock().unwrap().values().sum()
    }

    /// What was not as it must be when something left.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    async fn look(&self, outgoing: &Outgoing) -> Result<CallId, String> {
        let store = self.store.lock().unwrap().clone().ok_or("a call left while no store was open")?;
        let _under_way = store.under_way();
        let truth = store.truth();
        let query = Query { states: vec!["sending".into()], agent: Some(outgoing.agent.clone()), limit: 1000, ..Query::default() };
        let sending = truth.calls(&query).await.map_err(|e| e.to_string())?.calls;
        let is_it = |call: &&paraph::domain::call::Call| call.tool == outgoing.tool && call.arguments == outgoing.arguments;
        let call = sending.iter().find(is_it).ok_or_else(|| format!("{} left and no call was sending", outgoing.arguments))?;
        let value: serde_json::Value = serde_json::from_str(&outgoing.arguments).map_err(|e| e.to_string())?;
        let digest = Digest::of_call(&outgoing.server, &outgoing.tool, &value);
        if digest != call.digest || !matches!(call.state, State::Sending { .. }) {
            return Err(format!("{}: the bytes that left have the digest {digest}", call.id));
        }
        let head = truth.head().await.map_err(|e| e.to_string())?;
        let entries = truth.entries(head.seq.saturating_sub(100), 200).await.map_err(|e| e.to_string())?;
        let last = entries.iter().rev().find(|entry| entry.call.as_ref() == Some(&call.id) && entry.kind != "call.viewed");
        match last {
            Some(entry) if entry.kind == "call.sending" && entry.data["digest"] == digest.as_str() => Ok(call.id.clone()),
            other => Err(format!("{}: left behind {:?}", call.id, other.map(|entry| &entry.kind))),
        }
    }
}

#[async_trait]
impl Upstream for Witness {
    async fn send(&self, ticket: Ticket) -> Sent {
        let outgoing = ticket.spend();
        let mut manner = self.manner.subscribe();
        let first = *manner.borrow_and_update();
        if first == Manner::Is(Mood::NeverReached) {
            return Sent::NeverLeft("the server could not be reached".into());
        }
        match self.look(&outgoing).await {
            Ok(id) => *self.left.lock().unwrap().entry(id).or_default() += 1,
            Err(fault) => self.faults.lock().unwrap().push(fault),
        }
        let last = manner.wait_for(|manner| *manner != Manner::Hangs).await.map_or(Manner::Hangs, |manner| *manner);
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        match last {
            Manner::Is(Mood::Answers) => Sent::Result(raw(RESULT)),
            Manner::Is(Mood::ToolError) => Sent::Result(raw(r#"{"content":[],"isError":true}"#)),
            Manner::Is(Mood::NeverReached | Mood::Vanishes) | Manner::Hangs => Sent::Unknown("the connection was cut".into()),
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
