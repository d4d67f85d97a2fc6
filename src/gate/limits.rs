//! Where limits meet the life of a call: a full one refuses at the door, and an approved call waits for its turn
//! behind the others. Taking is the engine's, inside the change that it belongs to; whose turn it is stands in
//! `promises`. Called by `forward`, `hold`, `release` and by pages.

use super::admit::{Ask, verdict_fact, wording};
use super::notice::{self, Notice};
use super::reviewer::Reviewer;
use super::{Failure, Gate, Settings};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, CallId, State};
use crate::domain::digest::Digest;
use crate::domain::json;
use crate::domain::limit::{Charge, Counter, CounterKey, GiveBack, Label, Ledger, ONE, Take, slack};
use crate::domain::people::Role;
use crate::domain::policy::{Action, LimitView};
use crate::store::{Change, CommitError, Kind, Row, Seen};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// The longest an agent is told to wait: a date beyond it says nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);
/// Counters looked at in one read.
const TOGETHER: usize = 100;

/// A limit without room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// Its name.
    pub limit: String,
    /// When there is room, if nobody else takes it.
    pub until: Timestamp,
    /// The operator's words for it.
    pub reason: Option<String>,
}

/// A stretch of counters.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Those that the reader may see.
    pub counters: Vec<Usage>,
    /// Counters that the reader may not see.
    pub kept_back: usize,
    /// Behind which key the next stretch begins.
    pub next: Option<String>,
}

impl Limited {
    /// One of these charges has no room.
    pub(super) fn of(charges: &[Charge], limit: String, until: Timestamp) -> Limited {
        let reason = charges.iter().find(|charge| charge.name == limit).and_then(|charge| charge.reason.clone());
        Limited { limit, until, reason }
    }
}

/// One counter and what is used of it, for a page.
#[derive(Debug, Clone)]
pub struct Usage {
    /// What it is called.
    pub counter: Counter,
    /// What agents asked for within the window, in millionths.
    pub asked: u64,
    /// What was sent, in millionths.
    pub sent: u64,
    /// When one more would fit.
    pub room_at: Option<Timestamp>,
}

/// What fits into which window by the config, by the group of a counter's keys: all limits on one counter agree.
struct Sizes(HashMap<String, (Duration, u64)>);

impl Sizes {
    /// The counter with its present window and size; those of its last take may be older.
    fn now_of(&self, counter: Counter) -> Counter {
        match self.0.get(counter.key.group()) {
            Some((window, max)) => Counter { window: *window, max: *max, ..counter },
            None => counter,
        }
    }
}

impl Gate {
    /// A call at the door that a limit has no room for.
    pub(super) async fn limited(&self, ask: &Ask, digest: &Digest, full: Limited, under: &Settings) -> Result<Notice, Failure> {
        self.record(verdict_fact("call.limited", ask, digest, &full.limit, under)).await?;
        let now = self.inner.clock.now();
        let wait = Duration::try_from(full.until.duration_since(now)).unwrap_or_default().min(LONGEST_WAIT);
        Ok(notice::limited_by(wording(ask, under), &full.limit, full.reason.as_deref(), now, wait))
    }

    /// After a restore nobody knows what was sent since the backup: a window that reaches back that far is full.
    pub(super) fn full_since_restore(&self, charges: &[Charge], now: Timestamp) -> Option<Limited> {
        let restored_at = *self.inner.restored_at.get()?;
        let full = charges.iter().map(|charge| Limited::of(charges, charge.name.clone(), restored_at + charge.window));
        full.filter(|full| full.until > now).max_by_key(|full| full.until)
    }

    /// Reads when the store was restored, if it was.
    pub(super) async fn remember_restore(&self) -> Result<(), Failure> {
        let row = self.inner.store.row(Kind::Restored, crate::store::RESTORED).await.map_err(|e| self.failed(&e))?;
        if let Some(Row::Restored(restored)) = row {
            let _the_only_one = self.inner.restored_at.set(restored.at);
        }
        Ok(())
    }

