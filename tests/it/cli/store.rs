//! `paraph store`: a backup of a running gateway, the way back into another folder and what is believed there,
//! and compaction under `kill -9`.

use super::{PROGRAM, Place, Ran};
use crate::world::{Agent, Desk, World, http, text_of, until};
use jiff::Timestamp;
use paraph::domain::audit::{Entry, Fact, Head};
use paraph::domain::people::CredentialKind;
use paraph::store::on_sled::{BackupFile, OnSled, Settings};
use paraph::store::{Change, Kind, Row, Store as _, Views as _};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ANN: &str = "ann@example.org";

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Signs in with a link; the cookie of the session.
async fn signed_in(link: &str) -> Option<String> {
    let answer = http().post(link).header("origin", origin(link)).send().await.unwrap();
    Some(answer.headers().get("set-cookie")?.to_str().unwrap().split(';').next().unwrap().to_owned())
}

fn origin(url: &str) -> String {
    url.split('/').take(3).collect::<Vec<_>>().join("/")
}

async fn page(url: &str, cookie: &str) -> (u16, String) {
    let answer = http().get(url).header("cookie", cookie).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The credentials and letters that lie in a data folder.
async fn kept(folder: &Path) -> (Vec<CredentialKind>, usize) {
    let store = OnSled::open(folder, &Settings::default()).unwrap();
    let rows = store.rows(Kind::Credential, None, 1000).await.unwrap();
    let kinds = rows.iter().filter_map(|row| if let Row::Credential(credential) = row { Some(credential.kind) } else { None }).collect();
    let letters = store.rows(Kind::Letter, None, 1000).await.unwrap().len();
    store.close().await;
    (kinds, letters)
}

/// What the story knows of the time before the backup.
struct Before {
    token: String,
    ann: String,
    big: String,
    calls: Vec<String>,
    cookie: String,
    link: String,
}

/// A call that is answered, one that waits with a long text, one in its undo window, one permit.
async fn a_desk_at_work(world: &World) -> (crate::world::Gateway, Before) {
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let (desk, answered) = (gateway.desk(&ann), agent.begin("send_dm", dm("answered before")));
    desk.approve(&desk.held("answered before").await).await;
    answered.await.unwrap().unwrap();
    assert!(gateway.stop().await);

    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config + "\n[hold]\nundo = \"1h\"\n").unwrap();
    // Letters cannot be delivered and stay in the outbox.
    std::fs::remove_dir_all(world.path("mail")).unwrap();
    std::fs::write(world.path("mail"), "no folder").unwrap();
    let gateway = world.serve().await;
    let (desk, agent) = (gateway.desk(&ann), Agent::connect(&gateway.mcp("demo"), &token).await);
    let big = format!("held {}", "x".repeat(100 * 1024));
    let mut calls = Vec::new();
    for (number, text) in [big.as_str(), "in its undo window", "a permit"].into_iter().enumerate() {
        drop(agent.begin("send_dm", dm(text)));
        let held = desk.held(text).await;
        let id = held["id"].as_str().unwrap().to_owned();
        if number == 2 {
            agent.notify("notifications/cancelled", json!({"requestId": number})).await;
            until("the call was taken back", || async { (desk.call(&id).await["presence"] == "cancelled").then_some(()) }).await;
        }
        if number > 0 {
            desk.approve(&desk.call(&id).await).await;
            assert_eq!(desk.call(&id).await["state"], "approved");
        }
        calls.push(id);
    }
    let cookie = signed_in(&world.told(&["reviewer", "link", ANN]).await).await.expect("a session");
    let link = world.told(&["reviewer", "link", ANN]).await;
    assert_eq!(page(&gateway.url, &cookie).await.0, 200);
    (gateway, Before { token, ann, big, calls, cookie, link })
}

