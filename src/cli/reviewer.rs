//! `paraph reviewer`: the people who decide. Links and tokens are printed alone on standard output.
//! Called by `cli`.

use super::fault::Fault;
use super::settings::{Where, millis, time};
use super::terminal;
use crate::control::{Answer, Request, TokenView, ask};
use crate::domain::people::{Person, Role};
use clap::builder::NonEmptyStringValueParser;
use clap::{Subcommand, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

/// `paraph reviewer …`.
#[derive(Debug, Subcommand)]
pub(super) enum Reviewer {
    /// Add a person; prints a one-time sign-in link
    #[command(after_help = "\
Examples:
  paraph reviewer add ann@example.org --name Ann --group desk
  paraph reviewer add olga@example.org --role operator

The link works once, for 15 minutes; `paraph reviewer link` makes another.")]
    Add {
        /// The person's mail address
        email: String,
        /// Shown instead of the address
        #[arg(long)]
        name: Option<String>,
        /// A group that rules name; may be given several times
        #[arg(long = "group", value_name = "G", value_parser = NonEmptyStringValueParser::new())]
        groups: Vec<String>,
        /// What the person may do
        #[arg(long, value_enum, default_value = "reviewer")]
        role: RoleWord,
    },
    /// List people
    #[command(after_help = "Examples:\n  paraph reviewer list\n  paraph reviewer list --json")]
    List {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Shut a person out: sessions, links and tokens stop at once
    #[command(after_help = "Examples:\n  paraph reviewer disable ann@example.org")]
    Disable {
        /// The person's mail address
        email: String,
    },
    /// Print a one-time sign-in link
    #[command(after_help = "Examples:\n  paraph reviewer link ann@example.org")]
    Link {
        /// The person's mail address
        email: String,
    },
    /// Print an API token, for scripts and `paraph calls`
    #[command(after_help = "\
Examples:
  PARAPH_TOKEN=$(paraph reviewer token ann@example.org) paraph calls
  paraph reviewer token ann@example.org --name \"night job\" --expires 1d")]
    Token {
        /// The person's mail address
        email: String,
        /// What the token is called in lists, so that its owner knows it again
        #[arg(long, default_value = "command line", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// How long it counts
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
        expires: Duration,
    },
    /// Let a person in again who was shut out
    #[command(after_help = "\
Examples:
  paraph reviewer enable ann@example.org && paraph reviewer link ann@example.org

Sessions, links and API tokens from before are gone; a password and passkeys count again.")]
    Enable {
        /// The person's mail address
        email: String,
    },
    /// Change a person's name, role or groups; what is not named stays
    #[command(after_help = "\
Examples:
  paraph reviewer set ann@example.org --role operator
  paraph reviewer set ann@example.org --group desk --group sales
  paraph reviewer set ann@example.org --name \"Ann Abel\" --no-groups
  paraph reviewer set ann@example.org --no-passkeys

Approvals of calls that the person may not decide any more, and that have not left, are taken back. --no-passkeys is \
for a passkey that was lost: a link or a password alone lets the person in from then on, so be sure who asks; open \
sessions stay (`paraph reviewer sign-out`).")]
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
    Set {
        /// The person's mail address
        email: String,
        /// Shown instead of the address; empty for the address
        #[arg(long, group = "what")]
        name: Option<String>,
        /// What the person may do
        #[arg(long, value_enum, group = "what")]
        role: Option<RoleWord>,
        /// A group that rules name, instead of those before; may be given several times
        #[arg(long = "group", value_name = "G", value_parser = NonEmptyStringValueParser::new(), group = "what")]
        groups: Vec<String>,
        /// In no group
        #[arg(long, conflicts_with = "groups", group = "what")]
        no_groups: bool,
        /// Remove every passkey of theirs, and ask for none as a second step any more; a change of its own
        #[arg(long, conflicts_with_all = ["name", "role", "groups", "no_groups"], group = "what")]
        no_passkeys: bool,
    },
    /// List a person's API tokens: ids, names, when they were made and last used
    #[command(after_help = "Examples:\n  paraph reviewer tokens ann@example.org\n  paraph reviewer tokens ann@example.org --json")]
    Tokens {
        /// The person's mail address
        email: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// End one API token
    #[command(after_help = "Examples:\n  paraph reviewer revoke-token ann@example.org 3f9ac17b20de\n\n`paraph reviewer tokens EMAIL` lists the ids.")]
    RevokeToken {
        /// The person's mail address
        email: String,
        /// The token's id, as `paraph reviewer tokens` prints it
        id: String,
    },
    /// End every session and sign-in link of a person; API tokens stay
    #[command(after_help = "Examples:\n  paraph reviewer sign-out ann@example.org")]
    SignOut {
        /// The person's mail address
        email: String,
    },
}

/// The contract's words for roles.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum RoleWord {
    /// Decides for their groups
    Reviewer,
    /// Sees and decides everything
    Operator,
    /// Reads everything, decides nothing
    Auditor,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Reviewer => Role::Reviewer,
            RoleWord::Operator => Role::Operator,
            RoleWord::Auditor => Role::Auditor,
        }
    }
}

