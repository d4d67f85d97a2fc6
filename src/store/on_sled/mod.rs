//! The embedded engine on sled 0.34: durable when `commit` returns (docs/operations.md says what is proven). One thread writes
//! (committer.rs), reads run on blocking threads (reads.rs), and both agree on what is durable (disk.rs). A
//! state that sled goes back to without a word is noticed (marker.rs). Never use sled's `flush_async`,
//! `watch_prefix`, merge operators or `generate_id`: they deadlock, block writers or jump. Opened by `serve`.

mod archive;
mod backup;
mod blocks;
mod committer;
mod compact;
mod disk;
mod fresh;
mod known;
mod layout;
mod marker;
mod migrate;
mod open;
mod plan;
mod reads;
mod records;
mod restore;
mod snapshot;
mod space;
mod tally;

pub use backup::draft_of;
pub use compact::{Compacted, NEW_DATABASE, compact};
pub use open::{OpenError, lock as lock_folder};
pub use restore::{BackupFile, RestoreError};

use super::{Change, CommitError, Due, Hint, Kind, Page, Query, Row, Space, Store, StoreError, Tally, Views};
use crate::domain::audit::{Entry, Head};
use crate::domain::call::{AskKey, Call, CallId};
use async_trait::async_trait;
use committer::{Committer, Job};
use disk::Disk;
use jiff::Timestamp;
use layout::Tree;
use open::Opened;
use records::Records as _;
use snapshot::Snapshot;
use space::Meter;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};

/// Reads at the same time. Most find their pages in sled's cache; each more is a thread with a stack and an arena of its
/// own.
const READS: u32 = 32;

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// sled's page cache, bytes; its memory is a few times that.
    pub cache_bytes: u64,
    /// How often sled writes in the background, milliseconds. Durability does not rest on it.
    pub flush_every_ms: u64,
    /// Changes that may wait for the committer; one more is answered `Busy`.
    pub queue: usize,
    /// Hints that wait for a slow reader before it misses some.
    pub hints: usize,
    /// Free bytes below which new work is refused; 0 = none.
    pub min_free: u64,
    /// Bytes of the file that is deleted when opening fails for lack of space; 0 = none is made.
    pub ballast: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { cache_bytes: 64 * 1024 * 1024, flush_every_ms: 200, queue: 1024, hints: 1024, min_free: 0, ballast: 0 }
    }
}

/// The engine. A clone is another handle to the same store; the last one to go ends the committer after it has
/// worked off its queue, and waits for that.
#[derive(Clone)]
pub struct OnSled {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for OnSled {
    /// Without the records, which sled's own form would print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnSled").field("folder", &self.inner.disk.folder).finish_non_exhaustive()
    }
}

struct Inner {
    disk: Arc<Disk>,
    running: Mutex<Option<Running>>,
    reads: Arc<Semaphore>,
    hints: broadcast::Sender<Hint>,
    space: Arc<Meter>,
    /// Ends the measuring when it is dropped.
    _measuring: std::sync::mpsc::SyncSender<()>,
    poisoned: watch::Receiver<Option<String>>,
}

#[derive(Debug)]
struct Running {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl OnSled {
    /// Opens or creates the store in a data folder. Blocks: call it before the runtime serves anybody.
    pub fn open(path: &Path, settings: &Settings) -> Result<OnSled, OpenError> {
        OnSled::start(open::open(path, settings)?, path, settings)
    }

    fn start(opened: Opened, path: &Path, settings: &Settings) -> Result<OnSled, OpenError> {
        let Opened { disk, head, tally, sync } = opened;
        let disk = Arc::new(disk);
        let meter = Arc::new(Meter::new(path, settings.min_free));
        let measuring = space::watch(Arc::clone(&meter), settings.ballast).map_err(|cause| OpenError::io(path, cause))?;
        let hints = broadcast::Sender::new(settings.hints.max(1));
        let (poison, poisoned) = watch::channel(None);
        let (jobs, queue) = mpsc::channel(settings.queue.max(1));
        let committer = Committer { disk: Arc::clone(&disk), head, tally, sync, poisoned: poison, hints: hints.clone() };
        let thread = std::thread::Builder::new().name("store-committer".to_owned()).spawn(move || committer.run(queue));
        let thread = thread.map_err(|cause| OpenError::io(path, cause))?;
        let reads = Arc::new(Semaphore::new(READS as usize));
        let running = Mutex::new(Some(Running { jobs, thread }));
        Ok(OnSled { inner: Arc::new(Inner { disk, running, reads, hints, space: meter, _measuring: measuring, poisoned }) })
    }