#[tokio::test]
async fn a_store_comes_back_from_the_backup_of_a_running_gateway_and_believes_only_what_it_may() {
    let world = World::with_demo_server("");
    let (gateway, before) = a_desk_at_work(&world).await;
    let key = world.told(&["audit", "key"]).await;
    let text = |name: &str| world.path(name).display().to_string();
    let (file, restored) = (text("one.backup"), text("restored"));

    // More calls come in while the file is written.
    let busy = Agent::connect(&gateway.mcp("demo"), &before.token).await;
    let load: Vec<_> = (0..20).map(|number| busy.begin("send_dm", dm(&format!("load {number}")))).collect();
    let backup: Value = serde_json::from_str(&world.told(&["store", "backup", &file, "--json"]).await).unwrap();
    assert_eq!(backup["file"], file);
    assert!(backup["calls"].as_u64().unwrap() >= 4, "{backup}");
    let (code, err) = told(&world.run(&["store", "backup", &file]).await);
    assert_eq!(code, 2);
    assert!(err.contains("never overwrites"), "{err}");
    let later = gateway.desk(&before.ann).held("load 19").await;
    gateway.desk(&before.ann).reject(&later, "Too late for the backup.").await;
    load.into_iter().for_each(|request| request.abort());

    // Neither over a gateway nor over its data.
    let (code, err) = told(&world.run(&["store", "restore", &file]).await);
    assert_eq!(code, 2);
    assert!(err.contains("not empty") && err.contains("--data") && err.contains("stop it first"), "{err}");
    let (code, err) = told(&world.run(&["store", "compact"]).await);
    assert_eq!(code, 1);
    assert!(err.contains("in use"), "{err}");
    assert!(gateway.stop().await);
    assert_eq!(told(&world.run(&["store", "restore", &file]).await).0, 2);

    BackupFile::open(Path::new(&file)).unwrap().unpack(&world.path("unpacked"), &Settings::default()).unwrap();
    let (kinds, letters) = kept(&world.path("unpacked")).await;
    assert!(kinds.contains(&CredentialKind::Link) && kinds.contains(&CredentialKind::Session) && letters > 0, "{kinds:?} {letters}");
    std::fs::create_dir(world.path("restored.restoring")).unwrap();
    std::fs::write(world.path("restored.restoring/half"), "of a restore that was cut off").unwrap();
    std::fs::create_dir(world.path("restored")).unwrap();
    let told_back: Value = serde_json::from_str(&world.told(&["store", "restore", &file, "--data", &restored, "--json"]).await).unwrap();
    assert_eq!((&told_back["head"], &told_back["calls"]), (&backup["head"], &backup["calls"]));
    assert_eq!(told_back["unconfirmed"].as_u64().unwrap(), backup["calls"].as_u64().unwrap() - 1, "all but the answered one");
    assert!(!world.path("restored.restoring").exists() && !world.path("restored/half").exists());
    let (mut kinds, letters) = kept(&world.path("restored")).await;
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!((kinds, letters), (vec![CredentialKind::AgentToken, CredentialKind::ApiToken], 0));

    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config.replace("/data\"", "/restored\"")).unwrap();
    let gateway = world.serve().await;
    what_is_believed(&world, &gateway, &before).await;

    let export = world.audit_is_whole().await;
    assert_eq!(export.matches("\"kind\":\"restored\"").count(), 1);
    let verified = world.run(&["audit", "verify", &text("audit.ndjson"), "--key", &key]).await;
    let (code, err) = told(&verified);
    assert_eq!(code, 0, "the same key signs: {err}");
    assert!(err.contains("Restored from a backup"), "{err}");
    assert!(!err.contains("unclean stop"), "a restored store was closed well: {err}");
    assert!(gateway.stop().await);
}

