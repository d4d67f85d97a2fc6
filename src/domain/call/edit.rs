//! What an edit before the approval does to a call: another text is sent than the agent asked for. The digest that
//! the agent's identical call is known by stays, everything that follows from the text is made anew, and whoever had
//! approved the earlier text has approved nothing any more (semantics.md 13 to 15). Computed by `gate/edit`.

use super::{Call, Decision, Event, Refusal};
use crate::domain::digest::Digest;
use crate::domain::message::Message;
use crate::domain::policy::Shadow;
use crate::domain::recipient::RecipientKey;
use jiff::Timestamp;

/// Edited arguments, judged from the start.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Their JSON text, byte for byte as it will be sent.
    pub arguments: String,
    /// Of them.
    pub digest: Digest,
    /// The message in them.
    pub message: Option<Message>,
    /// To whom it goes.
    pub recipient: Option<RecipientKey>,
    /// When the same was last sent.
    pub last_sent: Option<Timestamp>,
    /// The rule that asks for a person now.
    pub rule: String,
    /// The rule's reason.
    pub reason: Option<String>,
    /// Groups that may decide.
    pub reviewers: Vec<String>,
    /// Distinct people needed.
    pub approvals: u32,
    /// Shadow rules that match it.
    pub shadows: Vec<Shadow>,
}

impl Call {
    /// The next revision with the edit, before anybody has approved it.
    pub fn edited(&self, edit: Edit) -> Call {
        let back = edit.digest == self.asked_digest;
        let asked = self.asked_arguments.clone().unwrap_or_else(|| self.arguments.clone());
        let mut next = Call {
            // Who edits back to what the agent sent gets its very bytes again.
            arguments: if back { asked.clone() } else { edit.arguments },
            asked_arguments: (!back).then_some(asked),
            digest: edit.digest,
            message: edit.message,
            recipient: edit.recipient,
            last_sent: edit.last_sent,
            rule: edit.rule,
            reason: edit.reason,
            reviewers: edit.reviewers,
            approvals: edit.approvals,
            shadows: edit.shadows,
            unchecked: None,
            ..self.clone()
        };
        for decision in &mut next.decisions {
            decision.void = true;
        }
        next
    }

    /// The next revision after the editor's decision; `counts` is false when the rule that asks now asks other people.
    /// One version later, whether that settles the call or not.
    pub fn decided_edited(&self, edit: Edit, decision: Decision, counts: bool) -> Result<Call, Refusal> {
        let edited = self.edited(edit);
        let next = if counts {
            edited.decided(decision)?
        } else {
            let now = decision.at;
            self.state.step(&Event::Approve { release_at: now, send_by: now }, now)?;
            let mut next = edited.touched();
            next.decisions.push(Decision { void: true, ..decision });
            next
        };
        Ok(Call { version: self.version + 1, ..next })
    }

    /// Whether something else is sent than the agent asked for.
    pub fn is_edited(&self) -> bool {
        self.digest != self.asked_digest
    }

    /// When the text that the agent asked for was last sent, as far as this call knows.
    pub fn sent_as_asked(&self) -> Option<Timestamp> {
        if self.is_edited() { None } else { self.sent_at().or(self.last_sent) }
    }
}
