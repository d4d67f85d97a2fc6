//! A message that is masked as a whole, through page, API, mail and terminal: it is never a text that could be edited
//! and leave as a mark. And what an agent writes to look like a mark, what a limit counts by, and what a server repeats.

use super::leaks::PARROT;
use crate::world::{Agent, World, http, until};
use serde_json::{Value, json};

const CODE: &str = "planted-code-5f1e";
const CONFIG: &str = r#"
[servers.parrot.messages.send_code]
to = "/api_key"
text = "/otp"
"#;

fn percent(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[tokio::test]
async fn a_masked_message_is_no_text_to_edit_and_a_mark_in_a_text_never_leaves() {
    let parrot = PARROT.replace("\"send_dm\", \"send_strict\"", "\"send_dm\", \"send_code\", \"send_strict\"");
    let world = World::new(&format!("{parrot}{CONFIG}"));
    let token = world.agent("support-bot").await;
    world.told(&["reviewer", "add", "olga@example.org", "--role", "operator"]).await;
    let person = world.told(&["reviewer", "token", "olga@example.org"]).await;
    std::fs::write(world.path("token"), &person).unwrap();
    let gateway = world.serve().await;
    let desk = gateway.desk(&person);
    let link = world.told(&["reviewer", "link", "olga@example.org"]).await;
    let signed_in = http().post(&link).header("origin", &gateway.url).send().await.unwrap();
    let cookies = signed_in.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    let cookie = cookies.collect::<Vec<_>>().join("; ");
    let page = async |path: &str| http().get(format!("{}{path}", gateway.url)).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
    let terminal = async |id: &str| {
        let file = world.path("token").display().to_string();
        String::from_utf8(world.run(&["calls", "show", id, "--url", &gateway.url, "--token-file", &file]).await.stdout).unwrap()
    };
    let agent = Agent::connect(&gateway.mcp("parrot"), &token).await;

    let waiting = agent.begin("send_code", json!({"api_key": "planted-to-5f1e", "otp": CODE}));
    let call = until("it is held", || async { desk.calls("held").await.pop() }).await;
    let id = call["id"].as_str().unwrap();
    let call = desk.get(&format!("/calls/{id}")).await.1;
    assert_eq!(call["message"]["masked"], json!(["to", "text"]), "{call}");
    assert!(call["message"]["text"].as_str().unwrap().starts_with("a masked value (17 characters, "), "{call}");
    let shown = page(&format!("/calls/{id}")).await;
    assert!(!shown.contains("id=\"edit-text\"") && shown.contains("id=\"edit-arguments\""), "{shown}");
    assert!(shown.contains("<span class=\"masked\">masked, 15 characters, ") && shown.contains("<span class=\"masked\">masked, 17 characters, "), "{shown}");
    assert!(shown.contains("the real value will be sent") && shown.contains("the value has 17 characters") && !shown.contains("exactly like this"), "{shown}");
    assert!(!shown.contains("text of the agent"), "{shown}");
    let told = terminal(id).await;
    assert!(told.contains("a masked value (15 characters, ") && told.contains("what is sent is the value itself"), "{told}");

    // Over the page: the field that is not there, and the JSON.
    let csrf = shown.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0;
    let mark = call["arguments"]["otp"].to_string();
    let arguments = |text: &str| json!({"api_key": call["arguments"]["api_key"], "otp": text}).to_string();
    for (name, value) in [("text", format!("Your code: {mark}")), ("text", format!("{mark} ")), ("arguments", arguments(&format!("Your code: {mark}")))] {
        let form = [
            ("csrf", csrf),
            ("digest", call["digest"].as_str().unwrap()),
            ("version", &call["version"].to_string()),
            ("edit", "1"),
            ("verdict", "approve"),
            (name, &value),
        ];
        let body: String = form.iter().map(|(name, value)| format!("{name}={}&", percent(value))).collect();
        let asked = http().post(format!("{}/calls/{id}/decision", gateway.url)).header("cookie", &cookie).header("origin", &gateway.url);
        let answer = asked.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 422, "{name} {value}");
    }
    let decide = async |arguments: Value| {
        let body = json!({"verdict": "approve", "digest": call["digest"], "version": call["version"], "arguments": arguments});
        desk.post(&format!("/calls/{id}/decision"), &body).await
    };
    for text in [format!("Your code: {mark}"), mark.clone(), format!("Your code: {}", call["message"]["text"].as_str().unwrap())] {
        let (status, answer) = decide(json!({"api_key": call["arguments"]["api_key"], "otp": text})).await;
        assert!(status == 422 && answer.to_string().contains("/otp holds a mark"), "{status} {answer}");
    }
    let mails = until("a mail", || async {
        let files = std::fs::read_dir(world.path("mail")).ok()?;
        files
            .filter_map(Result::ok)
            .find(|file| file.path().extension().is_some_and(|end| end == "eml"))
            .map(|file| std::fs::read_to_string(file.path()).unwrap())
    })
    .await;
    assert!(mails.contains("a masked value (15") && mails.contains("Equal values have equal"), "{mails}");
    assert_eq!(decide(call["arguments"].clone()).await.0, 200);
    let answer = waiting.await.unwrap().unwrap().to_string();
    assert!(answer.contains(CODE) && !answer.contains("$masked"), "{answer}");

    // What only looks like one.
    let mut waiting = agent.begin("send_dm", json!({"to": "{\"$masked\":\"sha256:87940ff8\"}", "text": "a masked value (13 characters, 8794)"}));
    let call = until("it is held", || async { desk.calls("held").await.pop() }).await;
    let id = call["id"].as_str().unwrap();
    let shown = page(&format!("/calls/{id}")).await;
    assert!(shown.contains("It looks like a mark, and is text of the agent.") && shown.contains("In recipient and text nothing is masked"), "{shown}");
    assert_eq!(desk.get(&format!("/calls/{id}")).await.1["message"]["imitates_mark"], json!(["to", "text"]));
    assert!(terminal(id).await.contains("are text of the agent"));
    // Unchanged it may leave: it is the agent's own.
    let call = desk.get(&format!("/calls/{id}")).await.1;
    let body =
        json!({"verdict": "approve", "digest": call["digest"], "version": call["version"], "arguments": {"to": call["arguments"]["to"], "text": "bare"}});
    assert_eq!(desk.post(&format!("/calls/{id}/decision"), &body).await.0, 200);
    (&mut waiting).await.unwrap().unwrap();

    // A server repeats as JSON what cannot stand in JSON as it is.
    for secret in ["hun\"ter-planted5f1e", "dom\\user-planted5f1e", "p\u{e4}ss-planted5f1e"] {
        let waiting = agent.begin("send_fail", json!({"password": secret, "note": "n"}));
        let call = until("it is held", || async { desk.calls("held").await.pop() }).await;
        let path = format!("/calls/{}", call["id"].as_str().unwrap());
        let body = json!({"verdict": "approve", "digest": call["digest"], "version": call["version"]});
        desk.get(&path).await;
        assert_eq!(desk.post(&format!("{path}/decision"), &body).await.0, 200);
        waiting.await.unwrap().unwrap();
        desk.settled(call["id"].as_str().unwrap(), &["answered"]).await;
        for told in [page(&path).await, desk.get(&path).await.1.to_string(), desk.get(&format!("{path}/outcome")).await.1.to_string()] {
            assert!(told.contains("[masked ") && !told.contains("planted5f1e"), "{secret} {told}");
        }
    }
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn limits_show_no_secret_that_they_count_by() {
    let limit = |path: &str, name: &str| {
        format!(
            "\n[[servers.parrot.rules]]\nname = \"{name}\"\ntools = [\"count\"]\nwhen = \"args.{name} > 0\"\naction = \"allow\"\nlimits = [{{ counter = \"{name}\", window = \"minute\", max = 9, scope = {{ arg = \"{path}\" }} }}]\n"
        )
    };
    let (head, tail) = PARROT.split_once("[[servers.parrot.rules]]\nname   = \"counted\"").unwrap();
    let world = World::new(&format!("{head}{}{}[[servers.parrot.rules]]\nname   = \"counted\"{tail}", limit("/key", "k"), limit("/credentials/user", "c")));
    let token = world.agent("support-bot").await;
    world.told(&["reviewer", "add", "olga@example.org", "--role", "operator"]).await;
    let person = world.told(&["reviewer", "token", "olga@example.org"]).await;
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("parrot"), &token).await;
    let key = format!("AK{}IOSFODNN7EXAMPLE", "IA");
    for arguments in [
        json!({"k": 1, "key": key}),
        json!({"k": 1, "key": [key]}),
        json!({"k": 0, "c": 1, "credentials": {"user": "Planted-5f1e"}}),
        json!({"k": 1, "key": "plain-one"}),
    ] {
        agent.request("tools/call", json!({"name": "count", "arguments": arguments})).await.unwrap();
    }
    let told = gateway.desk(&person).get("/limits").await.1.to_string().to_lowercase();
    assert!(told.contains("[masked ") && told.contains("plain-one"), "{told}");
    assert!(!told.contains(&key.to_lowercase()) && !told.contains("planted-5f1e"), "{told}");
    assert!(gateway.stop().await);
}
