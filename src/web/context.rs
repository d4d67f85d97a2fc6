//! What belongs to a call besides itself: the version before it with the comments that asked for this one, the
//! version after it, other open calls of its agent to its recipient, whether people closed the way to that
//! recipient. Everything is read with the reader's own rights. Used by `call_page`.

use super::WebState;
use super::call_view::Standing;
use super::moment::Moment;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::call::{Call, Verdict};
use crate::domain::recipient::REFUSALS;
use crate::gate::Failure;
use jiff::Timestamp;

/// The rest of a call's page.
pub struct Context {
    /// The version for which changes were asked.
    pub earlier: Option<Earlier>,
    /// The version that came after this one.
    pub later: Option<Kin>,
    /// Other open calls of the agent to the recipient.
    pub beside: Vec<Kin>,
    /// When the identical call was last sent.
    pub last_sent: Option<Moment>,
    /// Nothing more from the agent to the recipient goes through.
    pub closed: bool,
    /// How many refusals close a way.
    pub refusals: usize,
    /// The reader may open the way again.
    pub may_lift: bool,
    /// When the text was erased.
    pub erased: Option<Moment>,
    /// The server was started anew since the hold, or will be for the send.
    pub restarted: bool,
}

/// Another call as a line.
pub struct Kin {
    /// For the link.
    pub id: String,
    /// Where it stands.
    pub standing: Standing,
    /// How it begins.
    pub line: Shown,
    /// When it was held.
    pub held: Moment,
}

/// The version before this one.
pub struct Earlier {
    /// The call.
    pub kin: Kin,
    /// Its whole text.
    pub text: Option<Shown>,
    /// What people asked for: who and what.
    pub comments: Vec<(String, Shown)>,
}

impl Kin {
    fn new(call: &Call, now: Timestamp) -> Kin {
        let line = call.message.as_ref().map_or(call.arguments.as_str(), |message| message.text.as_str());
        Kin { id: call.id.to_string(), standing: Standing::of(call), line: Shown::beginning(line), held: Moment::new(call.held_at, now) }
    }
}

impl Earlier {
    fn new(call: &Call, now: Timestamp) -> Earlier {
        let asked = call.decisions.iter().filter(|decision| decision.verdict == Verdict::RequestChanges);
        Earlier {
            kin: Kin::new(call, now),
            text: call.message.as_ref().map(|message| Shown::new(&message.text)),
            comments: asked.map(|decision| (decision.by.clone(), Shown::new(decision.reason.as_deref().unwrap_or_default()))).collect(),
        }
    }
}

impl Context {
    /// What belongs to this call, for this reader.
    pub async fn of(state: &WebState, by: &SignedIn, call: &Call) -> Result<Context, Failure> {
        let now = state.gate.clock().now();
        let earlier = match &call.revises {
            // Of a version that the reader may not see, or that is gone, nothing is said.
            Some(id) => by.reviewer.visible(id).await.ok().map(|earlier| Earlier::new(&earlier, now)),
            None => None,
        };
        let closed = by.reviewer.is_closed(call).await?;
        let later = by.reviewer.next_version(call).await?;
        let mut beside = by.reviewer.beside(call).await?;
        beside.retain(|other| later.as_ref().is_none_or(|later| later.id != other.id));
        Ok(Context {
            earlier,
            later: later.map(|later| Kin::new(&later, now)),
            beside: beside.iter().map(|other| Kin::new(other, now)).collect(),
            last_sent: call.last_sent.map(|at| Moment::new(at, now)),
            closed,
            refusals: REFUSALS,
            may_lift: closed && by.reviewer.entitled(call).await.is_ok(),
            erased: call.erased_at.map(|at| Moment::new(at, now)),
            restarted: by.reviewer.server_restarted(call).await,
        })
    }
}
