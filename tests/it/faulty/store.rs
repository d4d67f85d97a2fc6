//! Any engine behind a script of faults: a commit that fails, one that is written and whose answer is lost, one
//! that is late or held back, hints that are dropped, repeated or late, reads of damaged records. Every operation
//! yields once, so that a task that could come between does. It also counts: what is under way, so that a test
//! can wait until the gate rests, and what was written, so that the chain can be held against it.

use async_trait::async_trait;
use jiff::Timestamp;
use paraph::domain::audit::{Entry, Head};
use paraph::domain::call::{AskKey, Call, CallId};
use paraph::store::rules::{self, Cursor};
use paraph::store::{Change, CommitError, Due, Hint, Kind, Page, Query, Row, Space, Store, StoreError, Tally, Views};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// What happens to one commit.
#[derive(Debug, Clone)]
pub enum OnCommit {
    Pass,
    /// Nothing is written, and the caller is told so.
    Fail(StoreError),
    /// Written; the answer is lost.
    WriteAndLose,
    /// Not written; the answer is lost all the same.
    DropAndLose,
    Late(Duration),
    /// Waits until the gate is opened.
    Held(Arc<HoldBack>),
}

/// What happens to one hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHint {
    Pass,
    Drop,
    Thrice,
    Late(Duration),
}

/// What happens to one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRead {
    Pass,
    Corrupt,
}

/// Holds one commit back and says when it has come.
#[derive(Debug, Default)]
pub struct HoldBack {
    pub came: Notify,
    pub go: Notify,
}

type Script<Of, To> = Mutex<Box<dyn FnMut(&Of) -> To + Send>>;

/// The engine behind the script.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    hints: broadcast::Sender<Hint>,
    commits: Script<Change, OnCommit>,
    hinting: Script<Hint, OnHint>,
    reads: Script<&'static str, OnRead>,
    under_way: AtomicUsize,
    begun: AtomicUsize,
    ended: Notify,
    entries: AtomicU64,
    /// Changes that did not bring exactly one entry.
    unusual: Mutex<Vec<String>>,
}

pub struct UnderWay<'a>(&'a FaultyStore);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_waiters();
    }
}

impl FaultyStore {
    /// Without faults until a script is given.
    pub fn over(inner: Arc<dyn Store>) -> Arc<FaultyStore> {
        Arc::new(FaultyStore {
            inner,
            hints: broadcast::Sender::new(1024),
            commits: Mutex::new(Box::new(|_| OnCommit::Pass)),
            hinting: Mutex::new(Box::new(|_| OnHint::Pass)),
            reads: Mutex::new(Box::new(|_| OnRead::Pass)),
            under_way: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            ended: Notify::new(),
            entries: AtomicU64::new(0),
            unusual: Mutex::default(),
        })
    }

    /// The engine itself, for a test's own look at the truth.
    pub fn truth(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    pub fn script_commits(&self, script: impl FnMut(&Change) -> OnCommit + Send + 'static) {
        *self.commits.lock().unwrap() = Box::new(script);
    }

    pub fn script_hints(&self, script: impl FnMut(&Hint) -> OnHint + Send + 'static) {
        *self.hinting.lock().unwrap() = Box::new(script);
    }

    pub fn script_reads(&self, mut script: impl FnMut(&str) -> OnRead + Send + 'static) {
        *self.reads.lock().unwrap() = Box::new(move |name| script(name));
    }

    /// From now on everything works.
    pub fn mend(&self) {
        self.script_commits(|_| OnCommit::Pass);
        self.script_hints(|_| OnHint::Pass);
        self.script_reads(|_| OnRead::Pass);
    }

    /// The next commit whose entry is of this kind.
    pub fn next(&self, kind: &'static str, what: OnCommit) {
        let mut what = Some(what);
        self.script_commits(move |change| {
            let is_it = change.facts.first().is_some_and(|fact| fact.kind == kind);
            if is_it { what.take().unwrap_or(OnCommit::Pass) } else { OnCommit::Pass }
        });
    }

    /// Every commit whose entry is of this kind.
    pub fn every(&self, kind: &'static str, what: OnCommit) {
        self.script_commits(move |change| if change.facts.first().is_some_and(|fact| fact.kind == kind) { what.clone() } else { OnCommit::Pass });
    }

    /// A hint that says nothing, as any engine may send it: everybody looks again.
    pub fn poke(&self) {
        let _ = self.hints.send(Hint { call: None });
    }

    /// How many entries were written through here.
    pub fn entries_written(&self) -> u64 {
        self.entries.load(Ordering::SeqCst)
    }

    pub fn unusual(&self) -> Vec<String> {
        self.unusual.lock().unwrap().clone()
    }

    /// Until nothing is under way and nobody starts anything new. Whatever the gate does, it does through its
    /// store; between two operations its tasks need a few turns of the runtime and no more.
    pub async fn rest(&self) {
        let (mut still, mut last) = (0, usize::MAX);
        while still < 24 {
            let ended = self.ended.notified();
            if self.under_way.load(Ordering::SeqCst) > 0 {
                let _ = tokio::time::timeout(Duration::from_millis(50), ended).await;
                still = 0;
                continue;
            }
            let begun = self.begun.load(Ordering::SeqCst);
            still = if begun == last { still + 1 } else { 0 };
            last = begun;
            tokio::task::yield_now().await;
        }
    }

    /// As long as it lives, `rest` waits.
    pub fn under_way(&self) -> UnderWay<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(self)
    }

