//! A person edits before approving. The edited arguments go the whole way again that the agent's went: strict JSON,
//! bounds, policy, the tool's schema, the way to the recipient; what does not pass is not sent and changes nothing.
//! Without a known schema nobody could say whether the server takes them, so there is no edit. Called by `review`.

use super::admit::message_in;
use super::arguments::Checked;
use super::refusals::{CLOSED, THREE_REFUSALS};
use super::review::ReviewError;
use super::reviewer::Reviewer;
use crate::domain::call::{AskKey, Call, Edit};
use crate::domain::digest::Digest;
use crate::domain::json::strict;
use crate::domain::mask::blot;
use crate::domain::policy::{Action, Judgement};
use crate::domain::recipient::RecipientKey;
use crate::store::Seen;

/// An edit that may be, and what must still be so when it is written.
pub(super) struct Edited {
    pub(super) edit: Edit,
    pub(super) seen: Vec<Seen>,
}

impl Reviewer {
    /// Judges edited arguments; `None` when they say the same as the call does already.
    pub(super) async fn edited(&self, call: &Call, text: &str) -> Result<Option<Edited>, ReviewError> {
        let (gate, settings) = (self.gate(), self.gate().settings());
        // A pointer may name a member that is a secret.
        let unfit = |why: String| Err(ReviewError::Unfit(blot(&why)));
        if text.len() > settings.arguments {
            return unfit(format!("the edited arguments have more than {} bytes", settings.arguments));
        }
        let value = match strict(text.as_bytes()) {
            Ok(value) if value.is_object() => match gate.with_values(&value, call) {
                Ok(value) => value,
                Err(misplaced) => return unfit(misplaced.to_string()),
            },
            Ok(_) => return unfit("the edited arguments are not a JSON object".to_owned()),
            Err(why) => return unfit(format!("the edited arguments are not JSON that Paraph accepts: {why}")),
        };
        let digest = Digest::of_call(&call.server, &call.tool, &value);
        if digest == call.digest {
            return Ok(None);
        }
        let Some(server) = settings.servers.get(&call.server) else { return unfit("the server is not in the config any more".to_owned()) };
        let judged = server.judge_call(call, &value, gate.inner.clock.now());
        match judged.action {
            Action::Allow | Action::RequireApproval => {}
            Action::Deny | Action::Hide => return unfit(refuses(&judged.rule, judged.reason.as_deref())),
        }
        match gate.check_arguments(&call.server, &call.tool, &value, Some(&call.agent)).await {
            Checked::Fit => {}
            Checked::Refused(why) => return unfit(format!("the edited arguments do not fit the tool's inputSchema: {why}")),
            Checked::Unknown(why) => {
                return unfit(format!("nobody can say whether the server takes edited arguments: {why}; approve or reject the call as it is"));
            }
        }
        let message = message_in(&call.server, &call.tool, &value, &settings);
        let recipient = message.as_ref().map(|message| RecipientKey::of(&call.agent, &call.server, &message.to));
        let mut seen = Vec::new();
        if let Some(recipient) = &recipient {
            let (closed, as_seen) = gate.way_to(recipient, &call.agent, &call.server).await?;
            if closed {
                return unfit(refuses(THREE_REFUSALS, Some(CLOSED)));
            }
            seen.push(as_seen);
        }
        let same = gate.inner.store.newest(&AskKey::of(&call.agent, &digest)).await.map_err(|e| gate.failed(&e))?;
        let last_sent = same.filter(|other| other.id != call.id).and_then(|other| other.sent_as_asked());
        let Judgement { rule, reason, reviewers, approvals, shadows, .. } = asking(judged, call);
        // Written anew: every number that the strict reader takes is written alike by everybody.
        let text = value.to_string();
        if text.len() > settings.arguments {
            return unfit(format!("the edited arguments have more than {} bytes", settings.arguments));
        }
        Ok(Some(Edited { edit: Edit { arguments: text, digest, message, recipient, last_sent, rule, reason, reviewers, approvals, shadows }, seen }))
    }
}

/// Who is asked about the edited call: whom its own rule names. What a rule would let through without anybody is held
/// already, and stays with those who were asked.
fn asking(judged: Judgement, call: &Call) -> Judgement {
    if judged.action == Action::RequireApproval {
        return judged;
    }
    Judgement { rule: call.rule.clone(), reason: call.reason.clone(), reviewers: call.reviewers.clone(), approvals: call.approvals, ..judged }
}

fn refuses(rule: &str, reason: Option<&str>) -> String {
    let why = reason.map_or_else(String::new, |reason| format!(": {}", reason.trim_end_matches('.')));
    format!("rule {rule} refuses the edited arguments{why}")
}
