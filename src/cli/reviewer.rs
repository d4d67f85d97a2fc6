//! `paraph reviewer`: the people who decide. Links and tokens are printed alone on standard output.
//! Called by `cli`.

use super::fault::Fault;
use super::settings::{Where, millis, time};
use super::terminal;
use crate::control::{Answer, Request, ask};
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
    #[command(after_help = "Examples:\n  PARAPH_TOKEN=$(paraph reviewer token ann@example.org) paraph calls")]
    Token {
        /// The person's mail address
        email: String,
        /// How long it counts
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time)]
        expires: Duration,
    },
    #[command(hide = true)]
    Tokens(super::later::Rest),
    #[command(hide = true)]
    RevokeToken(super::later::Rest),
    #[command(hide = true)]
    SignOut(super::later::Rest),
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
            Reviewer::Token { email, expires } => (Request::Token { email, expires_in_ms: millis(expires) }, false),
            Reviewer::Tokens(_) | Reviewer::RevokeToken(_) | Reviewer::SignOut(_) => {
                return Err(Fault::usage("this command is not in this version; `paraph reviewer disable EMAIL` ends everything a person has"));
            }
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
            Answer::Done(_) => terminal::note("Disabled."),
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
