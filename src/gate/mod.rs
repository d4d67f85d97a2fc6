//! The gate: the only writer of call states. Edges ask it, engines keep what it decides.
//! One step of a call's life per file, in this order: `admit` → `hold` → `review` → `release` → `deliver`, with
//! `expire`, `remind`, `cancel`, `resume`, `pause`, `resolve`, `refusals`, `erase`, `recover`, `reload` and `restore` beside;
//! `people`, `agents`, `signin`, `account` and `switch` say who somebody is and what they may turn, `registrar` who may
//! change that. Made by `serve`, used by `mcp`, `web`, `notify` and `cli`.

pub mod account;
mod admit;
pub mod agents;
mod arguments;
mod attempts;
mod behind;
mod cancel;
mod clock;
mod deadlines;
mod deliver;
mod edit;
mod erase;
mod expire;
mod failure;
mod forward;
mod gaps;
mod health;
mod hold;
mod kin;
mod leases;
pub mod letters;
pub mod limits;
mod lookout;
mod mailing;
pub mod masking;
mod notice;
pub mod passkeys;
mod passwords;
pub mod pause;
pub mod people;
mod promises;
mod recover;
mod refusals;
pub mod registrar;
mod release;
mod reload;
mod remind;
pub mod resolve;
mod restore;
mod resume;
pub mod review;
mod reviewer;
mod room;
pub mod signin;
pub mod switch;
pub mod upstream;
mod uses;
mod waiters;

pub use crate::domain::hold::HoldSettings;
pub use crate::store::{Hint, Page, Query, Space, Tally};
pub use admit::{Admission, Ask};
pub use clock::{Clock, SystemClock};
pub use deliver::Grace;
pub use failure::Failure;
pub use forward::Pass;
pub use health::{Health, Letters};
pub use hold::{Delivery, Seat, TimeIsUp};
pub use lookout::{LOOK, Lasting};
pub use mailing::{MailFailing, MailStanding, Mailing, Unreached};
pub use notice::{Notice, Wording};
pub use reviewer::{Listed, Reviewer, ServerView};
pub use upstream::Upstream;

use crate::domain::audit::{Entry, Fact, Head};
use crate::domain::call::{Call, CallId, Presence};
use crate::domain::digest::Digest;
use crate::domain::limit::GiveBack;
use crate::domain::mask::{MaskKey, Names};
use crate::domain::message::MessagePointers;
use crate::domain::policy::{Asked, Judgement, Policy};
use crate::domain::sign_in::SignInSettings;
use crate::store::{Change, CommitError, Row, Store};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the operator wrote, as far as the gate needs it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Waiting times and bounds of held calls.
    pub hold: HoldSettings,
    /// Per server.
    pub servers: BTreeMap<String, ServerSettings>,
    /// Facts that may wait to be written behind.
    pub audit_queue: usize,
    /// Sends under way to one server, at most.
    pub in_flight_per_server: usize,
    /// Whether holds write letters.
    pub letters: bool,
    /// How people may sign in.
    pub sign_in: SignInSettings,
    /// How long after its end a call keeps its texts.
    pub keep_text: Duration,
    /// Keys that one counter of a limit may have, such as recipients.
    pub limit_keys: usize,
    /// Bytes of the arguments of one call, also after a person edited them.
    pub arguments: usize,
    /// Names of arguments that are masked, or never are, besides the known ones.
    pub mask: Names,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hold: HoldSettings::default(),
            servers: BTreeMap::new(),
            audit_queue: 10_000,
            in_flight_per_server: 256,
            letters: false,
            sign_in: SignInSettings::default(),
            keep_text: Duration::from_secs(90 * 24 * 3600),
            limit_keys: 10_000,
            arguments: 1024 * 1024,
            mask: Names::default(),
        }
    }
}

impl Settings {
    /// One server's settings; `None` when it is not in the config.
    pub fn server(&self, name: &str) -> Option<&ServerSettings> {
        self.servers.get(name)
    }
}

/// One server's rules.
#[derive(Debug, Clone, Default)]
pub struct ServerSettings {
    /// Its policy.
    pub policy: Policy,
    /// Where the message is, per tool.
    pub messages: BTreeMap<String, MessagePointers>,
}

impl ServerSettings {
    /// What the policy says by now of a call that is held already, or of one like it with these arguments.
    fn judge_call(&self, call: &Call, arguments: &Value, now: Timestamp) -> Judgement {
        self.policy.judge(&Asked { agent: &call.agent, tool: &call.tool, arguments, session: call.session.as_deref(), now })
    }

