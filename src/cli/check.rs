//! `paraph check`: everything that is wrong in the configuration, at once, and what works and is probably not meant.
//! Nothing is started and nothing is written; when a data folder is there, it is also asked whether somebody may
//! decide each rule's calls and whether the agents of rules are known, and a running gateway, which tools its servers
//! listed last. Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::config::{Config, Loaded, Mistake};
use crate::control::{AgentView, Answer, Line, LineError, Request};
use crate::domain::people::{Person, gap};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph check
  paraph check --config /etc/paraph/config.toml --json

Prints one line for each mistake: file, line, key, what is wrong, what to do. Exit code 0 when the gateway would
start, 2 otherwise; warnings do not count. A running gateway is asked which tools its servers listed last.";

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
                let asked = warnings_from_data(&loaded).await;
                (Vec::new(), loaded.warnings.iter().map(view).chain(asked).collect())
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

/// What only the data and the running gateway know. Without a data folder nobody has been added yet, and a check
/// must not make one.
async fn warnings_from_data(loaded: &Loaded) -> Vec<Value> {
    let config = &loaded.config;
    if !config.store.path.exists() {
        return Vec::new();
    }
    let Ok(known) = Box::pin(Known::ask(config)).await else {
        return vec![json!({ "text": "the data folder could not be read, so nobody checked whether every rule has reviewers" })];
    };
    let mut warnings = warnings_about_people(loaded, &known);
    for (server, settings) in &config.servers {
        let tools = known.tools.get(server).map(|tools| settings.policy.advice_on_tools(tools));
        let agents: Vec<String> = known.agents.iter().filter(|agent| may_use(agent, server)).map(|agent| agent.name.clone()).collect();
        for advice in tools.unwrap_or_default().into_iter().chain(settings.policy.advice_on_agents(&agents)) {
            warnings.push(view(&loaded.places.warning(&format!("servers.{server}.{}", advice.at), advice.problem, advice.mend)));
        }
    }
    warnings
}

/// What the data folder and the running gateway say.
#[derive(Default)]
struct Known {
    people: Vec<Person>,
    agents: Vec<AgentView>,
    /// By server; none without a running gateway.
    tools: BTreeMap<String, Vec<String>>,
}

impl Known {
    async fn ask(config: &Config) -> Result<Known, LineError> {
        let mut line = Line::open(config).await?;
        let known = Known::over(&mut line).await;
        line.close().await;
        known
    }

    async fn over(line: &mut Line) -> Result<Known, LineError> {
        let mut known = Known::default();
        if let Answer::People(people) = line.ask(Request::People {}).await?.answer {
            known.people = people;
        }
        if let Answer::Agents(agents) = line.ask(Request::Agents {}).await?.answer {
            known.agents = agents;
        }
        // Last: a gateway of an earlier version hangs up on it, and nothing is lost then.
        if let Ok(Answer::Tools(tools)) = line.ask(Request::Tools {}).await.map(|response| response.answer) {
            known.tools = tools;
        }
        Ok(known)
    }
}

fn may_use(agent: &AgentView, server: &str) -> bool {
    agent.state == "active" && (agent.servers.is_empty() || agent.servers.iter().any(|granted| granted == server))
}

/// Rules that nobody, or too few people, may decide (semantics.md 16).
fn warnings_about_people(loaded: &Loaded, known: &Known) -> Vec<Value> {
    let mut warnings = Vec::new();
    for (server, settings) in &loaded.config.servers {
        let owners: Vec<(&str, &str)> =
            known.agents.iter().filter(|agent| may_use(agent, server)).filter_map(|agent| Some((agent.name.as_str(), agent.owner.as_deref()?))).collect();
        for gap in settings.policy.holding().iter().filter_map(|rule| gap(&known.people, &owners, rule)) {
            let of = gap.agent.map_or_else(|| "its calls".to_owned(), |agent| format!("calls of agent {agent:?}, whose owner does not count"));
            let problem =
                format!("rule {:?} needs {} approval(s), but {} active reviewer(s) may decide {of}; they go to operators", gap.rule, gap.needed, gap.able);
            warnings.push(view(&loaded.places.warning(&format!("servers.{server}"), problem, "paraph reviewer add EMAIL --group GROUP")));
        }
    }
    warnings
}
