//! What a reload changes, and what it leaves alone: servers that come and go, held calls, counters, transports, and
//! what only a restart can change.

use super::{Bench, call};
use crate::world::{World, all_gone, http, text_of, until};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_paraph");
/// The rule about messages, and the same as a refusal.
const HELD: &str = "name   = \"dms-need-a-person\"\ntools  = [\"send_dm\"]\naction = \"require_approval\"";
const DENIED: &str = "name   = \"no-dms-today\"\ntools  = [\"send_dm\"]\naction = \"deny\"";

fn second(rules: &str) -> String {
    format!("[servers.second]\ncommand = [{PROGRAM:?}, \"demo-server\"]\nenv = {{ SECOND = \"1\" }}\ndefault = \"allow\"\n{rules}")
}

#[tokio::test]
async fn a_changed_store_or_listen_is_named_and_nothing_of_the_file_is_applied() {
    let bench = Bench::new("").await;
    let before = bench.digest("demo").await;
    let text = bench.text();
    let changed =
        text.replace(HELD, DENIED).replace("[store]\n", "[store]\nkeep_text = \"30d\"\n").replace("[listen]\n", "[listen]\nhosts = [\"a.example\"]\n");
    std::fs::write(bench.world.path("config.toml"), &changed).unwrap();
    let mistakes = bench.mistakes().await;
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["listen.hosts", "store.keep_text"]);
    let line = |what: &str| changed.lines().position(|line| line.starts_with(what)).unwrap() + 1;
    assert_eq!((&mistakes[0]["line"], &mistakes[1]["line"]), (&json!(line("hosts")), &json!(line("keep_text"))));
    assert!(mistakes[0]["problem"].as_str().unwrap().contains("only a restart can change it; nothing of this file is applied"));
    assert_eq!(bench.digest("demo").await, before);
    // Also when the address stands in another place than where it really listens: `--listen` was given.
    std::fs::write(bench.world.path("config.toml"), text.replace("127.0.0.1:0", "127.0.0.1:1")).unwrap();
    until("the address is named", || async { (bench.config().await["mistakes"][0]["key"] == "listen.address").then_some(()) }).await;
    std::fs::write(bench.world.path("config.toml"), text.replace(HELD, DENIED)).unwrap();
    bench.other_than("demo", &before).await;
    bench.no_mistakes().await;
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn another_command_waits_for_a_restart_and_the_rest_of_the_file_is_applied() {
    let bench = Bench::new("").await;
    let before = bench.digest("demo").await;
    let text = bench.text();
    let changed = text
        .replace(HELD, DENIED)
        .replace("\"demo-server\"]", "\"no-such-server\"]")
        .replace("DEMO_OUTBOX", "OTHER")
        .replace("[mail]\n", "[bounds]\nlive_pages = 7\n[mail]\n");
    std::fs::write(bench.world.path("config.toml"), &changed).unwrap();
    bench.other_than("demo", &before).await;
    let keys = |config: &serde_json::Value| {
        config["needs_restart"].as_array().unwrap().iter().map(|waits| waits["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let config = until("it is named", || async { Some(bench.config().await).filter(|config| !keys(config).is_empty()) }).await;
    assert_eq!(keys(&config), ["bounds.live_pages", "servers.demo.command", "servers.demo.env"], "in the order of the lines");
    assert_eq!(config["mistakes"], json!([]));
    bench.logs("servers.demo.command: was changed and waits for a restart; the rest of the file is applied", 1).await;
    // The old server answers, under the new rules.
    let agent = bench.agent("demo").await;
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "sent");
    assert_eq!(call(&agent, "send_dm", json!({"to": "@bob", "text": "hi"})).await, ("denied".into(), json!("no-dms-today")));
    std::fs::write(bench.world.path("config.toml"), text).unwrap();
    until("nothing waits any more", || async { keys(&bench.config().await).is_empty().then_some(()) }).await;
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_again_at_the_signal() {
    let world = World::with_demo_server("[servers.far]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = { Authorization = { file = \"token\" } }");
    std::fs::write(world.path("token"), "Bearer one").unwrap();
    let bench = Bench::over(world).await;
    std::fs::write(bench.world.path("token"), "Bearer two").unwrap();
    bench.gateway.hang_up();
    let waits = until("the new secret is noticed", || async {
        let config = bench.config().await;
        config["needs_restart"].as_array().filter(|waits| !waits.is_empty()).cloned()
    })
    .await;
    assert_eq!(waits[0]["key"], "servers.far.headers");
    assert!(!bench.gateway.log().contains("Bearer two"));
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_server_that_came_is_usable_and_one_that_went_takes_its_calls_along() {
    let bench = Bench::new("").await;
    let unknown = || async { http().post(bench.gateway.mcp("second")).bearer_auth(&bench.token).send().await.unwrap().status() };
    assert_eq!(unknown().await, 404);
    let before = bench.text();
    let rules = "\n[[servers.second.rules]]\nname = \"hold\"\ntools = [\"send_dm\"]\naction = \"require_approval\"\n";
    std::fs::write(bench.world.path("config.toml"), format!("{before}\n{}", second(rules))).unwrap();
    bench.other_than("second", &json!(null)).await;
    let agent = bench.agent("second").await;
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "sent");
    until("its tools are looked at", || async { bench.gateway.log().contains("server=\"second\" tools=4").then_some(()) }).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "over the second"}));
    let other = bench.agent("demo").await;
    let stays = other.begin("send_dm", json!({"to": "@bob", "text": "over the first"}));
    let ran: Vec<_> = bench
        .gateway
        .children()
        .into_iter()
        .filter(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.windows(8).any(|seen| seen == b"SECOND=1")))
        .collect();
    assert!(!ran.is_empty());
    let (gone, held) = (bench.desk.held("over the second").await, bench.desk.held("over the first").await);

    std::fs::write(bench.world.path("config.toml"), before).unwrap();
    let told = waiting.await.unwrap().unwrap()["result"].clone();
    assert_eq!(told["_meta"]["paraph/call"]["state"], "withdrawn", "{told}");
    assert!(text_of(&told).contains("It was taken back"), "{told}");
    bench.desk.settled(gone["id"].as_str().unwrap(), &["withdrawn"]).await;
    assert_eq!(unknown().await, 404);
    assert!(agent.request("tools/list", json!({})).await.unwrap()["error"]["message"].as_str().unwrap().contains("no server of this name"));
    let withdrawn = bench.entries_of("call.withdrawn").await;
    assert_eq!(withdrawn.len(), 1, "{withdrawn:?}");
    assert_eq!(withdrawn[0]["data"]["why"], "the server is not in the config any more");
    // What it ran ends.
    all_gone(&ran).await;
    // Nothing of the other call moved.
    let now = bench.desk.call(held["id"].as_str().unwrap()).await;
    assert_eq!((&now["state"], &now["version"], &now["expires_at"], &now["rule"]), (&held["state"], &held["version"], &held["expires_at"], &held["rule"]));
    bench.desk.approve(&now).await;
    assert_eq!(text_of(&stays.await.unwrap().unwrap()["result"]), "Sent to @bob.");
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_call_that_was_held_before_and_is_refused_now_is_withdrawn_with_the_rule_when_it_is_approved() {
    let bench = Bench::new("").await;
    let agent = bench.agent("demo").await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "too late"}));
    let held = bench.desk.held("too late").await;
    let before = bench.digest("demo").await;
    bench.edit(HELD, DENIED);
    let after = bench.other_than("demo", &before).await;
    let now = bench.desk.call(held["id"].as_str().unwrap()).await;
    assert_eq!((&now["state"], &now["rule"]), (&json!("held"), &json!("dms-need-a-person")), "a reload alone takes nothing back");
    bench.desk.approve(&now).await;
    bench.desk.settled(held["id"].as_str().unwrap(), &["withdrawn"]).await;
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told["result"]["_meta"]["paraph/call"]["state"], "withdrawn", "{told}");
    let withdrawn = bench.entries_of("call.withdrawn").await;
    assert_eq!((&withdrawn[0]["data"]["why"], &withdrawn[0]["data"]["policy"]), (&json!("rule no-dms-today refuses it now"), &after));
    assert!(bench.world.sent().is_empty());
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn what_a_limit_has_counted_stays_counted() {
    let bench = Bench::new(&second("limits = [{ counter = \"looks\", window = \"day\", max = 2, scope = \"grant\" }]\n")).await;
    let agent = bench.agent("second").await;
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "sent");
    let before = bench.digest("second").await;
    bench.edit("[servers.second]\n", "[servers.second]\nreads = [\"list_*\"]\n");
    bench.other_than("second", &before).await;
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "sent");
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "limited");
    // The same counter with more room: what was used is still used.
    let before = bench.digest("second").await;
    bench.edit("max = 2", "max = 3");
    bench.other_than("second", &before).await;
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "sent");
    assert_eq!(call(&agent, "read_inbox", json!({})).await.0, "limited");
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn waiting_times_bounds_and_mails_are_those_of_the_file() {
    let bench = Bench::new("[hold]\nkeep_open = \"50s\"\n").await;
    let agent = bench.agent("demo").await;
    let place = bench.world.path("mail").display().to_string();
    let text =
        bench.text().replace("keep_open = \"50s\"", "keep_open = \"0s\"\nmax_held_per_agent = 1").replace(&format!("{place}\""), &format!("{place}-two\""));
    std::fs::write(bench.world.path("config.toml"), format!("{text}\n[bounds]\narguments = \"1KiB\"\n")).unwrap();
    bench.logs("the configuration was read again and is in force", 1).await;
    assert_eq!(call(&agent, "send_dm", json!({"to": "@bob", "text": "at once"})).await.0, "held", "keep_open is none now");
    assert_eq!(call(&agent, "send_dm", json!({"to": "@bob", "text": "one more"})).await.0, "limited");
    let large = agent.request("tools/call", json!({"name": "send_dm", "arguments": {"to": "@bob", "text": "x".repeat(2000)}})).await.unwrap();
    assert!(large["error"].is_object(), "{large}");
    let mails =
        |folder: &str| std::fs::read_dir(bench.world.path(folder)).map_or(0, |found| found.flatten().filter(|file| file.path().extension().is_some()).count());
    until("the mail is in the new folder", || async { (mails("mail-two") == 1).then_some(()) }).await;
    assert_eq!(mails("mail"), 0);
    assert!(bench.entries_of("policy.reloaded").await.is_empty(), "no policy changed");
    assert!(bench.gateway.stop().await);
}

