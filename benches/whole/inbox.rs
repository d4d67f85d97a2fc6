//! What a reviewer waits for with many held calls: the inbox, a later page of it, one call, the same over the API.
//! Called by `main`.

use crate::Options;
use crate::figures::{Table, Times};
use crate::officer::Officer;
use crate::report::Report;
use crate::scene::{Scene, hold, room_for};
use serde_json::json;
use std::time::Duration;

/// Requests for each path.
const REQUESTS: usize = 50;
/// Pages that a later one lies behind.
const PAGES: usize = 100;
/// The default bound of one agent's held calls.
const OF_AGENT: usize = 100;

/// Measures it.
pub async fn run(options: &Options, report: &mut Report) -> Result<(), String> {
    let held = options.held.unwrap_or(10_000);
    let scene = Scene::open(&options.paraph, &room_for(held), held.div_ceil(OF_AGENT)).await;
    hold(scene.askers().await, held, 64, Duration::MAX).await;
    let mut browser = Officer::with_cookie(scene.paraph.address, &scene.paraph.cookie().await).await;
    let mut script = Officer::with_token(scene.paraph.address, &scene.token).await;
    let call = script.held(1).await.remove(0);
    let later = later(&mut browser).await;
    let how = format!(
        "{held} held calls, one reviewer, one connection, {REQUESTS} requests each, without compression; the first byte is the answer's head. Default bounds but for `hold.max_held`."
    );
    let mut table = Table::new("inbox", &["path", "first byte p50 ms", "p99 ms", "KB"]);
    for (name, path, by_browser) in [
        ("/ (inbox)", "/".to_owned(), true),
        ("/?cursor=… (a later page)", later, true),
        ("/calls/{id}", format!("/calls/{call}"), true),
        ("/api/v1/calls?state=held", "/api/v1/calls?state=held".to_owned(), false),
        ("/api/v1/calls?state=held&limit=200", "/api/v1/calls?state=held&limit=200".to_owned(), false),
    ] {
        let who = if by_browser { &mut browser } else { &mut script };
        let (times, bytes) = ask(who, &path, REQUESTS).await;
        table.row(vec![json!(name), json!(times.p50()), json!(times.p99()), json!(bytes as f64 / 1e3)]);
    }
    table.print(report, &how);
    Ok(())
}

/// Asks so often; the times to the first byte, and the size of the last answer.
pub async fn ask(who: &mut Officer, path: &str, requests: usize) -> (Times, usize) {
    let (mut times, mut bytes) = (Times::default(), 0);
    for _ in 0..requests {
        let (body, took) = who.get(path).await;
        times.add(took);
        bytes = body.len();
    }
    (times, bytes)
}

/// Follows the link to the next page again and again.
async fn later(browser: &mut Officer) -> String {
    let mut path = "/".to_owned();
    for _ in 0..PAGES {
        let (page, _) = browser.get(&path).await;
        let page = String::from_utf8_lossy(&page);
        let Some((_, rest)) = page.split_once("cursor=") else { break };
        let cursor = rest.split(['"', '&']).next().unwrap_or_default();
        path = format!("/?show=needs&cursor={cursor}");
    }
    path
}
