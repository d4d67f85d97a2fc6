//! Every way in which a file can become another one, and files with mistakes.

use super::{Bench, call};
use crate::world::{World, http, until};
use serde_json::json;

/// The rule that the tests switch: deleting is refused, or refused under another name.
const BEFORE: &str = "name   = \"accounts-stay\"";
const AFTER: &str = "name   = \"accounts-stay-for-ever\"";

#[tokio::test]
async fn a_file_written_in_place_is_in_force_without_a_signal_and_says_so() {
    let bench = Bench::new("").await;
    let agent = bench.agent("demo").await;
    assert_eq!(call(&agent, "delete_account", json!({})).await, ("denied".into(), json!("accounts-stay")));
    let before = bench.digest("demo").await;
    bench.edit(BEFORE, AFTER);
    let after = bench.other_than("demo", &before).await;
    assert_eq!(call(&agent, "delete_account", json!({})).await, ("denied".into(), json!("accounts-stay-for-ever")));
    bench.logs("the configuration was read again and is in force", 1).await;

    assert_eq!(bench.entries_of("policy.loaded").await[0]["data"], json!({"servers": {"demo": before}}));
    let reloaded = bench.entries_of("policy.reloaded").await;
    assert_eq!(reloaded.len(), 1, "{reloaded:?}");
    assert_eq!(reloaded[0]["data"], json!({"servers": {"demo": {"from": before, "to": after}}}));
    let denied = bench.entries_of("call.denied").await;
    assert_eq!((&denied[0]["data"]["policy"], &denied[1]["data"]["policy"]), (&before, &after));
    assert!(bench.config().await["loaded_at"].is_string());
    bench.world.audit_is_whole().await;
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_signal_reads_the_file_again_and_what_is_the_same_changes_nothing() {
    let bench = Bench::new("").await;
    let before = bench.config().await;
    bench.gateway.hang_up();
    bench.logs("the configuration was read again and is in force", 1).await;
    let after = until("the later time is shown", || async { Some(bench.config().await).filter(|now| now["loaded_at"] != before["loaded_at"]) }).await;
    assert_eq!(after["digests"], before["digests"]);
    assert!(bench.entries_of("policy.reloaded").await.is_empty());
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_file_that_is_renamed_over_the_old_one_is_in_force() {
    let bench = Bench::new("").await;
    let mut digest = bench.digest("demo").await;
    // Twice: a watch on the file itself would have gone with the first.
    for (from, to) in [(BEFORE, AFTER), (AFTER, BEFORE)] {
        std::fs::write(bench.world.path("config.new"), bench.text().replace(from, to)).unwrap();
        std::fs::rename(bench.world.path("config.new"), bench.world.path("config.toml")).unwrap();
        digest = bench.other_than("demo", &digest).await;
    }
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_link_that_points_elsewhere_is_in_force_as_with_a_mounted_config_map() {
    let world = World::with_demo_server("");
    let text = std::fs::read_to_string(world.path("config.toml")).unwrap();
    for (version, text) in [("..1", text.clone()), ("..2", text.replace(BEFORE, AFTER)), ("..3", text)] {
        std::fs::create_dir(world.path(version)).unwrap();
        std::fs::write(world.path(version).join("config.toml"), text).unwrap();
    }
    std::fs::remove_file(world.path("config.toml")).unwrap();
    std::os::unix::fs::symlink("..1", world.path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/config.toml", world.path("config.toml")).unwrap();
    let bench = Bench::over(world).await;
    let mut digest = bench.digest("demo").await;
    for (old, new) in [("..1", "..2"), ("..2", "..3")] {
        std::os::unix::fs::symlink(new, bench.world.path("..data.tmp")).unwrap();
        std::fs::rename(bench.world.path("..data.tmp"), bench.world.path("..data")).unwrap();
        std::fs::remove_dir_all(bench.world.path(old)).unwrap();
        digest = bench.other_than("demo", &digest).await;
    }
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_file_that_is_gone_is_said_and_picked_up_when_it_is_back() {
    let bench = Bench::new("").await;
    let (text, before) = (bench.text(), bench.digest("demo").await);
    std::fs::remove_file(bench.world.path("config.toml")).unwrap();
    let mistakes = bench.mistakes().await;
    assert_eq!((mistakes[0]["problem"].as_str(), &mistakes[0]["line"]), (Some("there is no such file"), &json!(null)), "{mistakes:?}");
    assert_eq!(bench.digest("demo").await, before);
    let agent = bench.agent("demo").await;
    assert_eq!(call(&agent, "delete_account", json!({})).await.1, "accounts-stay");
    std::fs::write(bench.world.path("config.toml"), text.replace(BEFORE, AFTER)).unwrap();
    bench.other_than("demo", &before).await;
    bench.no_mistakes().await;
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn with_a_mistake_the_old_one_judges_on_and_every_mistake_is_named() {
    let bench = Bench::new("").await;
    let before = bench.digest("demo").await;
    // One right change and two mistakes: nothing of it counts.
    let text = bench.text().replace(BEFORE, AFTER).replace("action = \"deny\"", "action = \"forbid\"").replace("reads   =", "reeds   =");
    std::fs::write(bench.world.path("config.toml"), &text).unwrap();
    let mistakes = bench.mistakes().await;
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    let line = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    for (key, what) in [("servers.demo.reeds", "reeds"), ("servers.demo.rules[2].action", "forbid")] {
        let mistake = mistakes.iter().find(|mistake| mistake["key"] == key).unwrap_or_else(|| panic!("{key} in {mistakes:?}"));
        assert_eq!(mistake["line"], line(what));
        assert!(mistake["mend"].as_str().is_some_and(|mend| !mend.is_empty()));
        bench.logs(&format!("config.toml:{}: {key}: ", line(what)), 1).await;
    }
    assert_eq!(bench.digest("demo").await, before);
    let agent = bench.agent("demo").await;
    assert_eq!(call(&agent, "delete_account", json!({})).await, ("denied".into(), json!("accounts-stay")));
    assert!(bench.entries_of("policy.reloaded").await.is_empty());
    assert_eq!(http().get(format!("{}/readyz", bench.gateway.url)).send().await.unwrap().status(), 200);

    std::fs::write(bench.world.path("config.toml"), text.replace("forbid", "deny").replace("reeds", "reads")).unwrap();
    bench.other_than("demo", &before).await;
    bench.no_mistakes().await;
    assert_eq!(bench.config().await["refused_since"], json!(null));
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_burst_of_writes_ends_in_the_last_one() {
    let bench = Bench::new("").await;
    let (text, before) = (bench.text(), bench.digest("demo").await);
    for round in 0..50 {
        std::fs::write(bench.world.path("config.toml"), text.replace(BEFORE, &format!("name = \"round-{round}\""))).unwrap();
    }
    bench.other_than("demo", &before).await;
    let agent = bench.agent("demo").await;
    until("the last one is in force", || async { (call(&agent, "delete_account", json!({})).await.1 == "round-49").then_some(()) }).await;
    let reloads = bench.entries_of("policy.reloaded").await.len();
    assert!(reloads < 25, "{reloads} reloads for one burst");
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn only_an_operator_is_told_how_the_configuration_stands() {
    let bench = Bench::new("").await;
    let ann = bench.world.reviewer("ann@example.org").await;
    assert_eq!(bench.gateway.desk(&ann).get("/config").await.0, 403);
    assert!(bench.gateway.stop().await);
}
