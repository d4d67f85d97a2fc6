//! What a policy says of a call. A policy is the ordered rules of one server plus its default; the first rule
//! whose tools, agents and conditions match decides. Anything that cannot be judged is denied.
//! Beside the rules there may be a `policy.json`, which is asked first.
//! Built by `config` from what an operator wrote, asked by `gate/admit` and again before sending.

mod advice;
mod condition;
mod document;
mod explain;
mod glob;
mod index;
mod limits;
mod matcher;
mod names;
mod number;
pub(in crate::domain) mod path;
mod pattern;
mod rule;
mod spec;
mod when;

pub use condition::{Finding, Operator};
pub use document::{Document, DocumentMistake, Imported, LARGEST_DOCUMENT, NotImported};
pub use explain::{Explanation, Step, Tried};
pub use limits::{LimitView, WINDOWS, window_of};
pub use spec::{ConditionSpec, LimitSpec, PolicySpec, RuleSpec, ScopeSpec, SpecMistake};

use crate::domain::digest::Digest;
use crate::domain::limit::Charge;
use document::Said;
use index::Index;
use jiff::Timestamp;
use limits::{Counters, Limit};
use names::Names;
use rule::{Match, Rule};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use when::Budget;

/// A call as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The tool's name, compared exactly (case and blanks count).
    pub tool: &'a str,
    /// The strictly parsed arguments.
    pub arguments: &'a Value,
    /// The MCP session, for limits that count by it.
    pub session: Option<&'a str>,
    /// The moment it is judged at, for rules that look at the time.
    pub now: Timestamp,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What to do.
    pub action: Action,
    /// The rule's name; `default` when no rule matched.
    pub rule: String,
    /// The rule's reason.
    pub reason: Option<String>,
    /// Groups that may decide a held call; empty means every reviewer.
    pub reviewers: Vec<String>,
    /// Distinct people needed.
    pub approvals: u32,
    /// The rule's own deadline.
    pub expires_in: Option<Duration>,
    /// What the call takes from which counters, each counter once.
    pub charges: Vec<Charge>,
    /// Shadow rules that matched before the verdict, in order.
    pub shadows: Vec<Shadow>,
}

/// A shadow rule that matched: what would also have been.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shadow {
    /// Its name.
    pub rule: String,
    /// What it would have done; `deny` also when its `when` could not be judged.
    pub action: Action,
}

/// The actions of a rule and of `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let it through.
    Allow,
    /// Refuse.
    #[default]
    Deny,
    /// Hold it for a person.
    RequireApproval,
    /// Refuse as if there were no such tool.
    Hide,
}

impl Action {
    /// All, with their names in a policy.
    pub const NAMES: [(&'static str, Action); 4] =
        [("allow", Action::Allow), ("deny", Action::Deny), ("require_approval", Action::RequireApproval), ("hide", Action::Hide)];

    /// The name in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
            Action::RequireApproval => "require_approval",
            Action::Hide => "hide",
        }
    }
}

/// What a tool's calls get before their arguments are known; for `/servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// What happens when no conditional rule matches.
    pub action: Action,
    /// The rule that says so.
    pub rule: String,
    /// True when a rule with conditions stands before it: arguments or agent may change the verdict.
    pub depends: bool,
    /// The limits that such a call takes from.
    pub limits: Vec<LimitView>,
}

impl Judgement {
    /// A denial.
    pub fn denied(rule: String, reason: impl Into<Option<String>>) -> Judgement {
        Judgement {
            action: Action::Deny,
            rule,
            reason: reason.into(),
            reviewers: Vec::new(),
            approvals: 1,
            expires_in: None,
            charges: Vec::new(),
            shadows: Vec::new(),
        }
    }
}

/// The rules of one server. Cloning shares them. The default policy has no rules and denies everything.
#[derive(Debug, Clone)]
pub struct Policy {
    server: String,
    digest: Digest,
    default: Action,
    reads: Names,
    rules: Arc<[Rule]>,
    index: Arc<Index>,
    limits: Arc<[Limit]>,
    document: Option<Document>,
    hide_denied: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        let digest = PolicySpec::default().digest();
        Policy {
            server: String::new(),
            digest,
            default: Action::Deny,
            reads: Names::none(),
            rules: Arc::new([]),
            index: Arc::default(),
            limits: Arc::new([]),
            document: None,
            hide_denied: false,
        }
    }
}

/// The name of the verdict when no rule matched; no rule may be called so.
pub const DEFAULT_RULE: &str = "default";

