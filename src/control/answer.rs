//! What commands ask of a gateway and what it answers: one function for the running gateway and for a command
//! that opened the store itself, so that both ways cannot differ. Secrets are made by `gate` and pass through
//! here once. Called by `control::socket` and `control::line`.

use super::view::{AgentView, TokenView};
use crate::domain::audit::Entry;
use crate::domain::export::{Attestor, Seal};
use crate::domain::limit::{Counter, CounterKey};
use crate::domain::pause::Stopped;
use crate::domain::people::{Person, Role};
use crate::gate::agents::{AgentEdit, NewAgent};
use crate::gate::pause::PauseError;
use crate::gate::people::{FIRST_LINK_FOR, LINK_FOR, PeopleError, PersonEdit};
use crate::gate::registrar::RegistrarError;
use crate::gate::{Failure, Gate};
use crate::store::backup::{Backups, Contents};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Entries in one answer.
pub const ENTRIES: usize = 200;

/// A token's name where the command that asks knows of none.
fn unnamed() -> String {
    "command line".to_owned()
}

/// Whoever may ask here has the data folder.
const OPERATOR: &str = "operator";

/// One question. `{}` where nothing is asked besides: a unit variant would accept members it does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Add an agent.
    AddAgent {
        /// Its name.
        name: String,
        /// Granted servers; none means every one.
        servers: Vec<String>,
        /// Its owner's address.
        owner: Option<String>,
        /// How long one request stays open.
        keep_open_ms: Option<u64>,
        /// How long its token counts.
        expires_in_ms: Option<u64>,
    },
    /// Every agent.
    Agents {},
    /// End an agent's token and withdraw its calls.
    RevokeAgent {
        /// Its name.
        name: String,
    },
    /// Give an agent another token.
    RotateAgent {
        /// Its name.
        name: String,
    },
    /// Change what an agent may do and whose it is; what is left out stays.
    SetAgent {
        /// Its name.
        name: String,
        /// Granted servers; none means every one.
        #[serde(default)]
        servers: Option<Vec<String>>,
        /// Its owner's address; an empty one for nobody.
        #[serde(default)]
        owner: Option<String>,
        /// How long one request stays open; 0 for `hold.keep_open`.
        #[serde(default)]
        keep_open_ms: Option<u64>,
    },
    /// Add a person and make a sign-in link.
    AddPerson {
        /// The address.
        email: String,
        /// Shown instead.
        name: Option<String>,
        /// Groups that rules name.
        groups: Vec<String>,
        /// What the person may do.
        role: Role,
        /// This is the first run: the link of the first operator lives longer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        first: bool,
    },
    /// Everybody.
    People {},
    /// Shut a person out.
    DisablePerson {
        /// The address.
        email: String,
    },
    /// Let a person in again.
    EnablePerson {
        /// The address.
        email: String,
    },
    /// Change a name, a role, groups; what is left out stays.
    SetPerson {
        /// The address.
        email: String,
        /// Shown instead; an empty one for none.
        #[serde(default)]
        name: Option<String>,
        /// Groups that rules name.
        #[serde(default)]
        groups: Option<Vec<String>>,
        /// What the person may do.
        #[serde(default)]
        role: Option<Role>,
    },
    /// A person's API tokens.
    Tokens {
        /// Whose.
        email: String,
    },
    /// End one API token.
    RevokeToken {
        /// Whose.
        email: String,
        /// As lists show it.
        id: String,
    },
    /// End every session and link of a person.
    SignOut {
        /// Whose.
        email: String,
    },
    /// Make a sign-in link.
    Link {
        /// Whose.
        email: String,
    },
    /// Make an API token.
    Token {
        /// Whose.
        email: String,
        /// So that its owner knows it again.
        #[serde(default = "unnamed")]
        name: String,
        /// How long it counts.
        expires_in_ms: u64,
    },
    /// Remove a person's passkeys and ask for none any more.
    RemovePasskeys {
        /// Whose.
        email: String,
    },
    /// Stop everything that would be sent.
    Pause {
        /// Told to agents and reviewers.
        reason: String,
    },
    /// Let it go on.
    Resume {},
    /// Whether the gateway is paused.
    Paused {},
    /// The tools that every server listed last; nothing is started for it.
    Tools {},
    /// Audit entries from a number on, at most [`ENTRIES`].
    Entries {
        /// The first number.
        from: u64,
    },
    /// The signed head of the audit.
    Seal {},
    /// The public key.
    Key {},
    /// What is counted by some counters.
    Counters {
        /// Which.
        keys: Vec<CounterKey>,
    },
    /// Write a backup on the machine that answers.
    Backup {
        /// Absolute; nothing may stand there.
        path: PathBuf,
    },
}

