//! One notification waiting in the durable outbox. It names the call and the occasion, not the people:
//! who gets it is resolved when it is sent (semantics.md 30). Which step of a call's life writes one is answered
//! here too, so that every step does it in its own change. Written by `gate`, delivered by `notify`.

use super::call::{Call, CallId, State};
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
    /// What is wrong, when it is written to operators.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
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
    /// Half of its time is over and nobody has opened it.
    Reminder,
    /// It is settled: nothing is left to do for those who were told that it waits.
    Settled,
    /// Nobody knows whether it was sent: a person has to find out.
    Unconfirmed,
    /// Somebody asked for a sign-in link. The link is made when the letter leaves: no secret waits in the outbox.
    SignIn,
    /// Something is wrong with the gateway.
    Trouble,
}

/// What operators are told of (semantics.md 37).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Trouble {
    /// A server cannot be reached.
    UpstreamDown {
        /// Its name in the config.
        server: String,
    },
    /// No mail could leave for a quarter of an hour.
    OutboxFailing,
    /// The disk has less free space than twice the floor.
    DiskLow,
    /// The last process had not stopped in order.
    UncleanStart,
    /// Calls of which nobody knows whether they were sent.
    Unconfirmed {
        /// How many.
        calls: usize,
    },
}

impl Trouble {
    /// What it is known by while it lasts.
    pub fn key(&self) -> String {
        match self {
            Trouble::UpstreamDown { server } => format!("upstream_down {server}"),
            Trouble::OutboxFailing => "outbox_failing".to_owned(),
            Trouble::DiskLow => "disk_low".to_owned(),
            Trouble::UncleanStart => "unclean_start".to_owned(),
            Trouble::Unconfirmed { .. } => "unconfirmed".to_owned(),
        }
    }

    /// What is wrong, in a few words.
    pub fn title(&self) -> String {
        match self {
            Trouble::UpstreamDown { server } => format!("The server {server} cannot be reached"),
            Trouble::OutboxFailing => "Mails could not leave for 15 minutes".to_owned(),
            Trouble::DiskLow => "The disk is nearly full".to_owned(),
            Trouble::UncleanStart => "Paraph was not stopped in order".to_owned(),
            Trouble::Unconfirmed { calls: 1 } => "Nobody knows whether 1 call was sent".to_owned(),
            Trouble::Unconfirmed { calls } => format!("Nobody knows whether {calls} calls were sent"),
        }
    }

    /// What that means and what to do.
    pub fn advice(&self) -> &'static str {
        match self {
            Trouble::UpstreamDown { .. } => {
                "Its calls wait: what is approved is tried again until it can be sent or its time is over. Look at the page Servers for the cause, and at the server itself."
            }
            Trouble::OutboxFailing => {
                "Reviewers did not hear of new calls meanwhile; the letters were kept and are sent when mail works. Look at the log for the cause, and at [mail] in config.toml; paraph mail test ADDRESS tries it."
            }
            Trouble::DiskLow => {
                "Below the floor, [store] min_free, new calls are refused until there is room again; what is held can still be decided. Make room on the disk that holds the data folder."
            }
            Trouble::UncleanStart => {
                "It was killed, or the machine went down. Held calls are held on; a call that was just being sent is unconfirmed and waits for a person. Look at why the process ended."
            }
            Trouble::Unconfirmed { .. } => {
                "They are not sent again by themselves. Find out at the receiving side what happened to each, and say it on its page."
            }
        }
    }
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

    /// That something is wrong; `id` is drawn.
    pub fn about_troubles(id: &str, troubles: Vec<Trouble>, at: Timestamp) -> Letter {
        Letter { troubles, ..Letter::new(format!("trouble-{id}"), Occasion::Trouble, at) }
    }

    /// The letter that a call's step asks for, to be written in the same change; at most one of each occasion for a
    /// call's whole life.
    pub fn of_step(before: &Call, after: &Call, at: Timestamp) -> Option<Letter> {
        if before.state.word() == after.state.word() {
            let reminds = matches!(after.state, State::Held { .. }) && before.remind_at.is_some() && after.remind_at.is_none();
            // Whoever was not told yet has a letter under way that asks them.
            return (reminds && after.views.is_empty() && !after.told.is_empty()).then(|| Letter::about(after, Occasion::Reminder, at));
        }
        match &after.state {
            State::Unconfirmed { .. } => Some(Letter::about(after, Occasion::Unconfirmed, at)),
            State::Answered { .. }
            | State::Rejected { .. }
            | State::ChangesRequested { .. }
            | State::Expired { .. }
            | State::Withdrawn { .. }
            | State::Lapsed { .. } => (!after.hear_of_end().is_empty()).then(|| Letter::about(after, Occasion::Settled, at)),
            State::Held { .. } | State::Approved { .. } | State::Sending { .. } => None,
        }
    }

    /// To somebody whose mail about the call was under way while it was settled; the others have had theirs.
    pub fn about_end_late(call: &Call, delivered_to: Vec<String>, at: Timestamp) -> Letter {
        Letter { delivered_to, ..Letter::about(call, Occasion::Settled, at) }
    }

    fn about(call: &Call, occasion: Occasion, at: Timestamp) -> Letter {
        Letter { call: Some(call.id.clone()), ..Letter::new(format!("{}-{}", occasion.word(), call.id), occasion, at) }
    }

    fn new(id: String, occasion: Occasion, at: Timestamp) -> Letter {
        let (troubles, delivered_to, refused_by) = (Vec::new(), Vec::new(), Vec::new());
        Letter { id, revision: 1, call: None, occasion, troubles, to: None, written_at: at, attempts: 0, next_at: at, delivered_to, refused_by }
    }
}

impl Occasion {
    /// What a letter's id begins with.
    pub fn word(self) -> &'static str {
        match self {
            Occasion::Held => "held",
            Occasion::Reminder => "reminder",
            Occasion::Settled => "settled",
            Occasion::Unconfirmed => "unconfirmed",
            Occasion::SignIn => "sign-in",
            Occasion::Trouble => "trouble",
        }
    }
}
