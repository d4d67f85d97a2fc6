//! A walk along every route, as OWASP's verification standard asks for: who may do what, in one table that a new route has
//! to be written into; and what requests that are no browser's get: other methods, other types, fields too many, other
//! people's things.

use super::api::body;
use super::desk::form;
use super::*;
use crate::fakes::ManualClock;
use paraph::domain::people::Person;
use paraph::gate::{Gate, Settings};
use paraph::store::{Change, Kind, Row, Store as _, Views as _};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nobody, a reviewer of the call's group, an auditor, an operator. `-` is 401, `x` 403, `0` 404, `o` everything that means
/// "you may ask this"; the call asked for is one that the reviewer decides, the person somebody else.
const WALK: &str = include_str!("walk.txt");

const ROLES: [Option<&str>; 4] = [None, Some("ann@example.org"), Some("aud@example.org"), Some("olga@example.org")];

/// Every method and path of the pages and of the API, read from where they are mounted.
fn mounted() -> Vec<String> {
    let sources = [include_str!("../../../src/web/mod.rs"), include_str!("../../../src/web/api/mod.rs")].concat();
    let route = Regex::new(r#"\.route\("([^"]+)", (.+)\);?\n"#).unwrap();
    let method = Regex::new(r"\b(get|post|put|patch|delete|any|on)\(").unwrap();
    let routes: Vec<String> = route
        .captures_iter(&sources)
        .flat_map(|found| method.captures_iter(&found[2]).map(|method| format!("{} {}", method[1].to_uppercase(), &found[1])).collect::<Vec<_>>())
        .collect();
    assert_eq!(sources.matches(".route(").count(), route.find_iter(&sources).count(), "a route is written in a way that this test does not read");
    routes
}

fn letter(status: StatusCode) -> char {
    match status.as_u16() {
        401 => '-',
        403 => 'x',
        404 => '0',
        200 | 303 | 409 | 410 | 412 | 422 | 428 => 'o',
        other => panic!("{other}"),
    }
}

/// What this role gets on a desk of its own, where a call of this tool is held.
async fn asked(route: &str, role: Option<&str>, tool: &str) -> char {
    let desk = Desk::open().await;
    let call = desk.ask(tool, &json!({"to": "@bob", "text": "hi"})).await.call().clone();
    let ben = desk.gate.people().await.unwrap().into_iter().find(|its| its.email == "ben@example.org").unwrap();
    let (method, path) = route.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let id = if path.starts_with("/people") { ben.id() } else { call.to_string() };
    let path = path.replace("{id}", &id).replace("{name}", if path.starts_with("/static") { "app.css" } else { "support-bot" }).replace("{secret}", "pl_x");
    let request = desk.request(method.clone(), &path).header("origin", &desk.url);
    let request = match (role, path.starts_with("/api/")) {
        (Some(email), true) => request.bearer_auth(desk.token(email).await),
        (Some(email), false) => request.header("cookie", desk.sign_in(email).await.cookie),
        (None, _) => request,
    };
    let cookie = request.try_clone().unwrap().build().unwrap().headers().get("cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
    let request = match (method == Method::POST, cookie) {
        (true, Some(cookie)) => request.body(form(&[
            ("csrf", &Gate::form_token(cookie.split_once('=').unwrap().1)),
            ("verdict", "reject"),
            ("reason", "no"),
            ("sent", "no"),
            ("version", "1"),
        ])),
        (true, None) if path.starts_with("/api/") => request.header("content-type", "application/json").body("{}"),
        (true, None) => request.body("x=y"),
        (false, _) => request,
    };
    letter(request.send().await.unwrap().status())
}

#[tokio::test]
async fn every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let table: BTreeMap<&str, &str> =
        WALK.lines().filter(|line| !line.is_empty()).map(|line| line.rsplit_once(' ').unwrap()).map(|(route, who)| (route.trim(), who)).collect();
    assert_eq!(table.len(), WALK.lines().filter(|line| !line.is_empty()).count(), "a route stands in the table twice");
    let mounted = mounted();
    let mut faults: Vec<String> =
        table.keys().filter(|route| !mounted.iter().any(|its| its == *route)).map(|route| format!("no such route: {route}")).collect();
    for route in &mounted {
        let mut who = String::new();
        for role in ROLES {
            who.push(asked(route, role, "send_dm").await);
        }
        if table.get(route.as_str()) != Some(&who.as_str()) {
            faults.push(format!("{route} {who}"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[tokio::test]
async fn a_call_of_another_group_is_there_on_no_route() {
    let routes: Vec<String> = mounted().into_iter().filter(|route| route.contains("/calls/{id}")).collect();
    assert!(routes.len() >= 12, "{routes:?}");
    for route in routes {
        assert_eq!(asked(&route, Some("ann@example.org"), "send_message").await, '0', "{route}");
    }
}

#[tokio::test]
async fn a_session_cookie_opens_no_api_and_a_token_no_page() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let ann = desk.sign_in("ann@example.org").await;
    for (method, path) in
        [(Method::GET, "/api/v1/calls".to_owned()), (Method::POST, format!("/api/v1/calls/{id}/decision")), (Method::POST, "/api/v1/pause".into())]
    {
        assert_eq!(ann.request(method, &path).body("{}").send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let token = desk.token("ann@example.org").await;
    assert_eq!(desk.api(&token, Method::GET, "/", None).await.status(), StatusCode::UNAUTHORIZED);
    let as_cookie = desk.request(Method::GET, "/").header("cookie", format!("paraph_session={token}"));
    assert_eq!(as_cookie.send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "a token is no session");
    let secret = ann.cookie.split_once('=').unwrap().1;
    assert_eq!(desk.api(secret, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::UNAUTHORIZED, "a session is no token");
    // Neither from the address of the page.
    for path in [format!("/api/v1/calls?access_token={token}"), format!("/?session={secret}")] {
        assert_eq!(desk.request(Method::GET, &path).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_the_headers_of_a_page_and_no_origin_is_let_in_by_name() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    for method in ["TRACE", "OPTIONS", "PUT", "DELETE", "PATCH", "PROPFIND", "GETX"] {
        for path in ["/", "/people", "/account/mail", "/static/app.css", "/api/v1/calls", "/sign-in/link"] {
            let request = ann.request(method.parse().unwrap(), path).header("origin", &desk.url).header("x-planted", "echo-me");
            let request = request.header("access-control-request-method", "POST");
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            let headers = answer.headers().clone();
            assert_eq!((&headers["x-content-type-options"], &headers["cache-control"]), (&"nosniff".parse().unwrap(), &"no-store".parse().unwrap()));
            assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control")), "{method} {path}: {headers:?}");
            assert!(!answer.text().await.unwrap().contains("echo-me"), "{method} {path}");
        }
    }
    for (path, origin) in [("/api/v1/calls", "https://evil.example"), ("/", "null"), ("/static/app.css", "https://evil.example")] {
        let answer = ann.request(Method::GET, path).header("origin", origin).send().await.unwrap();
        assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control")), "{path}");
    }
}

#[tokio::test]
async fn a_body_of_another_type_and_a_field_that_comes_twice_change_nothing_that_was_not_meant() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let csrf = Gate::form_token(ann.cookie.split_once('=').unwrap().1);
    let mail = async || match desk.store.row(Kind::Person, "ann@example.org").await.unwrap() {
        Some(Row::Person(person)) => format!("{:?}", person.mail),
        _ => panic!("no Ann"),
    };
    // What a foreign page can post without asking first, and what it cannot; none of them knows the form's token.
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json"] {
        let bodies =
            ["mail=off".to_owned(), r#"{"mail":"off","csrf":""}"#.into(), "--x\r\ncontent-disposition: form-data; name=\"mail\"\r\n\r\noff\r\n--x--".into()];
        for body in bodies {
            let answer = ann.request(Method::POST, "/account/mail").header("content-type", kind).body(body).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{kind}");
        }
    }
    // The form's token counts in the body alone, and of two fields the first, wherever it is read.
    let twice = [("csrf", "x"), ("csrf", csrf.as_str()), ("mail", "off")];
    assert_eq!(ann.post("/account/mail", &twice).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ann.post(&format!("/account/mail?csrf={csrf}&mail=off"), &[("mail", "off")]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ann.post("/account/mail?mail=off", &[("csrf", &csrf)]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(mail().await, "Each");
    assert_eq!(ann.post("/account/mail?mail=off", &[("csrf", &csrf), ("mail", "digest"), ("mail", "off")]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(mail().await, "Digest");
    // A query that says a thing twice is refused, and so is JSON.
    let token = desk.token("ann@example.org").await;
    assert_eq!(ann.get("/?show=sent&show=rejected").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(desk.api(&token, Method::GET, "/api/v1/calls?limit=1&limit=2", None).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let olga = desk.token("olga@example.org").await;
    let request = desk.request(Method::POST, "/api/v1/pause").bearer_auth(&olga).body(r#"{"reason":"a","reason":"b"}"#);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn fields_that_a_form_does_not_have_change_nothing() {
    let desk = Desk::open().await;
    let (ann, olga) = (desk.sign_in("ann@example.org").await, desk.sign_in("olga@example.org").await);
    let person = async |email: &'static str| match desk.store.row(Kind::Person, email).await.unwrap() {
        Some(Row::Person(person)) => person,
        _ => panic!("nobody"),
    };
    let before = person("ann@example.org").await;
    let csrf = Gate::form_token(ann.cookie.split_once('=').unwrap().1);
    let more = [
        ("csrf", csrf.as_str()),
        ("mail", "digest"),
        ("email", "olga@example.org"),
        ("role", "operator"),
        ("groups", "board"),
        ("second_factor", "true"),
        ("revision", "99"),
        ("disabled_at", ""),
    ];
    assert_eq!(ann.post("/account/mail", &more).await.0, StatusCode::SEE_OTHER);
    let after = person("ann@example.org").await;
    assert_eq!((after.role, &after.groups, after.second_factor, after.revision), (before.role, &before.groups, false, before.revision + 1));
    assert_eq!(format!("{:?}", person("olga@example.org").await.mail), "Each");

    // An operator's form changes name, role and groups: neither the address nor how somebody gets in.
    let csrf = Gate::form_token(olga.cookie.split_once('=').unwrap().1);
    let revision = after.revision.to_string();
    let more = [
        ("csrf", csrf.as_str()),
        ("revision", revision.as_str()),
        ("name", "Ann"),
        ("role", "reviewer"),
        ("groups", "desk"),
        ("email", "eve@example.org"),
        ("mail", "off"),
        ("second_factor", "true"),
        ("disabled_at", "2020-01-01T00:00:00Z"),
        ("added_at", "2020-01-01T00:00:00Z"),
    ];
    assert_eq!(olga.post(&format!("/people/{}", after.id()), &more).await.0, StatusCode::SEE_OTHER);
    let last = person("ann@example.org").await;
    assert_eq!((last.name.as_deref(), last.mail, last.second_factor, last.disabled_at, last.added_at), (Some("Ann"), after.mail, false, None, after.added_at));

    // The API names what it does not know.
    let token = desk.token("olga@example.org").await;
    let refused = desk.api(&token, Method::POST, "/api/v1/agents", Some(json!({"name": "x", "token": "pa_mine"}))).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body(refused).await["detail"].as_str().unwrap().contains("nothing else"));
}

#[tokio::test]
async fn other_peoples_sessions_and_tokens_are_reached_by_no_id() {
    let desk = Desk::open().await;
    let (ann, ben) = (desk.sign_in("ann@example.org").await, desk.sign_in("ben@example.org").await);
    let (bens, _another) = (desk.token("ben@example.org").await, desk.sign_in("ben@example.org").await);
    let csrf = Gate::form_token(ann.cookie.split_once('=').unwrap().1);
    let (_, page) = ben.get("/account").await;
    let ids: Vec<String> = Regex::new(r#"name="id" value="([^"]+)""#).unwrap().captures_iter(&page).map(|found| found[1].to_owned()).collect();
    assert!(ids.len() >= 2, "{page}");
    for id in &ids {
        for path in ["/account/sessions/end", "/account/tokens/revoke", "/account/passkeys/remove"] {
            assert_eq!(ann.post(path, &[("csrf", &csrf), ("id", id)]).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        }
    }
    assert_eq!(ben.get("/account").await.0, StatusCode::OK);
    assert_eq!(desk.api(&bens, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn signing_out_leaves_nothing_behind_in_the_browser() {
    let desk = Desk::open().await;
    for path in ["/sign-out", "/account/sign-out"] {
        let ann = desk.sign_in("ann@example.org").await;
        let csrf = Gate::form_token(ann.cookie.split_once('=').unwrap().1);
        let answer = ann.request(Method::POST, path).header("origin", &desk.url).body(form(&[("csrf", &csrf)])).send().await.unwrap();
        assert_eq!(answer.headers()["clear-site-data"], "\"cache\", \"storage\"", "{path}");
        assert!(answer.headers()["set-cookie"].to_str().unwrap().starts_with("paraph_session=; Path=/; Max-Age=0;"), "{path}");
    }
}

#[test]
fn scripts_of_the_pages_make_no_code_of_text_and_keep_nothing() {
    for script in [include_str!("../../../static/live.js"), include_str!("../../../static/passkey.js")] {
        for word in ["localStorage", "sessionStorage", "indexedDB", "document.cookie", "innerHTML", "outerHTML", "insertAdjacentHTML"] {
            assert!(!script.contains(word), "{word}");
        }
        for word in ["document.write", "eval(", "new Function", "postMessage", "onpaste", "\"paste\"", "__proto__", "http://", "https://"] {
            assert!(!script.contains(word), "{word}");
        }
    }
}

#[tokio::test]
async fn each_of_the_four_cookies_is_for_this_host_over_https_and_for_no_script() {
    let desk = Desk::with(HoldSettings::default(), "https://paraph.example.org", 5).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut look = |answer: &reqwest::Response| {
        for cookie in answer.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().to_owned()) {
            let (name, rest) = cookie.split_once('=').unwrap();
            assert!(rest.contains("; Path=/; Max-Age=") && rest.ends_with("; HttpOnly; SameSite=Lax; Secure") && !rest.contains("Domain"), "{cookie}");
            seen.insert(name.to_owned());
        }
    };
    let request = |method, path: &str| desk.request(method, path).header("host", "paraph.example.org");
    look(&request(Method::GET, "/audit").send().await.unwrap());
    for second_factor in [false, true] {
        let Some(Row::Person(person)) = desk.store.row(Kind::Person, "ann@example.org").await.unwrap() else { panic!("no Ann") };
        let row = Row::Person(Person { revision: person.revision + 1, second_factor, ..person });
        desk.store.commit(Change { rows: vec![row], ..Change::of_facts(desk.gate.clock().now(), Vec::new()) }).await.unwrap();
        let link = desk.gate.make_link("ann@example.org").await.unwrap();
        look(&request(Method::POST, &format!("/sign-in/{link}")).send().await.unwrap());
    }
    let all = ["device", "half_way", "session", "wanted"].map(|name| format!("__Host-paraph_{name}"));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn a_password_of_any_kind_counts_as_it_was_typed_and_for_years_and_its_fields_help() {
    let clock = Arc::new(ManualClock::default());
    let desk = Desk::at_the_door(Settings::default(), clock.clone()).await;
    let ann = desk.sign_in("ann@example.org").await;
    let csrf = Gate::form_token(ann.cookie.split_once('=').unwrap().1);
    let long = format!(" {} \u{20ac}\u{1f511} fuchs ", "wintermantel ".repeat(10));
    assert!(long.chars().count() > 128);
    let set = [("csrf", csrf.as_str()), ("new", long.as_str()), ("again", long.as_str())];
    assert_eq!(ann.post("/account/password", &set).await.0, StatusCode::SEE_OTHER);
    let entrance = desk.request(Method::GET, "/sign-in").send().await.unwrap().text().await.unwrap();
    let page = format!("{}{entrance}", ann.get("/account").await.1);
    let fields: Vec<&str> =
        page.split("<input ").filter(|field| ["password", "new", "again", "old"].iter().any(|name| field.contains(&format!("name=\"{name}\"")))).collect();
    assert!(fields.len() >= 3, "{page}");
    for field in fields {
        let field = field.split('>').next().unwrap();
        assert!(field.contains("type=\"password\"") && (field.contains("\"current-password\"") || field.contains("\"new-password\"")), "{field}");
        assert!(!field.contains("pattern") && !field.contains("value="), "{field}");
    }
    for word in ["hint", "secret question", "mother"] {
        assert!(!page.to_lowercase().contains(word), "{word}");
    }
    clock.advance(Duration::from_secs(400 * 24 * 3600));
    let typed = async |password: &str| {
        let fields = [("address", "ann@example.org"), ("password", password)];
        desk.request(Method::POST, "/sign-in/password").header("origin", &desk.url).body(form(&fields)).send().await.unwrap().status()
    };
    assert_eq!(typed(&long).await, StatusCode::SEE_OTHER, "a password does not grow old");
    for other in [long.trim(), long.to_uppercase().as_str(), &long[..long.len() - 1], &format!("{long} ")] {
        assert_eq!(typed(other).await, StatusCode::UNAUTHORIZED, "{other}");
    }
}

#[tokio::test]
async fn every_secret_has_256_random_bits_and_is_kept_as_a_digest() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let session = ann.cookie.split_once('=').unwrap().1.to_owned();
    let mut secrets = vec![session];
    for _ in 0..20 {
        secrets.push(desk.gate.make_link("ann@example.org").await.unwrap());
        secrets.push(desk.token("ann@example.org").await);
    }
    for secret in &secrets {
        let (kind, bits) = secret.split_once('_').unwrap();
        // 43 letters of base64 are 256 bits.
        assert!(["ps", "pl", "pt"].contains(&kind) && bits.len() == 43, "{secret}");
    }
    let rows = desk.store.rows(Kind::Credential, None, 1000).await.unwrap();
    assert!(rows.len() >= secrets.len());
    let kept = format!("{rows:?}");
    let distinct: std::collections::BTreeSet<&String> = secrets.iter().collect();
    assert!(distinct.len() == secrets.len() && secrets.iter().all(|secret| !kept.contains(secret.as_str())));
}

#[tokio::test]
async fn what_a_browser_loads_on_a_guess_was_shown_to_nobody() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let (ann, olga) = (desk.sign_in("ann@example.org").await, desk.sign_in("olga@example.org").await);
    let [_, digest, version] = olga.open(&id).await;
    for purpose in ["prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip"] {
        let answer = ann.request(Method::GET, &format!("/calls/{id}")).header("sec-purpose", purpose).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{purpose}");
        assert!(!answer.text().await.unwrap().contains("@bob"));
    }
    let csrf = ("csrf", Gate::form_token(ann.cookie.split_once('=').unwrap().1));
    let shown = [csrf, digest, version];
    assert_eq!(ann.decide(&id, &shown, "reject", "no").await.0, StatusCode::PRECONDITION_REQUIRED);
    // The refusal showed the call.
    assert_eq!(ann.decide(&id, &shown, "reject", "no").await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn one_signs_out_from_every_page() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let olga = desk.sign_in("olga@example.org").await;
    let people = format!("/people/{}", desk.gate.people().await.unwrap()[0].id());
    let call = format!("/calls/{id}");
    for path in ["/", &call, "/pause", "/audit", "/servers", "/config", "/limits", "/people", &people, "/agents", "/agents/support-bot", "/account", "/nowhere"]
    {
        let page = olga.get(path).await.1;
        // Who is nowhere is not asked who they are.
        assert_eq!(page.contains("action=\"/sign-out\""), path != "/nowhere", "{path}");
    }
}

#[tokio::test]
async fn who_lost_every_passkey_is_let_in_again_by_an_operator_who_knows_them() {
    let desk = Desk::open().await;
    let Some(Row::Person(person)) = desk.store.row(Kind::Person, "ann@example.org").await.unwrap() else { panic!("no Ann") };
    let row = Row::Person(Person { revision: person.revision + 1, second_factor: true, ..person });
    desk.store.commit(Change { rows: vec![row], ..Change::of_facts(desk.gate.clock().now(), Vec::new()) }).await.unwrap();
    let landed = async || {
        let link = desk.gate.make_link("ann@example.org").await.unwrap();
        let answer = desk.request(Method::POST, &format!("/sign-in/{link}")).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(landed().await, "/sign-in/second");
    let olga = desk.gate.registrar();
    // Letting somebody in again asks for the second step as before; only taking the passkeys away ends it.
    olga.disable_person("ann@example.org", None).await.unwrap();
    olga.enable_person("ann@example.org").await.unwrap();
    assert_eq!(landed().await, "/sign-in/second");
    olga.remove_passkeys("ann@example.org").await.unwrap();
    assert_eq!(landed().await, "/");
    let entries = desk.store.entries(1, 1000).await.unwrap();
    let told: Vec<_> = entries.iter().filter(|entry| entry.kind == "passkey.removed").collect();
    assert!(told.len() == 1 && told[0].actor == "operator" && told[0].data["person"] == json!("ann@example.org"), "{told:?}");
}
