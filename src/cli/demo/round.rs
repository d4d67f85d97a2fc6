//! One round of the demo: an allowed, a denied and a held call, each shown with what the agent received.
//! The held one waits for a person, or is decided over the API like by anybody else. Called by `demo`.

use super::Verdict;
use super::agent::Agent;
use super::folder::Folder;
use crate::cli::calls::api::Api;
use crate::cli::fault::Fault;
use crate::cli::reviewer::sign_in_link;
use crate::cli::terminal;
use crate::gate::Gate;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a call may take until it is held.
const UNTIL_HELD: u32 = 300;
/// How often the demo says that it still waits.
const REMIND: Duration = Duration::from_secs(60);
/// After how many reminders the link is old.
const NEW_LINK: u32 = 14;

/// Everything a round needs.
pub(super) struct Round {
    pub(super) api: Api,
    pub(super) base: String,
    pub(super) api_token: String,
    pub(super) gate: Gate,
    pub(super) public_url: String,
    pub(super) decide: Option<Verdict>,
}

/// How the held call ended.
pub(super) struct Seen {
    /// In words.
    pub(super) held: &'static str,
}

impl Round {
    /// Plays it; an outcome that is not the right one is an error.
    pub(super) async fn play(&self, mut agent: Agent, folder: &Folder) -> Result<Seen, Fault> {
        let tools = agent.tools().await?;
        terminal::say(&format!("An agent connects over MCP and sees these tools: {}", terminal::visible(&tools.join(", "))));

        step(1, "An allowed call", "read_inbox", &json!({ "limit": 2 }));
        let allowed = agent.call("read_inbox", &json!({ "limit": 2 })).await?;
        received(&allowed);
        expect(allowed["isError"] != true, "the allowed call came back as an error")?;

        step(2, "A denied call", "delete_account", &json!({}));
        let denied = agent.call("delete_account", &json!({})).await?;
        received(&denied);
        expect(state(&denied) == "denied", "the forbidden call was not denied")?;

        let message = json!({ "to": "@bob", "text": "Hi Bob, yes, Friday at ten works. I bring the slides." });
        step(3, "A held call", "send_dm", &message);
        let task = tokio::spawn(async move { agent.call("send_dm", &message).await });
        let held = self.held().await?;
        terminal::say("\n   Held. The agent's request stays open; nothing is sent until a person decides.");
        if let Some((path, subject)) = folder.first_mail().await {
            terminal::say(&format!("   A mail was written: {}", terminal::visible(&subject)));
            terminal::say(&format!("   {}", path.display()));
        }
        match self.decide {
            Some(verdict) => self.decide_alone(&held, verdict).await?,
            None => self.invite(&held).await?,
        }
        let result = self.wait(task).await?;
        terminal::say("\n   Decided.");
        received(&result);
        self.judge(&result)
    }

    /// The held call, as soon as it is there. The list says nothing about who was shown it.
    async fn held(&self) -> Result<Value, Fault> {
        for _ in 0..UNTIL_HELD {
            let mut page = self.api.ask(Method::GET, "/api/v1/calls", &[("state", "held")], None).await?;
            if let Some(call) = page["calls"].as_array_mut().and_then(Vec::pop) {
                return Ok(call);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Fault::new(1, "the message was not held"))
    }

    async fn decide_alone(&self, held: &Value, verdict: Verdict) -> Result<(), Fault> {
        let call = self.api.call(held["id"].as_str().unwrap_or_default()).await?;
        let (word, reason) = match verdict {
            Verdict::Approve => ("approve", None),
            Verdict::Reject => ("reject", Some("Not today, please.")),
        };
        terminal::say(&format!("   The demo decides by itself, over the API: {word}."));
        self.api.decide(&call, word, reason).await.map(drop)
    }

    /// A link counts for 15 minutes, a person may take longer.
    async fn link(&self) -> Result<String, Fault> {
        let secret = self.gate.make_link(super::PERSON).await.map_err(|error| Fault::new(1, error.to_string()))?;
        Ok(terminal::strong(&sign_in_link(&self.public_url, &secret)))
    }

    async fn invite(&self, held: &Value) -> Result<(), Fault> {
        let word = |key: &str| terminal::visible(held[key].as_str().unwrap_or_default());
        let program = std::env::args().next().unwrap_or_else(|| "paraph".to_owned());
        terminal::say("\n   Decide in the browser; this link works once:");
        terminal::say(&format!("   {}", self.link().await?));
        terminal::say("\n   Or in another terminal:");
        terminal::say(&format!(
            "   PARAPH_URL={} PARAPH_TOKEN={} {program} calls approve {} --digest {}",
            self.base,
            self.api_token,
            word("id"),
            word("digest")
        ));
        terminal::say("   (`calls reject ID --reason …` refuses it.)");
        terminal::say("\n   Waiting for you …");
        Ok(())
    }

    async fn wait(&self, task: tokio::task::JoinHandle<Result<Value, Fault>>) -> Result<Value, Fault> {
        tokio::pin!(task);
        let mut reminders = 0;
        loop {
            tokio::select! {
                done = &mut task => return done.map_err(|error| Fault::new(1, error.to_string()))?,
                () = tokio::time::sleep(REMIND), if self.decide.is_none() => {
                    reminders += 1;
                    if reminders % NEW_LINK == 0 {
                        terminal::say(&format!("   Still waiting for you. A fresh link: {}", self.link().await?));
                    } else {
                        terminal::say("   Still waiting for you: open the link above.");
                    }
                }
            }
        }
    }

    fn judge(&self, result: &Value) -> Result<Seen, Fault> {
        let seen = match state(result) {
            "rejected" => "refused: nothing was sent",
            "" if result["isError"] != true => "approved and sent",
            other => return Err(Fault::new(1, format!("the held call ended as {other}, which is neither approved nor refused"))),
        };
        let approved = seen.starts_with("approved");
        expect(self.decide.is_none_or(|verdict| (verdict == Verdict::Approve) == approved), "the call ended otherwise than it was decided")?;
        Ok(Seen { held: seen })
    }
}

fn step(number: u32, title: &str, tool: &str, arguments: &Value) {
    terminal::say(&format!("\n{}", terminal::strong(&format!("{number}. {title}"))));
    terminal::say(&format!("   The agent calls {tool} {}", terminal::json(arguments, false)));
}

fn received(result: &Value) {
    terminal::say("   The agent received:");
    for text in result["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()) {
        for line in text.lines() {
            terminal::say(&format!("   | {}", terminal::visible(line)));
        }
    }
}

fn state(result: &Value) -> &str {
    result["_meta"]["paraph/call"]["state"].as_str().unwrap_or_default()
}

fn expect(so: bool, otherwise: &str) -> Result<(), Fault> {
    if so { Ok(()) } else { Err(Fault::new(1, otherwise)) }
}
