//! Why a policy says what it says: every rule that was looked at for a call, with each of its conditions and what
//! that found. It names places and operators, never a value of the call. The verdict beside it is the one of
//! `Policy::judge`. Called by `paraph policy explain`.

use super::when::Budget;
use super::{Action, Asked, Finding, Judgement, Operator, Policy};
use crate::domain::policy::condition::Condition;

/// A verdict and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Policy::judge`] says.
    pub judgement: Judgement,
    /// What was looked at, in order, up to what decided.
    pub steps: Vec<Step>,
}

/// One rule, or one entry of a `policy.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name: a rule's, or a JSON Pointer into the `policy.json`.
    pub rule: String,
    /// What it says of calls that it applies to.
    pub action: Action,
    /// Whether it applies to this one.
    pub applies: bool,
    /// Why it was passed over without a look at its conditions.
    pub passed_over: Option<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Tried>,
    /// What its `when` said, if it was asked; the error is why it could not be judged, which denies.
    pub when: Option<Result<bool, &'static str>>,
    /// Whether it is only recorded.
    pub shadow: bool,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Where it stands: `RULE conditions[0]`, or a JSON Pointer.
    pub at: String,
    /// The argument it looks at.
    pub path: String,
    /// Its operator.
    pub op: Operator,
    /// What it found.
    pub found: Finding,
    /// What counts: a wrong type never opens and always closes.
    pub holds: bool,
}

impl Policy {
    /// The verdict on one call, and why.
    pub fn explain(&self, asked: &Asked<'_>) -> Explanation {
        let judgement = self.judge(asked);
        let mut steps = self.document.as_ref().map(|document| document.explain(asked)).unwrap_or_default();
        let refused = steps.iter().any(|step| step.applies && matches!(step.action, Action::Deny | Action::Hide));
        if !refused {
            let (budget, shadow_budget) = (Budget::of(Budget::STEPS), Budget::of(Budget::STEPS));
            for rule in self.rules.iter() {
                let step = rule.explain(asked, &self.server, if rule.is_shadow() { &shadow_budget } else { &budget });
                let decided = step.applies && !step.shadow;
                steps.push(step);
                if decided {
                    break;
                }
            }
        }
        Explanation { judgement, steps }
    }
}

impl Tried {
    /// Asks one condition.
    pub(super) fn of(condition: &Condition, at: String, asked: &Asked<'_>, wrong_type: bool) -> Tried {
        let (path, op) = condition.words();
        Tried { at, path: path.to_owned(), op, found: condition.find(asked.arguments), holds: condition.holds(asked.arguments, wrong_type) }
    }
}

impl Step {
    /// One that was not asked.
    pub(super) fn passed_over(rule: String, action: Action, why: &'static str) -> Step {
        Step { rule, action, applies: false, passed_over: Some(why), conditions: Vec::new(), when: None, shadow: false }
    }
}