impl Policy {
    /// Checks and compiles what an operator wrote; every mistake is reported at once, in the order of the rules.
    pub fn build(spec: PolicySpec) -> Result<Policy, Vec<SpecMistake>> {
        let mut mistakes = Vec::new();
        let digest = spec.digest();
        let mut counters = Counters::default();
        if let Some(document) = &spec.document {
            document.declare(&mut counters);
        }
        let limits = limits::compile(spec.limits, "/limits/", "limits", &mut counters, &mut mistakes);
        let reads = Names::compile(&spec.reads, "reads", &mut mistakes);
        let mut seen = HashSet::new();
        let mut rules = Vec::with_capacity(spec.rules.len());
        for (index, rule) in spec.rules.into_iter().enumerate() {
            let at = format!("rules[{index}]");
            if !seen.insert(rule.name.clone()) {
                mistakes.push(SpecMistake::new(
                    format!("{at}.name"),
                    "another rule of this server has this name already",
                    "Give every rule of a server its own name: verdicts and the audit name the rule that decided.",
                ));
            }
            rules.extend(Rule::compile(rule, &at, &mut counters, &mut mistakes));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let patterns = rules.iter().enumerate().flat_map(|(number, rule)| rule.tools().globs().iter().map(move |pattern| (number, pattern)));
        let index = Arc::new(Index::of(patterns));
        Ok(Policy {
            server: spec.server,
            digest,
            default: spec.default,
            reads,
            index,
            rules: rules.into(),
            limits: limits.into(),
            document: spec.document,
            hide_denied: spec.hide_denied,
        })
    }

    /// The verdict on one call. A `policy.json` is asked first; then the first rule that matches decides, else the
    /// default, which is "allow" behind a `policy.json`. What passes or waits takes from the limits of the document,
    /// of the server and of its rule; a call that cannot be counted is denied.
    pub fn judge(&self, asked: &Asked<'_>) -> Judgement {
        let said = self.document.as_ref().map(|document| document.judge(asked));
        if let Some(Said::No(judgement)) = said {
            return judgement;
        }
        let (judgement, limits) = self.by_rules(asked);
        let judgement = match said {
            Some(said) => said.beside(judgement),
            None => judgement,
        };
        match judgement.action {
            Action::Deny | Action::Hide => judgement,
            Action::Allow | Action::RequireApproval => self.counted(judgement, limits, asked),
        }
    }

    /// What the rules say, before anything is counted, and the limits of the rule that decided.
    fn by_rules(&self, asked: &Asked<'_>) -> (Judgement, &[Limit]) {
        // Shadow rules have a budget of their own: what they use up must not decide anything.
        let (budget, shadow_budget) = (Budget::of(Budget::STEPS), Budget::of(Budget::STEPS));
        let mut shadows = Vec::new();
        for rule in self.candidates(asked.tool) {
            let (judgement, limits) = match (rule.is_shadow(), rule.matches(asked, &self.server, if rule.is_shadow() { &shadow_budget } else { &budget })) {
                (_, Match::No) => continue,
                (true, matched) => {
                    let action = if matched == Match::Yes { rule.action() } else { Action::Deny };
                    shadows.push(Shadow { rule: rule.name().to_owned(), action });
                    continue;
                }
                (false, Match::Yes) => (rule.judgement(), rule.limits()),
                (false, Match::CannotBeJudged(why)) => (unjudged(rule, why), [].as_slice()),
            };
            return (Judgement { shadows, ..judgement }, limits);
        }
        (Judgement { shadows, ..self.by_default() }, &[])
    }

    fn counted(&self, judgement: Judgement, limits: &[Limit], asked: &Asked<'_>) -> Judgement {
        let mut charges: Vec<Charge> = Vec::new();
        let documents = self.document.iter().flat_map(|document| document.limits_of(asked.tool));
        for limit in documents.chain(self.limits.iter()).chain(limits) {
            match limit.charge(&self.server, asked) {
                // Two limits that share a counter count a call once, as the one says that counts more.
                Ok(charge) => match charges.iter_mut().find(|other| other.key == charge.key) {
                    Some(other) => other.amount = other.amount.max(charge.amount),
                    None => charges.push(charge),
                },
                Err(uncountable) => return Judgement { shadows: judgement.shadows, ..Judgement::denied(uncountable.limit, uncountable.why) },
            }
        }
        Judgement { charges, ..judgement }
    }

    fn by_default(&self) -> Judgement {
        Judgement { action: self.default, ..Judgement::denied(DEFAULT_RULE.into(), None) }
    }

    /// The rules that decide anything.
    fn enforced(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.is_shadow())
    }

    /// Every rule that names the tool, in order, and perhaps some that do not: each is still to be asked.
    fn candidates(&self, tool: &str) -> impl Iterator<Item = &Rule> {
        self.index.candidates(tool).filter_map(|number| self.rules.get(number))
    }

    /// The rules that decide anything about the tool.
    fn enforced_on(&self, tool: &str) -> impl Iterator<Item = &Rule> {
        self.candidates(tool).filter(move |rule| !rule.is_shadow() && rule.names_tool(tool))
    }

