//! What one rule found in a call, condition by condition; `Rule::matches` alone says whether it applies.
//! Called by `Policy::explain`.

use super::Rule;
use crate::domain::policy::explain::{Step, Tried};
use crate::domain::policy::{Action, Asked};

impl Rule {
    pub(in crate::domain::policy) fn explain(&self, asked: &Asked<'_>) -> Step {
        if !self.tools.has(asked.tool) {
            return Step::passed_over(self.name.clone(), self.action, "is for other tools");
        }
        if !self.agents.has(asked.agent) {
            return Step::passed_over(self.name.clone(), self.action, "is for other agents");
        }
        let wrong_type = self.action != Action::Allow;
        let tried = |(index, condition)| Tried::of(condition, format!("{} conditions[{index}]", self.name), asked, wrong_type);
        let conditions = self.conditions.iter().enumerate().map(tried).collect();
        Step { rule: self.name.clone(), action: self.action, applies: self.matches(asked), passed_over: None, conditions }
    }
}