    /// `Some(why)` as soon as the store takes nothing more: the gateway then ends with exit code 70.
    pub fn poisoned(&self) -> watch::Receiver<Option<String>> {
        self.inner.poisoned.clone()
    }

    /// Ends the committer after its queue is worked off, and waits for reads whose askers have gone. Later commits
    /// are refused; later reads are answered. Once the last handle is dropped the folder can be opened again.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        // An error says that the closing itself panicked; there is nothing left to close.
        let _ = tokio::task::spawn_blocking(move || inner.end()).await;
        let _ = self.inner.reads.acquire_many(READS).await;
    }

    /// Reads what is durable, unless nobody can tell what is.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        self.sure()?;
        let Ok(turn) = Arc::clone(&self.inner.reads).acquire_owned().await else {
            return Err(StoreError::Busy);
        };
        let disk = Arc::clone(&self.inner.disk);
        let reading = tokio::task::spawn_blocking(move || {
            let answer = look(&disk.snapshot());
            // In this order: whoever waits for the turn may open the folder again.
            drop(disk);
            drop(turn);
            answer
        });
        let answer = reading.await.unwrap_or_else(|_| Err(StoreError::Corrupt("reading panicked".to_owned())));
        self.sure()?;
        answer
    }

    /// The trees may hold a change whose sync failed.
    fn sure(&self) -> Result<(), StoreError> {
        if self.inner.disk.durable().unsure { Err(StoreError::Poisoned("the last change may not be durable".to_owned())) } else { Ok(()) }
    }
}

impl Inner {
    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let running = self.running().take();
        if let Some(Running { jobs, thread }) = running {
            drop(jobs);
            // The thread catches its own panics.
            let _ = thread.join();
        }
    }

    fn refusal(&self) -> CommitError {
        let why = self.poisoned.borrow().clone();
        StoreError::Poisoned(why.unwrap_or_else(|| "it is closed".to_owned())).into()
    }

    fn submit(&self, job: Job) -> Result<(), CommitError> {
        if self.poisoned.borrow().is_some() {
            return Err(self.refusal());
        }
        let Some(jobs) = self.running().as_ref().map(|running| running.jobs.clone()) else { return Err(self.refusal()) };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy.into()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.refusal()),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Store for OnSled {
    async fn commit(&self, change: Change) -> Result<Head, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.inner.submit(Job { change, answer })?;
        answered.await.unwrap_or(Err(CommitError::Lost))
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.inner.hints.subscribe()
    }
}

#[async_trait]
impl Views for OnSled {
    async fn call(&self, id: &CallId) -> Result<Option<Call>, StoreError> {
        let id = id.clone();
        self.look(move |seen| reads::call(seen, &id)).await
    }

    async fn newest(&self, key: &AskKey) -> Result<Option<Call>, StoreError> {
        if !self.inner.disk.known.may_be(Tree::Newest, key.0.as_str().as_bytes()) {
            return self.sure().map(|()| None);
        }
        let key = key.clone();
        self.look(move |seen| reads::newest(seen, &key)).await
    }

    async fn calls(&self, query: &Query) -> Result<Page, StoreError> {
        if let Some(recipient) = &query.recipient {
            let mut tags = layout::state_tags(&query.states).into_iter();
            if !tags.any(|tag| self.inner.disk.known.may_be(Tree::ByRecipient, &layout::recipient_in(recipient, tag))) {
                return self.sure().map(|()| Page::default());
            }
        }
        let query = query.clone();
        self.look(move |seen| reads::calls(seen, &seen.open(), &query)).await
    }

