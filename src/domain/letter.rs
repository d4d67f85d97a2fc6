//! One notification waiting in the durable outbox. It names the call and the occasion, not the people:
//! who gets it is resolved when it is sent (semantics.md 30). Written by `gate`, delivered by `notify`.

use super::call::CallId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Stable over retries: what duplicates are recognised by.
    pub id: String,
    /// Compared by the engines. Starts at 1.
    pub revision: u64,
    /// The call it is about, if it is about one.
    #[serde(default)]
    pub call: Option<CallId>,
    /// Why it is written.
    pub occasion: Occasion,
    /// The one person it is for; `None`: whoever may decide the call, or every operator.
    #[serde(default)]
    pub to: Option<String>,
    /// When it was put into the outbox.
    pub written_at: Timestamp,
    /// Deliveries that failed.
    pub attempts: u32,
    /// Not before.
    pub next_at: Timestamp,
    /// Who has already got it, after a partial failure.
    #[serde(default)]
    pub delivered_to: Vec<String>,
    /// Whose mail server refused it for good (RFC 5321, 4.2.1: 5yz): they are not tried again.
    #[serde(default)]
    pub refused_by: Vec<String>,
}

/// Why a letter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A call waits for a person.
    Held,
    /// Somebody asked for a sign-in link. The link is made when the letter leaves: no secret waits in the outbox.
    SignIn,
}

impl Letter {
    /// That a call waits for a person. One letter per call, and one more when an edit asks other people after the
    /// first has left: `version` is the call's then, 1 at the hold.
    pub fn about_hold(call: &CallId, version: u64, at: Timestamp) -> Letter {
        let id = if version == 1 { format!("held-{call}") } else { format!("held-{call}-{version}") };
        Letter { call: Some(call.clone()), ..Letter::new(id, Occasion::Held, at) }
    }

    /// That somebody asked for a link to sign in as this person; `id` is drawn, because ids stand in logs.
    pub fn about_sign_in(id: &str, email: &str, at: Timestamp) -> Letter {
        Letter { to: Some(email.to_owned()), ..Letter::new(format!("sign-in-{id}"), Occasion::SignIn, at) }
    }

    fn new(id: String, occasion: Occasion, at: Timestamp) -> Letter {
        Letter { id, revision: 1, call: None, occasion, to: None, written_at: at, attempts: 0, next_at: at, delivered_to: Vec::new(), refused_by: Vec::new() }
    }
}
