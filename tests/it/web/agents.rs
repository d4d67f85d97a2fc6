//! The pages and the API of agents: a token that is shown once, edits, rotation, and an end that says what it withdraws.

use super::api::body;
use super::*;

fn secret(page: &str) -> String {
    page.split_once("aria-label=\"Token\">").unwrap().1.split_once('<').unwrap().0.to_owned()
}

#[tokio::test]
async fn an_agent_is_added_its_token_shown_once_with_the_clients_entry_and_never_again() {
    let desk = Desk::open().await;
    let olga = desk.sign_in("olga@example.org").await;
    let (_, page) = olga.get("/agents").await;
    assert!(page.contains("support-bot") && page.contains("every server") && page.contains("<option value=\"ann@example.org\">"), "{page}");
    let csrf = hidden(&page, "csrf");
    let new = [("csrf", csrf.as_str()), ("name", "mail-bot"), ("server", "demo"), ("owner", "Ann@example.org"), ("keep_open", "4m"), ("expires", "90d")];
    let answer = olga.request(Method::POST, "/agents").header("origin", &desk.url);
    let sent: Vec<String> = new.iter().map(|(key, value)| format!("{key}={}", value.replace('@', "%40"))).collect();
    let answer = answer.body(sent.join("&")).send().await.unwrap();
    assert_eq!((answer.status(), answer.headers()["cache-control"].as_bytes()), (StatusCode::OK, &b"no-store"[..]));
    let page = answer.text().await.unwrap();
    let token = secret(&page);
    assert!(token.starts_with("pa_") && page.contains(&format!("{}/mcp/demo", desk.url)), "{page}");
    let agent = desk.gate.agent_by_token(&token).await.unwrap().unwrap();
    assert_eq!(
        (agent.owner.as_deref(), agent.keep_open, agent.servers.as_slice()),
        (Some("ann@example.org"), Some(Duration::from_secs(240)), &["demo".to_owned()][..])
    );
    for path in ["/agents", "/agents/mail-bot", "/audit"] {
        let (status, page) = olga.get(path).await;
        assert!(status == StatusCode::OK && !page.contains(&token), "{path}");
    }
    assert_eq!(olga.post("/agents", &new).await.0, StatusCode::CONFLICT, "the form sent twice");
    let entries = desk.reviewer("olga@example.org").await.entries(1, 1000).await.unwrap();
    assert!(entries.iter().any(|entry| entry.kind == "agent.added" && entry.actor == "person:olga@example.org"));
}