async fn what_is_believed(world: &World, gateway: &crate::world::Gateway, before: &Before) {
    let desk: Desk = gateway.desk(&before.ann);
    for id in &before.calls {
        assert_eq!(desk.call(id).await["state"], "unconfirmed", "{id}");
    }
    assert!(desk.calls("held").await.is_empty() && desk.calls("approved").await.is_empty());
    assert_eq!(desk.calls("answered").await.len(), 1);
    let agent = Agent::connect(&gateway.mcp("demo"), &before.token).await;
    for again in [before.big.as_str(), "in its undo window", "a permit"] {
        let answer = agent.request("tools/call", json!({"name": "send_dm", "arguments": dm(again)})).await.unwrap();
        assert!(text_of(&answer["result"]).starts_with("UNKNOWN whether it was sent. Do not send it again"), "{answer}");
    }
    assert_eq!(world.sent(), [("answered before".to_owned(), 1)].into());

    assert_ne!(page(&gateway.url, &before.cookie).await.0, 200, "the old session ended");
    let old_link = format!("{}/sign-in/{}", gateway.url, before.link.rsplit('/').next().unwrap());
    assert_eq!(signed_in(&old_link).await, None, "the old link ended");
    let cookie = signed_in(&world.told(&["reviewer", "link", ANN]).await).await.expect("a new session");
    let (status, shown) = page(&format!("{}/calls/{}", gateway.url, before.calls[0]), &cookie).await;
    assert_eq!(status, 200);
    assert!(shown.contains("restored from a backup"), "the page says why nobody knows");
}