/// One answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// What links point at, without a trailing slash.
    pub public_url: String,
    /// What the person at the terminal should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The answer itself.
    pub answer: Answer,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", content = "with", rename_all = "snake_case")]
pub enum Answer {
    /// A token, or the secret of a link.
    Secret(String),
    /// Agents by name.
    Agents(Vec<AgentView>),
    /// People by address.
    People(Vec<Person>),
    /// A person's API tokens.
    Tokens(Vec<TokenView>),
    /// It is done; so many calls were withdrawn (a revoked agent) or taken back to held (a pause), or sessions ended.
    Done(usize),
    /// Since when, by whom and why the gateway is paused, if it is.
    Paused(Option<Stopped>),
    /// Names of tools by server, without the servers that nobody has asked yet.
    Tools(BTreeMap<String, Vec<String>>),
    /// Audit entries in order.
    Entries(Vec<Entry>),
    /// The signed head.
    Seal(Seal),
    /// The public key.
    Key(String),
    /// Counters from which something was taken, and when the store was restored from a backup.
    Counters {
        /// As they stand.
        counters: Vec<Counter>,
        /// Until a window is over since then, it counts as full.
        restored_at: Option<Timestamp>,
    },
    /// What stands in the backup that was written.
    Backup(Contents),
    /// Not so, in plain words.
    Refused(String),
    /// Nobody could do this, in plain words: the command was used wrongly.
    Misused(String),
    /// The command and the gateway do not speak the same version.
    NotUnderstood,
}

/// Answers one question.
pub async fn answer(gate: &Gate, attestor: &Attestor, backups: &dyn Backups, public_url: &str, request: Request) -> Response {
    let notes = notes(gate, &request);
    let answer = match attempt(gate, attestor, backups, request).await {
        Ok(answer) | Err(No(answer)) => answer,
    };
    Response { public_url: public_url.to_owned(), notes, answer }
}

/// An answer that is a no.
struct No(Answer);

impl From<PeopleError> for No {
    fn from(error: PeopleError) -> No {
        No(match error {
            PeopleError::BadName(_) => Answer::Misused(error.to_string()),
            PeopleError::Exists { .. } | PeopleError::Unknown { .. } | PeopleError::LastOperator | PeopleError::Failure(_) => {
                Answer::Refused(error.to_string())
            }
        })
    }
}

impl From<RegistrarError> for No {
    fn from(error: RegistrarError) -> No {
        match error {
            RegistrarError::People(error) => error.into(),
            RegistrarError::NotOperator | RegistrarError::Changed => No(Answer::Refused(error.to_string())),
        }
    }
}

impl From<PauseError> for No {
    fn from(error: PauseError) -> No {
        No(match error {
            PauseError::Incomplete(_) => Answer::Misused(error.to_string()),
            PauseError::Already(_) | PauseError::Failure(_) => Answer::Refused(error.to_string()),
        })
    }
}

impl From<Failure> for No {
    fn from(failure: Failure) -> No {
        No(Answer::Refused(failure.to_string()))
    }
}

