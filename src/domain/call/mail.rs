//! What a call remembers of the mails about it: whom one reached, and when the others are to be reminded. Kept with
//! the call, so that its end can be told in the change that ends it and no list of delivered letters has to be kept.
//! Read by `gate` and by `Letter::of_step`.

use super::{Call, OutcomeKind, State, Verdict};
use jiff::Timestamp;

impl Call {
    /// The next revision after mails about it reached these people; `None` when they are on record already.
    pub fn told_to(&self, people: &[String]) -> Option<Call> {
        let new: Vec<String> = people.iter().filter(|person| !self.told.contains(person)).cloned().collect();
        if new.is_empty() {
            return None;
        }
        let mut next = self.touched();
        next.told.extend(new);
        Some(next)
    }

    /// When people are to be reminded of it; `None` when that is over, or somebody has opened it.
    pub fn reminder(&self) -> Option<Timestamp> {
        let unopened = matches!(self.state, State::Held { .. }) && self.views.is_empty();
        self.remind_at.filter(|_| unopened)
    }

    /// The next revision once the reminder's time has come; `None` when it has not.
    pub fn reminded(&self, now: Timestamp) -> Option<Call> {
        self.reminder().filter(|at| now >= *at)?;
        Some(Call { remind_at: None, ..self.touched() })
    }

    /// Who is told how it ended: whoever had a mail about it and did not end it themselves. What came to nothing by
    /// itself is told to those who had approved it too (semantics.md 10).
    pub fn hear_of_end(&self) -> Vec<&str> {
        let told = self.told.iter().map(String::as_str);
        let ended = self.ended_by();
        match &self.state {
            State::Expired { .. } | State::Withdrawn { .. } | State::Lapsed { .. } | State::Unconfirmed { .. } => {
                let mut all: Vec<&str> = told.collect();
                all.extend(self.approved_by());
                all.sort_unstable();
                all.dedup();
                all
            }
            // Who had approved it does not know yet what another person found out about it.
            State::Answered { outcome, .. } if outcome.kind == OutcomeKind::Told => {
                let by = outcome.as_told().map(|told| told.by);
                told.filter(|person| by.as_deref() != Some(*person)).collect()
            }
            State::Answered { .. } | State::Rejected { .. } | State::ChangesRequested { .. } => told.filter(|person| !ended.contains(person)).collect(),
            State::Held { .. } | State::Approved { .. } | State::Sending { .. } => Vec::new(),
        }
    }

    /// The people whose word ended it: who approved what was sent, who refused.
    pub fn ended_by(&self) -> Vec<&str> {
        let last = |verdict: Verdict| self.decisions.iter().rev().find(|d| d.verdict == verdict && !d.void).map(|d| d.by.as_str());
        match &self.state {
            State::Rejected { .. } => last(Verdict::Reject).into_iter().collect(),
            State::ChangesRequested { .. } => last(Verdict::RequestChanges).into_iter().collect(),
            State::Answered { .. } => self.approved_by().collect(),
            State::Held { .. }
            | State::Approved { .. }
            | State::Sending { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. }
            | State::Unconfirmed { .. } => Vec::new(),
        }
    }
}