    /// What the audit calls its policy.
    pub fn digest(&self) -> &Digest {
        self.policy.digest()
    }
}

/// A handle; clones share everything.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    upstream: Arc<dyn Upstream>,
    clock: Arc<dyn Clock>,
    settings: ArcSwap<Settings>,
    promises: promises::Promises,
    leases: leases::Leases,
    /// Windows that began before this count as full; none when the store was never restored.
    restored_at: OnceLock<Timestamp>,
    waiters: waiters::Waiters,
    deliveries: deliver::Deliveries,
    checks: arguments::Checks,
    behind: behind::Behind,
    /// What the marks of masked values are made with.
    mask_key: OnceLock<MaskKey>,
    uses: uses::Uses,
    lives: Lives,
    /// When this process found that the last one had not stopped cleanly.
    unclean_start: OnceLock<Timestamp>,
    mailing: Mailing,
    entrance: signin::Entrance,
    /// What operators were told of.
    troubles: letters::Troubles,
    /// What is wrong with the gateway now.
    lasting: watch::Sender<Vec<Lasting>>,
}

/// The tasks that live as long as the gate.
struct Lives {
    draining: CancellationToken,
    /// Cancelled when one of `tasks` ended before it was told to.
    broken: CancellationToken,
    tasks: TaskTracker,
    sends: release::Sends,
}

/// Cancels `broken` unless the task it watches ended because the gate was closing; a panic drops it too.
struct Alive {
    closing: CancellationToken,
    broken: CancellationToken,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.closing.is_cancelled() {
            self.broken.cancel();
        }
    }
}

impl Gate {
    /// Joins the parts. Call [`Gate::recover`] before anything is let in; nothing is sent and no deadline acts before
    /// [`Gate::resume_work`]: what was due while the gateway was down would leave before anybody could take it back.
    pub fn open(store: Arc<dyn Store>, upstream: Arc<dyn Upstream>, clock: Arc<dyn Clock>, settings: Settings) -> Gate {
        let (draining, broken, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let (behind, writer) = behind::Behind::new(store.clone(), clock.clone(), settings.audit_queue.max(1));
        let sends = release::Sends::new(settings.in_flight_per_server.max(1));
        let entrance = signin::Entrance::new(clock.now());
        let gate = Gate {
            inner: Arc::new(Inner {
                store,
                upstream,
                clock,
                settings: ArcSwap::from_pointee(settings),
                promises: promises::Promises::default(),
                leases: leases::Leases::default(),
                restored_at: OnceLock::new(),
                waiters: waiters::Waiters::default(),
                deliveries: deliver::Deliveries::default(),
                checks: arguments::Checks::default(),
                behind,
                mask_key: OnceLock::new(),
                uses: uses::Uses::default(),
                lives: Lives { draining, broken, tasks, sends },
                unclean_start: OnceLock::new(),
                mailing: Mailing::default(),
                entrance,
                troubles: letters::Troubles::default(),
                lasting: watch::Sender::default(),
            }),
        };
        gate.keep(writer);
        gate.keep(gate.clone().pass_hints());
        gate.keep(gate.clone().tell_of_failed_sign_ins());
        gate
    }

    /// "Look again" for pages, mails and waiting requests. A receiver that lags must look at everything.
    pub fn watch(&self) -> broadcast::Receiver<Hint> {
        self.inner.store.hints()
    }

    /// Cancelled when the process is going down: every stream ends by itself then.
    pub fn draining(&self) -> CancellationToken {
        self.inner.lives.draining.clone()
    }

    /// Cancelled when a task that the gate cannot do without ended by itself: calls would wait for ever.
    pub fn broken(&self) -> CancellationToken {
        self.inner.lives.broken.clone()
    }

    fn keep(&self, task: impl Future<Output = ()> + Send + 'static) {
        let lives = &self.inner.lives;
        let alive = Alive { closing: lives.draining.clone(), broken: lives.broken.clone() };
        lives.tasks.spawn(async move {
            let _alive = alive;
            task.await;
        });
    }

    /// The clock everybody shares.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock.clone()
    }

