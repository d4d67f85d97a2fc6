//! `paraph check`: everything that is wrong in the configuration, at once. Nothing is started and nothing is
//! written; when a data folder is there, it is also asked whether somebody may decide each rule's calls.
//! Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::config::{Config, Mistake};
use crate::control::{Answer, Request, ask};
use crate::domain::people::{Person, Role};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph check
  paraph check --config /etc/paraph/config.toml --json

Prints one line for each mistake: file, line, key, what is wrong, what to do. Exit code 0 when the gateway would
start, 2 otherwise; warnings do not count.";

/// `paraph check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let (mistakes, mut warnings) = match place.load() {
            Ok(loaded) => {
                let people = warnings_about_people(&loaded.config).await;
                (Vec::new(), loaded.warnings.iter().map(view).chain(people).collect())
            }
            Err(mistakes) => (mistakes, Vec::new()),
        };
        let mistakes: Vec<Value> = mistakes.iter().map(view).collect();
        if self.json {
            terminal::say(&terminal::json(&json!({ "mistakes": mistakes, "warnings": warnings }), true));
        } else {
            for mistake in &mistakes {
                terminal::say(&terminal::visible(text(mistake)));
            }
            for warning in warnings.drain(..) {
                terminal::say(&format!("warning: {}", terminal::visible(text(&warning))));
            }
            match mistakes.len() {
                0 => terminal::say(&format!("{} is fine.", place.file().display())),
                1 => terminal::note("1 mistake."),
                count => terminal::note(&format!("{count} mistakes.")),
            }
        }
        Ok(if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn view(mistake: &Mistake) -> Value {
    json!({
        "file": mistake.file, "line": mistake.line, "key": mistake.key,
        "problem": mistake.problem, "mend": mistake.mend, "text": mistake.to_string(),
    })
}

fn text(view: &Value) -> &str {
    view["text"].as_str().unwrap_or_default()
}

/// Rules that nobody, or too few people, may decide (semantics.md 16). Without a data folder nobody has been
/// added yet, and a check must not make one.
async fn warnings_about_people(config: &Config) -> Vec<Value> {
    if !config.store.path.exists() {
        return Vec::new();
    }
    let people = match Box::pin(ask(config, Request::People {})).await.map(|response| response.answer) {
        Ok(Answer::People(people)) => people,
        Ok(_) | Err(_) => return vec![json!({ "text": "the data folder could not be read, so nobody checked whether every rule has reviewers" })],
    };
    let mut warnings = Vec::new();
    for (server, settings) in &config.servers {
        for rule in settings.policy.holding() {
            let able = people.iter().filter(|person| may_decide(person, &rule.reviewers)).count();
            if able < usize::try_from(rule.approvals).unwrap_or(usize::MAX) {
                let text = format!(
                    "servers.{server}: rule {:?} needs {} approval(s), but {able} active reviewer(s) may decide its calls; they go to operators. paraph reviewer add EMAIL --group GROUP",
                    rule.rule, rule.approvals
                );
                warnings.push(json!({ "key": format!("servers.{server}"), "text": text }));
            }
        }
    }
    warnings
}

fn may_decide(person: &Person, groups: &[String]) -> bool {
    person.disabled_at.is_none() && person.role != Role::Auditor && person.is_asked(groups)
}
