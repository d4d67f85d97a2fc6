//! The letters that a call's steps write, and what goes on record when one has arrived. Whom a mail reached stands on
//! the call, in the change that puts the letter away: when the call is settled, that change knows who has to hear of
//! it. Called by every step through `rewrite`, by `review`, and by the outbox.

use crate::domain::audit::Fact;
use crate::domain::call::Call;
use crate::domain::letter::{Letter, Occasion};
use crate::gate::{Failure, Gate, REWRITES};
use crate::store::{Change, CommitError, Kind, Row};
use jiff::Timestamp;

impl Gate {
    /// The letter that this step of a call's life asks for, if letters are written at all.
    pub(in crate::gate) fn letter_of_step(&self, before: &Call, after: &Call, now: Timestamp) -> Vec<Row> {
        let letter = self.settings().letters.then(|| Letter::of_step(before, after, now)).flatten();
        letter.map(Row::Letter).into_iter().collect()
    }

    /// Writes what became of a letter, and on its call whom it reached; `next` is the letter from now on.
    pub(super) async fn delivered(&self, letter: &Letter, reached: &[String], next: Option<Letter>, facts: Vec<Fact>) -> Result<(), Failure> {
        for _ in 0..REWRITES {
            let now = self.inner.clock.now();
            let mut change = Change::of_facts(now, facts.clone());
            match &next {
                Some(next) => change.rows.push(Row::Letter(next.clone())),
                None => change.removed.push((Kind::Letter, letter.id.clone())),
            }
            self.tell_call(&mut change, letter, reached).await?;
            let asked = change.call.is_some();
            match self.inner.store.commit(change).await {
                Err(CommitError::Conflict) if asked && self.is_written(&Row::Letter(letter.clone())).await? => {}
                // Another process was faster, or it is already written: the outbox is read again anyway.
                Ok(_) | Err(CommitError::Conflict | CommitError::Lost) => return Ok(()),
                Err(error @ (CommitError::Full { .. } | CommitError::Limited { .. } | CommitError::Store(_))) => return Err(self.failed(&error)),
            }
        }
        Err(self.failed(&CommitError::Conflict))
    }

    async fn tell_call(&self, change: &mut Change, letter: &Letter, reached: &[String]) -> Result<(), Failure> {
        let tells = match letter.occasion {
            Occasion::Held | Occasion::Reminder | Occasion::Unconfirmed => letter.call.as_ref(),
            Occasion::Settled | Occasion::SignIn | Occasion::Trouble => None,
        };
        let Some(id) = tells else { return Ok(()) };
        let Some(call) = self.inner.store.call(id).await.map_err(|e| self.failed(&e))? else { return Ok(()) };
        let Some(next) = call.told_to(reached) else { return Ok(()) };
        // It was settled while the mail was under way: nobody else will tell these people.
        let end = Letter::about_end_late(&next, call.told, change.at);
        let late = end_is_told(&next) && next.hear_of_end().iter().any(|person| !end.delivered_to.iter().any(|told| told == person));
        if late && self.inner.store.row(Kind::Letter, &end.id).await.map_err(|e| self.failed(&e))?.is_none() {
            change.rows.push(Row::Letter(end));
        }
        change.call = Change::of_call(change.at, next, change.facts[0].clone()).call;
        Ok(())
    }
}

/// Whether the call is over for good; an unconfirmed one has a letter of its own.
fn end_is_told(call: &Call) -> bool {
    call.state.settled_at().is_some() && !matches!(call.state, crate::domain::call::State::Unconfirmed { .. })
}
