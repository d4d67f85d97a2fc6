//! What stands above every page while it is so: the gateway is paused, calls of which nobody knows whether they
//! left, servers that are down, a disk that fills up, a start after an unclean stop, mails that do not leave
//! (semantics.md 37), rules without people (16), a configuration that is not in force. Read with the reader's own
//! rights at every page; the live update fetches the same piece alone. Used by `page`.

use super::WebState;
use super::moment::Moment;
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::config::Reading;
use crate::domain::letter::Trouble;
use crate::domain::pause::{Pause, Stopped};
use crate::domain::people::Role;
use crate::gate::{Lasting, MailStanding, Unreached};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

/// The notices of one page.
#[derive(Default)]
pub struct Notices {
    /// The gateway is paused.
    pub paused: Option<Paused>,
    /// There are calls of which nobody knows whether they left, and the reader may say.
    pub unknown: bool,
    /// For operators: this process started after an unclean stop.
    pub unclean: Option<Moment>,
    /// For operators: the disk is nearly full and new calls are refused.
    pub no_room: bool,
    /// For operators: the disk is nearly full, and calls are still taken.
    pub little_room: bool,
    /// For operators: servers that cannot be reached.
    pub down: Vec<Down>,
    /// For operators: the configuration file as it is now is not in force.
    pub refused: Option<NotInForce>,
    /// For operators: changes of the configuration that wait for a restart.
    pub needs_restart: usize,
    /// For operators: no mail leaves.
    pub no_mail: Option<NoMail>,
    /// For operators: whose mail does not arrive although others' does.
    pub unreached: Vec<NotReached>,
    /// For operators: rules that ask for people who are not there.
    pub gaps: usize,
    /// The reader is an operator.
    pub operator: bool,
}

/// Why nothing goes out.
pub struct Paused {
    /// Since when.
    pub at: Moment,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Shown,
}

/// A server that cannot be reached.
pub struct Down {
    /// Its name in the config.
    pub server: String,
    /// Since when.
    pub since: Moment,
}

/// Why no mail leaves.
pub struct NoMail {
    /// Since when.
    pub since: Moment,
    /// What is the matter.
    pub cause: String,
    /// What to do.
    pub mend: &'static str,
    /// Letters that wait.
    pub waiting: usize,
}

/// Somebody whom no mail reaches.
pub struct NotReached {
    /// Their address.
    pub person: Shown,
    /// Since when.
    pub since: Moment,
    /// For good, or put off.
    pub refused: bool,
}

/// A configuration file that changed nothing.
pub struct NotInForce {
    /// How many mistakes it has.
    pub mistakes: usize,
    /// Since when.
    pub since: Moment,
    /// When the one that is in force was read.
    pub loaded: Option<Moment>,
}

impl NotInForce {
    fn of(reading: &Reading, now: Timestamp) -> Option<NotInForce> {
        let refused = reading.refused.as_ref()?;
        Some(NotInForce { mistakes: refused.mistakes.len(), since: Moment::new(refused.since, now), loaded: reading.loaded_at.map(|at| Moment::new(at, now)) })
    }
}

impl NotReached {
    fn of(known: &Unreached, now: Timestamp) -> NotReached {
        NotReached { person: Shown::new(&known.person), since: Moment::new(known.since, now), refused: known.refused }
    }
}

impl Paused {
    /// The record in words.
    pub fn new(stopped: &Stopped, now: Timestamp) -> Paused {
        let by = stopped.by.strip_prefix("person:").unwrap_or(&stopped.by).to_owned();
        Paused { at: Moment::new(stopped.at, now), by, reason: Shown::new(&stopped.reason) }
    }
}

impl Notices {
    /// What this person is told now. A read that fails leaves its notice out: the page itself says that the
    /// store does not answer.
    pub async fn of(state: &WebState, by: &SignedIn) -> Notices {
        let now = state.gate.clock().now();
        let role = by.reviewer.person().role;
        let operator = role == Role::Operator;
        let config = if operator { state.settings.standing.now() } else { Reading::default() };
        let troubles = if operator { state.gate.troubles().borrow().clone() } else { Vec::new() };
        let no_room = operator && state.gate.space().is_low();
        let mailing = if operator { state.gate.mailing().now() } else { MailStanding::default() };
        Notices {
            paused: switch(state).await.stopped.map(|stopped| Paused::new(&stopped, now)),
            // An auditor cannot say what happened; the tab shows them that there is something.
            unknown: role != Role::Auditor && by.reviewer.tally().await.is_ok_and(|tally| tally.unconfirmed > 0),
            unclean: state.gate.unclean_start().filter(|_| operator).map(|at| Moment::new(at, now)),
            no_room,
            little_room: !no_room && troubles.iter().any(|lasting| lasting.trouble == Trouble::DiskLow),
            down: down(&troubles, now),
            refused: NotInForce::of(&config, now),
            needs_restart: config.needs_restart.len(),
            no_mail: mailing.failing.as_ref().map(|failing| NoMail {
                since: Moment::new(failing.since, now),
                cause: page::sentence(failing.cause),
                mend: failing.mend,
                waiting: mailing.waiting,
            }),
            unreached: mailing.unreached_to_show(now).map(|known| NotReached::of(known, now)).collect(),
            gaps: if operator { state.gate.gaps().await.map_or(0, |gaps| gaps.len()) } else { 0 },
            operator,
        }
    }
}

fn down(troubles: &[Lasting], now: Timestamp) -> Vec<Down> {
    let down = |lasting: &Lasting| match &lasting.trouble {
        Trouble::UpstreamDown { server } => Some(Down { server: server.clone(), since: Moment::new(lasting.since, now) }),
        Trouble::OutboxFailing | Trouble::DiskLow | Trouble::UncleanStart | Trouble::Unconfirmed { .. } => None,
    };
    troubles.iter().filter_map(down).collect()
}

/// How the kill switch stands, as far as it can be read.
pub async fn switch(state: &WebState) -> Pause {
    state.gate.pause_record().await.unwrap_or_default()
}

#[derive(Template)]
#[template(path = "notices.html")]
struct NoticesTemplate {
    frame: Frame,
}

#[derive(Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    here: String,
}

/// `GET /notices?here=…`: what the live update puts above an open page. A page that is about a notice itself
/// does not repeat it.
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    let here = ["pause", "unknown", "config", "people", "servers"].into_iter().find(|known| *known == wanted.here).unwrap_or_default();
    page::html(&state, StatusCode::OK, &NoticesTemplate { frame: Frame::new(&state, Some(&by), here).await })
}