    async fn begin(&self) -> UnderWay<'_> {
        let under_way = self.under_way();
        tokio::task::yield_now().await;
        under_way
    }

    async fn read(&self, name: &'static str) -> Result<UnderWay<'_>, StoreError> {
        let under_way = self.begin().await;
        let what = (self.reads.lock().unwrap())(&name);
        match what {
            OnRead::Pass => Ok(under_way),
            OnRead::Corrupt => Err(StoreError::Corrupt("a test says so".into())),
        }
    }

    async fn write(&self, change: Change) -> Result<Head, CommitError> {
        let hint = rules::hint(&change);
        let (of_record, facts) = (change.call.is_some() || !change.rows.is_empty(), change.facts.len());
        let first = change.facts.first().map(|fact| fact.kind);
        let is_use = |row: &Row| matches!(row, Row::Credential(credential) if credential.used_at.is_some() && credential.revision > 1);
        // When a token was last used is no fact: what it was used for is one.
        let only_uses = facts == 0 && change.call.is_none() && change.removed.is_empty() && change.rows.iter().all(is_use);
        let written = self.inner.commit(change).await;
        if written.is_ok() {
            self.entries.fetch_add(facts as u64, Ordering::SeqCst);
            if of_record && facts != 1 && !only_uses {
                self.unusual.lock().unwrap().push(format!("{facts} entries with {first:?}"));
            }
            if let Some(hint) = hint {
                self.tell(hint);
            }
        }
        written
    }

    fn tell(&self, hint: Hint) {
        let what = (self.hinting.lock().unwrap())(&hint);
        match what {
            OnHint::Drop => {}
            OnHint::Pass => drop(self.hints.send(hint)),
            OnHint::Thrice => (0..3).for_each(|_| drop(self.hints.send(hint.clone()))),
            OnHint::Late(by) => {
                let hints = self.hints.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _ = hints.send(hint);
                });
            }
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, change: Change) -> Result<Head, CommitError> {
        let _under_way = self.begin().await;
        let what = (self.commits.lock().unwrap())(&change);
        match what {
            OnCommit::Pass => self.write(change).await,
            OnCommit::Fail(error) => Err(error.into()),
            OnCommit::WriteAndLose => {
                // What the engine refuses, it refuses before anything can be lost.
                self.write(change).await?;
                Err(CommitError::Lost)
            }
            OnCommit::DropAndLose => Err(CommitError::Lost),
            OnCommit::Late(by) => {
                tokio::time::sleep(by).await;
                self.write(change).await
            }
            OnCommit::Held(back) => {
                back.came.notify_one();
                back.go.notified().await;
                self.write(change).await
            }
        }
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }
}

#[async_trait]
impl Views for FaultyStore {
    async fn open_places(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>, StoreError> {
        let _under_way = self.read("open_places").await?;
        self.inner.open_places(states, agent, after, most).await
    }

    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError> {
        let _under_way = self.read("servers_of_held").await?;
        self.inner.servers_of_held().await
    }

    fn space(&self) -> Space {
        self.inner.space()
    }

    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        let _under_way = self.read("call").await?;
        self.inner.call(id).await
    }

    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError> {
        let _under_way = self.read("newest").await?;
        self.inner.newest(key).await
    }

    async fn calls(&self, query: &Query) -> Result<Page, StoreError> {
        let _under_way = self.read("calls").await?;
        self.inner.calls(query).await
    }

    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError> {
        let _under_way = self.read("due").await?;
        self.inner.due(until, most).await
    }

    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
        let _under_way = self.read("over").await?;
        self.inner.over(until, most).await
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        let _under_way = self.read("row").await?;
        self.inner.row(kind, key).await
    }

    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
        let _under_way = self.read("rows").await?;
        self.inner.rows(kind, after, most).await
    }

    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        let _under_way = self.read("entries").await?;
        self.inner.entries(from, most).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let _under_way = self.read("head").await?;
        self.inner.head().await
    }

    async fn held(&self) -> Result<usize, StoreError> {
        let _under_way = self.read("held").await?;
        self.inner.held().await
    }

    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError> {
        let _under_way = self.read("tally").await?;
        self.inner.tally(groups).await
    }

    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError> {
        let _under_way = self.read("open_of_agents").await?;
        self.inner.open_of_agents().await
    }
}
