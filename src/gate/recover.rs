//! After a start: a call found in `Sending` may or may not have left, so it is `Unconfirmed` and a person must
//! say what happened. Held and approved calls need nothing: they are in the store and their deadlines run.
//! Called by `serve` before anything is let in.

use super::reload::GONE;
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::call::{Call, Event};
use crate::store::Query;
use jiff::Timestamp;
use serde_json::json;

/// The entry that a clean stop leaves as the last one.
const CLOSED: &str = "closed";
/// The entry with which a gateway that serves begins: without it, one that was killed before it wrote anything
/// would look as if it had never run.
const OPENED: &str = "opened";
/// The entry of whoever finds that the last process was not stopped in order.
const UNCLEAN: &str = "unclean_start";
/// Entries looked at for it: commands on a store that nobody serves write few.
const LATELY: u64 = 200;
/// Calls looked at in one read.
const TOGETHER: usize = 100;

impl Gate {
    /// Finds what a crash left behind; the number of calls that became unconfirmed.
    pub async fn recover(&self) -> Result<usize, Failure> {
        self.remember_restore().await?;
        let head = self.audit_head().await?;
        if head.seq > 0 && !self.is_closed(head.seq).await? {
            tracing::warn!(seq = head.seq, "Paraph was not stopped cleanly; facts about reading tools of the last moments may be missing");
            self.record(Fact { kind: UNCLEAN, call: None, actor: "paraph".into(), data: json!({ "last": head.seq }).into() }).await?;
            let _first_of_this_process = self.inner.unclean_start.set(self.inner.clock.now());
        }
        let mut lost = 0;
        loop {
            let query = Query { states: vec!["sending".into()], limit: TOGETHER, ..Query::default() };
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            if page.calls.is_empty() {
                return Ok(lost);
            }
            for Call { id, .. } in &page.calls {
                let why = "Paraph stopped while it was being sent";
                self.rewrite(id, |call| {
                    let next = call.after(&Event::Lose { why: why.into() }, self.inner.clock.now()).ok()?;
                    let fact = self.call_fact("call.unconfirmed", &next, "paraph", json!({ "why": why }));
                    Some((next, fact))
                })
                .await?;
                lost += 1;
            }
        }
    }

    /// When this process started after one that was not stopped cleanly; operators are told (semantics.md 37).
    pub fn unclean_start(&self) -> Option<Timestamp> {
        self.inner.unclean_start.get().copied()
    }

    /// Whether a command found an unclean stop after the last gateway had opened: it told nobody.
    async fn was_found_unclean(&self) -> Result<bool, Failure> {
        let from = self.audit_head().await?.seq.saturating_sub(LATELY).max(1);
        let entries = self.audit_entries(from, usize::try_from(LATELY + 1).unwrap_or(usize::MAX)).await?;
        Ok(entries.iter().rev().find(|entry| entry.kind == UNCLEAN || entry.kind == OPENED).is_some_and(|entry| entry.kind == UNCLEAN))
    }

    /// For a gateway that is about to serve, with its config: undo windows run again in full, because nobody could
    /// use them while it was down, and calls of servers that are not there any more are taken back. Then time acts.
    pub async fn resume_work(&self) -> Result<(), Failure> {
        if self.unclean_start().is_none() && self.was_found_unclean().await? {
            let _first_of_this_process = self.inner.unclean_start.set(self.inner.clock.now());
        }
        let opened = Fact { kind: OPENED, call: None, actor: "paraph".into(), data: json!({}).into() };
        self.record_all(vec![opened, self.policies_loaded()]).await?;
        self.finish_pause("paraph").await?;
        let mut query = Query { states: self.states_to_look_at().await?, limit: TOGETHER, ..Query::default() };
        loop {
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            for call in &page.calls {
                if !self.settings().servers.contains_key(&call.server) {
                    self.withdraw(&call.id, GONE, "paraph").await?;
                    continue;
                }
                // Nobody else writes yet, so what was read is what is there.
                let mut again = None;
                if call.window_again(self.inner.clock.now()).is_some() {
                    let rewritten = self.rewrite(&call.id, |call| {
                        let next = call.window_again(self.inner.clock.now())?;
                        let fact = self.call_fact("call.window_again", &next, "paraph", json!({}));
                        Some((next, fact))
                    });
                    again = rewritten.await?;
                }
                self.promise_again(again.as_ref().unwrap_or(call)).await?;
            }
            if page.next.is_none() {
                // Not for one command on a closed store: it may not know the config's `keep_text`, and sends nothing.
                self.keep(self.clone().keep_forgetting());
                self.keep(self.clone().keep_uses());
                // Last: a release that is faster than the loop above would take the undo window from it, and one that
                // is faster than `recover` would be taken for the send of a process that is gone.
                self.keep(self.clone().keep_deadlines());
                return Ok(());
            }
            query.cursor = page.next;
        }
    }

    /// Held calls need nothing but a look whether their server is still there, and there may be a hundred thousand: they
    /// are read only when one of their servers is gone.
    async fn states_to_look_at(&self) -> Result<Vec<String>, Failure> {
        let servers = self.inner.store.servers_of_held().await.map_err(|e| self.failed(&e))?;
        let settings = self.settings();
        let all_there = servers.iter().all(|server| settings.servers.contains_key(server));
        let states: &[&str] = if all_there { &["approved"] } else { &["held", "approved"] };
        Ok(states.iter().copied().map(str::to_owned).collect())
    }

    /// Writes down that everything is written; the next start can tell it from a crash. A failure is in the log:
    /// the next start then says "unclean", which is the safe side.
    pub async fn close_books(&self) {
        let closed = async {
            let head = self.audit_head().await?;
            if head.seq == 0 || self.is_closed(head.seq).await? {
                return Ok::<(), Failure>(());
            }
            self.record(Fact { kind: CLOSED, call: None, actor: "paraph".into(), data: json!({}).into() }).await
        };
        let _ = closed.await;
    }

    async fn is_closed(&self, seq: u64) -> Result<bool, Failure> {
        Ok(self.audit_entries(seq, 1).await?.first().is_some_and(|entry| entry.kind == CLOSED))
    }
}
