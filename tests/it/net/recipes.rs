//! `docs/from-your-phone.md`, done as it stands there: the commands make an authority and a certificate, the gateway
//! serves with them, and the authority vouches for nothing else. The address is this machine's own here.

use super::*;
use crate::world::{World, https};
use std::process::Stdio;
use tokio::process::Command;

const DOCUMENT: &str = include_str!("../../../docs/from-your-phone.md");

fn blocks(language: &str) -> Vec<String> {
    let unindented = DOCUMENT.lines().map(|line| line.strip_prefix("   ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let fence = format!("```{language}\n");
    unindented.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().replace("10.8.0.1", "127.0.0.1")).collect()
}

async fn run(world: &World, script: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(world.path("")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let ran = command.output().await.unwrap();
    if !ran.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&ran.stderr));
    }
    ran.status.success()
}

#[tokio::test]
async fn the_commands_for_a_private_network_do_what_the_document_says() {
    let ([making, trying], [private, ..]) = (&blocks("sh")[..], &blocks("toml")[..]) else { panic!("two blocks of commands") };
    let world = World::with_demo_server("");
    assert!(run(&world, making).await);
    let rest = std::fs::read_to_string(world.path("config.toml")).unwrap().replace("[listen]\naddress = \"127.0.0.1:0\"\n", "");
    std::fs::write(world.path("config.toml"), format!("{private}\n{rest}")).unwrap();
    let checked = world.told(&["check"]).await;
    assert!(checked.lines().count() == 1 && checked.ends_with("config.toml is fine."), "no warning about rights or names: {checked}");
    let gateway = world.serve().await;
    assert_eq!(trying.trim(), "curl --cacert ca.pem https://127.0.0.1:8420/healthz");
    let authority = reqwest::Certificate::from_pem(&std::fs::read(world.path("ca.pem")).unwrap()).unwrap();
    let client = https(&[authority]);
    let answer = client.get(format!("{}/healthz", gateway.url)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok\n");
    assert!(https(&[]).get(format!("{}/healthz", gateway.url)).send().await.is_err(), "whoever does not have the authority is warned");

    // Renewed as the document says, under a running gateway.
    let (renew, before) = (making.lines().filter(|line| line.contains("paraph.csr")).collect::<Vec<_>>().join("\n"), gateway.log());
    assert!(run(&world, &renew).await && !before.contains("the certificate was read again"));
    crate::world::until("the new files are taken", || async { gateway.log().contains("the certificate was read again").then_some(()) }).await;
    assert_eq!(client.get(format!("{}/healthz", gateway.url)).send().await.unwrap().status(), 200);
    assert!(gateway.stop().await);

    // The authority is of no use for another name.
    let elsewhere = renew.replace("127.0.0.1", "127.0.0.2").replace("paraph.internal", "bank.example.org");
    assert!(run(&world, &elsewhere).await);
    let text = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), text.replace("127.0.0.1:8420", "127.0.0.2:0")).unwrap();
    let gateway = world.serve_at("127.0.0.2:0").await;
    assert!(client.get(format!("{}/healthz", gateway.url)).send().await.is_err(), "it vouches for one address alone");
    assert!(gateway.stop().await);
}

#[test]
fn every_configuration_of_the_document_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    for (cert, key) in [("paraph.pem", "paraph.key"), ("fullchain.pem", "privkey.pem")] {
        authority.issue(&["127.0.0.1", "paraph.example.org"], &folder.path().join(cert), &folder.path().join(key));
    }
    let written = blocks("toml");
    assert_eq!(written.len(), 3);
    for text in written {
        let text = format!("{text}\n[mail]\ntransport = \"off\"\n[servers.demo]\ncommand = [\"x\"]\n");
        let loaded = paraph::config::Config::parse(&text, "config.toml", folder.path(), &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let told: Vec<_> = loaded.warnings.iter().filter(|warning| warning.key != "listen.tls.key").collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}