    /// Whether others wait for these limits already and leave no room: whoever comes later goes behind them.
    pub(super) async fn behind_others(&self, id: Option<&CallId>, charges: &[Charge], now: Timestamp) -> Result<Option<Limited>, Failure> {
        if !self.inner.promises.has_any(charges) {
            return Ok(None);
        }
        let ledgers = self.sent_ledgers(charges).await?;
        let place = self.inner.promises.place(id, charges, &ledgers, now, now);
        Ok(place.limit.map(|limit| Limited::of(charges, limit, place.at)))
    }

    /// An approved call that a limit keeps here: it gets a time of its own behind those that wait already.
    pub(super) async fn put_off(&self, id: &CallId, charges: &[Charge], full: Limited) -> Result<(), Failure> {
        let ledgers = self.sent_ledgers(charges).await?;
        let now = self.inner.clock.now();
        let (promises, latest) = (&self.inner.promises, now + LONGEST_WAIT);
        let restored = self.full_until(charges, now);
        // The engine may know of more than these ledgers: a counter without room for another key, a place that was
        // taken in this moment.
        let has_room = promises.place(None, charges, &ledgers, now, restored).at <= now;
        let from = if has_room { full.until.clamp(now + Duration::from_millis(1), latest) } else { restored };
        let until = promises.promise(id, charges, &ledgers, now, from).at.min(latest);
        let written = self.rewrite(id, |call| {
            let next = call.put_off(until, &full.limit)?;
            let fact = self.call_fact("call.put_off", &next, "paraph", json!({ "limit": full.limit, "until": until }));
            Some((next, fact))
        });
        let written = written.await;
        if !matches!(written, Ok(Some(_))) {
            promises.drop_of(id);
        }
        written.map(drop)
    }

    /// A call that waited for a limit when the last process ended keeps its place.
    pub(super) async fn promise_again(&self, call: &Call) -> Result<(), Failure> {
        let (State::Approved { release_at, .. }, Some(_), false) = (&call.state, &call.waits_for, call.cancelled) else { return Ok(()) };
        if let Ok((_, charges)) = self.stands_against(call, &self.settings()).await? {
            self.inner.promises.promise_again(&call.id, &charges, *release_at);
        }
        Ok(())
    }

    /// A commit that took long lies between the moment that was counted and the byte that leaves, and two calls that
    /// were let through a window apart would reach the server closer to each other: then the send is counted anew.
    /// When it was counted; or that there is no room for it now.
    pub(super) async fn counted_in_time(&self, charges: &[Charge], at: Timestamp) -> Result<Result<Timestamp, Limited>, Failure> {
        let now = self.inner.clock.now();
        let late = |charge: &Charge| now > at + slack(charge.window);
        if !charges.iter().any(late) {
            return Ok(Ok(at));
        }
        let limits: Vec<_> = charges.iter().map(|charge| &charge.name).collect();
        let fact = Fact { kind: "limit.counted_anew", call: None, actor: "paraph".into(), data: json!({ "limits": limits, "first": at }).into() };
        let (given_back, takes) = (GiveBack::of(charges, at), Take::sent(charges, self.settings().limit_keys));
        match self.commit_takes(Change { given_back, takes, ..Change::of_facts(now, vec![fact]) }).await {
            Ok(_) => Ok(Ok(now)),
            Err(CommitError::Limited { limit, until }) => Ok(Err(Limited::of(charges, limit, until))),
            Err(error @ (CommitError::Conflict | CommitError::Lost | CommitError::Full { .. } | CommitError::Store(_))) => Err(self.failed(&error)),
        }
    }

    /// An allowed call provably never left, so it takes nothing from what may be sent. A failure is in the log: the
    /// take then counts until its window is over, which is the safe side.
    pub(super) async fn give_back(&self, given_back: Vec<GiveBack>, facts: Vec<Fact>) {
        if given_back.is_empty() {
            return;
        }
        let change = Change { given_back, ..Change::of_facts(self.inner.clock.now(), facts) };
        if let Err(error) = self.inner.store.commit(change).await {
            let _logged = self.failed(&error);
        }
    }

