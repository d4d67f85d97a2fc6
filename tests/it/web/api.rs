//! The API of contract.md 3: shapes, status codes, and that its description names every route.

use super::*;

const CALL: [&str; 20] = [
    "id",
    "version",
    "state",
    "server",
    "tool",
    "agent",
    "arguments",
    "digest",
    "rule",
    "reason",
    "message",
    "agent_waiting",
    "held_at",
    "expires_at",
    "release_at",
    "decisions",
    "outcome",
    "last_sent",
    "revises",
    "erased_at",
];

pub(super) async fn body(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_call_has_the_members_of_the_contract_and_a_problem_its_own() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let token = desk.token("ann@example.org").await;
    let list = body(desk.api(&token, Method::GET, "/api/v1/calls?state=held&server=demo&agent=support-bot&limit=1", None).await).await;
    assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), ["calls", "next"]);
    let call = body(desk.api(&token, Method::GET, &format!("/api/v1/calls/{id}"), None).await).await;
    for key in CALL {
        assert!(call.get(key).is_some(), "{key}");
    }
    assert_eq!((&call["message"]["to"], &call["message"]["text"], &call["state"]), (&json!("@bob"), &json!("hi"), &json!("held")));
    let answer = desk.api(&token, Method::GET, "/api/v1/calls/c_none", None).await;
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(body(answer).await.as_object().unwrap().keys().collect::<Vec<_>>(), ["type", "title", "status", "detail", "reference"]);
    for query in ["?state=helt", "?limit=0", "?limit=201", "?limit=x", "?colour=red", "?cursor=x", "?cursor=1", "?cursor="] {
        let answer = desk.api(&token, Method::GET, &format!("/api/v1/calls{query}"), None).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
}

#[tokio::test]
async fn asking_for_the_head_of_a_call_does_not_count_as_having_read_it() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let (token, browser) = (desk.token("ann@example.org").await, desk.sign_in("ann@example.org").await);
    let path = format!("/api/v1/calls/{id}");
    let page = browser.request(Method::HEAD, &format!("/calls/{id}")).send().await.unwrap();
    let api = desk.api(&token, Method::HEAD, &path, None).await;
    assert_eq!((page.status(), api.status()), (StatusCode::OK, StatusCode::OK));
    let call = desk.gate.by_api_token(&token).await.unwrap().unwrap().visible(&id).await.unwrap();
    let approve = json!({"verdict": "approve", "digest": call.digest, "version": 1});
    let blind = desk.api(&token, Method::POST, &format!("{path}/decision"), Some(approve)).await;
    assert_eq!(blind.status(), StatusCode::PRECONDITION_REQUIRED, "no text was served");
}

