//! What each choice does, said before the click: whether the agent waits, has gone or took the call back, what
//! approving therefore does and when, and what happens when nobody decides (semantics.md 7 to 10). Words only;
//! the times come from the call's own terms. Used by `panel`.

use super::moment::{Moment, span};
use crate::domain::call::{Call, Presence};
use crate::gate::Listed;
use crate::gate::limits::Limited;
use jiff::Timestamp;
use std::time::Duration;

/// The choices of a held call.
pub struct Before {
    /// What the agent is doing.
    pub agent_is: &'static str,
    /// What approving does, before its time; goes on after "Approving".
    pub approve: String,
    /// The time that approving leads to: of the send, or the permit's end.
    pub at: Option<Ahead>,
    /// What approving does, after its time.
    pub then: &'static str,
    /// When an approved call that could not leave lapses; `None` for a permit and a partial approval.
    pub latest: Option<Ahead>,
    /// A full limit that keeps it from leaving at once.
    pub later: Option<Later>,
    /// The same in a few words, for the bar that stays in sight on a phone.
    pub gist: String,
    /// What rejecting does.
    pub reject: String,
    /// What asking for changes does.
    pub changes: &'static str,
    /// When it expires.
    pub expires: Moment,
    /// What expiring does.
    pub silence: &'static str,
}

/// A time that moves on while the page is open, because it counts from the click.
pub struct Ahead {
    /// From the click.
    pub seconds: u64,
    /// If the click were now.
    pub at: Moment,
    /// With seconds and without the date.
    pub exact: bool,
}

impl Ahead {
    fn new(after: Duration, now: Timestamp, exact: bool) -> Ahead {
        Ahead { seconds: after.as_secs(), at: Moment::new(now + after, now), exact }
    }
}

/// A full limit, as far as it is known before the click.
pub struct Later {
    /// Its name.
    pub limit: String,
    /// When an approval of now would leave.
    pub at: Moment,
    /// It would lapse before.
    pub lapses: bool,
}

/// What the rest of the gateway says about it.
pub struct Around {
    /// A limit that would keep an approval of now from leaving.
    pub limited: Option<Limited>,
    /// The kill switch is on.
    pub paused: bool,
    /// How long the identical call is refused after a refusal.
    pub refuse_again_for: Duration,
}

impl Before {
    /// The choices now.
    pub fn new(listed: &Listed, expires_at: Timestamp, around: &Around, now: Timestamp) -> Before {
        let call = &listed.call;
        let message = call.message.is_some();
        let (agent_is, told) = match listed.presence {
            Presence::Waiting => ("The agent is waiting for the answer.", "The agent is told your reason at once"),
            Presence::Gone => ("The agent has gone and may ask again.", "The agent is told your reason when it asks again"),
            Presence::Cancelled => ("The agent took its request back.", "The agent is told your reason if it asks again"),
        };
        let (approve, at, then, latest) = approving(listed, around, now);
        let later = keeps(listed, around).map(|limited| Later {
            limit: limited.limit.clone(),
            at: Moment::new(limited.until, now),
            lapses: limited.until >= now + call.send_span(),
        });
        Before {
            agent_is,
            approve,
            at,
            then,
            latest,
            later,
            gist: gist(listed, around, now),
            reject: format!(
                "Nothing is {}. {told}; the same again is refused for {} without asking anybody.",
                if message { "sent" } else { "done" },
                span(around.refuse_again_for.as_secs())
            ),
            changes: "The agent is told your comment; its next version comes here, linked to this one.",
            expires: Moment::new(expires_at, now),
            silence: if message {
                "It is refused when it expires. Nothing is sent, and the agent is told."
            } else {
                "It is refused when it expires. Nothing is done, and the agent is told."
            },
        }
    }
}

/// The limit that keeps it, if this approval is the last one that is needed and something would be sent.
fn keeps<'a>(listed: &Listed, around: &'a Around) -> Option<&'a Limited> {
    let sends = listed.presence != Presence::Cancelled && !around.paused && missing(&listed.call) <= 1;
    around.limited.as_ref().filter(|_| sends)
}

fn gist(listed: &Listed, around: &Around, now: Timestamp) -> String {
    let call = &listed.call;
    let verb = if call.message.is_some() { "sends" } else { "does" };
    let late = keeps(listed, around).map(|limited| u64::try_from(limited.until.as_second() - now.as_second()).unwrap_or_default());
    let after = if let Some(late) = late {
        format!("in {}, a limit is full", span(late))
    } else if call.terms.undo.is_zero() {
        "at once".to_owned()
    } else {
        format!("after {}", span(call.terms.undo.as_secs()))
    };
    match listed.presence {
        _ if missing(call) > 1 => format!("Approving counts as one of {}", call.approvals),
        Presence::Cancelled => format!("Agent took it back: approving {verb} nothing yet"),
        Presence::Waiting | Presence::Gone if around.paused => format!("Paused: approving {verb} nothing yet"),
        Presence::Waiting => format!("Agent waits: approving {verb} it {after}"),
        Presence::Gone => format!("Agent has gone: approving {verb} it {after}"),
    }
}

/// Approvals that are not there yet.
fn missing(call: &Call) -> usize {
    (call.approvals.max(1) as usize).saturating_sub(call.approved_by().count())
}

type Approving = (String, Option<Ahead>, &'static str, Option<Ahead>);

fn approving(listed: &Listed, around: &Around, now: Timestamp) -> Approving {
    let call = &listed.call;
    let verb = if call.message.is_some() { "sends" } else { "does" };
    let missing = missing(call);
    if missing > 1 {
        let (done, others) = (if call.message.is_some() { "sent" } else { "done" }, missing - 1);
        let others = if others == 1 { "another person approves".to_owned() } else { format!("{others} other people approve") };
        return (format!("counts as one of {} approvals. Nothing is {done} before {others}, too.", call.approvals), None, "", None);
    }
    let latest = Some(Ahead::new(call.send_span(), now, false));
    let answer = match listed.presence {
        Presence::Waiting => "The agent gets the answer.",
        Presence::Gone => "The agent's next identical call gets the outcome.",
        Presence::Cancelled => return permit(call, now),
    };
    if around.paused {
        return (format!("{verb} it once an operator resumes: Paraph is paused. {answer}"), None, "", latest);
    }
    let all_the_same = if listed.presence == Presence::Gone { " all the same" } else { "" };
    if keeps(listed, around).is_some() {
        return (format!("{verb} it{all_the_same} when its turn comes; until then it can be taken back. {answer}"), None, "", latest);
    }
    if call.terms.undo.is_zero() {
        return (format!("{verb} it{all_the_same}, at once. {answer}"), None, "", latest);
    }
    let at = Ahead::new(call.terms.undo, now, true);
    let then = if listed.presence == Presence::Gone {
        "if you click now; until then it can be taken back. The agent's next identical call gets the outcome."
    } else {
        "if you click now; until then it can be taken back. The agent gets the answer."
    };
    (format!("{verb} it{all_the_same} after the undo window of {}, at", span(call.terms.undo.as_secs())), Some(at), then, latest)
}

fn permit(call: &Call, now: Timestamp) -> Approving {
    let lead =
        format!("does not {} it. It becomes a permit for {}, until", if call.message.is_some() { "send" } else { "do" }, span(call.terms.permit_for.as_secs()));
    (lead, Some(Ahead::new(call.send_span(), now, false)), "if you click now, and leaves only if the agent asks again.", None)
}