    async fn sent_ledgers(&self, charges: &[Charge]) -> Result<Vec<Ledger>, Failure> {
        let mut ledgers = Vec::with_capacity(charges.len());
        for charge in charges {
            let row = self.inner.store.row(Kind::Counter, charge.key.as_str()).await.map_err(|e| self.failed(&e))?;
            ledgers.push(if let Some(Row::Counter(counter)) = row { counter.sent } else { Ledger::default() });
        }
        Ok(ledgers)
    }

    fn full_until(&self, charges: &[Charge], now: Timestamp) -> Timestamp {
        self.full_since_restore(charges, now).map_or(now, |full| full.until)
    }

    /// The windows and sizes that the config gives its counters now.
    fn sizes(&self) -> Sizes {
        let settings = self.settings();
        let limits = settings.servers.iter().flat_map(|(name, server)| server.policy.limits().into_iter().map(move |limit| (name, limit)));
        let named = |(name, limit): (&String, LimitView)| {
            let server = (limit.scope != "global").then(|| name.clone());
            (CounterKey::group_named(server.as_deref(), &limit.counter), (limit.window, limit.max.saturating_mul(ONE)))
        };
        Sizes(limits.map(named).collect())
    }

    /// Takes away counters that have nothing to count any more, and sets those right that a wrong clock wrote.
    pub(super) async fn forget_counters(&self) -> Result<(), Failure> {
        let (mut after, sizes): (Option<String>, _) = (None, self.sizes());
        loop {
            let rows = self.inner.store.rows(Kind::Counter, after.as_deref(), TOGETHER).await.map_err(|e| self.failed(&e))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key().to_owned());
            let now = self.inner.clock.now();
            for row in rows {
                let Row::Counter(counter) = row else { continue };
                let (key, counter) = (counter.key.as_str().to_owned(), sizes.now_of(counter));
                let change = if counter.is_idle(now) {
                    // Whoever took from it meanwhile keeps it.
                    let seen = vec![Seen { kind: Kind::Counter, key: key.clone(), revision: counter.revision }];
                    Change { seen, removed: vec![(Kind::Counter, key)], ..Change::of_facts(now, Vec::new()) }
                } else if let Some(right) = counter.set_right(now) {
                    tracing::warn!("a limit counted calls of the future: the clock was set back; they count from now on");
                    Change { rows: vec![Row::Counter(right)], ..Change::of_facts(now, Vec::new()) }
                } else {
                    continue;
                };
                match self.inner.store.commit(change).await {
                    Ok(_) | Err(CommitError::Conflict | CommitError::Lost) => {}
                    Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
                }
            }
        }
    }
}

impl Reviewer {
    /// The rule that would take the held call back if it were approved now: the rules may have changed since.
    pub async fn refused_now(&self, call: &Call) -> Option<String> {
        // Without it the page would only say less: the gate judges again before it sends.
        let kept = self.gate().unmasked(call).await.ok()?;
        let (State::Held { .. }, Ok(arguments)) = (&call.state, json::strict(kept.arguments.as_bytes())) else { return None };
        let (settings, now) = (self.gate().settings(), self.gate().inner.clock.now());
        let judged = settings.server(&call.server)?.judge_call(call, &arguments, now);
        matches!(judged.action, Action::Deny | Action::Hide).then_some(judged.rule)
    }

    /// When the call would leave if it were approved now, as far as limits go; `None` when none keeps it.
    pub async fn leaves_at(&self, call: &Call) -> Result<Option<Limited>, Failure> {
        let gate = self.gate();
        let kept = gate.unmasked(call).await?;
        let (State::Held { .. }, Ok(arguments)) = (&call.state, json::strict(kept.arguments.as_bytes())) else { return Ok(None) };
        let settings = gate.settings();
        let Some(server) = settings.servers.get(&call.server) else { return Ok(None) };
        let now = gate.inner.clock.now();
        let charges = server.judge_call(call, &arguments, now).charges;
        let from = now + call.terms.undo;
        let restored = gate.full_since_restore(&charges, from);
        let ledgers = gate.sent_ledgers(&charges).await?;
        let place = gate.inner.promises.place(None, &charges, &ledgers, now, gate.full_until(&charges, from));
        Ok(place.limit.map(|limit| Limited::of(&charges, limit, place.at.min(now + LONGEST_WAIT))).or(restored))
    }

