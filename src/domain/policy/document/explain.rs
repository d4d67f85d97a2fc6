//! The way to a document's verdict, entry by entry, in the order in which `judge` asks.
//! Called by `Policy::explain`.

use super::{Document, Entry, Tool};
use crate::domain::policy::explain::{Step, Tried};
use crate::domain::policy::{Action, Asked};

impl Document {
    /// Everything that was looked at, up to what decided.
    pub(in crate::domain::policy) fn explain(&self, asked: &Asked<'_>) -> Vec<Step> {
        if let Some(rule) = self.hidden_by(asked.tool) {
            return vec![applied(rule, Action::Hide)];
        }
        let named = self.named(asked.tool);
        if named.is_none() {
            let default = applied("/default".into(), self.compiled.default);
            if default.action == Action::Deny {
                return vec![default];
            }
        }
        let mut steps = Vec::new();
        let tools: Vec<&Tool> = named.into_iter().chain(self.compiled.tools.get("*")).collect();
        for tool in &tools {
            if tool.denies {
                steps.push(applied(format!("{}/action", tool.pointer), Action::Deny));
                return steps;
            }
            let entries = tool.require.iter().map(|entry| (entry, false)).chain(tool.deny_if.iter().map(|entry| (entry, true)));
            for (entry, denies_if) in entries {
                let step = of_entry(entry, denies_if, asked);
                let decided = step.applies;
                steps.push(step);
                if decided {
                    return steps;
                }
            }
        }
        for tool in &tools {
            let Some(hold) = &tool.hold else { continue };
            let rule = hold.judgement.rule.clone();
            let tried = |(index, condition)| Tried::of(condition, format!("{rule}/when/{index}"), asked, true);
            let conditions: Vec<Tried> = hold.when.iter().enumerate().map(tried).collect();
            let applies = conditions.iter().all(|tried| tried.holds);
            steps.push(Step { rule: rule.clone(), action: Action::RequireApproval, applies, passed_over: None, conditions, when: None, shadow: false });
        }
        if !steps.iter().any(|step| step.applies) {
            steps.push(applied(named.map_or_else(|| "/default".into(), |tool| tool.pointer.clone()), Action::Allow));
        }
        steps
    }
}

fn applied(rule: String, action: Action) -> Step {
    Step { rule, action, applies: true, passed_over: None, conditions: Vec::new(), when: None, shadow: false }
}

fn of_entry(entry: &Entry, denies_if: bool, asked: &Asked<'_>) -> Step {
    let tried = Tried::of(&entry.condition, entry.rule.clone(), asked, denies_if);
    Step {
        rule: entry.rule.clone(),
        action: Action::Deny,
        applies: tried.holds == denies_if,
        passed_over: None,
        conditions: vec![tried],
        when: None,
        shadow: false,
    }
}
