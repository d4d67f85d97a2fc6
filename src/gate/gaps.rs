//! Rules that ask for people who are not there: their calls are held, and nobody, or too few, may decide them. Operators
//! are told by a banner, by mail and by `check` (semantics.md 16). Called by `web`.

use super::{Failure, Gate};
use crate::domain::people::{Agent, Gap, gap};

impl Gate {
    /// Every such rule with its server.
    pub async fn gaps(&self) -> Result<Vec<(String, Gap)>, Failure> {
        let (settings, now) = (self.settings(), self.inner.clock.now());
        let people = self.people().await?;
        let agents: Vec<Agent> = self.agents().await?.into_iter().filter(|agent| agent.is_active(now)).collect();
        let mut gaps = Vec::new();
        for (name, server) in &settings.servers {
            let granted = agents.iter().filter(|agent| agent.may_use(name));
            let owned: Vec<(&str, &str)> = granted.filter_map(|agent| Some((agent.name.as_str(), agent.owner.as_deref()?))).collect();
            gaps.extend(server.policy.holding().iter().filter_map(|verdict| Some((name.clone(), gap(&people, &owned, verdict)?))));
        }
        Ok(gaps)
    }
}
