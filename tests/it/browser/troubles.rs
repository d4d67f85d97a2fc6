//! An operator's sitting at a gateway in trouble: it was killed, its disk fills up, one of its servers is down. The real
//! program with its own pace: a server is told of at the second look, half a minute after the first.

use super::accessibility::look;
use super::{ANN, same_document, sitting_in};
use crate::world::{World, http};
use std::path::Path;
use std::time::Duration;

/// Two looks of the gateway and its next visit to the server, and some patience.
const LOOKS: Duration = Duration::from_secs(150);

/// A server that ends at once as long as the file `broken` is there.
const SERVER: &str = r#"
import json, os, sys
if os.path.exists(sys.argv[1]): sys.exit("the key has expired")
def answer(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize": answer(id, {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "desk", "version": "1"}})
    elif method == "tools/list": answer(id, {"tools": [{"name": "send_note", "inputSchema": {"type": "object"}}]})
"#;

/// Waits as long as it takes the gateway to look twice.
async fn within_looks<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + LOOKS;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {LOOKS:?}: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The texts of the mails about troubles.
fn mails(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let trouble = entries.map(|entry| entry.unwrap().path()).filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("trouble-"));
    trouble.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn an_operator_is_told_by_banner_mail_and_metric_of_what_is_wrong_and_the_banner_goes_when_it_is_mended() {
    let world = World::with_demo_server("[servers.desk]\ncommand = [\"python3\", \"FOLDER/desk.py\", \"FOLDER/broken\"]\nreads = [\"*\"]\n");
    std::fs::write(world.path("desk.py"), SERVER).unwrap();
    std::fs::write(world.path("broken"), "").unwrap();
    let disk = rustix::fs::statvfs(world.path("")).unwrap();
    let (config, floor) = (world.path("config.toml"), disk.f_bavail * disk.f_frsize / (1 << 20) * 7 / 10);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[store]\n", &format!("[store]\nmin_free = \"{floor}MiB\"\nballast = 0\n"))).unwrap();
    // One that is killed, and commands on its store before the next one, which must not swallow that.
    world.serve().await.kill().await;

    let mut all = Vec::new();
    let sitting = sitting_in(world, true, "operator").await;
    let (browser, url, folder) = (&sitting.browser, &sitting.gateway.url, sitting.world.path("mail"));
    let up = async || {
        let scraped = http().get(format!("{url}/metrics")).bearer_auth(&sitting.ann).send().await.unwrap().text().await.unwrap();
        scraped.lines().find_map(|line| line.strip_prefix("paraph_server_up{server=\"desk\"} ").map(str::to_owned))
    };
    browser.visit(url).await;
    for said in ["Paraph was not stopped cleanly", "The disk fills up."] {
        browser.says(said).await;
    }
    within_looks("the metric", async || up().await.filter(|up| up == "0")).await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    within_looks("the notice about the server", async || browser.text().await.contains("The server desk cannot be reached").then_some(())).await;
    assert!(same_document(browser).await, "the page was loaded anew");
    browser.pictures("inbox-troubles").await;
    look(browser, "an inbox above which there are troubles", &mut all).await;
    let troubles = ["The server desk cannot be reached", "The disk is nearly full", "Paraph was not stopped in order"];
    // How many mails depends on what one look sees: a machine that is slow to begin can meet all of it at once.
    let has_all = |mails: &Vec<String>| troubles.iter().all(|said| mails.iter().any(|mail| mail.contains(said)));
    let told = within_looks("the mails", async || Some(mails(&folder)).filter(has_all)).await;
    for said in troubles {
        assert_eq!(told.iter().filter(|mail| mail.contains(said)).count(), 1, "{said} in {told:?}");
    }
    assert!(told.iter().all(|mail| mail.contains(&format!("To: {ANN}"))));
    browser.find_text("a", "Show why").await.click().await.unwrap();
    browser.says("the key has expired").await;
    assert!(!browser.text().await.contains("The server desk cannot be reached"));

    browser.visit(url).await;
    browser.says("The server desk cannot be reached").await;
    std::fs::remove_file(sitting.world.path("broken")).unwrap();
    within_looks("the metric is up again", async || up().await.filter(|up| up == "1")).await;
    within_looks("the notice goes", async || (!browser.text().await.contains("The server desk")).then_some(())).await;
    assert_eq!(mails(&folder).len(), told.len(), "that it is over is no mail");
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}