    async fn due(&self, until: Timestamp, most: usize) -> Result<Due, StoreError> {
        self.look(move |seen| reads::due(seen, until, most)).await
    }

    async fn over(&self, until: Timestamp, most: usize) -> Result<Vec<CallId>, StoreError> {
        self.look(move |seen| reads::over(seen, until, most)).await
    }

    async fn row(&self, kind: Kind, key: &str) -> Result<Option<Row>, StoreError> {
        if known::keeps(kind) {
            return self.sure().map(|()| self.inner.disk.known.row(kind, key));
        }
        if kind == Kind::Refusals && !self.inner.disk.known.may_be(Tree::Rows, &layout::row(kind, key)) {
            return self.sure().map(|()| None);
        }
        let key = key.to_owned();
        self.look(move |seen| seen.row(kind, &key)).await
    }

    async fn rows(&self, kind: Kind, after: Option<&str>, most: usize) -> Result<Vec<Row>, StoreError> {
        if known::keeps(kind) {
            return self.sure().map(|()| self.inner.disk.known.rows(kind, after, most));
        }
        let after = after.map(str::to_owned);
        self.look(move |seen| reads::rows(seen, kind, after.as_deref(), most)).await
    }

    async fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError> {
        self.look(move |seen| reads::entries(seen, from, most)).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.inner.disk.durable().head.clone())
    }

    async fn held(&self) -> Result<usize, StoreError> {
        Ok(self.inner.disk.durable().held)
    }

    async fn tally(&self, groups: Option<&[String]>) -> Result<Tally, StoreError> {
        Ok(self.inner.disk.open().tally(groups))
    }

    async fn open_of_agents(&self) -> Result<HashMap<String, usize>, StoreError> {
        Ok(self.inner.disk.open().of_agents())
    }

    async fn servers_of_held(&self) -> Result<BTreeSet<String>, StoreError> {
        Ok(self.inner.disk.open().servers_of_held())
    }

    fn is_unsettled(&self, id: &CallId) -> bool {
        let disk = &self.inner.disk;
        !disk.durable().unsure && disk.open().is_unsettled(id)
    }

    fn space(&self) -> Space {
        self.inner.space.space()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Fact;
    use crate::domain::letter::Letter;
    use crate::store::backup::{self, BackupError};
    use futures_util::FutureExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn change() -> Change {
        let fact = Fact { kind: "test.fact", call: None, actor: "paraph".to_owned(), data: serde_json::json!({}).into() };
        Change::of_facts(Timestamp::UNIX_EPOCH, vec![fact])
    }

    /// The first sync works, the second does what the test asks for, and a third must not come.
    fn with_second_sync(folder: &Path, second: fn() -> std::io::Result<()>) -> (OnSled, Arc<AtomicU32>) {
        let mut opened = open::open(folder, &Settings::default()).unwrap();
        let syncs = Arc::new(AtomicU32::new(0));
        let (counted, mut sync) = (Arc::clone(&syncs), opened.sync);
        opened.sync = Box::new(move || if counted.fetch_add(1, Ordering::SeqCst) == 0 { sync() } else { second() });
        (OnSled::start(opened, folder, &Settings::default()).unwrap(), syncs)
    }

    async fn poisons(second: fn() -> std::io::Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let (store, syncs) = with_second_sync(&folder.path().join("data"), second);
        store.commit(change()).await.unwrap();
        assert_eq!(*store.poisoned().borrow(), None);
        assert_eq!(store.commit(change()).await, Err(CommitError::Lost));
        for _ in 0..3 {
            assert!(matches!(store.commit(change()).await, Err(CommitError::Store(StoreError::Poisoned(_)))));
        }
        store.poisoned().wait_for(Option::is_some).await.unwrap();
        let backup = backup::Backups::backup(&store, &folder.path().join("one.backup"), Timestamp::UNIX_EPOCH).await;
        assert!(matches!(backup, Err(BackupError::Store(StoreError::Poisoned(_)))), "nobody knows what of it would be durable");
        assert_eq!(syncs.load(Ordering::SeqCst), 2, "a failed sync is never tried again");
        assert_eq!(store.head().await.unwrap().seq, 1, "what was not synced is not shown as durable");
        assert!(matches!(store.entries(1, 10).await, Err(StoreError::Poisoned(_))), "and nobody reads it");
    }

    #[tokio::test]
    async fn a_failed_sync_poisons_the_store_and_loses_the_acknowledgement() {
        poisons(|| Err(std::io::Error::other("no space left"))).await;
    }

    #[tokio::test]
    async fn a_panic_of_the_committer_poisons_the_store() {
        poisons(|| panic!("a test lets the committer panic")).await;
    }

    #[tokio::test]
    async fn a_full_queue_is_busy_and_what_waits_in_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let settings = Settings { queue: 1, ..Settings::default() };
        let mut opened = open::open(&path, &settings).unwrap();
        let (entered, has_entered) = std::sync::mpsc::sync_channel(2);
        let (go, may_go) = std::sync::mpsc::sync_channel(2);
        opened.sync = Box::new(move || {
            entered.send(()).unwrap();
            may_go.recv().unwrap();
            Ok(())
        });
        let store = OnSled::start(opened, &path, &settings).unwrap();
        let mut first = store.commit(change());
        assert_eq!((&mut first).now_or_never(), None);
        has_entered.recv().unwrap();
        let mut second = store.commit(change());
        assert_eq!((&mut second).now_or_never(), None);
        assert_eq!(store.commit(change()).await, Err(StoreError::Busy.into()));
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().seq, 1);
        assert_eq!(second.await.unwrap().seq, 2);
    }

    #[tokio::test]
    async fn during_a_sync_readers_see_what_was_durable_before_it_and_do_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut opened = open::open(&path, &Settings::default()).unwrap();
        let (entered, has_entered) = std::sync::mpsc::sync_channel(4);
        let (go, may_go) = std::sync::mpsc::sync_channel(4);
        opened.sync = Box::new(move || {
            entered.send(()).unwrap();
            may_go.recv().unwrap();
            Ok(())
        });
        let store = OnSled::start(opened, &path, &Settings::default()).unwrap();
        let put = |revision: u64, names: &[&str], removed: &[&str]| {
            let letter =
                |name: &&str| Row::Letter(Letter { id: (*name).to_owned(), revision, ..Letter::about_hold(&CallId("c".into()), 1, Timestamp::UNIX_EPOCH) });
            let removed = removed.iter().map(|name| (Kind::Letter, (*name).to_owned())).collect();
            Change { rows: names.iter().map(letter).collect(), removed, ..change() }
        };
        let names = async || store.rows(Kind::Letter, None, 10).await.unwrap().iter().map(|row| format!("{}{}", row.key(), row.revision())).collect::<Vec<_>>();
        for (change, before, after) in [
            (put(1, &["b", "d"], &[]), vec![], vec!["b1", "d1"]),
            (put(1, &["a", "c", "e"], &["b"]), vec!["b1", "d1"], vec!["a1", "c1", "d1", "e1"]),
            (put(2, &["a", "e"], &["c", "d"]), vec!["a1", "c1", "d1", "e1"], vec!["a2", "e2"]),
        ] {
            let mut committing = store.commit(change);
            assert_eq!((&mut committing).now_or_never(), None);
            has_entered.recv().unwrap();
            assert_eq!(names().await, before, "the trees are ahead, and nobody sees it");
            assert_eq!(store.head().await.unwrap().seq, store.entries(1, 10).await.unwrap().len() as u64);
            go.send(()).unwrap();
            committing.await.unwrap();
            assert_eq!(names().await, after);
        }
    }

    #[tokio::test]
    async fn a_body_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let store = OnSled::open(&path, &Settings::default()).unwrap();
        std::fs::remove_dir(path.join("bodies")).unwrap();
        let mut change = change();
        change.facts[0].data = serde_json::json!({ "long": "x".repeat(70_000) }).into();
        assert!(matches!(store.commit(change).await, Err(CommitError::Store(StoreError::Poisoned(_)))));
        assert_eq!(store.head().await.unwrap(), Head::default());
        assert!(store.entries(1, 10).await.unwrap().is_empty());
    }
}