#[tokio::test]
async fn an_agent_is_changed_rotated_and_revoked_and_what_waits_of_it_is_said_before() {
    let desk = Desk::open().await;
    let mut seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "hi"})).await;
    let olga = desk.sign_in("olga@example.org").await;
    let (_, page) = olga.get("/agents/support-bot").await;
    assert!(page.contains("<b>One open call</b> is withdrawn") && page.contains("last used"), "{page}");
    let (csrf, revision) = (hidden(&page, "csrf"), hidden(&page, "revision"));
    let edit = [("csrf", csrf.as_str()), ("revision", revision.as_str()), ("every", "yes"), ("owner", "ann@example.org"), ("keep_open", "90s")];
    assert_eq!(olga.post("/agents/support-bot", &edit).await.0, StatusCode::SEE_OTHER);
    let (status, page) = olga.post("/agents/support-bot", &edit).await;
    assert!(status == StatusCode::CONFLICT && page.contains("Somebody else has changed this"));
    assert!(olga.get("/agents/support-bot").await.1.contains("value=\"90s\""));
    let narrow = [("csrf", csrf.as_str()), ("revision", "2"), ("keep_open", "90s")];
    let (status, page) = olga.post("/agents/support-bot", &narrow).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("Choose either every server or the ones"), "no server at all became every one: {page}");
    let id = seat.call().clone();
    assert!(olga.get(&format!("/calls/{id}")).await.1.contains("owned by ann@example.org"));
    let (status, page) = olga.post("/agents/support-bot/rotate", &[("csrf", &csrf)]).await;
    assert_eq!(status, StatusCode::OK);
    let token = secret(&page);
    assert!(page.contains("one hour more") && desk.gate.agent_by_token(&token).await.unwrap().is_some());
    assert!(olga.get("/agents/support-bot").await.1.contains("The one before it counts until"));
    assert_eq!(olga.post("/agents/support-bot/revoke", &[("csrf", "wrong")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(olga.post("/agents/support-bot/revoke", &[("csrf", &csrf)]).await.0, StatusCode::SEE_OTHER);
    seat.settled().await.unwrap();
    desk.settled(&id, "withdrawn").await;
    assert!(desk.gate.agent_by_token(&token).await.unwrap().is_none());
    let (_, page) = olga.get("/agents/support-bot").await;
    assert!(page.contains(">revoked</span>") && !page.contains("<form class=\"fields\""));
    for action in ["", "/rotate", "/revoke"] {
        let form = [("csrf", csrf.as_str()), ("revision", "9"), ("every", "yes")];
        assert_eq!(olga.post(&format!("/agents/support-bot{action}"), &form).await.0, StatusCode::NOT_FOUND, "{action}");
    }
}

#[tokio::test]
async fn forms_of_agents_that_cannot_be_are_refused() {
    let desk = Desk::open().await;
    let (olga, ann) = (desk.sign_in("olga@example.org").await, desk.sign_in("ann@example.org").await);
    let csrf = hidden(&olga.get("/agents").await.1, "csrf");
    let long = "x".repeat(10_000);
    for (name, server, owner, keep_open, status) in [
        ("support-bot", "", "", "", 409),
        ("", "", "", "", 422),
        ("..", "", "", "", 422),
        ("a\u{202e}b", "", "", "", 422),
        (long.as_str(), "", "", "", 422),
        ("bot", "dmeo", "", "", 422),
        ("bot", "none", "", "", 422),
        ("bot", "demo every", "", "", 422),
        ("bot", "", "nobody in particular", "", 422),
        ("bot", "", "", "soon", 422),
        ("bot", "", "", "0s", 422),
    ] {
        let (every, server) = match server {
            "" => ("yes", ""),
            "none" => ("", ""),
            "demo every" => ("yes", "demo"),
            server => ("", server),
        };
        let form = [("csrf", csrf.as_str()), ("name", name), ("every", every), ("server", server), ("owner", owner), ("keep_open", keep_open)];
        let (answered, page) = olga.post("/agents", &form).await;
        assert_eq!(answered.as_u16(), status, "{name:.20} {server} {owner} {keep_open}");
        assert!(page.contains("Nothing was changed"));
    }
    let theirs = hidden(&ann.get("/").await.1, "csrf");
    for path in ["/agents", "/agents/support-bot", "/agents/support-bot/rotate", "/agents/support-bot/revoke"] {
        assert_eq!(ann.post(path, &[("csrf", &theirs), ("name", "bot"), ("revision", "1")]).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(desk.gate.agents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn scripts_of_operators_manage_agents_and_others_do_not() {
    let desk = Desk::open().await;
    let (olga, ann, aud) = (desk.token("olga@example.org").await, desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    let held = desk.hold("hi").await;
    for (token, method, path, sent, status) in [
        (&ann, Method::GET, "/api/v1/agents", None, 403),
        (&aud, Method::GET, "/api/v1/agents", None, 200),
        (&aud, Method::POST, "/api/v1/agents", Some(json!({"name": "bot"})), 403),
        (&aud, Method::POST, "/api/v1/agents/support-bot/revoke", None, 403),
        (&ann, Method::POST, "/api/v1/agents/support-bot/rotate", None, 403),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "bot", "colour": 1})), 422),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "bot", "servers": "demo"})), 422),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "bot", "servers": ["dmeo"]})), 422),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "bot", "expires": "soon"})), 422),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "support-bot"})), 409),
        (&olga, Method::POST, "/api/v1/agents/none/rotate", None, 404),
        (&olga, Method::POST, "/api/v1/agents/none/revoke", None, 404),
        (&olga, Method::POST, "/api/v1/agents", Some(json!({"name": "bot", "servers": ["demo"], "owner": "ann@example.org", "expires": "1d"})), 201),
    ] {
        let answer = desk.api(token, method, path, sent.clone()).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {sent:?}");
        if status >= 400 {
            assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        }
    }
    let rotated = body(desk.api(&olga, Method::POST, "/api/v1/agents/bot/rotate", None).await).await;
    assert!(desk.gate.agent_by_token(rotated["token"].as_str().unwrap()).await.unwrap().is_some());
    let agents = body(desk.api(&olga, Method::GET, "/api/v1/agents", None).await).await;
    assert!(!agents.to_string().contains("sha256"));
    let (bot, support) = (&agents["agents"][0], &agents["agents"][1]);
    assert_eq!((&bot["name"], &bot["owner"], &support["open_calls"]), (&json!("bot"), &json!("ann@example.org"), &json!(1)));
    assert!(bot["used_at"].is_string() && bot["old_until"].is_string());
    let revoked = body(desk.api(&olga, Method::POST, "/api/v1/agents/support-bot/revoke", None).await).await;
    assert_eq!(revoked, json!({"name": "support-bot", "withdrawn": 1}));
    desk.settled(&held, "withdrawn").await;
}
