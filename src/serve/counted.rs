//! A store that is counted: every change, how long it took to be durable, and every audit entry by its kind. Around the
//! real engine, so that neither the gate nor the engines know of metrics and nothing can be forgotten.
//! Made by `serve::start`.

use crate::domain::audit::{Entry, Head};
use crate::domain::call::{AskKey, Call, CallId};
use crate::observe::metrics::Metrics;
use crate::store::rules::Cursor;
use crate::store::{Change, CommitError, Due, Hint, Kind, Page, Query, Row, Space, Store, StoreError, Tally, Views};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// The store and where it is counted.
pub(super) struct Counted {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Metrics,
}

#[async_trait]
impl Store for Counted {
    async fn commit(&self, change: Change) -> Result<Head, CommitError> {
        let kinds: Vec<&'static str> = change.facts.iter().map(|fact| fact.kind).collect();
        let begun = Instant::now();
        let done = self.store.commit(change).await;
        let result = match &done {
            Ok(_) => "written",
            Err(CommitError::Conflict) => "conflict",
            Err(CommitError::Full { .. }) => "full",
            Err(CommitError::Limited { .. }) => "limited",
            Err(CommitError::Store(_) | CommitError::Lost) => "failed",
        };
        self.metrics.commit(result, begun.elapsed());
        if done.is_ok() {
            kinds.into_iter().for_each(|kind| self.metrics.entry(kind));
        }
        done
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.store.hints()
    }
}

#[async_trait]
impl Views for Counted {
    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        self.store.call(id).await
    }

    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError> {
        self.store.newest(key).await
    }

    async fn calls(&self, query: &Query) -> Result<Page, StoreError> {
        self.store.calls(query).await
    }

    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError> {
        self.store.due(until, most).await
    }

    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
        self.store.over(until, most).await
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        self.store.row(kind, key).await
    }

    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
        self.store.rows(kind, after, most).await
    }

    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        self.store.entries(from, most).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.store.head().await
    }

    async fn held(&self) -> Result<usize, StoreError> {
        self.store.held().await
    }

    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError> {
        self.store.tally(groups).await
    }

    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError> {
        self.store.open_of_agents().await
    }

    async fn open_places(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>, StoreError> {
        self.store.open_places(states, agent, after, most).await
    }

    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError> {
        self.store.servers_of_held().await
    }

    fn is_unsettled(&self, id: &CallId) -> bool {
        self.store.is_unsettled(id)
    }

    fn space(&self) -> Space {
        self.store.space()
    }
}
