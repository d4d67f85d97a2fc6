//! How many people may decide what a rule holds: the active members of its groups, without the agent's owner where
//! more than one approval is needed. Operators may decide everything, but a rule that asks for a group means its
//! members; operators are told instead (semantics.md 16). Called by `gate` for mails and pages, and by `cli` for `check`.

use super::{Person, Role};
use crate::domain::policy::Judgement;

/// A rule whose calls too few of the people it asks for may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The rule.
    pub rule: String,
    /// Distinct people it needs.
    pub needed: u32,
    /// People it asks for who are active.
    pub able: usize,
    /// The agent whose owner had to be left out for it; `None`: it is so for every agent.
    pub agent: Option<String>,
}

/// The people a rule asks for who may decide a call of an agent with this owner.
pub fn entitled<'a>(people: &'a [Person], groups: &'a [String], approvals: u32, owner: Option<&'a str>) -> impl Iterator<Item = &'a Person> {
    people.iter().filter(move |person| {
        let owns = approvals > 1 && owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&person.email));
        person.disabled_at.is_none() && person.role != Role::Auditor && person.is_asked(groups) && !owns
    })
}

/// Whether the rule behind this verdict has too few people; `owned` are the agents whose calls it may hold, with their
/// owners.
pub fn gap(people: &[Person], owned: &[(&str, &str)], verdict: &Judgement) -> Option<Gap> {
    let able = |owner| entitled(people, &verdict.reviewers, verdict.approvals, owner).count();
    let needed = usize::try_from(verdict.approvals).unwrap_or(usize::MAX).max(1);
    let found = |able, agent| Gap { rule: verdict.rule.clone(), needed: verdict.approvals.max(1), able, agent };
    let all = able(None);
    if all < needed {
        return Some(found(all, None));
    }
    let owned = owned.iter().map(|(agent, owner)| (agent, able(Some(owner))));
    owned.filter(|(_, able)| *able < needed).map(|(agent, able)| found(able, Some((*agent).to_owned()))).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::{Action, Policy, PolicySpec, RuleSpec};
    use jiff::Timestamp;

    fn person(email: &str, role: Role, groups: &[&str]) -> Person {
        Person::new(email, None, groups.iter().map(|&group| group.to_owned()).collect(), role, Timestamp::UNIX_EPOCH)
    }

    fn verdict(approvals: u32) -> Judgement {
        let rule = RuleSpec {
            name: "pay".into(),
            tools: vec!["pay".into()],
            agents: vec!["*".into()],
            action: Action::RequireApproval,
            reviewers: vec!["desk".into()],
            approvals: Some(approvals),
            ..RuleSpec::default()
        };
        let policy = Policy::build(PolicySpec { rules: vec![rule], ..PolicySpec::default() }).unwrap();
        policy.holding().remove(0)
    }

    #[test]
    fn members_of_the_group_count_without_the_owner_where_two_are_needed() {
        let people = [person("ann@x", Role::Reviewer, &["desk"]), person("ben@x", Role::Reviewer, &["desk"]), person("olga@x", Role::Operator, &[])];
        let agents = [("bot", "Ann@x")];
        assert_eq!(gap(&people, &agents, &verdict(1)), None);
        assert_eq!(gap(&people, &[], &verdict(2)), None);
        assert_eq!(gap(&people, &agents, &verdict(2)), Some(Gap { rule: "pay".into(), needed: 2, able: 1, agent: Some("bot".into()) }));
        assert_eq!(gap(&people, &agents, &verdict(3)), Some(Gap { rule: "pay".into(), needed: 3, able: 2, agent: None }));
        assert_eq!(gap(&people[2..], &agents, &verdict(1)).map(|gap| gap.able), Some(0), "an operator is no member of the group");
    }
}
