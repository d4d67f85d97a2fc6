//! What the scenarios with held calls share: a gateway with an HTTP server behind it that runs in this process, a
//! person, agents, and many agents that ask at once. The configuration is the default one but for what a scenario
//! names; that is said beside its table.

use crate::asker::Asker;
use crate::figures::Times;
use crate::paraph::{Paraph, Place};
use crate::receiver::Receiver;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The server's name in the config.
pub const SERVER: &str = "demo";

const RULES: &str = r#"
[servers.demo]
url     = "URL"
default = "deny"
reads   = ["read_*"]

[[servers.demo.rules]]
name   = "messages-need-a-person"
tools  = ["send_dm"]
action = "require_approval"

[[servers.demo.rules]]
name   = "others-go-out"
tools  = ["post_note", "read_*"]
action = "allow"

[servers.demo.messages.send_dm]
to   = "/to"
text = "/text"
"#;

/// A running gateway and whom it knows.
pub struct Scene {
    pub paraph: Paraph,
    pub receiver: Receiver,
    /// The operator's API token.
    pub token: String,
    /// Of the agents `bot-0` and on.
    pub agents: Vec<String>,
}

/// Bounds for as many held calls as that, by however many agents.
pub fn room_for(held: usize) -> String {
    format!("[hold]\nmax_held = {held}\nmax_held_per_agent = {held}\n\n[bounds]\noutbox = {held}\n")
}

impl Scene {
    /// Starts everything. `further` is appended to the default configuration.
    pub async fn open(program: &Path, further: &str, agents: usize) -> Scene {
        Scene::before(program, further, agents, Receiver::start(Duration::ZERO).await).await
    }

    /// The same before this server.
    pub async fn before(program: &Path, further: &str, agents: usize, receiver: Receiver) -> Scene {
        let place = Place::new(program, &format!("{further}{}", RULES.replace("URL", &receiver.url)));
        let token = place.operator().await;
        let agents = place.agents(agents).await;
        Scene { paraph: place.serve().await, receiver, token, agents }
    }

    /// A session for each agent.
    pub async fn askers(&self) -> Vec<Asker> {
        Asker::enter_all(self.paraph.address, SERVER, &self.agents).await
    }
}

/// Lets every agent ask for message after message, each leaving when its call is held, `at_once` of them at the same
/// time, until `total` calls are held or the time is over. The agents come back with the times and with what all took.
pub async fn hold(askers: Vec<Asker>, total: usize, at_once: usize, time: Duration) -> (Vec<Asker>, Times, Duration) {
    let agents = askers.len().max(1);
    let at_once = at_once.clamp(1, agents.min(total).max(1));
    let mut groups: Vec<Vec<(usize, Asker)>> = (0..at_once).map(|_| Vec::new()).collect();
    for (number, asker) in askers.into_iter().enumerate() {
        groups[number % at_once].push((number, asker));
    }
    let begun = Instant::now();
    let mut working = JoinSet::new();
    for mut group in groups {
        // Each agent asks for as many, because the bound of one agent is one of those that hold.
        let share: usize = group.iter().map(|(number, _)| total / agents + usize::from(*number < total % agents)).sum();
        working.spawn(async move {
            let mut times = Times::default();
            let mut turn = 0;
            while times.count() < share && begun.elapsed() < time {
                let (_, asker) = &mut group[turn];
                times.add(asker.hold().await.took);
                turn = (turn + 1) % group.len();
            }
            (group, times)
        });
    }
    let (mut askers, mut times) = (Vec::new(), Times::default());
    for (group, of_group) in working.join_all().await {
        askers.extend(group);
        times.extend(of_group);
    }
    let took = begun.elapsed();
    askers.sort_unstable_by_key(|(number, _)| *number);
    (askers.into_iter().map(|(_, asker)| asker).collect(), times, took)
}
