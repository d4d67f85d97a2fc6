//! `paraph policy explain`: the verdict on one call and the way to it, rule by rule and condition by condition, without
//! a word of the call's own texts. Called by `policy`.

use super::room;
use super::subject::{Options, Written, read, verdict};
use crate::cli::fault::Fault;
use crate::cli::settings::Where;
use crate::cli::terminal;
use crate::domain::policy::{Explanation, Finding, Step, Tried};
use crate::gate::{Clock as _, SystemClock};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph policy explain call.json
  paraph policy explain call.json --agent support-bot --server demo --json

call.json: {\"agent\": \"support-bot\", \"server\": \"demo\", \"tool\": \"send_dm\", \"arguments\": {\"to\": \"@bob\", \"text\": \"Hello\"}}

A \"now\": \"2026-11-21T12:00:00Z\" in it is the time for a `when`; without one it is now. Nothing is sent, held or counted. Exit code 0 when the call was judged, whatever the verdict.";
const SHAPE: &str = "{\"agent\": NAME, \"server\": NAME, \"tool\": NAME, \"arguments\": {…}}";

/// `paraph policy explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Explain {
    /// The call, as JSON
    #[arg(value_name = "CALL.json")]
    file: PathBuf,
    /// The server, instead of the one in the file [default: the only one]
    #[arg(long)]
    server: Option<String>,
    /// The agent, instead of the one in the file
    #[arg(long)]
    agent: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let call: Written = read(&self.file, SHAPE)?;
        let (config, _) = place.config_with_warnings()?;
        let options = Options { agent: self.agent, server: self.server };
        let subject = call.overridden(&options).complete(&options, &config).map_err(Fault::usage)?;
        let told = subject.policy(&config).map_err(Fault::usage)?.explain(&subject.asked());
        let counted = room::counted(&config, &told.judgement).await;
        let now = SystemClock.now();
        let limits: Vec<Value> = told.judgement.charges.iter().map(|charge| room::view(charge, told.judgement.action, &counted, now)).collect();
        if self.json {
            let Explanation { judgement, steps } = &told;
            let view = json!({
                "agent": subject.agent, "server": subject.server, "tool": subject.tool,
                "verdict": verdict(judgement.action), "rule": judgement.rule, "reason": judgement.reason,
                "reviewers": judgement.reviewers, "approvals": judgement.approvals,
                "steps": steps.iter().map(step).collect::<Vec<_>>(), "limits": limits,
            });
            terminal::say(&terminal::json(&view, true));
            return Ok(ExitCode::SUCCESS);
        }
        terminal::say(&format!("{} by {}", terminal::strong(verdict(told.judgement.action)), terminal::visible(&told.judgement.rule)));
        if let Some(reason) = &told.judgement.reason {
            terminal::say(&terminal::quoted(reason));
        }
        for step in &told.steps {
            for line in lines(step) {
                terminal::say(&terminal::visible(&line));
            }
        }
        for limit in &limits {
            terminal::say(&terminal::visible(&format!("limit {}", room::line(limit, &counted))));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn step(step: &Step) -> Value {
    let tried = |tried: &Tried| json!({ "at": tried.at, "path": tried.path, "op": tried.op.name(), "found": tried.found, "holds": tried.holds });
    json!({
        "rule": step.rule, "says": verdict(step.action), "applies": step.applies, "passed_over": step.passed_over,
        "conditions": step.conditions.iter().map(tried).collect::<Vec<_>>(), "shadow": step.shadow,
        "when": step.when.map(|said| said.map_or_else(|why| json!({ "error": why }), Value::from)),
    })
}

fn lines(step: &Step) -> Vec<String> {
    let outcome = match (step.passed_over, step.applies) {
        (Some(why), _) => why,
        (None, true) if step.shadow => "applies, and is only recorded",
        (None, true) => "applies",
        (None, false) => "does not apply",
    };
    let mut lines = vec![format!("  {} ({}) {outcome}", step.rule, verdict(step.action))];
    for tried in &step.conditions {
        let found = match tried.found {
            Finding::Yes => "yes",
            Finding::No => "no",
            Finding::Missing => "no, the argument is missing",
            Finding::WrongType if tried.holds => "of another type, which counts as yes here",
            Finding::WrongType => "of another type, which counts as no here",
        };
        let place = if tried.at == step.rule { String::new() } else { format!(" [{}]", tried.at) };
        lines.push(format!("    {} {}: {found}{place}", tried.path, tried.op.name()));
    }
    lines.extend(step.when.map(|said| match said {
        Ok(true) => "    when: yes".to_owned(),
        Ok(false) => "    when: no".to_owned(),
        Err(why) => format!("    when: cannot be judged, which denies: {why}"),
    }));
    lines
}