impl Reviewer {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let is_token = matches!(self, Reviewer::Token { .. });
        let (request, json) = match self {
            Reviewer::Add { email, name, groups, role } => (Request::AddPerson { email, name, groups, role: role.into(), first: false }, false),
            Reviewer::List { json } => (Request::People {}, json),
            Reviewer::Disable { email } => (Request::DisablePerson { email }, false),
            Reviewer::Link { email } => (Request::Link { email }, false),
            Reviewer::Token { email, name, expires } => (Request::Token { email, name, expires_in_ms: millis(expires) }, false),
            Reviewer::Enable { email } => (Request::EnablePerson { email }, false),
            Reviewer::Set { email, no_passkeys: true, .. } => (Request::RemovePasskeys { email }, false),
            Reviewer::Set { email, name, role, groups, no_groups, no_passkeys: false } => {
                let groups = (no_groups || !groups.is_empty()).then_some(groups);
                (Request::SetPerson { email, name, groups, role: role.map(Role::from) }, false)
            }
            Reviewer::Tokens { email, json } => (Request::Tokens { email }, json),
            Reviewer::RevokeToken { email, id } => (Request::RevokeToken { email, id }, false),
            Reviewer::SignOut { email } => (Request::SignOut { email }, false),
        };
        let done = match &request {
            Request::DisablePerson { .. } => |_| "Disabled.".to_owned(),
            Request::EnablePerson { .. } => |_| "Enabled. `paraph reviewer link EMAIL` prints a sign-in link.".to_owned(),
            Request::RevokeToken { .. } => |_| "Revoked.".to_owned(),
            Request::SignOut { .. } => |ended| format!("Signed out. Sessions and links ended: {ended}."),
            Request::RemovePasskeys { .. } => {
                |removed| format!("Passkeys removed: {removed}. No second step is asked for; `paraph reviewer link EMAIL` prints a sign-in link.")
            }
            _ => |_: usize| "Changed.".to_owned(),
        };
        let response = Box::pin(ask(&place.store()?, request)).await?;
        match response.answer {
            Answer::Secret(token) if is_token => terminal::say(&token),
            Answer::Secret(secret) => {
                terminal::say(&sign_in_link(&response.public_url, &secret));
                terminal::note("This link works once, for 15 minutes.");
            }
            Answer::People(people) if json => {
                terminal::say(&terminal::json(&serde_json::json!({ "people": people.iter().map(view).collect::<Vec<_>>() }), true));
            }
            Answer::People(people) if people.is_empty() => terminal::note("There is nobody yet: paraph reviewer add EMAIL"),
            Answer::People(people) => terminal::say(&terminal::table(&rows(&people))),
            Answer::Tokens(tokens) if json => terminal::say(&terminal::json(&serde_json::json!({ "tokens": tokens }), true)),
            Answer::Tokens(tokens) if tokens.is_empty() => terminal::note("No API token counts: paraph reviewer token EMAIL"),
            Answer::Tokens(tokens) => terminal::say(&terminal::table(&token_rows(&tokens))),
            Answer::Done(count) => terminal::note(&done(count)),
            _ => return Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The page that takes a one-time secret.
pub(super) fn sign_in_link(public_url: &str, secret: &str) -> String {
    format!("{public_url}/sign-in/{secret}")
}

fn state(person: &Person) -> &'static str {
    if person.disabled_at.is_some() { "disabled" } else { "active" }
}

fn view(person: &Person) -> serde_json::Value {
    serde_json::json!({
        "email": person.email, "name": person.name, "groups": person.groups, "role": person.role.word(),
        "state": state(person), "added_at": person.added_at, "disabled_at": person.disabled_at,
    })
}

fn rows(people: &[Person]) -> Vec<Vec<String>> {
    let mut rows = vec![["EMAIL", "NAME", "ROLE", "GROUPS", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(people.iter().map(|person| {
        let groups = if person.groups.is_empty() { "-".to_owned() } else { person.groups.join(",") };
        let name = person.name.as_deref().unwrap_or("-");
        vec![
            terminal::visible(&person.email),
            terminal::visible(name),
            person.role.word().to_owned(),
            terminal::visible(&groups),
            terminal::state(state(person)),
        ]
    }));
    rows
}

fn token_rows(tokens: &[TokenView]) -> Vec<Vec<String>> {
    let mut rows = vec![["ID", "NAME", "MADE", "LAST USED", "EXPIRES"].map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        let name = token.name.as_deref().map_or_else(|| "-".to_owned(), terminal::visible);
        let used = token.used_at.map_or_else(|| "never".to_owned(), terminal::minute);
        vec![token.id.clone(), name, terminal::minute(token.made_at), used, terminal::minute(token.expires_at)]
    }));
    rows
}
