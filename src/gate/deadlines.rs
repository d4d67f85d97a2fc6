//! The one place that acts on time: sleeps until the next deadline in the store or until something changed,
//! then looks at what is due. Level-triggered: a lost hint costs at most the longest sleep, never correctness.
//! Started by `Gate::resume_work`.

use super::{Failure, Gate};
use crate::domain::call::{CallId, State};
use crate::store::Hint;
use jiff::Timestamp;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::broadcast;

/// Also how fast a jump of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Pause after the store could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A look costs the more, the more calls wait for the resume: at least so long between two when they are many.
const AT_REST: Duration = Duration::from_secs(1);
/// Due calls looked at in one round.
const TOGETHER: usize = 256;

/// When to look again.
struct Rest {
    /// What is due next.
    until: Duration,
    /// More calls wait for the resume than a round looks at.
    crowded: bool,
}

impl Gate {
    pub(super) async fn keep_deadlines(self) {
        let mut hints = self.inner.store.hints();
        let draining = self.inner.lives.draining.clone();
        let mut seen_asleep = None;
        while !draining.is_cancelled() {
            // Everything hinted so far is covered by the read that follows.
            hints = hints.resubscribe();
            let rest = self.act_on_due(&mut seen_asleep).await.unwrap_or(Rest { until: AFTER_FAILURE, crowded: false });
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(rest.until) => {}
                () = heard(&mut hints, rest.crowded) => {}
            }
        }
    }

    /// Does what is due and says how long nothing will be. While the gateway is paused, approved calls sleep: they stay
    /// due and nothing is asked of a server for them. When they are many, whether they have lapsed is looked at twice a
    /// minute; `seen_asleep` is when that was.
    async fn act_on_due(&self, seen_asleep: &mut Option<Timestamp>) -> Result<Rest, Failure> {
        let now = self.inner.clock.now();
        let paused = self.pause_record().await?.stopped.is_some();
        let asleep: HashSet<CallId> = if paused { self.approved().await?.into_iter().collect() } else { HashSet::new() };
        // They, and those that wait at their server's door, stay due: look past them.
        let most = TOGETHER + self.inner.lives.sends.count() + asleep.len();
        let due = self.inner.store.due(now, most).await.map_err(|e| self.failed(&e))?;
        let crowded = asleep.len() > TOGETHER;
        let look_at_all = !crowded || seen_asleep.is_none_or(|at| now < at || now >= at + LONGEST_SLEEP);
        for id in due.calls {
            if asleep.contains(&id) && !look_at_all {
                continue;
            }
            let Ok(Some(call)) = self.inner.store.call(&id).await else { continue };
            match &call.state {
                State::Held { expires_at } if now < *expires_at => self.remind(&id).await?,
                State::Held { .. } => self.expire(&id).await?,
                State::Approved { send_by, .. } if now >= *send_by => self.lapse(&id).await?,
                State::Approved { .. } if !call.cancelled && !paused => self.start_release(id),
                State::Approved { .. }
                | State::Sending { .. }
                | State::Answered { .. }
                | State::Rejected { .. }
                | State::ChangesRequested { .. }
                | State::Expired { .. }
                | State::Withdrawn { .. }
                | State::Lapsed { .. }
                | State::Unconfirmed { .. } => {}
            }
        }
        if look_at_all {
            *seen_asleep = Some(now);
        }
        let next = due.next.map(|next| Duration::try_from(next.duration_since(self.inner.clock.now())).unwrap_or(Duration::ZERO));
        let least = if crowded { AT_REST } else { Duration::ZERO };
        Ok(Rest { until: next.unwrap_or(LONGEST_SLEEP).clamp(least, LONGEST_SLEEP), crowded })
    }
}

/// Until something changed. When many calls wait for the resume, a change of a call waits until there was some rest; a change
/// of rows may be the resume.
async fn heard(hints: &mut broadcast::Receiver<Hint>, crowded: bool) {
    let rested = tokio::time::sleep(AT_REST);
    tokio::pin!(rested);
    let mut changed = false;
    loop {
        tokio::select! {
            () = &mut rested, if changed => return,
            hint = hints.recv() => match hint {
                Ok(Hint { call: Some(_) }) if crowded => changed = true,
                // Also when some were missed.
                Ok(Hint { .. }) | Err(_) => return,
            },
        }
    }
}
