//! Servers that are child processes.

use super::*;
use paraph::gate::upstream::{ServerState, Upstream as _};
use paraph::mcp::upstream::{ClientHello, RequestFailure};

/// Behaves as the called tool's name says; `echo` answers with the line it got.
const SERVER: &str = r#"
import json, os, sys
held, ponged = [], None
def say(message): sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
def answer(id, result): say({"jsonrpc": "2.0", "id": id, "result": result})
print("Listening on nothing", flush=True)
print('{"level":"info","msg":"json noise"}', flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "initialize":
        sys.stdout.write('{"jsonrpc":"2.0","id":%d,"result":{"protocolVersion":"2025-06-18","capabilities":{ },"x-unknown":1.10,"asked":%s}}\n' % (id, json.dumps(line)))
        sys.stdout.flush()
    elif method == "notifications/initialized": say({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    elif method == "notifications/cancelled": answer(params["requestId"], {"cancelled": params["requestId"]})
    elif method == "tools/list": answer(id, {"tools": [{"name": "first", "description": "d"}]} if params.get("cursor") == "2" else {"tools": [], "nextCursor": "2"})
    elif method is None and id == "p": ponged = line
    elif method is None: answer(held.pop(), {"got": line})
    if method != "tools/call": continue
    tool = params["name"]
    if tool == "echo": answer(id, {"line": line, "env": dict(os.environ)})
    elif tool == "ponged": answer(id, {"line": ponged or sys.stdin.readline()})
    elif tool == "die": print("cannot go on", file=sys.stderr, flush=True); os._exit(3)
    elif tool == "never": pass
    elif tool == "hold":
        held.append((id, params["_meta"]["progressToken"]))
        if len(held) == 3:
            for at, token in reversed(held):
                say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1, "progressToken": token, "x": at}})
                answer(at, {"id": at})
            held = []
    elif tool == "big": answer(id, {"text": "x" * (5 << 20)})
    elif tool == "ask": held.append(id); say({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {"a": 1}})
    elif tool == "tell":
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        answer(id, {})
"#;

fn python(script: &str) -> Server {
    server(Transport::Process { command: ["python3", "-c", script].map(str::to_owned).into(), env: BTreeMap::new(), cwd: None, env_clear: false })
}

fn sh(script: &str) -> Server {
    server(Transport::Process { command: ["sh", "-c", script].map(str::to_owned).into(), env: BTreeMap::new(), cwd: None, env_clear: false })
}

