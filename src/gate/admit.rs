//! Step 1 of a call's life: what becomes of it at the door. The order is fixed (semantics.md 1): attach to an
//! open call or an undelivered outcome, then the pause, then the policy, then the tool's schema, then the bounds, then
//! the commit. Whatever cannot be judged is denied. Called by `mcp` with the one strictly parsed value.

use super::arguments::{Checked, INPUT_SCHEMA};
use super::forward::{Pass, Passing};
use super::hold::{Before, Held, Seat};
use super::notice::{self, Notice, Wording};
use super::pause::PAUSED;
use super::refusals::{CLOSED, THREE_REFUSALS};
use super::upstream::Ready;
use super::{Failure, Gate, ServerSettings, Settings};
use crate::domain::audit::{Data, Fact};
use crate::domain::call::{AskKey, Call, CallId, Outcome, OutcomeKind, State};
use crate::domain::digest::Digest;
use crate::domain::message::{self, Message};
use crate::domain::people::Agent;
use crate::domain::policy::{Action, Asked, Judgement, Shadow};
use crate::domain::recipient::RecipientKey;
use crate::store::{Change, CommitError, Kind, Row, Seen};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// When an agent may ask again whether there is room on the disk.
const ROOM_AGAIN: Duration = Duration::from_secs(60);

/// Characters of a tool's name in the audit.
const TOOL_CHARS: usize = 128;

/// One `tools/call` as it was parsed: once, strictly.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who.
    pub agent: Agent,
    /// Which upstream.
    pub server: String,
    /// Which tool.
    pub tool: String,
    /// JSON text of `arguments`, the bytes that will be sent.
    pub arguments: String,
    /// The same, parsed by `domain::json::strict`; an object.
    pub value: Value,
    /// JSON text of `_meta` without the progress token; only an allowed call keeps it.
    pub meta: Option<String>,
    /// The MCP session in a word that does not give its id away; for limits that count by it.
    pub session: Option<String>,
    /// Trace context members of `_meta`; a held call keeps these.
    pub trace: Vec<(String, String)>,
}

/// Why a call is not taken any more.
#[derive(Debug, thiserror::Error)]
#[error("the gateway is stopping")]
struct Stopping;

/// What becomes of a call at the door.
pub enum Admission {
    /// Send it now.
    Allowed(Box<Pass>),
    /// Tell the agent no.
    Refused(Notice),
    /// Answer as if there were no such tool (JSON-RPC `-32602`).
    Unknown,
    /// Wait for a person, or collect what became of the identical call.
    Waiting(Seat),
}

impl Gate {
    /// Judges one call, by one whole configuration: a reload in between is seen by the next call, or when it is judged again.
    pub async fn admit(&self, ask: Ask) -> Result<Admission, Failure> {
        let digest = Digest::of_call(&ask.server, &ask.tool, &ask.value);
        let key = AskKey::of(&ask.agent.name, &digest);
        let (mut asked, mut unreachable) = (false, None);
        // From here on a stop waits for it: what is sent has its end on record.
        let under_way = self.inner.lives.sends.token();
        for _ in 0..super::REWRITES {
            let settings = self.settings();
            let under = settings.as_ref();
            let newest = self.inner.store.newest(&key).await.map_err(|e| self.failed(&e))?;
            if let Some(call) = newest.as_ref().filter(|call| self.attaches(call, under)) {
                return Ok(Admission::Waiting(self.attach(call).await?));
            }
            let reads = under.server(&ask.server).is_some_and(|server| server.policy.reads(&ask.tool));
            let mut seen = Vec::new();
            if !reads {
                let pause = self.pause_record().await?;
                if let Some(stopped) = &pause.stopped {
                    return self.deny(&ask, &digest, refusal(PAUSED, &stopped.reason), under).await;
                }
                seen.push(Gate::not_paused_since(&pause));
            }
            let mut judgement = judge(&ask, under, self.inner.clock.now());
            let mut unchecked = None;
            if let Action::Allow | Action::RequireApproval = judgement.action {
                // Only where a person would be asked is it worth asking the server for its tools first.
                let ask_for = (judgement.action == Action::RequireApproval).then_some(ask.agent.name.as_str());
                let checked = tokio::select! {
                    biased;
                    checked = self.check_arguments(&ask.server, &ask.tool, &ask.value, ask_for) => checked,
                    // A stop does not wait for a server that is asked for its tools.
                    () = self.inner.lives.draining.cancelled() => return Err(self.failed(&Stopping)),
                };
                match checked {
                    Checked::Fit => {}
                    Checked::Unknown(why) => unchecked = Some(why),
                    Checked::Refused(why) => {
                        judgement = Judgement { shadows: judgement.shadows, ..refusal(INPUT_SCHEMA, &format!("{why}; mend the arguments and call again")) }
                    }
                }
            }
            let message = message_in(&ask.server, &ask.tool, &ask.value, under);
            if let (Some(message), Action::Allow | Action::RequireApproval) = (&message, judgement.action) {
                let recipient = RecipientKey::of(&ask.agent.name, &ask.server, &message.to);
                let (closed, as_seen) = self.way_to(&recipient, &ask.agent.name, &ask.server).await?;
                seen.push(as_seen);
                if closed {
                    judgement = Judgement { shadows: judgement.shadows, ..refusal(THREE_REFUSALS, CLOSED) };
                }
            }
            match judgement.action {
                Action::Allow if !reads && self.inner.store.space().is_low() => return self.no_room(&ask, &digest, under).await,
                Action::RequireApproval if self.inner.store.space().is_low() => return self.no_room(&ask, &digest, under).await,
                // Before it is counted and on record: what takes a while, such as a server's start, is waited for here, and
                // then everything is judged again.
                Action::Allow if !std::mem::replace(&mut asked, true) && self.waited_for(&ask, &mut unreachable).await? => {}
                Action::Allow => {
                    // Judging takes time, too: a revocation is in time until the call is on record.
                    let Some(granted) = self.granted(&ask).await? else {
                        return self.deny(&ask, &digest, refusal("agent-revoked", "This agent was revoked."), under).await;
                    };
                    if !reads {
                        seen.push(granted);
                    }
                    match Pass::permit(self, (&ask, &digest), judgement, (reads, seen), &under_way, under).await? {
                        Passing::Passes(permitted) => return Ok(Admission::Allowed(Box::new(Pass::of(self.clone(), ask, (digest, unreachable), permitted)))),
                        Passing::Limited(full) => return self.limited(&ask, &digest, full, under).await.map(Admission::Refused),
                        Passing::Moved => {}
                    }
                }
                Action::Deny => return self.deny(&ask, &digest, judgement, under).await,
                Action::Hide => {
                    self.record(with_shadows(verdict_fact("call.denied", &ask, &digest, &judgement.rule, under), &judgement.shadows)).await?;
                    return Ok(Admission::Unknown);
                }
                Action::RequireApproval => match self.hold(&ask, &digest, judgement, Before { newest, message, seen, unchecked }, under).await? {
                    Held::Seated(seat) => return Ok(Admission::Waiting(seat)),
                    Held::Full(notice) => return Ok(Admission::Refused(notice)),
                    Held::Moved => {}
                },
            }
        }
        Err(self.failed(&CommitError::Conflict))
    }

