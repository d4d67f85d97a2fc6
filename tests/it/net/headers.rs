//! What every answer of the real program tells a browser, whichever part gives it; and who asked in vain, in its log.

use crate::world::{World, http};
use reqwest::Method;

const ANN: &str = "ann@example.org";

#[tokio::test]
async fn every_answer_of_every_part_binds_a_browser() {
    let world = World::with_demo_server("");
    world.listen("public_url = \"https://paraph.example.org\"");
    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config.replacen("[listen]\n", "[listen]\nmetrics = \"127.0.0.1:0\"\n", 1)).unwrap();
    let (agent, token) = (world.agent("bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let log = gateway.log();
    let apart = log.lines().find_map(|line| line.split("metrics=").nth(1)).unwrap().trim().to_owned();
    let url = |path: &str| format!("{}{path}", gateway.url);
    let rows = [
        (200, http().get(url("/healthz"))),
        (200, http().get(url("/readyz"))),
        (405, http().post(url("/healthz"))),
        (401, http().get(url("/metrics"))),
        (200, http().get(url("/metrics")).bearer_auth(&token)),
        (200, http().get(apart)),
        (401, http().post(url("/mcp/demo"))),
        (404, http().post(url("/mcp/none")).bearer_auth(&agent)),
        (405, http().put(url("/mcp/demo")).bearer_auth(&agent)),
        (405, http().request(Method::TRACE, url("/mcp/demo")).bearer_auth(&agent)),
        (413, http().post(url("/mcp/demo")).bearer_auth(&agent).body("x".repeat(5 << 20))),
        (403, http().get(url("/healthz?x")).header("host", "evil.example").header("x-row", "answered")),
        (403, http().get(url("/")).header("host", "evil.example")),
        (401, http().get(url("/"))),
        (401, http().get(url("/live"))),
        (404, http().get(url("/nowhere"))),
        (404, http().get(url("/%ff"))),
        (404, http().get(url("/static/none"))),
        (200, http().get(url("/static/app.css"))),
        (405, http().request(Method::TRACE, url("/"))),
        (413, http().post(url("/sign-in/link")).body("x".repeat(64 << 10))),
        (410, http().get(url("/sign-in/pl_x"))),
        (401, http().get(url("/api/v1/calls"))),
        (200, http().get(url("/api/v1/events")).bearer_auth(&token)),
        (200, http().get(url("/api/openapi.json"))),
    ];
    for (number, (status, request)) in rows.into_iter().enumerate() {
        let probe = request.try_clone().unwrap().build().unwrap().headers().contains_key("x-row");
        let answer = request.send().await.unwrap();
        // Probes use addresses, so they are answered under any name.
        assert_eq!(answer.status().as_u16(), if probe { 200 } else { status }, "row {number}");
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_else(|| panic!("row {number} has no {name}"));
        assert_eq!((header("x-content-type-options").as_str(), header("referrer-policy").as_str()), ("nosniff", "no-referrer"), "row {number}");
        let policy = header("content-security-policy");
        let whole = ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"].iter().all(|part| policy.contains(part));
        assert!(whole && !policy.contains("unsafe"), "row {number}: {policy}");
        assert_eq!(header("cross-origin-resource-policy"), "same-origin", "row {number}");
        assert!(!header("cache-control").is_empty());
        if answer.url().as_str().starts_with(&gateway.url) {
            assert_eq!(header("strict-transport-security"), "max-age=31536000", "row {number}");
        }
        for quiet in ["server", "x-powered-by", "access-control-allow-origin"] {
            assert!(!answer.headers().contains_key(quiet), "row {number}: {quiet}");
        }
        // What is a text says in which letters; JSON has but one.
        if let Some(kind) = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()) {
            let told = kind.ends_with("charset=utf-8") || kind.ends_with("json") || kind == "text/event-stream" || kind == "image/svg+xml";
            assert!(told, "row {number}: {kind}");
        } else {
            assert_eq!(answer.content_length(), Some(0), "row {number}: a body of no type");
        }
    }
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn the_log_says_who_asked_for_what_they_may_not_have_and_repeats_nothing_of_it() {
    let world = World::with_demo_server("");
    let token = world.reviewer(ANN).await;
    let gateway = world.serve().await;
    let line = "somebody asked for what they may not have";
    for (method, path) in [(Method::GET, "/api/v1/people"), (Method::GET, "/api/v1/people?planted\r\nforged"), (Method::POST, "/api/v1/agents/planted/revoke")]
    {
        let path = path.replace('\r', "%0d").replace('\n', "%0a");
        let answer =
            http().request(method, format!("{}{path}", gateway.url)).bearer_auth(&token).header("user-agent", "planted").body("{}").send().await.unwrap();
        assert_eq!(answer.status(), reqwest::StatusCode::FORBIDDEN, "{path}");
    }
    // Strangers write no line: they are not let in before anybody knows what they may have.
    http().get(format!("{}/", gateway.url)).header("host", "evil.example").send().await.unwrap();
    http().get(format!("{}/api/v1/people", gateway.url)).bearer_auth("pt_planted").send().await.unwrap();
    let log = gateway.log();
    let told: Vec<&str> = log.lines().filter(|its| its.contains(line)).collect();
    assert_eq!(told.len(), 3, "{log}");
    assert!(told[2].contains("path=\"/api/v1/agents/{name}/revoke\"") && told.iter().all(|its| its.contains("person=")), "{told:?}");
    // Each line begins with its moment in UTC.
    let moment = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z +INFO ").unwrap();
    assert!(told.iter().all(|its| moment.is_match(its)), "{told:?}");
    assert!(!log.contains("planted") && !log.contains("forged") && !log.contains(ANN) && !log.contains(&token), "{log}");
    assert!(gateway.stop().await);
}
