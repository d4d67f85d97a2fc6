//! The load tool of `benches/whole` measures what it says: it has no test harness of its own, so its parts are tried here.
//! No test looks at a time.

#[path = "../../benches/whole/histogram.rs"]
mod histogram;
#[expect(dead_code, reason = "the scenarios use more of it")]
#[path = "../../benches/whole/load.rs"]
mod load;
#[expect(dead_code, reason = "the scenarios use more of it")]
#[path = "../../benches/whole/peer.rs"]
mod peer;
#[expect(dead_code, reason = "the scenarios use more of it")]
#[path = "../../benches/whole/process.rs"]
mod process;
#[expect(dead_code, reason = "the scenarios use more of it")]
#[path = "../../benches/whole/report.rs"]
mod report;
#[expect(dead_code, reason = "its roles are played in processes")]
#[path = "../../benches/whole/upstream.rs"]
mod upstream;

use histogram::Histogram;
use load::{Call, Connection, drive, initialize, mcp_headers, request, tools_call};
use peer::Peer;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that reads one request and writes these bytes, one at a time, and then hangs up.
async fn saying(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut read = [0; 1024];
        let _ = stream.read(&mut read).await;
        for byte in answer {
            stream.write_all(&[*byte]).await.unwrap();
        }
    });
    address
}

async fn read(answer: &'static [u8]) -> Result<(u16, String), std::io::Error> {
    let address = saying(answer).await;
    let mut connection = Connection::open(address).await?;
    let (head, body) = connection.ask(&request("GET", "/", address, "", b"")).await?;
    Ok((head.status, String::from_utf8_lossy(body).into_owned()))
}

#[tokio::test]
async fn an_answer_is_read_to_the_end_that_its_head_names() {
    assert_eq!(read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap(), (200, "hello".into()));
    assert_eq!(read(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n").await.unwrap(), (404, "hello".into()));
    assert_eq!(read(b"HTTP/1.1 204 None\r\n\r\n").await.unwrap(), (204, String::new()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_has_no_end_is_an_error() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        assert!(read(answer).await.is_err(), "{}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn only_the_expected_result_of_this_very_call_is_an_answer() {
    let address = "127.0.0.1:1".parse().unwrap();
    let whole = request("POST", "/mcp", address, "", &tools_call("read_note", 200));
    assert!(String::from_utf8_lossy(&whole).contains("Content-Length: 200\r\n"), "a body of the bytes that were asked for");
    let mut call = Call::new(whole, json!({"x": 1})).unwrap();
    let (plain, stream) = (load::Head { status: 200, ..load::Head::default() }, load::Head { status: 200, stream: true, ..load::Head::default() });
    let refused = load::Head { status: 503, ..load::Head::default() };
    // Twice, because the second time the bytes of the first are compared.
    for round in [1_000_000_001_u64, 1_000_000_002] {
        assert!(String::from_utf8_lossy(call.next()).contains(&format!("\"id\":{round},")), "each call has an id of its own");
        let right = format!(r#"{{"jsonrpc":"2.0","id":{round},"result":{{"x":1}}}}"#);
        assert!(call.is_answered(&plain, right.as_bytes()));
        assert!(!call.is_answered(&refused, right.as_bytes()), "a refusal with the right body");
        assert!(!call.is_answered(&plain, right.replace("\"x\":1", "\"x\":2").as_bytes()), "another result");
        assert!(!call.is_answered(&plain, right.replace(&round.to_string(), "1000000000").as_bytes()), "the answer to another call");
        assert!(call.is_answered(&stream, format!(": alive\n\nevent: message\ndata: {right}\n\n").as_bytes()), "an event stream");
    }
}

#[tokio::test]
async fn the_load_counts_what_the_upstream_answers_and_names_what_is_wrong() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(upstream::serve(listener));
    for (expected, is_right) in [(upstream::result(), true), (json!({"content": []}), false)] {
        let before = upstream::count(address).await;
        let mut workers = Vec::new();
        for _ in 0..3 {
            let mut connection = Connection::open(address).await.unwrap();
            assert_eq!(initialize(&mut connection, address, "/mcp", &mcp_headers("", "")).await.unwrap(), "", "it has no sessions");
            let whole = request("POST", "/mcp", address, &mcp_headers("", ""), &tools_call(upstream::READING, 20_000));
            workers.push((connection, Call::new(whole, expected.clone()).unwrap()));
        }
        let found = drive(workers, Duration::ZERO, Duration::from_millis(100), |_| {}).await;
        let counted = upstream::count(address).await - before;
        assert_eq!((found.calls > 0, found.wrong == 0, found.complaint.is_none()), (is_right, is_right, is_right), "{:?}", found.complaint);
        assert_eq!(found.calls, found.latency.count());
        assert!(found.calls + found.wrong <= counted, "{} and {} of {counted}", found.calls, found.wrong);
    }
}

#[test]
fn a_quantile_is_true_to_within_one_percent() {
    let mut all = Histogram::default();
    let mut half = Histogram::default();
    for nanos in 1..=1_000_000_u64 {
        if nanos % 2 == 0 { &mut all } else { &mut half }.record(Duration::from_nanos(nanos));
    }
    all.join(&half);
    assert_eq!(all.count(), 1_000_000);
    for share in [0.000_05, 0.001, 0.5, 0.99, 1.0] {
        let (found, exact) = (all.quantile(share).as_nanos() as f64, share * 1e6);
        assert!((found - exact).abs() <= exact / 100.0, "{share}: {found} instead of {exact}");
    }
    assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
}

#[test]
fn every_peer_is_a_file_that_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/whole/peers");
    let peers = Peer::read(&folder).unwrap();
    let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names.len(), std::fs::read_dir(&folder).unwrap().count());
    assert_eq!(names[0], "direct");
    for peer in &peers {
        assert!(peer.beside.as_deref().is_none_or(|beside| names.contains(&beside)), "{} is held against nobody", peer.name);
        let text = std::fs::read_to_string(folder.join(format!("{}.toml", peer.name))).unwrap();
        assert!(text.starts_with('#'), "{} begins with what it is", peer.name);
    }
}

#[test]
fn the_peers_that_are_paraph_have_a_configuration_without_mistakes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/whole/peers");
    for name in ["paraph-reads", "paraph-durable", "paraph-stdio"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let peer: toml::Value = toml::from_str(&text).unwrap();
        let config = peer["files"][0]["text"].as_str().unwrap().replace("{upstream}", "127.0.0.1:1").replace("{exe}", "server");
        let loaded = paraph::config::Config::parse(&config, name, &folder, &|_| None);
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
    }
}

#[test]
fn the_usage_of_a_process_is_what_the_kernel_counted() {
    let usage = process::usage(i32::try_from(std::process::id()).unwrap());
    assert!(usage.peak >= usage.resident && usage.resident > 1 << 20 && usage.threads > 0, "{usage:?}");
    assert_eq!(process::usage(-1), process::Usage::default(), "of a process that is not there");
}