    /// Waits until the server is ready, or says why it is not; whether that took a while. A stop does not wait for a server
    /// that starts.
    async fn waited_for(&self, ask: &Ask, unreachable: &mut Option<String>) -> Result<bool, Failure> {
        let ready = tokio::select! {
            biased;
            ready = self.inner.upstream.ready(&ask.server, &ask.agent.name, false) => ready,
            () = self.inner.lives.draining.cancelled() => return Err(self.failed(&Stopping)),
        };
        Ok(match ready {
            Ready::AtOnce => false,
            Ready::Waited => true,
            Ready::Unreachable(why) => {
                *unreachable = Some(why);
                true
            }
        })
    }

    /// What says that the agent may still use the server; `None` when it may not.
    pub(super) async fn granted(&self, ask: &Ask) -> Result<Option<Seen>, Failure> {
        let row = self.inner.store.row(Kind::Agent, &ask.agent.name).await.map_err(|e| self.failed(&e))?;
        let Some(Row::Agent(agent)) = row else { return Ok(None) };
        let may = agent.revoked_at.is_none() && agent.may_use(&ask.server);
        Ok(may.then_some(Seen { kind: Kind::Agent, key: agent.name, revision: agent.revision }))
    }

    /// Whether `tools/list` leaves the tool out for this agent.
    pub fn hides(&self, server: &str, agent: &str, tool: &str) -> bool {
        self.settings().servers.get(server).is_none_or(|settings| settings.policy.hides(agent, tool))
    }

    /// Whether the identical call belongs to this one (contract.md, "How an agent waits").
    fn attaches(&self, call: &Call, under: &Settings) -> bool {
        let (now, hold) = (self.inner.clock.now(), &under.hold);
        match &call.state {
            State::Held { .. } | State::Approved { .. } | State::Sending { .. } | State::Unconfirmed { .. } => true,
            State::Rejected { at, .. } | State::ChangesRequested { at, .. } => now < *at + hold.refuse_again_for,
            // A person looked into it for this agent: told once, however late it asks (semantics.md 20).
            State::Answered { outcome: Outcome { kind: OutcomeKind::Told, .. }, .. } => !self.is_delivered(call),
            State::Answered { at, .. } | State::Expired { at } | State::Withdrawn { at, .. } | State::Lapsed { at } => {
                !self.is_delivered(call) && now < *at + hold.outcome_for
            }
        }
    }

    /// A `tools/call` without an id was dropped: nobody could be told what became of it (semantics.md 2).
    pub async fn note_dropped(&self, agent: &Agent, server: &str) -> Result<(), Failure> {
        let data = json!({ "server": server, "why": "no_id" });
        self.record(Fact { kind: "call.dropped", call: None, actor: format!("agent:{}", agent.name), data: data.into() }).await
    }