#[test]
fn a_backup_that_is_not_as_it_was_written_restores_nothing() {
    let place = Place::new();
    place.export();
    assert_eq!(place.run(&["store", "backup", "one.backup"]).code, 0, "of a stopped gateway");
    let file = place.path().join("one.backup");
    let whole = std::fs::read(&file).unwrap();
    let mut touched = whole.clone();
    touched[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() - 1], &whole[..40], &touched, b"nonsense"] {
        std::fs::write(&file, bad).unwrap();
        let ran = place.run(&["store", "restore", "one.backup", "--data", "back/data"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("cut short or was changed") || ran.err.contains("no backup of Paraph"), "{}", ran.err);
        assert!(!place.path().join("back").exists(), "nothing was written");
    }
    std::fs::write(&file, &whole).unwrap();
    let ran = place.run(&["store", "restore", "one.backup", "--data", "back/data"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let agents = place.run(&["agent", "list", "--json", "--data", "back/data"]).json();
    assert_eq!(agents["agents"].as_array().unwrap().len(), 3);
    assert_eq!(place.run(&["store", "restore", "one.backup", "--data", "back/data"]).code, 2, "not over a store");
    assert_eq!(place.run(&["store", "restore", "nowhere.backup", "--data", "new"]).code, 2);
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let place = Place::new();
    for command in [&["store", "backup", "one.backup"][..], &["store", "compact"]] {
        let ran = place.run(command);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("no store in"), "{}", ran.err);
    }
    assert!(!place.path().join("data").exists() && !place.path().join("one.backup").exists());
}

async fn opened(folder: &Path) -> OnSled {
    OnSled::open(folder, &Settings { cache_bytes: 8 << 20, ..Settings::default() }).unwrap()
}

async fn chain(folder: &Path) -> (Head, Vec<Entry>) {
    let store = opened(folder).await;
    let chain = (store.head().await.unwrap(), store.entries(1, 10_000).await.unwrap());
    store.close().await;
    chain
}

#[tokio::test]
async fn a_compaction_killed_at_any_moment_leaves_a_store_that_opens_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = opened(&data).await;
    for number in 0..20 {
        let fact = Fact { kind: "test.fact", call: None, actor: "paraph".into(), data: json!({ "number": number, "long": "x".repeat(3_000) }).into() };
        store.commit(Change::of_facts(Timestamp::UNIX_EPOCH, vec![fact; 50])).await.unwrap();
    }
    store.close().await;
    drop(store);
    let before = chain(&data).await;
    // One that is dense already would be left as it is, and nothing swapped.
    let sparse = |name: &str| {
        let copy = folder.path().join(name);
        assert!(Command::new("cp").arg("-r").args([&data, &copy]).status().unwrap().success());
        copy
    };
    let compact = |data: &Path| {
        let mut command = Command::new(PROGRAM);
        command.args(["store", "compact", "--data"]).arg(data).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let first = sparse("first");
    let begun = tokio::time::Instant::now();
    let ran = Ran::of(compact(&first).wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("bytes before"), "{}", ran.out);
    let whole_run = begun.elapsed();
    let rounds = 12;
    for round in 0..rounds {
        let data = sparse("next");
        // Also from what the last one left: the second finds half a compaction, or a dense store.
        for _ in 0..2 {
            let mut child = compact(&data);
            tokio::time::sleep(whole_run * round / rounds).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(chain(&data).await == before, "killed in round {round}");
        let names: Vec<_> = std::fs::read_dir(&data).unwrap().map(|found| found.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name != "store.new" && name != "store.old"), "{names:?}");
        std::fs::remove_dir_all(data).unwrap();
    }
}

/// Commits of one small entry each, as a gateway writes them that has one thing to do at a time.
async fn many_small_commits(data: &Path, count: usize) {
    let store = opened(data).await;
    for number in 0..count {
        let fact = Fact {
            kind: "test.fact",
            call: None,
            actor: "paraph".into(),
            data: json!({ "number": number, "tool": "read_messages", "why": "y".repeat(250) }).into(),
        };
        store.commit(Change::of_facts(Timestamp::UNIX_EPOCH, vec![fact])).await.unwrap();
    }
    store.close().await;
}

/// Bytes of a folder, as `du` counts them.
fn bytes(folder: &Path) -> u64 {
    let size = |found: std::fs::DirEntry| if found.path().is_dir() { bytes(&found.path()) } else { found.metadata().unwrap().len() };
    std::fs::read_dir(folder).unwrap().map(|found| size(found.unwrap())).sum()
}

#[tokio::test]
async fn compacting_never_makes_a_store_larger_and_keeps_what_it_holds() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let texts: Vec<String> = (0..8).map(|number| format!("held {number} {}", "x".repeat(3_000 * number))).collect();
    let waiting: Vec<_> = texts.iter().map(|text| agent.begin("send_dm", dm(text))).collect();
    for text in &texts {
        gateway.desk(&ann).held(text).await;
    }
    waiting.into_iter().for_each(|request| request.abort());
    assert!(gateway.stop().await);

    let (data, store) = (world.path("data"), world.path("data/store"));
    for round in 0..3 {
        many_small_commits(&data, 500).await;
        let held = chain(&data).await;
        let needed = held.1.iter().map(|entry| serde_json::to_string(entry).unwrap().len()).sum::<usize>() as u64;
        let before = bytes(&store);
        let told: Value = serde_json::from_str(&world.told(&["store", "compact", "--json"]).await).unwrap();
        let after = bytes(&store);
        assert!(after < before, "round {round}: {before} bytes became {after}, {told}");
        assert_eq!(told["after"], after, "what it says is what is there");
        assert!(after < needed * 3 / 2 + (1 << 20), "round {round}: {after} bytes for {needed} bytes of entries");
        assert!(chain(&data).await == held, "another audit");

        let again = bytes(&store);
        let ran = world.run(&["store", "compact"]).await;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!((bytes(&store), ran.status.code()), (again, Some(0)), "twice in a row: {said}");
        assert!(said.contains("no smaller") && said.contains(&format!("{again} bytes")), "{said}");
        assert!(chain(&data).await == held, "another audit");
        assert!(!data.join("store.new").exists() && !data.join("store.old").exists());
    }
    world.audit_is_whole().await;
    let restored = world.path("restored").display().to_string();
    world.told(&["store", "backup", &world.path("one.backup").display().to_string()]).await;
    world.told(&["store", "restore", &world.path("one.backup").display().to_string(), "--data", &restored]).await;
    assert!(bytes(&world.path("restored/store")) < bytes(&store) + (2 << 20), "a restored store is as dense: {}", bytes(&world.path("restored/store")));

    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    assert_eq!(desk.calls("held").await.len(), texts.len());
    for text in &texts {
        desk.approve(&desk.held(text).await).await;
    }
    assert!(gateway.stop().await);
}
