//! The one place that acts on time: sleeps until the next deadline in the store or until something changed,
//! then looks at what is due. Level-triggered: a lost hint costs at most the longest sleep, never correctness.
//! Started by `Gate::resume_work`.

use super::Gate;
use crate::domain::call::State;
use std::time::Duration;

/// Also how fast a jump of the wall clock is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Pause after the store could not be read.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Due calls looked at in one round.
const TOGETHER: usize = 256;

impl Gate {
    pub(super) async fn keep_deadlines(self) {
        let mut hints = self.inner.store.hints();
        let draining = self.inner.lives.draining.clone();
        while !draining.is_cancelled() {
            // Everything hinted so far is covered by the read that follows.
            hints = hints.resubscribe();
            let pause = self.act_on_due().await;
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                _ = hints.recv() => {}
            }
        }
    }

    /// Does what is due and says how long nothing will be.
    async fn act_on_due(&self) -> Duration {
        let now = self.inner.clock.now();
        // Calls that wait at their server's door stay due: look past them.
        let most = TOGETHER + self.inner.lives.sends.count();
        let due = match self.inner.store.due(now, most).await {
            Ok(due) => due,
            Err(error) => {
                let _ = self.failed(&error);
                return AFTER_FAILURE;
            }
        };
        for id in due.calls {
            let Ok(Some(call)) = self.inner.store.call(&id).await else { continue };
            let done = match &call.state {
                State::Held { expires_at } if now < *expires_at => self.remind(&id).await,
                State::Held { .. } => self.expire(&id).await,
                State::Approved { send_by, .. } if now >= *send_by => self.lapse(&id).await,
                State::Approved { .. } if !call.cancelled => {
                    self.start_release(id);
                    Ok(())
                }
                State::Approved { .. }
                | State::Sending { .. }
                | State::Answered { .. }
                | State::Rejected { .. }
                | State::ChangesRequested { .. }
                | State::Expired { .. }
                | State::Withdrawn { .. }
                | State::Lapsed { .. }
                | State::Unconfirmed { .. } => Ok(()),
            };
            if done.is_err() {
                return AFTER_FAILURE;
            }
        }
        match due.next {
            Some(next) => Duration::try_from(next.duration_since(self.inner.clock.now())).unwrap_or(Duration::ZERO).min(LONGEST_SLEEP),
            None => LONGEST_SLEEP,
        }
    }
}