    /// What the audit calls this policy.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Every limit: of the document, of the server, then in the order of the rules.
    pub fn limits(&self) -> Vec<LimitView> {
        let documents = self.document.iter().flat_map(Document::limits);
        documents.chain(self.limits.iter().chain(self.enforced().flat_map(Rule::limits)).map(Limit::view)).collect()
    }

    /// What the tool's calls get, as far as it can be said without agent and arguments.
    pub fn preview(&self, tool: &str) -> Preview {
        let rules = self.preview_of_rules(tool);
        let Some(document) = self.document.as_ref().map(|document| document.preview(tool)) else { return rules };
        let depends = document.depends || rules.depends;
        let of_document = self.document.iter().flat_map(|document| document.limits_of(tool)).map(Limit::view);
        match (document.action, rules.action) {
            (Action::Deny | Action::Hide, _) => document,
            (_, Action::Deny | Action::Hide) if rules.rule != DEFAULT_RULE => Preview { depends, ..rules },
            (Action::RequireApproval, Action::RequireApproval) | (Action::Allow, _) if rules.rule != DEFAULT_RULE => {
                let limits = of_document.chain(rules.limits).collect();
                Preview { depends, limits, ..rules }
            }
            (Action::Allow | Action::RequireApproval, _) => {
                let limits = of_document.chain(self.limits.iter().map(Limit::view)).collect();
                Preview { depends, limits, ..document }
            }
        }
    }

    fn preview_of_rules(&self, tool: &str) -> Preview {
        let mut depends = false;
        for rule in self.enforced_on(tool) {
            if rule.is_for_every_agent() && !rule.has_conditions() {
                return Preview { action: rule.action(), rule: rule.name().to_owned(), depends, limits: self.limits_of(rule.action(), rule.limits()) };
            }
            depends = true;
        }
        Preview { action: self.default, rule: DEFAULT_RULE.into(), depends, limits: self.limits_of(self.default, &[]) }
    }

    fn limits_of(&self, action: Action, of_rule: &[Limit]) -> Vec<LimitView> {
        match action {
            Action::Deny | Action::Hide => Vec::new(),
            Action::Allow | Action::RequireApproval => self.limits.iter().chain(of_rule).map(Limit::view).collect(),
        }
    }

    /// What everything that holds calls says, the document first, then the rules in order, and the default when it
    /// holds: who must be there to decide.
    pub fn holding(&self) -> Vec<Judgement> {
        // Behind a document the default is not asked.
        let default = self.document.is_none().then(|| self.by_default());
        let rules = self.enforced().map(Rule::judgement).chain(default).filter(|said| said.action == Action::RequireApproval);
        self.document.iter().flat_map(Document::holding).chain(rules).collect()
    }

    /// Whether an operator declared that the tool changes nothing.
    pub fn reads(&self, tool: &str) -> bool {
        self.reads.has(tool)
    }

    /// Whether `tools/list` leaves the tool out for this agent. A tool that some arguments let through is listed
    /// even when a later rule hides it from all others. With `hide_denied` one that no arguments let through is not.
    pub fn hides(&self, agent: &str, tool: &str) -> bool {
        let by_document = self.document.as_ref().is_some_and(|document| document.hidden_by(tool).is_some());
        by_document || self.hidden_by_rules(agent, tool) || (self.hide_denied && !self.could_pass(agent, tool))
    }

    /// Whether some arguments let a call of this agent through or to a person, as far as rules can say it without
    /// trying values.
    fn could_pass(&self, agent: &str, tool: &str) -> bool {
        if self.document.as_ref().is_some_and(|document| document.preview(tool).action == Action::Deny) {
            return false;
        }
        for rule in self.enforced_on(tool).filter(|rule| rule.names_agent(agent)) {
            match rule.action() {
                Action::Allow | Action::RequireApproval => return true,
                Action::Deny if rule.has_conditions() => {}
                Action::Deny | Action::Hide => return false,
            }
        }
        self.document.is_some() || !matches!(self.default, Action::Deny | Action::Hide)
    }

    fn hidden_by_rules(&self, agent: &str, tool: &str) -> bool {
        for rule in self.enforced_on(tool).filter(|rule| rule.names_agent(agent)) {
            match rule.action() {
                Action::Hide => return true,
                Action::Deny if rule.has_conditions() => {}
                Action::Allow | Action::Deny | Action::RequireApproval => return false,
            }
        }
        self.document.is_none() && self.default == Action::Hide
    }
}

/// A `when` that is neither true nor false denies, whatever its rule would do (semantics.md 27).
fn unjudged(rule: &Rule, why: &str) -> Judgement {
    Judgement::denied(rule.name().to_owned(), format!("The condition of this rule could not be judged: {why}."))
}

#[cfg(test)]
mod tests;
