//! An allowed call on its way: its entry is durable before it is sent, unless an operator declared that the
//! tool only reads; then the entry follows at most 100 ms later. Called by `mcp` with what `admit` let through.

use super::admit::{Ask, verdict_fact, with_shadows, wording};
use super::limits::Limited;
use super::notice::Wording;
use super::upstream::{Outgoing, Relay, Sent, Ticket};
use super::{Failure, Gate, Settings};
use crate::domain::audit::{Data, Fact};
use crate::domain::digest::Digest;
use crate::domain::limit::{Charge, GiveBack, Take};
use crate::domain::policy::Judgement;
use crate::store::{Change, CommitError, Seen};
use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What an agent is told of when its server has as many calls under way as it may (semantics.md 34), and when it may
/// ask again: a call takes that long at most times.
const IN_FLIGHT: &str = "in_flight_per_server";
const CROWDED: &str = "the server has as many calls under way as it may";
const CROWDED_FOR: Duration = Duration::from_secs(1);

/// The right to forward one allowed call once.
pub struct Pass {
    gate: Gate,
    ask: Ask,
    digest: Digest,
    /// Why it cannot leave: its server was not there when it was asked.
    unreachable: Option<String>,
    permitted: Permitted,
}

/// Whether an allowed call may go.
pub(super) enum Passing {
    /// It may.
    Passes(Permitted),
    /// A limit has no room.
    Limited(Limited),
    /// What the verdict rests on is not so any more: judge again.
    Moved,
}

/// What stands on record for a call that may go.
pub(super) struct Permitted {
    /// What was taken from limits, and when.
    taken: (Vec<Charge>, Timestamp),
    /// Whether that it is allowed is written behind: then its end must not be written before.
    is_behind: bool,
    /// Its place among the calls under way to its server.
    _through: OwnedSemaphorePermit,
    /// A stop waits for it: its end is still to be written.
    _under_way: TaskTrackerToken,
}

impl Pass {
    /// The right to send this call, which is on record.
    pub(super) fn of(gate: Gate, ask: Ask, (digest, unreachable): (Digest, Option<String>), permitted: Permitted) -> Pass {
        // What is sent are the bytes; the server may take long.
        let ask = Ask { value: Value::Null, ..ask };
        Pass { gate, ask, digest, unreachable, permitted }
    }

    /// Whether the call is a message, for the words an agent is told.
    pub fn wording(&self) -> Wording {
        wording(&self.ask, &self.gate.settings())
    }

    /// Writes that the call is allowed, and what it takes from limits, before it may go. Only what an operator
    /// declared to change nothing is written behind, when nobody counts it or what it takes was leased.
    pub(super) async fn permit(
        gate: &Gate,
        (ask, digest): (&Ask, &Digest),
        judged: Judgement,
        (reads, seen): (bool, Vec<Seen>),
        under_way: &TaskTrackerToken,
        under: &Settings,
    ) -> Result<Passing, Failure> {
        let fact = with_shadows(verdict_fact("call.allowed", ask, digest, &judged.rule, under), &judged.shadows);
        let now = gate.inner.clock.now();
        let Ok(through) = gate.inner.lives.sends.door(&ask.server).try_acquire_owned() else {
            let (limit, reason) = (IN_FLIGHT.to_owned(), Some(CROWDED.to_owned()));
            return Ok(Passing::Limited(Limited { limit, until: now + CROWDED_FOR, reason }));
        };
        if let Some(full) = gate.full_since_restore(&judged.charges, now) {
            return Ok(Passing::Limited(full));
        }
        // What must not have moved is looked at by a change of its own.
        let may_be_leased = reads && seen.is_empty() && !judged.charges.is_empty();
        let leased = if may_be_leased { gate.leased(&judged.charges, under.limit_keys).await } else { None };
        let mut taken_at = leased.unwrap_or(now);
        let is_behind = leased.is_some() || reads && judged.charges.is_empty();
        if is_behind {
            let line = gate.line().await;
            // The queue may have been full for long.
            match gate.counted_in_time(&judged.charges, taken_at).await? {
                Ok(at) => taken_at = at,
                Err(full) => return Ok(Passing::Limited(full)),
            }
            if gate.granted(ask).await?.is_none() {
                return Ok(Passing::Moved);
            }
            line.put(fact).await?;
        } else {
            // It may have waited for a block that did not come.
            let now = gate.inner.clock.now();
            if let Some(full) = gate.behind_others(None, &judged.charges, now).await? {
                return Ok(Passing::Limited(full));
            }
            let takes = Take::at_once(&judged.charges, under.limit_keys);
            match gate.commit_takes(Change { seen, takes, ..Change::of_facts(now, vec![fact]) }).await {
                Ok(_) => match gate.counted_in_time(&judged.charges, now).await? {
                    Ok(at) => {
                        taken_at = at;
                        if may_be_leased {
                            gate.took_alone(&judged.charges, now);
                        }
                    }
                    Err(full) => return Ok(Passing::Limited(full)),
                },
                Err(CommitError::Conflict) => return Ok(Passing::Moved),
                Err(CommitError::Limited { limit, until }) => return Ok(Passing::Limited(Limited::of(&judged.charges, limit, until))),
                Err(error @ (CommitError::Full { .. } | CommitError::Store(_) | CommitError::Lost)) => return Err(gate.failed(&error)),
            }
        }
        Ok(Passing::Passes(Permitted { taken: (judged.charges, taken_at), is_behind, _through: through, _under_way: under_way.clone() }))
    }