    /// Sits down at an existing call; an agent that had taken it back has asked again.
    async fn attach(&self, call: &Call) -> Result<Seat, Failure> {
        let seat = Seat::new(self.clone(), call, call.state.settled_at().is_some());
        if call.state.settled_at().is_none() {
            // Read again, now that we sit: a cancel that was under way is seen either here or by the canceller.
            self.asked_again(&call.id).await?;
        }
        Ok(seat)
    }

    /// The agent that had taken its request back wants it after all.
    pub(super) async fn asked_again(&self, id: &CallId) -> Result<(), Failure> {
        self.rewrite(id, |call| {
            let open = call.cancelled && matches!(call.state, State::Held { .. } | State::Approved { .. });
            open.then(|| {
                let fact = Fact { kind: "call.asked_again", call: Some(call.id.clone()), actor: format!("agent:{}", call.agent), data: json!({}).into() };
                (Call { cancelled: false, ..call.touched() }, fact)
            })
        })
        .await
        .map(drop)
    }

    async fn deny(&self, ask: &Ask, digest: &Digest, judgement: Judgement, under: &Settings) -> Result<Admission, Failure> {
        self.record(with_shadows(verdict_fact("call.denied", ask, digest, &judgement.rule, under), &judgement.shadows)).await?;
        let notice = notice::denied(wording(ask, under), &judgement.rule, judgement.reason.as_deref(), digest);
        Ok(Admission::Refused(notice))
    }

    /// Below the floor of free space nothing is taken that would be kept, so that decisions still can be.
    async fn no_room(&self, ask: &Ask, digest: &Digest, under: &Settings) -> Result<Admission, Failure> {
        // An agent that hammers the door must not fill the rest of the disk with refusals.
        if self.inner.store.space().has_half_left() {
            self.record(verdict_fact("call.limited", ask, digest, "min_free", under)).await?;
        }
        let (wording, now) = (wording(ask, under), self.inner.clock.now());
        Ok(Admission::Refused(notice::limited(wording, "the gateway's disk is nearly full", now, ROOM_AGAIN)))
    }

    /// Writes a fact durably.
    pub(super) async fn record(&self, fact: Fact) -> Result<(), Failure> {
        self.record_all(vec![fact]).await
    }

    /// Writes facts durably, all or none.
    pub(super) async fn record_all(&self, facts: Vec<Fact>) -> Result<(), Failure> {
        let change = Change::of_facts(self.inner.clock.now(), facts);
        self.inner.store.commit(change).await.map(drop).map_err(|e| self.failed(&e))
    }
}

/// The same fact with the shadow rules that matched, when there are any.
pub(super) fn with_shadows(mut fact: Fact, shadows: &[Shadow]) -> Fact {
    if !shadows.is_empty() {
        fact.data.put("shadow", &json!(shadows));
    }
    fact
}

pub(super) fn judge(ask: &Ask, under: &Settings, now: Timestamp) -> Judgement {
    let asked = Asked { agent: &ask.agent.name, tool: &ask.tool, arguments: &ask.value, session: ask.session.as_deref(), now };
    match under.server(&ask.server) {
        Some(server) => server.policy.judge(&asked),
        None => Judgement::denied("no-such-server".to_owned(), None),
    }
}

/// The message in the arguments, as the page will show it.
pub(super) fn message_in(server: &str, tool: &str, arguments: &Value, under: &Settings) -> Option<Message> {
    let configured = under.server(server).and_then(|server| server.messages.get(tool));
    message::find(tool, arguments, configured)
}

pub(super) fn wording(ask: &Ask, under: &Settings) -> Wording {
    let configured = under.server(&ask.server).is_some_and(|server| server.messages.contains_key(&ask.tool));
    Wording { message: message::is_message_tool(&ask.tool, configured) }
}

/// A fact about a verdict, with the digest of the policy that spoke it; `None` for a server that is not in the config.
/// The tool's name is the agent's text until a server knows it, so it is cut.
pub(super) fn verdict_fact(kind: &'static str, ask: &Ask, digest: &Digest, rule: &str, under: &Settings) -> Fact {
    let tool = ask.tool.char_indices().nth(TOOL_CHARS).and_then(|(end, _)| ask.tool.get(..end)).unwrap_or(&ask.tool);
    let policy = under.server(&ask.server).map(ServerSettings::digest);
    let data = Data::new().text("server", &ask.server).text("tool", tool).text("digest", digest.as_str()).text("rule", rule);
    Fact { kind, call: None, actor: format!("agent:{}", ask.agent.name), data: data.text_or_null("policy", policy.map(Digest::as_str)) }
}

/// A denial that no rule of the policy speaks.
fn refusal(rule: &str, reason: &str) -> Judgement {
    Judgement::denied(rule.to_owned(), Some(reason.to_owned()))
}
