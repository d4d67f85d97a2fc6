//! What a server answers arrives whole, however large, and no call waits for another one's answer.

use super::*;

const CHILD: &str = r#"
import json, sys
kept, slow = open(sys.argv[1], "ab", buffering=0), None
def answer(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
for line in sys.stdin:
    kept.write(line.encode())
    message = json.loads(line)
    if "id" not in message: continue
    params = message.get("params", {})
    name, size = params.get("name"), params.get("arguments", {}).get("size", 0)
    if message["method"] == "initialize": answer(message["id"], {"protocolVersion": "2025-11-25", "capabilities": {}})
    elif name == "read_slow": slow = message["id"]
    else:
        answer(message["id"], {"content": [{"type": "text", "text": "x" * size}]})
        if slow: answer(slow, {"content": []}); slow = None
"#;

async fn large(body: Bytes) -> Response<Body> {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else { return Response::builder().status(202).body(Body::empty()).unwrap() };
    let typed = |kind: &str, body: Body| Response::builder().header("content-type", kind).body(body).unwrap();
    if message["method"] == "initialize" {
        let hello = json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {}}});
        return typed("application/json", hello.to_string().into());
    }
    let text = "x".repeat(usize::try_from(message["params"]["arguments"]["size"].as_u64().unwrap()).unwrap());
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}).to_string();
    match message["params"]["name"].as_str().unwrap() {
        "read_event" => typed("text/event-stream", format!("data: {answer}\n\n").into()),
        "read_pieces" => {
            let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"d"}}"#;
            let event = format!(": hi\r\n\r\ndata: {log}\r\n\r\ndata: {answer}\r\n\r\n").into_bytes();
            let pieces: Vec<_> = event.chunks(1_021).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
            typed("text/event-stream", Body::from_stream(futures_util::stream::iter(pieces)))
        }
        _ => typed("application/json", answer.into()),
    }
}

async fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let script = child(CHILD, &folder.path().join("stdio").display().to_string());
    let url = at_a_port(axum::Router::new().fallback(large)).await;
    let servers = [("http".to_owned(), (at_url(url), policy(Action::Allow))), ("stdio".to_owned(), (script, policy(Action::Allow)))];
    Site::before(servers.into(), BTreeMap::new(), folder).await
}

fn call(tool: &str, size: usize) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {"size": size}}}).to_string()
}

#[tokio::test]
async fn a_result_of_any_size_arrives_whole() {
    let site = site().await;
    for (server, tools) in [("http", &["read_event", "read_pieces", "read_json"][..]), ("stdio", &["read_json"])] {
        for (revision, _) in REVISIONS {
            let session = site.session(server, revision).await;
            for tool in tools {
                for size in [70_000, 200_000, 5_000_000] {
                    let raw = site.post(server, &session, call(tool, size).as_bytes()).await;
                    let last = raw.body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&raw.body);
                    let answer: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{tool} {size}: {} bytes came", raw.body.len()));
                    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
                    assert!(text.len() == size && text.bytes().all(|byte| byte == b'x'), "{tool} {size}: {}", text.len());
                }
            }
        }
    }
    site.upstreams.shutdown().await;
}

#[tokio::test]
async fn a_slow_call_does_not_block_the_next_one() {
    let site = Arc::new(site().await);
    for (revision, _) in REVISIONS {
        let session = site.session("stdio", revision).await;
        let asked = site.got("stdio").len();
        let slow = tokio::spawn({
            let (site, session) = (site.clone(), session.clone());
            async move { site.post("stdio", &session, call("read_slow", 0).as_bytes()).await }
        });
        let reached = async {
            while site.got("stdio").len() == asked {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
        // The server answers the first only after the second.
        let next = site.post("stdio", &session, call("read_json", 3).replace("\"id\":1", "\"id\":2").as_bytes()).await;
        assert_eq!(next.json()["result"]["content"][0]["text"], "xxx", "{next:?}");
        assert_eq!(slow.await.unwrap().json()["result"], json!({"content": []}));
    }
    site.upstreams.shutdown().await;
}