#[tokio::test]
async fn noise_is_skipped_a_ping_is_answered_and_the_hello_passes_as_bytes() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let hello = ClientHello { capabilities: raw(r#"{"sampling":{},"new":{ }}"#), client_info: raw(r#"{"name":"c","version":"1"}"#) };
    let peer = all.peer("it", "agent", Some(hello)).await.unwrap();
    assert!(peer.hello().get().starts_with(r#"{"protocolVersion":"2025-06-18","capabilities":{ },"x-unknown":1.10,"#));
    let hello: Value = serde_json::from_str(peer.hello().get()).unwrap();
    let asked: Value = serde_json::from_str(hello["asked"].as_str().unwrap()).unwrap();
    assert_eq!(asked["params"]["capabilities"].to_string(), r#"{"sampling":{},"new":{}}"#);
    assert_eq!(asked["params"]["protocolVersion"], "2025-11-25");
    let line = text(call(&peer, "ponged", None).await.unwrap());
    assert!(line.contains(r#"{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"result\":{}}"#), "{line}");
    all.shutdown().await;
}

#[tokio::test]
async fn arguments_arrive_byte_for_byte_and_each_agent_has_its_own_child() {
    let mut config = python(SERVER);
    if let Transport::Process { env, .. } = &mut config.transport {
        env.insert("KEY".to_owned(), "secret".to_owned().into());
    }
    let all = upstreams(config, &Bounds::default());
    let peer = peer(&all).await;
    let params = raw("{\"name\":\"echo\",\n\"arguments\":{ \"n\": 1.10 },\"_meta\":{\"progressToken\":\"agent's own\",\"k\":[ ]}}");
    let reply: Value = serde_json::from_str(&text(peer.request("tools/call", Some(&params), None, CancellationToken::new()).await.unwrap())).unwrap();
    let line = reply["line"].as_str().unwrap();
    assert!(line.ends_with("\"params\":{\"name\":\"echo\",\"arguments\":{ \"n\": 1.10 },\"_meta\":{\"k\":[ ]}}}\n"), "{line}");
    assert_eq!(reply["env"]["KEY"], "secret");
    assert!(reply["env"].as_object().unwrap().keys().all(|name| !name.starts_with("PARAPH_")));
    let other = all.peer("it", "other", None).await.unwrap();
    assert!(!Arc::ptr_eq(&peer, &other));
    assert!(Arc::ptr_eq(&peer, &all.peer("it", "agent", None).await.unwrap()));
    all.close_agent("other").await;
    assert!(other.is_closed() && !peer.is_closed());
    all.shutdown().await;
}

#[tokio::test]
async fn ids_and_progress_tokens_of_concurrent_calls_find_their_way_back() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let peer = peer(&all).await;
    let one = |token: &'static str| {
        let peer = Arc::clone(&peer);
        async move {
            let (relay, mut messages) = relay(Some(token));
            let reply: Value = serde_json::from_str(&text(call(&peer, "hold", Some(relay)).await.unwrap())).unwrap();
            let progress = next(&mut messages).await;
            assert_eq!(progress["params"]["x"], reply["id"]);
            assert!(messages.recv().await.is_none());
            progress["params"]["progressToken"].clone()
        }
    };
    let (a, b, c) = tokio::join!(one("0"), one("\"0\""), one("12345678901234567890"));
    assert_eq!((a, b, c), (0.into(), "0".into(), 12_345_678_901_234_567_890_u64.into()));
    all.shutdown().await;
}

#[tokio::test]
async fn a_servers_request_goes_to_the_one_call_in_flight_and_only_its_answer_returns() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let peer = peer(&all).await;
    let (to, mut messages) = relay(None);
    let answer = async {
        let asked = next(&mut messages).await;
        assert_eq!((asked["id"].as_str(), asked["method"].as_str()), (Some("s1"), Some("sampling/createMessage")));
        assert!(matches!(peer.respond(&raw("\"s2\""), Reply::Result(raw("{}"))).await, Err(RequestFailure::NeverLeft(_))));
        peer.respond(&raw("\"s1\""), Reply::Result(raw("{ \"m\": 1 }"))).await.unwrap();
        assert!(peer.respond(&raw("\"s1\""), Reply::Result(raw("{}"))).await.is_err());
    };
    let (reply, ()) = tokio::join!(call(&peer, "ask", Some(to)), answer);
    assert!(text(reply.unwrap()).contains(r#"\"id\":\"s1\",\"result\":{ \"m\": 1 }}"#));
    all.shutdown().await;
}

#[tokio::test]
async fn a_servers_request_is_refused_without_a_client_and_with_two() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let peer = peer(&all).await;
    assert!(text(call(&peer, "ask", None).await.unwrap()).contains("-32601"));
    let cancel = CancellationToken::new();
    let (other, _kept) = relay(None);
    let params = raw(r#"{"name":"never"}"#);
    let never = peer.request("tools/call", Some(&params), Some(other), cancel.clone());
    let ask = async {
        let (to, mut messages) = relay(None);
        // `never` has been sent: join! polls in order, and one queue keeps the order.
        assert!(text(call(&peer, "ask", Some(to)).await.unwrap()).contains("-32601"));
        assert!(messages.recv().await.is_none());
        cancel.cancel();
    };
    let (never, ()) = tokio::join!(never, ask);
    assert!(text(never.unwrap()).contains("cancelled"), "a cancel is forwarded and the server's answer still counts");
    all.shutdown().await;
}

#[tokio::test]
async fn a_call_that_a_child_never_read_never_left() {
    let mut config = sh(r#"read l; echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}'; read l; sleep 1000"#);
    config.timeout = Duration::from_secs(1);
    let all = upstreams(config, &Bounds::default());
    let peer = peer(&all).await;
    // More than a pipe holds: the first is half written, the second waits behind it.
    let large = raw(&format!(r#"{{"name":"large","arguments":{{"text":"{}"}}}}"#, "x".repeat(1 << 20)));
    let first = peer.request("tools/call", Some(&large), None, CancellationToken::new());
    let (first, second) = tokio::join!(first, call(&peer, "small", None));
    assert!(matches!(first, Err(RequestFailure::Unknown(_))), "{first:?}");
    let Err(RequestFailure::NeverLeft(why)) = second else { panic!("{second:?}") };
    assert!(why.contains("nothing was sent"), "{why}");
    all.shutdown().await;
}

#[tokio::test]
async fn messages_outside_any_request_reach_the_listeners() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let peer = peer(&all).await;
    let mut events = peer.events();
    call(&peer, "tell", None).await.unwrap();
    assert!(events.recv().await.unwrap().get().contains("list_changed"));
    all.shutdown().await;
}

#[tokio::test]
async fn a_child_that_closes_its_output_but_lives_on_is_ended_and_started_again() {
    let deaf = SERVER.replace("    elif tool == \"tell\":", "    elif tool == \"close\": sys.stdout.flush(); os.close(1)\n    elif tool == \"tell\":");
    let all = upstreams(python(&deaf), &Bounds::default());
    let first = peer(&all).await;
    assert!(matches!(call(&first, "close", None).await, Err(RequestFailure::Unknown(_))));
    let second = peer(&all).await;
    assert!(call(&second, "echo", None).await.is_ok());
    all.shutdown().await;
}

#[tokio::test]
async fn a_child_that_dies_during_a_call_leaves_it_unknown_and_is_started_again() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let first = peer(&all).await;
    let Err(RequestFailure::Unknown(why)) = call(&first, "die", None).await else { panic!("it must be unknown") };
    assert!(why.contains("exit status: 3"), "{why}");
    assert_eq!(first.stderr(), ["cannot go on"]);
    assert!(matches!(call(&first, "echo", None).await, Err(RequestFailure::NeverLeft(_))));
    let second = peer(&all).await;
    assert!(call(&second, "echo", None).await.is_ok());
    all.shutdown().await;
}

#[tokio::test]
async fn every_start_of_a_server_is_another_instance_and_none_runs_before_the_first() {
    let all = upstreams(python(SERVER), &Bounds::default());
    assert_eq!(all.instance("it", "agent").await, None);
    let first = peer(&all).await;
    let named = all.instance("it", "agent").await;
    assert!(named.is_some() && named == all.instance("it", "agent").await);
    assert!(matches!(call(&first, "die", None).await, Err(RequestFailure::Unknown(_))));
    assert_eq!(all.instance("it", "agent").await, None, "it ended");
    peer(&all).await;
    let again = all.instance("it", "agent").await;
    assert!(again.is_some() && again != named);
    all.shutdown().await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_as_unknown_when_its_time_is_over() {
    let mut config = python(SERVER);
    config.timeout = Duration::from_millis(300);
    let all = upstreams(config, &Bounds::default());
    let peer = peer(&all).await;
    let Err(RequestFailure::Unknown(why)) = call(&peer, "never", None).await else { panic!("it must be unknown") };
    assert!(why.contains("0.3 s"), "{why}");
    all.shutdown().await;
}

#[tokio::test]
async fn the_time_a_client_takes_to_answer_the_server_is_not_the_servers() {
    let mut config = python(SERVER);
    config.timeout = Duration::from_secs(1);
    let all = upstreams(config, &Bounds::default());
    let peer = peer(&all).await;
    let (to, mut messages) = relay(None);
    let answer = async {
        next(&mut messages).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        peer.respond(&raw("\"s1\""), Reply::Result(raw("{}"))).await.unwrap();
    };
    let (reply, ()) = tokio::join!(call(&peer, "ask", Some(to)), answer);
    assert!(text(reply.unwrap()).contains("s1"));
    all.shutdown().await;
}

#[tokio::test]
async fn five_megabytes_arrive_whole_and_more_than_the_bound_is_refused() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let reply = text(call(&*peer(&all).await, "big", None).await.unwrap());
    assert_eq!(reply.len(), (5 << 20) + r#"{"text": ""}"#.len());
    all.shutdown().await;
    let all = upstreams(python(SERVER), &Bounds { result: 1 << 20, ..Bounds::default() });
    let peer = peer(&all).await;
    let Err(RequestFailure::Unknown(why)) = call(&peer, "big", None).await else { panic!("it must be unknown") };
    assert!(why.contains("bounds.result"), "{why}");
    assert!(call(&peer, "echo", None).await.is_ok(), "the next line is found");
    all.shutdown().await;
}

#[tokio::test]
async fn a_full_server_takes_no_further_request() {
    let all = upstreams(python(SERVER), &Bounds { in_flight_per_server: 1, ..Bounds::default() });
    let peer = peer(&all).await;
    let cancel = CancellationToken::new();
    let params = raw(r#"{"name":"never"}"#);
    let never = peer.request("tools/call", Some(&params), None, cancel.clone());
    let second = async {
        assert!(matches!(call(&peer, "echo", None).await, Err(RequestFailure::NeverLeft(_))));
        cancel.cancel();
    };
    let (never, ()) = tokio::join!(never, second);
    never.unwrap();
    all.shutdown().await;
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_its_last_words_are_shown() {
    let mut config = sh("i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i >&2; done; echo gone >&2; exec sleep 1000");
    config.start_timeout = Duration::from_secs(1);
    let all = upstreams(config, &Bounds::default());
    let error = all.peer("it", "agent", None).await.unwrap_err();
    assert!(error.sentence.contains("did not answer initialize within 1 s"), "{}", error.sentence);
    assert_eq!((error.stderr.len(), error.stderr[0].as_str(), error.stderr[19].as_str()), (20, "line 12", "gone"));
    let status = all.servers().await;
    assert!(matches!(&status[0].state, ServerState::Down { stderr, .. } if stderr.len() == 20));
    all.shutdown().await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_told_with_its_name() {
    let all = upstreams(
        server(Transport::Process { command: vec!["/no/such/server".into()], env: BTreeMap::new(), cwd: None, env_clear: false }),
        &Bounds::default(),
    );
    let error = all.peer("it", "agent", None).await.unwrap_err();
    assert!(error.sentence.contains("exit status: 127") && error.stderr[0].contains("/no/such/server could not be started"), "{error:?}");
    all.shutdown().await;
}

#[tokio::test]
async fn an_unknown_revision_is_refused() {
    let all = upstreams(sh(r#"read l; echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2030-01-01"}}'; read l"#), &Bounds::default());
    let error = all.peer("it", "agent", None).await.unwrap_err();
    assert!(error.sentence.contains("protocol revision"), "{}", error.sentence);
    all.shutdown().await;
}

#[tokio::test]
async fn an_instance_started_without_a_client_makes_way_for_the_first_one() {
    let all = upstreams(python(SERVER), &Bounds::default());
    let alone = peer(&all).await;
    let hello = || Some(ClientHello { capabilities: raw(r#"{"sampling":{}}"#), client_info: raw(r#"{"name":"c","version":"1"}"#) });
    let with_client = all.peer("it", "agent", hello()).await.unwrap();
    assert!(!Arc::ptr_eq(&alone, &with_client) && with_client.hello().get().contains("sampling"));
    assert!(Arc::ptr_eq(&with_client, &all.peer("it", "agent", hello()).await.unwrap()));
    assert!(Arc::ptr_eq(&with_client, &peer(&all).await));
    all.shutdown().await;
}

#[tokio::test]
async fn tools_are_remembered_over_all_pages() {
    let all = upstreams(python(SERVER), &Bounds::default());
    assert!(matches!(&all.servers().await[0], status if matches!(status.state, ServerState::Idle) && status.tools.is_none()));
    assert_eq!(all.refresh_tools("it").await.unwrap()[0].name, "first");
    let status = all.servers().await;
    assert_eq!(status[0].tools.as_ref().map(Vec::len), Some(1));
    assert!(matches!(status[0].state, ServerState::Up { instances: 1 }));
    all.shutdown().await;
}

#[tokio::test]
async fn the_demo_server_sends_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    let env = [("DEMO_OUTBOX".to_owned(), outbox.to_str().unwrap().to_owned().into())].into();
    let all = upstreams(server(Transport::Process { command: vec![PARAPH.into(), "demo-server".into()], env, cwd: None, env_clear: true }), &Bounds::default());
    let peer = peer(&all).await;
    let params = raw(r#"{"name":"send_dm","arguments":{"to":"@bob","text":"hi"}}"#);
    let reply = text(peer.request("tools/call", Some(&params), None, CancellationToken::new()).await.unwrap());
    assert!(reply.contains("Sent to @bob.") && reply.contains("dm_1"), "{reply}");
    assert_eq!(std::fs::read_to_string(outbox).unwrap(), "{\"id\":\"dm_1\",\"to\":\"@bob\",\"text\":\"hi\"}\n");
    all.shutdown().await;
}