#[tokio::test]
async fn an_address_or_query_that_cannot_be_read_is_answered_in_the_form_of_its_part() {
    let desk = Desk::open().await;
    let (token, browser) = (desk.token("ann@example.org").await, desk.sign_in("ann@example.org").await);
    for path in ["/api/v1/calls/%ff", "/api/v1/calls/%ff/outcome"] {
        let answer = desk.api(&token, Method::GET, path, None).await;
        assert_eq!((answer.status(), &answer.headers()["content-type"].as_bytes()), (StatusCode::NOT_FOUND, &&b"application/problem+json"[..]), "{path}");
    }
    for (path, status) in [("/calls/%ff", 404), ("/sign-in/%ff", 404), ("/audit?before=soon", 422), ("/?show=done&show=needs", 422)] {
        let answer = browser.request(Method::GET, path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"].as_bytes()), (status, &&b"text/html; charset=utf-8"[..]), "{path}");
    }
}

#[tokio::test]
async fn decisions_answer_in_the_order_of_the_contract() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let hidden_id = desk.ask("send_message", &json!({"to": "@ceo", "message": "x"})).await.call().clone();
    let (ann, aud) = (desk.token("ann@example.org").await, desk.token("aud@example.org").await);
    let path = format!("/api/v1/calls/{id}/decision");
    let digest = desk.gate.by_api_token(&ann).await.unwrap().unwrap().visible(&id).await.unwrap().digest.to_string();
    let good = json!({"verdict": "reject", "digest": digest, "version": 1, "reason": "no"});
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    let nobody = desk.api("pt_wrong", Method::POST, &path, Some(good.clone())).await;
    assert_eq!((nobody.status(), nobody.headers().contains_key("www-authenticate")), (StatusCode::UNAUTHORIZED, true));
    let hidden_path = format!("/api/v1/calls/{hidden_id}/decision");
    for (token, path, body, status) in [
        (&ann, &hidden_path, json!({"nonsense": 1}), 404),
        (&aud, &path, good.clone(), 403),
        (&ann, &path, with("digest", json!("sha256:00")), 412),
        (&ann, &path, with("version", json!(2)), 412),
        (&ann, &path, good.clone(), 428),
    ] {
        assert_eq!(desk.api(token, Method::POST, path, Some(body.clone())).await.status().as_u16(), status, "{body}");
    }
    desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}"), None).await;
    for (body, status) in [
        (with("reason", Value::Null), 422),
        (with("colour", json!("red")), 422),
        (with("verdict", json!("maybe")), 422),
        (with("version", json!("1")), 422),
        (with("arguments", json!({})), 422),
        (json!({"verdict": "approve", "digest": digest, "version": 1, "arguments": null}), 422),
        (json!({"verdict": "request_changes", "digest": digest, "version": 1}), 422),
        (json!({"verdict": "approve", "digest": digest, "version": 1, "arguments": {"to": "@eve"}}), 422),
    ] {
        assert_eq!(desk.api(&ann, Method::POST, &path, Some(body.clone())).await.status().as_u16(), status, "{body}");
    }
    let twice = desk.request(Method::POST, &path).bearer_auth(&ann).body(r#"{"verdict":"reject","verdict":"approve"}"#).send().await.unwrap();
    assert!(matches!(twice.status().as_u16(), 400 | 422));
    let first = desk.request(Method::POST, &path).bearer_auth(&ann).header("paraph-via", "cli").body(good.to_string()).send().await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let call = body(first).await;
    assert_eq!((&call["state"], &call["decisions"][0]["via"], &call["decisions"][0]["by"]), (&json!("rejected"), &json!("cli"), &json!("ann@example.org")));
    for late in [good.clone(), json!({"nonsense": 1})] {
        let second = desk.api(&ann, Method::POST, &path, Some(late)).await;
        assert_eq!(second.status(), StatusCode::CONFLICT);
        assert_eq!(body(second).await["decisions"][0]["by"], "ann@example.org");
    }
    assert_eq!(desk.api(&ann, Method::POST, &format!("/api/v1/calls/{id}/undo"), None).await.status(), StatusCode::CONFLICT);
    assert_eq!(desk.api(&ann, Method::GET, &format!("/api/v1/calls/{id}/outcome"), None).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_audit_comes_as_a_chain_of_lines_and_hides_what_a_reviewer_may_not_see() {
    let desk = Desk::open().await;
    let id = desk.ask("send_message", &json!({"to": "@ceo", "message": "x"})).await.call().clone();
    let (ann, olga) = (desk.token("ann@example.org").await, desk.token("olga@example.org").await);
    let answer = desk.api(&olga, Method::GET, "/api/v1/audit", None).await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.windows(2).all(|pair| pair[1]["prev"] == pair[0]["hash"]) && text.contains(id.as_str()) && !text.contains("@ceo"));
    let two = desk.api(&olga, Method::GET, "/api/v1/audit?from=2&limit=2", None).await.text().await.unwrap();
    assert_eq!(two.lines().collect::<Vec<_>>(), text.lines().skip(1).take(2).collect::<Vec<_>>());
    assert!(!desk.api(&ann, Method::GET, "/api/v1/audit", None).await.text().await.unwrap().contains(id.as_str()));
}

#[tokio::test]
async fn the_description_names_every_route_and_every_route_is_there() {
    let desk = Desk::open().await;
    let described = body(desk.request(Method::GET, "/api/openapi.json").send().await.unwrap()).await;
    let paths = described["paths"].as_object().unwrap();
    let source = include_str!("../../../src/web/api/mod.rs");
    let routed: Vec<&str> = source.split(".route(\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(routed.len() > 5 && routed.len() == paths.len());
    for (path, methods) in paths {
        assert!(routed.contains(&path.as_str()), "{path}");
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let status = desk.request(method, &path.replace("{id}", "c_none")).send().await.unwrap().status();
            assert_eq!(status, if path == "/api/openapi.json" { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, "{path}");
        }
    }
    let members = described["components"]["schemas"]["Call"]["properties"].as_object().unwrap();
    assert!(CALL.iter().all(|key| members.contains_key(*key)));
}

#[test]
fn no_template_prints_anything_unescaped() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let pages: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "html")).collect();
    assert!(pages.len() > 8);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for banned in ["|safe", "| safe", "escape(\"none\")", "<style", " style=", "onclick"] {
            assert!(!text.contains(banned), "{banned} in {}", page.display());
        }
    }
}
