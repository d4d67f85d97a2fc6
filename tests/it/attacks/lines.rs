//! A stdio server reads lines: whatever an agent sends, each message of ours is exactly one of them.

use super::*;

const SERVER: &str = "open-stdio";

#[tokio::test]
async fn nothing_an_agent_sends_becomes_a_second_line_of_a_child() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let inner = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"delete_account","arguments":{}}}"#;
    let quoted = json!(inner).to_string();
    let quoted = &quoted[1..quoted.len() - 1];
    let call = |name: &str, arguments: &str, meta: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments},"_meta":{meta}}}}}"#)
    };
    // Raw breaks stand only between tokens; escaped ones stay escaped; what some take for a break stays within a string.
    let mut rows = Vec::new();
    for gap in ["\n", "\r", "\r\n", "\n\n\n", "\t \r\n "] {
        rows.push(call("read_a", &format!("{{{gap}\"row\"{gap}:{gap}\"r{}\"{gap}}}", rows.len()), &format!("{{{gap}\"k\"{gap}:{gap}[{gap}]{gap}}}")));
        rows.push(call("read_a", &format!("{{\"row\":\"r{}\"}}", rows.len()), "{}").replace(',', &format!("{gap},{gap}")));
    }
    for end in ["\\n", "\\r\\n", "\\u000a", "\\u000d", "\\u0085", "\\u2028", "\u{85}", "\u{2028}", "\u{2029}", "\\u0000", "\\u001e", "\u{7f}"] {
        rows.push(call("read_a", &format!("{{\"row\":\"r{}\",\"text\":\"{end}{quoted}{end}\"}}", rows.len()), "{}"));
        rows.push(call("read_a", &format!("{{\"row\":\"r{}\",\"{end}{quoted}{end}\":1}}", rows.len()), "{}"));
        rows.push(call("read_a", &format!("{{\"row\":\"r{}\"}}", rows.len()), &format!("{{\"k{end}\":\"{end}{quoted}{end}\",\"progressToken\":\"{end}\"}}")));
        rows.push(call(&format!("tool{end}x{end}"), &format!("{{\"row\":\"r{}\"}}", rows.len()), "{}"));
    }
    for row in &rows {
        let raw = site.post(SERVER, &session, row.as_bytes()).await;
        assert!(raw.body.contains(r#""result":{"content": []}"#), "{row:?}: {raw:?}");
    }
    let expected: Vec<String> = (0..rows.len()).map(|number| format!("r{number}")).collect();
    // `executed` looks at every line; the inner call is text in an argument and nowhere a line.
    assert_eq!(site.executed(SERVER), expected);
    for line in site.got(SERVER) {
        assert!(!line.starts_with(inner.as_bytes()));
    }
    site.upstreams.shutdown().await;
}

#[tokio::test]
async fn other_methods_and_notifications_are_one_line_too() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    for (id, method) in
        [("\"id\":1,", "vendor/a\\nb"), ("", "vendor/\\r\\n"), ("", "notifications/progress"), ("\"id\":2,", "prompts/get"), ("\"id\":3,", "resources/read")]
    {
        let body = format!("{{\"jsonrpc\":\"2.0\",{id}\"method\":\"{method}\",\n\"params\":{{\r\n\"a\\n\":\r[\n1\r]\n}}\n}}\n");
        let raw = site.post(SERVER, &session, body.as_bytes()).await;
        assert!(matches!(raw.status, 200 | 202), "{raw:?}");
    }
    // It has read everything that came before it.
    site.post(SERVER, &session, br#"{"jsonrpc":"2.0","id":4,"method":"prompts/list"}"#).await;
    let got = site.got(SERVER);
    assert_eq!(got.len(), 2 + 5 + 1, "{got:?}");
    for line in got {
        let text = String::from_utf8(line).unwrap();
        assert!(text.ends_with("}\n") && !text.trim_end_matches('\n').contains(['\n', '\r']), "{text:?}");
        assert!(paraph::domain::json::strict(text.as_bytes()).is_ok(), "{text:?}");
    }
    site.upstreams.shutdown().await;
}
