//! What one rule found in a call, condition by condition; `Rule::matches` alone says whether it applies.
//! Called by `Policy::explain`.

use super::Rule;
use crate::domain::policy::explain::{Step, Tried};
use crate::domain::policy::when::Budget;
use crate::domain::policy::{Action, Asked};

impl Rule {
    pub(in crate::domain::policy) fn explain(&self, asked: &Asked<'_>, server: &str, budget: &Budget) -> Step {
        if !self.tools.has(asked.tool) {
            return Step { shadow: self.shadow, ..Step::passed_over(self.name.clone(), self.action, "is for other tools") };
        }
        if !self.agents.has(asked.agent) {
            return Step { shadow: self.shadow, ..Step::passed_over(self.name.clone(), self.action, "is for other agents") };
        }
        let wrong_type = self.action != Action::Allow;
        let tried = |(index, condition)| Tried::of(condition, format!("{} conditions[{index}]", self.name), asked, wrong_type);
        let conditions: Vec<Tried> = self.conditions.iter().enumerate().map(tried).collect();
        // As in `matches`: asked last, and only of calls that everything else is for.
        let asked_for = conditions.iter().all(|condition| condition.holds);
        let when = self.when.as_ref().filter(|_| asked_for).map(|when| when.holds(asked, server, budget));
        // What cannot be judged denies, whatever the rule would do.
        let applies = asked_for && when.is_none_or(|found| found.unwrap_or(true));
        let action = if matches!(when, Some(Err(_))) { Action::Deny } else { self.action };
        Step { rule: self.name.clone(), action, applies, passed_over: None, conditions, when, shadow: self.shadow }
    }
}
