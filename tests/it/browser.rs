//! A reviewer in a real browser: signs in, reads, decides. Each test is one sitting. Pictures of the pages are left in
//! `target/screenshots` for people to look at.

use crate::world::{Agent, Browser, Gateway, World, text_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

const ANN: &str = "ann@example.org";

/// Bidirectional and invisible characters, markup, a very long word.
const HOSTILE: &str = "Hello <script>alert('stolen')</script><img src=x onerror=alert(1)> \u{202e}txet desrever\u{202c} zero\u{200b}width \
                       p\u{0430}ypal.com \u{7}bell </textarea></title><h1>Approved</h1> {{7*7}} \
                       wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww END-OF-TEXT";

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

struct Sitting {
    world: World,
    gateway: Gateway,
    agent: Agent,
    ann: String,
    browser: Browser,
}

/// A gateway, an agent, and Ann signed in by her one-time link.
async fn sitting(javascript: bool) -> Sitting {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let browser = Browser::start(javascript).await;
    browser.visit(&world.told(&["reviewer", "link", ANN]).await).await;
    Sitting { world, gateway, agent, ann, browser }
}

impl Sitting {
    async fn sign_in(&self) {
        self.browser.find("main form button").await.click().await.unwrap();
        self.browser.says("support").await;
    }
}
