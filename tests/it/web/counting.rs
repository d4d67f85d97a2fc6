//! A store that counts the records it hands out: what a page costs, told without a clock.

use async_trait::async_trait;
use jiff::Timestamp;
use paraph::domain::audit::{Entry, Head};
use paraph::domain::call::{AskKey, Call, CallId};
use paraph::store::in_memory::InMemory;
use paraph::store::rules::Cursor;
use paraph::store::{Change, CommitError, Due, Hint, Kind, Page, Query, Row, Space, Store, StoreError, Tally, Views};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::broadcast;

pub struct Counting {
    pub inner: Arc<InMemory>,
    pub read: Arc<AtomicUsize>,
}

impl Counting {
    /// An answer without a record is a read too.
    fn count<T>(&self, records: usize, answer: T) -> T {
        self.read.fetch_add(records.max(1), Ordering::Relaxed);
        answer
    }
}

#[async_trait]
impl Store for Counting {
    async fn commit(&self, change: Change) -> Result<Head, CommitError> {
        self.inner.commit(change).await
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.inner.hints()
    }
}

#[async_trait]
impl Views for Counting {
    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        self.count(1, self.inner.call(id).await)
    }

    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError> {
        self.count(1, self.inner.newest(key).await)
    }

    async fn calls(&self, query: &Query) -> Result<Page, StoreError> {
        let page = self.inner.calls(query).await?;
        self.count(page.calls.len(), Ok(page))
    }

    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError> {
        self.inner.due(until, most).await
    }

    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
        self.inner.over(until, most).await
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        self.count(1, self.inner.row(kind, key).await)
    }

    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.inner.rows(kind, after, most).await?;
        self.count(rows.len(), Ok(rows))
    }

    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = self.inner.entries(from, most).await?;
        self.count(entries.len(), Ok(entries))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.count(1, self.inner.head().await)
    }

    async fn held(&self) -> Result<usize, StoreError> {
        self.count(1, self.inner.held().await)
    }

    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError> {
        self.count(1, self.inner.tally(groups).await)
    }

    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError> {
        self.count(1, self.inner.open_of_agents().await)
    }

    async fn open_places(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>, StoreError> {
        let places = self.inner.open_places(states, agent, after, most).await?;
        self.count(places.len(), Ok(places))
    }

    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError> {
        self.count(1, self.inner.servers_of_held().await)
    }

    fn space(&self) -> Space {
        self.inner.space()
    }
}