async fn attempt(gate: &Gate, attestor: &Attestor, backups: &dyn Backups, request: Request) -> Result<Answer, No> {
    Ok(match request {
        Request::AddAgent { name, servers, owner, keep_open_ms, expires_in_ms } => {
            let (keep_open, expires_in) = (keep_open_ms.map(Duration::from_millis), expires_in_ms.map(Duration::from_millis));
            Answer::Secret(gate.add_agent(NewAgent { name, servers, owner, keep_open, expires_in }).await?)
        }
        Request::Agents {} => {
            let now = gate.clock().now();
            Answer::Agents(gate.listed_agents().await?.into_iter().map(|agent| AgentView::of(agent, now)).collect())
        }
        Request::RevokeAgent { name } => Answer::Done(gate.revoke_agent(&name).await?),
        Request::RotateAgent { name } => Answer::Secret(gate.registrar().rotate_agent(&name).await?),
        Request::SetAgent { name, servers, owner, keep_open_ms } => {
            let owner = owner.map(|owner| Some(owner).filter(|owner| !owner.is_empty()));
            let keep_open = keep_open_ms.map(|ms| Some(Duration::from_millis(ms)).filter(|time| !time.is_zero()));
            gate.registrar().set_agent(&name, AgentEdit { servers, owner, keep_open, shown: None }).await?;
            Answer::Done(1)
        }
        Request::AddPerson { email, name, groups, role, first } => {
            let first = first && role == Role::Operator && gate.people().await?.is_empty();
            let person = gate.add_person(&email, name, groups, role).await?;
            Answer::Secret(gate.make_link_for(&person.email, if first { FIRST_LINK_FOR } else { LINK_FOR }).await?)
        }
        Request::People {} => Answer::People(gate.people().await?),
        Request::DisablePerson { email } => {
            gate.disable_person(&email).await?;
            Answer::Done(1)
        }
        Request::EnablePerson { email } => {
            gate.registrar().enable_person(&email).await?;
            Answer::Done(1)
        }
        Request::SetPerson { email, name, groups, role } => {
            gate.registrar().set_person(&email, PersonEdit { name: name.map(Some), role, groups, shown: None }).await?;
            Answer::Done(1)
        }
        Request::Tokens { email } => Answer::Tokens(gate.api_tokens(&email).await?.into_iter().map(TokenView::of).collect()),
        Request::RevokeToken { email, id } => {
            gate.registrar().revoke_token(&email, &id).await?;
            Answer::Done(1)
        }
        Request::SignOut { email } => Answer::Done(gate.registrar().sign_out_person(&email).await?),
        Request::Link { email } => Answer::Secret(gate.make_link(&email).await?),
        Request::Token { email, name, expires_in_ms } => Answer::Secret(gate.make_api_token(&email, &name, Duration::from_millis(expires_in_ms)).await?),
        Request::RemovePasskeys { email } => Answer::Done(gate.registrar().remove_passkeys(&email).await?),
        Request::Pause { reason } => match gate.pause(&reason, OPERATOR).await {
            Ok(taken_back) => Answer::Done(taken_back),
            Err(error) => return Err(already(gate, error).await),
        },
        Request::Resume {} => {
            gate.resume_sending(OPERATOR).await?;
            Answer::Done(0)
        }
        Request::Tools {} => Answer::Tools(gate.listed_tools().await),
        Request::Paused {} => Answer::Paused(gate.pause_record().await?.stopped),
        Request::Entries { from } => Answer::Entries(gate.audit_entries(from, ENTRIES).await?),
        Request::Seal {} => Answer::Seal(attestor.seal(gate.audit_head().await?)),
        Request::Key {} => Answer::Key(attestor.public_key()),
        Request::Counters { keys } => {
            let (counters, restored_at) = gate.counters(&keys).await?;
            Answer::Counters { counters, restored_at }
        }
        Request::Backup { path } => backup(gate, backups, &path).await,
    })
}

/// Who pauses a second time is told of the first: it may be another matter, and another person's.
async fn already(gate: &Gate, error: PauseError) -> No {
    let stopped = match &error {
        PauseError::Already(_) => gate.pause_record().await.ok().and_then(|pause| pause.stopped),
        PauseError::Incomplete(_) | PauseError::Failure(_) => None,
    };
    match stopped {
        Some(Stopped { at, by, reason }) => No(Answer::Refused(format!("{error}, since {at} by {by}: {reason}"))),
        None => error.into(),
    }
}

async fn backup(gate: &Gate, backups: &dyn Backups, path: &Path) -> Answer {
    // Relative to the gateway it would be another file than the person at the terminal means.
    if !path.is_absolute() {
        return Answer::Refused("a backup needs an absolute path".into());
    }
    match backups.backup(path, gate.clock().now()).await {
        Ok(contents) => {
            tracing::info!(seq = contents.head.seq, bytes = contents.bytes, "a backup was written");
            Answer::Backup(contents)
        }
        Err(refused) => Answer::Refused(refused.to_string()),
    }
}

/// A name that fits nothing is allowed, because it may come later, but most often it is a slip.
fn notes(gate: &Gate, request: &Request) -> Vec<String> {
    let known = &gate.settings().servers;
    match request {
        Request::AddAgent { servers, .. } | Request::SetAgent { servers: Some(servers), .. } => {
            servers.iter().filter(|name| !known.contains_key(*name)).map(|name| format!("note: the configuration has no server called {name}")).collect()
        }
        _ => Vec::new(),
    }
}
