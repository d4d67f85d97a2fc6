//! How the configuration stands, told to operators above every page, on a page of its own and over the API.

use super::desk::Desk;
use paraph::config::Mistake;
use paraph::domain::policy::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

fn mistake(line: usize, key: &str, problem: &str) -> Mistake {
    Mistake { file: "config.toml".into(), line, column: 1, key: key.into(), problem: problem.into(), mend: "Mend it.".into() }
}

#[tokio::test]
async fn a_file_with_mistakes_is_told_to_operators_above_every_page_until_it_is_mended() {
    let desk = Desk::open().await;
    let (op, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    let now = desk.gate.clock().now();
    desk.standing.loaded(now - Duration::from_secs(7200), Vec::new());
    assert!(!op.get("/").await.1.contains("The config file has"));
    desk.standing.refuse(now - Duration::from_secs(600), vec![mistake(7, "servers.<b>", "is \"wrong\""), mistake(9, "hold", "is late")]);
    // Still wrong after another write, in another way: since the first.
    desk.standing.refuse(now, vec![mistake(7, "servers.<b>", "is \u{202e}<script>alert(1)</script>"), mistake(0, "", "is late")]);
    for path in ["/", "/audit", "/notices"] {
        let (_, page) = op.get(path).await;
        assert!(page.contains("The config file has 2 mistakes") && page.contains("the gateway runs with the one read"), "{path}");
        assert!(page.contains("10 min ago") && page.contains("2 h ago") && page.contains("href=\"/config\""), "{path}");
        assert!(!ann.get(path).await.1.contains("The config file has"), "{path}");
    }
    let (status, page) = op.get("/config").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("config.toml:7") && page.contains("servers.&#60;b&#62;") && page.contains("&#60;script&#62;") && page.contains("Mend it."), "{page}");
    assert!(page.contains("U+202E") && !page.contains('\u{202e}') && !page.contains("<script>alert"));
    assert!(page.contains(desk.gate.settings().servers["demo"].digest().as_str()));
    assert_eq!(ann.get("/config").await.0, StatusCode::FORBIDDEN);

    desk.standing.loaded(now, vec![mistake(3, "servers.demo.command", "waits")]);
    let (_, page) = op.get("/").await;
    assert!(!page.contains("The config file has") && page.contains("A change</strong>"), "{page}");
    assert!(op.get("/config").await.1.contains("servers.demo.command"));
    desk.standing.loaded(now, Vec::new());
    let (_, page) = op.get("/").await;
    assert!(!page.contains("config file"), "{page}");
}

#[tokio::test]
async fn the_api_tells_operators_what_is_in_force_and_what_is_not() {
    let desk = Desk::open().await;
    let ask = async |email: &str| {
        let token = desk.gate.make_api_token(email, "test", Duration::from_secs(60)).await.unwrap();
        let answer = desk.request(Method::GET, "/api/v1/config").bearer_auth(token).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(ask("ann@example.org").await.0, StatusCode::FORBIDDEN);
    let digests = json!({"demo": desk.gate.settings().servers["demo"].digest()});
    let nothing = json!({"loaded_at": null, "digests": digests, "refused_since": null, "mistakes": [], "needs_restart": []});
    assert_eq!(ask("olga@example.org").await, (StatusCode::OK, nothing));
    let now = desk.gate.clock().now();
    desk.standing.loaded(now, vec![mistake(3, "servers.demo.command", "waits")]);
    desk.standing.refuse(now, vec![mistake(0, "", "is gone")]);
    let view = |line: Value, key: &str, problem: &str| json!([{"file": "config.toml", "line": line, "key": key, "problem": problem, "mend": "Mend it."}]);
    let all = json!({"loaded_at": now, "digests": digests, "refused_since": now, "mistakes": view(json!(null), "", "is gone"), "needs_restart": view(json!(3), "servers.demo.command", "waits")});
    assert_eq!(ask("olga@example.org").await, (StatusCode::OK, all));
}

#[tokio::test]
async fn a_held_call_that_the_rules_refuse_by_now_says_so_before_the_click() {
    let desk = Desk::open().await;
    let (id, ann) = (desk.hold("hi").await, desk.sign_in("ann@example.org").await);
    let page = || async { ann.get(&format!("/calls/{id}")).await.1 };
    assert!(!page().await.contains("refuses this now"));
    let mut settings = desk.gate.settings().as_ref().clone();
    settings.servers.get_mut("demo").unwrap().policy = Policy::default();
    desk.gate.reload(settings).await.unwrap();
    let page = page().await;
    assert!(page.contains("<b>default</b> refuses this now") && page.contains("the call is taken back"), "{page}");
}
