//! `paraph policy test`: a file of calls with the verdicts that are expected of them, for a policy that is changed by
//! several people and checked before it serves. Called by `policy`.

use super::subject::{Options, Written, read, verdict};
use crate::cli::fault::Fault;
use crate::cli::settings::Where;
use crate::cli::terminal;
use crate::config::Config;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph policy test cases.json
  paraph policy test cases.json --config staging.toml --agent support-bot --json

cases.json: [{\"name\": \"links are refused\",
              \"call\": {\"agent\": \"support-bot\", \"server\": \"demo\", \"tool\": \"send_dm\", \"arguments\": {\"text\": \"http://x\"}},
              \"expect\": {\"verdict\": \"deny\", \"rule\": \"no-links\"}}]

A verdict is allow, deny, hold or hide; \"rule\" may be left out. Exit code 0 when all are as expected, 1 when not, 2
when the file or the configuration cannot be used.";
const SHAPE: &str = "[{\"name\": TEXT, \"call\": {…}, \"expect\": {\"verdict\": \"allow|deny|hold|hide\", \"rule\": NAME}}]";

/// `paraph policy test`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Test {
    /// The cases, as JSON
    #[arg(value_name = "CASES")]
    file: PathBuf,
    /// The server of cases that name none [default: the only one]
    #[arg(long)]
    server: Option<String>,
    /// The agent of cases that name none
    #[arg(long)]
    agent: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    call: Written,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    verdict: Verdict,
    rule: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allow,
    Deny,
    Hold,
    Hide,
}

impl Test {
    pub(super) fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let cases: Vec<Case> = read(&self.file, SHAPE)?;
        if cases.is_empty() {
            return Err(Fault::usage(format!("{}: there is no case in it, so nothing would be tested", self.file.display())));
        }
        let (config, _) = place.config_with_warnings()?;
        let options = Options { agent: self.agent, server: self.server };
        let count = cases.len();
        let mut failures = Vec::new();
        for case in cases {
            let name = case.name.clone();
            let told = judged(case, &options, &config).map_err(|why| Fault::usage(format!("{}: {name:?}: {why}", self.file.display())))?;
            failures.extend(told);
        }
        if self.json {
            let view = json!({ "cases": count, "as_expected": count - failures.len(), "failures": failures });
            terminal::say(&terminal::json(&view, true));
        } else {
            for failure in &failures {
                let text = |value: &Value| format!("{} by {}", value["verdict"].as_str().unwrap_or_default(), value["rule"].as_str().unwrap_or("any rule"));
                let name = failure["name"].as_str().unwrap_or_default();
                terminal::say(&terminal::visible(&format!("NOT {name}: expected {}, got {}", text(&failure["expected"]), text(&failure["got"]))));
            }
            terminal::say(&format!("{count} case(s): {} as expected, {} not.", count - failures.len(), failures.len()));
        }
        Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What differs from the expectation, if anything does.
fn judged(case: Case, options: &Options, config: &Config) -> Result<Option<Value>, String> {
    let subject = case.call.complete(options, config)?;
    let got = subject.policy(config)?.judge(&subject.asked());
    let expected = case.expect.verdict.word();
    let as_expected = verdict(got.action) == expected && case.expect.rule.as_ref().is_none_or(|rule| *rule == got.rule);
    Ok((!as_expected).then(|| {
        json!({
            "name": case.name,
            "expected": { "verdict": expected, "rule": case.expect.rule },
            "got": { "verdict": verdict(got.action), "rule": got.rule },
        })
    }))
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::Hold => "hold",
            Verdict::Hide => "hide",
        }
    }
}