#[tokio::test]
async fn a_change_of_mail_is_no_reason_for_more_mails() {
    let bench = Bench::new("[hold]\nkeep_open = \"0s\"\n").await;
    let agent = bench.agent("demo").await;
    let mails = || {
        let found = std::fs::read_dir(bench.world.path("mail")).into_iter().flatten().flatten();
        let whole = found.filter(|file| file.path().extension().is_some_and(|ending| ending == "eml"));
        whole.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned()).collect::<Vec<_>>()
    };
    let hold = async |text: &str| assert_eq!(call(&agent, "send_dm", json!({"to": "@bob", "text": text})).await.0, "held");
    for number in 0..5 {
        hold(&format!("number {number}")).await;
    }
    until("five mails", || async { (mails().len() == 5).then_some(()) }).await;
    bench.edit("[mail]\n", "[mail]\ndigest = \"2s\"\n");
    bench.logs("the configuration was read again and is in force", 1).await;
    hold("the sixth").await;
    hold("the seventh").await;
    until("a sixth mail that is a list", || async { mails().iter().any(|mail| mail.contains("the sixth") && mail.contains("the seventh")).then_some(()) })
        .await;
    assert_eq!(mails().len(), 6);
    assert!(bench.gateway.stop().await);
}

/// A server whose only tool answers when a file is there.
const SLOW: &str = r#"
[servers.slow]
command = ["sh", "-c", '''
while read -r line; do
  id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\|"[^"]*"\)[,}].*/\1/p')
  case "$line" in
    *'"tools/call"'*)
      touch FOLDER/begun
      while [ ! -e FOLDER/go ]; do sleep 0.02; done
      printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done at last"}]}}\n' "$id" ;;
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"slow","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}}\n' "$id" ;;
  esac
done
''']
default = "allow"
"#;

#[tokio::test]
async fn what_is_under_way_to_a_server_that_goes_is_finished_and_then_its_instance_ends() {
    let bench = Bench::new(SLOW).await;
    let agent = bench.agent("slow").await;
    let waiting = agent.begin("work", json!({}));
    until("the server is at work", || async { bench.world.path("begun").exists().then_some(()) }).await;
    let place = bench.world.path("").display().to_string();
    let ran: Vec<_> = bench
        .gateway
        .children()
        .into_iter()
        .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("begun")))
        .collect();
    assert!(!ran.is_empty());
    std::fs::write(bench.world.path("config.toml"), bench.text().replace(&SLOW.replace("FOLDER", place.trim_end_matches('/')), "")).unwrap();
    until("the server is gone", || async { bench.digest("slow").await.is_null().then_some(()) }).await;
    bench.logs("the configuration was read again and is in force", 1).await;
    std::fs::write(bench.world.path("go"), "").unwrap();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(text_of(&answer["result"]), "done at last", "{answer}");
    all_gone(&ran).await;
    let ended = until("its end is written", || async { bench.entries_of("call.ended").await.pop() }).await;
    assert_eq!(ended["data"]["end"], "ok");
    assert!(bench.gateway.stop().await);
}