    /// Every limit of every server, in the order of the config.
    pub fn limits(&self) -> Vec<(String, LimitView)> {
        let settings = self.gate().settings();
        let of = |(name, server): (&String, &super::ServerSettings)| server.policy.limits().into_iter().map(|limit| (name.clone(), limit)).collect::<Vec<_>>();
        settings.servers.iter().flat_map(of).collect()
    }

    /// What is used of the counters behind `after`, in the order of their keys; of all, or of the one that is called
    /// so. A reviewer is not shown what counts by an argument: its values may be recipients of other groups' calls.
    pub async fn usage(&self, of: Option<(Option<&str>, &str)>, after: Option<&str>, most: usize) -> Result<Used, Failure> {
        let gate = self.gate();
        let group = of.map(|(server, counter)| CounterKey::group_named(server, counter));
        let begin = after.map(str::to_owned).or_else(|| group.clone());
        let rows = gate.inner.store.rows(Kind::Counter, begin.as_deref(), most).await.map_err(|e| gate.failed(&e))?;
        let (now, sizes) = (gate.inner.clock.now(), gate.sizes());
        let mut used = Used { next: rows.last().filter(|_| rows.len() == most).map(|row| row.key().to_owned()), ..Used::default() };
        for row in rows {
            let Row::Counter(counter) = row else { continue };
            if group.as_deref().is_some_and(|group| group != counter.key.group()) {
                used.next = None;
                break;
            }
            if counter.label.scope == "arg" && self.person().role == Role::Reviewer {
                used.kept_back += 1;
                continue;
            }
            let mut counter = sizes.now_of(counter);
            if counter.label.scope == "arg" {
                counter.label.value = self.counted_by(&counter.label);
            }
            used.counters.push(Usage::of(counter, now));
        }
        Ok(used)
    }

    /// The value of an argument that a limit counts by, as people see it.
    fn counted_by(&self, label: &Label) -> String {
        let limits = self.limits();
        let counts = |(server, limit): &&(String, LimitView)| limit.counter == label.counter && label.server.as_ref().is_none_or(|its| its == server);
        let argument = limits.iter().find(counts).and_then(|(_, limit)| limit.argument.as_deref());
        self.gate().counted_by(argument, label.value.strip_prefix("text ").unwrap_or(&label.value)).unwrap_or_else(|| label.value.clone())
    }

    /// Until when windows of this length count as full because the store was restored.
    pub fn full_since_restore(&self, window: Duration) -> Option<Timestamp> {
        let gate = self.gate();
        let until = *gate.inner.restored_at.get()? + window;
        (until > gate.inner.clock.now()).then_some(until)
    }
}

impl Usage {
    fn of(counter: Counter, now: Timestamp) -> Usage {
        let (asked, sent) = (counter.asked.used(now, counter.window), counter.sent.used(now, counter.window));
        let one = ONE.min(counter.max);
        let room_at = counter.asked.room_at(now, counter.window, counter.max, one).max(counter.sent.room_at(now, counter.window, counter.max, one));
        // Whoever shows it has looked at the clock before: "now" would look like a moment that is still to come.
        Usage { counter, asked, sent, room_at: (room_at > now).then_some(room_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_with_room_names_no_moment_for_it() {
        let label = Label { server: None, counter: "c".into(), scope: "global".into(), value: String::new() };
        let charge = Charge { key: CounterKey::of(&label), label, name: "c".into(), window: Duration::from_secs(60), max: 2 * ONE, amount: ONE, reason: None };
        let (now, take) = (Timestamp::UNIX_EPOCH, Take { charge: charge.clone(), asked: true, sent: true, most_keys: 1 });
        let once = Counter::of(&charge).take(&take, now).unwrap();
        assert_eq!(Usage::of(once.clone(), now).room_at, None);
        assert!(Usage::of(once.take(&take, now).unwrap(), now).room_at > Some(now));
    }
}