    /// Whoever asked left before it was sent, so it never is: nobody would have its answer, and they will ask again.
    pub async fn abandon(self) {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let _never_left = self.send(None, cancel).await;
    }

    /// Sends the call and waits for its end.
    pub async fn send(self, relay: Option<Relay>, cancel: CancellationToken) -> Sent {
        let Pass { gate, ask, digest, unreachable, permitted } = self;
        let Permitted { taken, is_behind, _through, _under_way } = permitted;
        let taken_back = cancel.is_cancelled();
        let (server, tool, agent) = (ask.server.clone(), ask.tool.clone(), ask.agent.name.clone());
        let ticket =
            Ticket::new(Outgoing { server: ask.server, agent: ask.agent.name, tool: ask.tool, arguments: ask.arguments, meta: ask.meta, relay, cancel });
        // Taken back while the server was being started.
        let sent = match unreachable {
            _ if taken_back => Sent::NeverLeft("The agent took its request back before it left.".to_owned()),
            Some(why) => Sent::NeverLeft(why),
            None => gate.inner.upstream.send(ticket).await,
        };
        let body = body_of(&sent).map(|body| Digest::of_bytes(body.get().as_bytes()));
        let data = Data::new().text("server", &server).text("tool", &tool).text("digest", digest.as_str()).text("end", end_of(&sent));
        let ended =
            Fact { kind: "call.ended", call: None, actor: format!("agent:{agent}"), data: data.text_or_null("body", body.as_ref().map(Digest::as_str)) };
        let given_back = if let Sent::NeverLeft(_) = &sent { GiveBack::of(&taken.0, taken.1) } else { Vec::new() };
        if given_back.is_empty() || is_behind {
            // A failure is in the log; the server has had the call, and whoever asked is told what became of it.
            let _logged = gate.line().await.put(ended).await;
            gate.give_back(given_back, Vec::new()).await;
        } else {
            gate.give_back(given_back, vec![ended]).await;
        }
        sent
    }
}

/// How a send ended, in one word for the audit.
pub(super) fn end_of(sent: &Sent) -> &'static str {
    match sent {
        Sent::Result(body) if is_tool_error(body) => "tool_error",
        Sent::Result(_) => "ok",
        Sent::Error(_) => "protocol_error",
        Sent::NeverLeft(_) => "never_left",
        Sent::Unknown(_) => "unknown",
    }
}

fn body_of(sent: &Sent) -> Option<&RawValue> {
    match sent {
        Sent::Result(body) | Sent::Error(body) => Some(body),
        Sent::NeverLeft(_) | Sent::Unknown(_) => None,
    }
}

/// Whether a tool result says `isError: true` (MCP, server/tools, "Error Handling").
pub(super) fn is_tool_error(result: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Result {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<Result>(result.get()).is_ok_and(|result| result.is_error)
}
