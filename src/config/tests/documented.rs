//! What `docs/policy.md` says of `when`, shadow rules and `check`, done as it stands there: every expression is
//! asked, every rule judges, and every warning is compared.

use super::{SERVER, parse};
use crate::domain::policy::{Action, Asked, Judgement};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/policy.md");

/// The text under a heading, up to the next.
fn section(heading: &str) -> &'static str {
    let from = DOCUMENT.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let text = &DOCUMENT[from + 1..];
    text.find("\n## ").map_or(text, |end| &text[..end])
}

fn blocks(text: &'static str, language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

fn judge(rules: &str, arguments: &Value, now: &str) -> Judgement {
    let config = parse(&format!("{SERVER}{rules}")).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).config;
    let asked = Asked { agent: "bot", tool: "send_dm", arguments, session: None, now: now.parse().unwrap() };
    config.servers["demo"].policy.judge(&asked)
}

#[test]
fn every_expression_of_the_document_says_what_stands_beside_it() {
    let rows: Vec<Vec<&str>> = section("Conditions and when")
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("` | `"))
        .map(|line| line.trim_matches('|').split(" | ").collect())
        .collect();
    assert!(rows.len() >= 10);
    for row in rows {
        let [when, arguments, expected] = row[..] else { panic!("{row:?}") };
        let when = when.trim().trim_matches('`');
        let rules = format!(
            "[[servers.demo.rules]]\nname = \"r\"\ntools = [\"*\"]\naction = \"allow\"\nwhen = '{when}'\n[[servers.demo.rules]]\nname = \"rest\"\ntools = [\"*\"]\naction = \"hide\"\n"
        );
        let judged = judge(&rules, &serde_json::from_str(arguments.trim().trim_matches('`')).unwrap(), "2026-01-01T00:00:00Z");
        let said = match judged.action {
            Action::Allow => "true",
            Action::Hide => "false",
            Action::Deny if judged.rule == "r" => "denied",
            _ => "something else",
        };
        assert_eq!(said, expected.trim(), "{when} {arguments}");
    }
}

#[test]
fn the_rules_of_the_document_decide_as_it_says() {
    let [rules] = &blocks(section("Conditions and when"), "toml")[..] else { panic!("one block") };
    let long = serde_json::json!({ "text": "x".repeat(501) });
    assert_eq!(judge(rules, &long, "2026-01-01T12:00:00Z").rule, "long-or-to-many");
    for (now, rule) in [("2026-01-01T07:59:00Z", "not-at-night"), ("2026-01-01T08:00:00Z", "default"), ("2026-01-01T20:00:00Z", "not-at-night")] {
        assert_eq!(judge(rules, &serde_json::json!({}), now).rule, rule, "{now}");
    }
    let [rules] = &blocks(section("Shadow rules"), "toml")[..] else { panic!("one block") };
    let judged = judge(rules, &serde_json::json!({ "text": "http://x" }), "2026-01-01T12:00:00Z");
    assert_eq!((judged.action, judged.rule.as_str()), (Action::RequireApproval, "dms"));
    let shadow = serde_json::json!({ "shadow": judged.shadows }).to_string().replace("\":", "\": ").replace(",\"", ", \"");
    assert!(section("Shadow rules").contains(&shadow[1..shadow.len() - 1]), "{shadow}");
}

#[test]
fn check_says_of_the_rules_of_the_document_what_stands_below_them() {
    let text = section("check");
    let ([rules], [told]) = (&blocks(text, "toml")[..], &blocks(text, "text")[..]) else { panic!("one block each") };
    let warnings = parse(&format!("{SERVER}{rules}")).unwrap().warnings;
    let said: Vec<String> = warnings.iter().map(|warning| format!("{}: {}. {}", warning.key, warning.problem, warning.mend)).collect();
    assert_eq!(said.join("\n"), told.trim_end());
    for section in ["Conditions and when", "Shadow rules"] {
        for rules in blocks(self::section(section), "toml") {
            assert_eq!(parse(&format!("{SERVER}{rules}")).unwrap().warnings, []);
        }
    }
}