    /// What the operator wrote, as it is now: a reload puts another in its place.
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.settings.load_full()
    }

    /// Ends the gate: [`Gate::drain`] and then [`Gate::close_books`].
    pub async fn close(&self, limit: Duration) {
        self.drain(limit).await;
        self.close_books().await;
    }

    /// Stops taking new work, lets sends finish until `limit`, writes what waits behind. The edges then hand over
    /// what they still hold; that is written too, so the books are closed after them.
    pub async fn drain(&self, limit: Duration) {
        self.inner.lives.draining.cancel();
        if !self.inner.lives.sends.finish(limit).await {
            tracing::warn!(limit_ms = limit.as_millis(), "sends were still under way at the shutdown deadline; they become unconfirmed at the next start");
        }
        // Only now: the sends that just finished had facts to write.
        self.inner.lives.tasks.close();
        self.inner.behind.close();
        self.inner.lives.tasks.wait().await;
    }

    /// How much room the store has left.
    pub fn space(&self) -> Space {
        self.inner.store.space()
    }

    /// The names of the tools that every server listed last, without the servers that nobody has asked yet.
    pub async fn listed_tools(&self) -> BTreeMap<String, Vec<String>> {
        let servers = self.inner.upstream.servers().await.into_iter();
        servers.filter_map(|status| Some((status.name, status.tools?.into_iter().map(|tool| tool.name).collect()))).collect()
    }

    /// The audit chain's last number and hash.
    pub async fn audit_head(&self) -> Result<Head, Failure> {
        self.inner.store.head().await.map_err(|e| self.failed(&e))
    }

    /// Audit entries from a number on, for commands on this machine; people read through `Reviewer`.
    pub async fn audit_entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, Failure> {
        self.inner.store.entries(from, most).await.map_err(|e| self.failed(&e))
    }

    /// Whether the agent is there, gone, or took the call back.
    pub fn presence(&self, call: &Call) -> Presence {
        if self.inner.waiters.is_waiting(&call.id) {
            Presence::Waiting
        } else if call.cancelled {
            Presence::Cancelled
        } else {
            Presence::Gone
        }
    }

    /// Wakes waiting requests whenever a call may have changed.
    async fn pass_hints(self) {
        let mut hints = self.inner.store.hints();
        loop {
            let hint = tokio::select! {
                () = self.inner.lives.draining.cancelled() => return,
                hint = hints.recv() => hint,
            };
            match hint {
                Ok(Hint { call: Some(id) }) => self.inner.waiters.wake(&id),
                Ok(Hint { call: None }) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.inner.waiters.wake_all(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// After a lost acknowledgement: whether the row is there as it was to be written.
    async fn is_written(&self, row: &Row) -> Result<bool, Failure> {
        let stored = self.inner.store.row(row.kind(), row.key()).await.map_err(|e| self.failed(&e))?;
        Ok(stored.as_ref() == Some(row))
    }

    /// Applies `next` to the newest revision until it is written; `None` when `next` has nothing to write.
    async fn rewrite<F>(&self, id: &CallId, next: F) -> Result<Option<Call>, Failure>
    where
        F: FnMut(&Call) -> Option<(Call, Fact)> + Send,
    {
        self.rewrite_and_give_back(id, &[], next).await
    }

    /// The same; with it goes back what was taken from limits.
    async fn rewrite_and_give_back<F>(&self, id: &CallId, given_back: &[GiveBack], mut next: F) -> Result<Option<Call>, Failure>
    where
        F: FnMut(&Call) -> Option<(Call, Fact)> + Send,
    {
        let mut unanswered: Option<Call> = None;
        for _ in 0..REWRITES {
            let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(None) };
            if unanswered.is_some_and(|written| written == call) {
                self.inner.promises.follow(&call);
                return Ok(Some(call));
            }
            let Some((written, fact)) = next(&call) else { return Ok(None) };
            let now = self.inner.clock.now();
            let rows = self.letter_of_step(&call, &written, now);
            let change = Change { given_back: given_back.to_vec(), rows, ..Change::of_call(now, written.clone(), fact) };
            match self.inner.store.commit(change).await {
                Ok(_) => {
                    self.inner.promises.follow(&written);
                    return Ok(Some(written));
                }
                Err(CommitError::Conflict) => unanswered = None,
                // The next read tells whether it was written; whoever did it must not be told that somebody else was first.
                Err(CommitError::Lost) => unanswered = Some(written),
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
            }
        }
        Err(self.failed(&CommitError::Conflict))
    }
}

/// How long sends under way may take to finish once the process is told to stop.
pub const DRAIN: Duration = Duration::from_secs(25);
/// How often a change is decided again because the record moved meanwhile.
const REWRITES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_ends_before_it_was_told_to_breaks_the_gate() {
        for told in [true, false] {
            let (closing, broken) = (CancellationToken::new(), CancellationToken::new());
            let alive = Alive { closing: closing.clone(), broken: broken.clone() };
            if told {
                closing.cancel();
            }
            drop(alive);
            assert_ne!(broken.is_cancelled(), told);
        }
    }
}
