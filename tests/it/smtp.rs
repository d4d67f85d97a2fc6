//! Mails through a real mail server, which is down first, slow, refuses, hangs up, has a wrong certificate or none; and
//! hostile text in every field. The gateway is the real program, the server is aiosmtpd, certificates are made here.

mod certificates;
mod delivery;
mod hostile;
mod server;
mod trial;
mod trust;

use crate::world::{Agent, Gateway, World, until};
use serde_json::{Value, json};
use server::Server;

const ANN: &str = "ann@example.org";
const SECRET: &str = "correct-horse-battery";

/// A world whose mails go to this URL.
fn world(url: &str, further: &str) -> World {
    let world = World::with_demo_server("");
    configure(&world, url, further);
    world
}

/// Replaces `[mail]` in one write.
fn configure(world: &World, url: &str, further: &str) {
    let file = world.path("config.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[mail]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let mail = format!("transport = \"smtp\"\nurl = \"{url}\"\nfrom = \"Paraph <paraph@example.org>\"\n{further}");
    std::fs::write(file, format!("{before}[mail]\n{mail}\n\n{after}")).unwrap();
}

/// A call that waits for a person, seen in the audit.
async fn hold(world: &World, gateway: &Gateway, token: &str, text: &str) -> tokio::task::JoinHandle<Result<Value, String>> {
    let held = async || kinds(&world.told(&["audit", "export"]).await, "call.held");
    let before = held().await;
    let agent = Agent::connect(&gateway.mcp("demo"), token).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": text}));
    until("the call is held", || async { (held().await > before).then_some(()) }).await;
    waiting
}

fn kinds(export: &str, kind: &str) -> usize {
    export.lines().filter(|line| line.contains(&format!("\"kind\":\"{kind}\""))).count()
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let found: Vec<&str> = mail["headers"].as_array().unwrap().iter().filter(|h| h[0] == name).map(|h| h[1].as_str().unwrap()).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

async fn down() -> u16 {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    taken.local_addr().unwrap().port()
}

/// The world with an agent and the reviewer Ann.
async fn peopled(world: &World) -> String {
    let token = world.agent("support-bot").await;
    world.told(&["reviewer", "add", ANN]).await;
    token
}

async fn plain(world: &World, mut asked: Value) -> Server {
    asked["tls"] = json!("none");
    Server::start(&world.path("mails"), asked).await
}
