//! Everything around a body: headers that stand twice or lie, lengths that contradict each other, compressed bodies,
//! bodies in pieces and several requests on one line. A call is judged by its body alone, and only our own headers
//! reach a server.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SERVER: &str = "open-http";
const BAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_account","arguments":{}}}"#;

/// The call that may not be, compressed; a server that decodes would execute it.
const COMPRESSED: [(&str, &str); 4] = [
    ("gzip", "H4sIAAAAAAACAxXKSQrAIBAF0bv8tWRaepnQaJMBtUXblXj3mF3Bq463SirZweJYNhg8HnY3iKy3zISKhLo6CmFipkKxwnYkijzVc2Dlk5yTlnQeVK4WOek/jTE+Gl2coGAAAAA="),
    ("deflate", "eJwVykkKwCAQBdG7/LVkWnqZ0GiTAbVF25V495hdwauOt0oq2cHiWDYYPB52N4ist8yEioS6OgphYqZCscJ2JIo81XNg5ZOck5Z0HlSuFjnpP40xPsGCIB0="),
    ("deflate", "FcpJCsAgEAXRu/y1ZFp6mdBokwG1RduVePeYXcGrjrdKKtnB4lg2GDwedjeIrLfMhIqEujoKYWKmQrHCdiSKPNVzYOWTnJOWdB5UrhY56T+NMT4="),
    ("br", "G18AAI3UYk2Z7sRD7njyx+2LEpRkLb1dsei4jY29vYLHaULQmDvYGFsvFCqHT33+25q14x5HYRlB2LTFqGdQVnVoARdGBJKZ"),
];

fn good(row: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read_a", "arguments": {"row": row}}}).to_string()
}

/// How a request must end: with this status, or judged by its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Status(u16),
    Judged,
}
use End::{Judged, Status};

#[tokio::test]
async fn no_header_changes_what_a_body_is_judged_as() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let other = site.session(SERVER, "2025-06-18").await;
    let in_session = format!("mcp-session-id: {session}\r\n");
    let rows = [
        ("authorization: Bearer guessed\r\n".to_owned(), Status(401)),
        (format!("AUTHORIZATION: Bearer {}\r\n", site.token), Status(401)),
        ("host: evil.example\r\n".to_owned(), Status(403)),
        (format!("host: 127.0.0.1:{}\r\n", site.port), Status(403)),
        ("origin: https://evil.example\r\n".to_owned(), Status(403)),
        ("origin: null\r\n".to_owned(), Status(403)),
        (format!("mcp-session-id: {other}\r\n"), Judged),
        ("mcp-protocol-version: 2025-06-18\r\n".to_owned(), Judged),
        ("mcp-protocol-version: 2024-01-01\r\n".to_owned(), Status(400)),
        ("mcp-protocol-version: 2026-07-28\r\n".to_owned(), Status(400)),
        ("mcp-method: tools/list\r\nmcp-name: read_a\r\n".to_owned(), Judged),
        ("mcp-method: ping\r\n".to_owned(), Judged),
        ("x-http-method-override: GET\r\nx-http-method: DELETE\r\nx-method-override: PUT\r\n".to_owned(), Judged),
        ("x-original-url: /mcp/closed-http\r\nx-rewrite-url: /healthz\r\n".to_owned(), Judged),
        ("x-forwarded-host: evil.example\r\nforwarded: host=evil.example\r\nx-forwarded-for: 127.0.0.1\r\n".to_owned(), Judged),
        ("connection: authorization, mcp-session-id, host\r\n".to_owned(), Judged),
        ("te: trailers\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n".to_owned(), Judged),
        ("content-type: text/plain\r\n".to_owned(), Status(415)),
        ("content-type: application/json-rpc\r\n".to_owned(), Status(415)),
        ("content-type: application/json5\r\n".to_owned(), Status(415)),
        ("content-type: application/xml, application/json\r\n".to_owned(), Status(415)),
        ("content-type: multipart/form-data; boundary=application/json\r\n".to_owned(), Status(415)),
        ("content-type: \r\n".to_owned(), Status(415)),
        ("content-type: Application/JSON; charset=utf-8\r\n".to_owned(), Judged),
        // The body is read as UTF-8 whatever is said of it, and the server gets it from us as UTF-8.
        ("content-type: application/json; charset=utf-16\r\n".to_owned(), Judged),
        ("content-type: application/json; charset=utf-7\r\n".to_owned(), Judged),
    ];
    for (more, end) in rows {
        let bytes = request(&site.head(SERVER), &format!("{in_session}{more}"), BAD.as_bytes());
        let raw = site.exchange(&bytes).await;
        let fits = match end {
            Status(status) => raw.status == status,
            Judged => raw.state().as_deref() == Some("denied"),
        };
        assert!(fits, "{more:?}: {end:?} expected, not {raw:?}");
    }
    assert!(site.executed(SERVER).is_empty());
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_neither_decoded_nor_passed_on() {
    let site = Site::new().await;
    for server in Site::SERVERS {
        let session = site.session(server, "2025-11-25").await;
        for (coding, body) in COMPRESSED {
            let body = STANDARD.decode(body).unwrap();
            for more in [
                format!("content-encoding: {coding}\r\n"),
                String::new(),
                "content-encoding: identity\r\n".to_owned(),
                format!("content-type: application/json; charset={coding}\r\n"),
            ] {
                let bytes = request(&site.head(server), &format!("mcp-session-id: {session}\r\n{more}"), &body);
                let raw = site.exchange(&bytes).await;
                assert_eq!((raw.status, raw.error()), (400, Some(-32700)), "{coding} {more:?} {raw:?}");
            }
        }
        // Said to be compressed, but as plain as it can be: it is judged as the text it is.
        let bytes = request(&site.head(server), &format!("mcp-session-id: {session}\r\ncontent-encoding: gzip\r\n"), BAD.as_bytes());
        assert_eq!(site.exchange(&bytes).await.state().as_deref(), Some("denied"));
        assert!(site.executed(server).is_empty());
    }
    site.upstreams.shutdown().await;
}

/// Requests that a careless front and a careless back could cut apart differently.
#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_lets_no_call_through() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let head = format!("{}content-type: application/json\r\nmcp-session-id: {session}\r\n", site.head(SERVER));
    let inner = String::from_utf8(request(&site.head(SERVER), &format!("mcp-session-id: {session}\r\n"), BAD.as_bytes())).unwrap();
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let refused = [
        format!("{head}content-length: {}\r\ncontent-length: 5\r\n\r\n{BAD}", BAD.len()),
        format!("{head}content-length: {}, 5\r\n\r\n{BAD}", BAD.len()),
        format!("{head}content-length: +{}\r\n\r\n{BAD}", BAD.len()),
        format!("{head}content-length: 0x{:x}\r\n\r\n{BAD}", BAD.len()),
        format!("{head}content-length: -1\r\n\r\n{BAD}"),
        format!("{head}content-length : {}\r\n\r\n{BAD}", BAD.len()),
        format!("{head}transfer-encoding: xchunked\r\n\r\n{}", chunked(BAD)),
        format!("{head}transfer-encoding: identity\r\n\r\n{}", chunked(BAD)),
        format!("{head}transfer-encoding: chunked, gzip\r\n\r\n{}", chunked(BAD)),
        format!("{head}transfer-encoding: chunked\r\n\r\n-1\r\n{BAD}\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{BAD}\r\n0\r\n\r\n"),
        format!("{head}x: a\0b\r\ncontent-length: {}\r\n\r\n{BAD}", BAD.len()),
        format!("{head}content-length: {}\r\n x: folded\r\n\r\n{BAD}", BAD.len()),
        format!("{head}x-é: 1\r\ncontent-length: {}\r\n\r\n{BAD}", BAD.len()),
    ];
    for bytes in refused {
        let raw = site.exchange(bytes.as_bytes()).await;
        assert!(matches!(raw.status, 400 | 0), "{bytes:?}: {raw:?}");
    }
    // The chunks count (RFC 9112, 6.3); what comes behind them is a request of its own, which is judged like any other.
    for first in ["chunked", "Chunked", "chunked\r\ntransfer-encoding: chunked"] {
        let smuggled = format!("{head}content-length: 4\r\ntransfer-encoding: {first}\r\n\r\n{}{inner}", chunked(BAD));
        let mut line = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
        line.write_all(smuggled.as_bytes()).await.unwrap();
        let raw = read(&mut line).await;
        assert!(raw.status == 400 || raw.state().as_deref() == Some("denied"), "{first}: {raw:?}");
    }
    // Trailers are no headers.
    let late = format!(
        "{head}transfer-encoding: chunked\r\ntrailer: authorization\r\n\r\n{:x}\r\n{BAD}\r\n0\r\nauthorization: Bearer x\r\nmcp-session-id: y\r\nhost: evil.example\r\n\r\n",
        BAD.len()
    );
    assert_eq!(site.exchange(late.as_bytes()).await.state().as_deref(), Some("denied"));
    let only_late = format!(
        "{}transfer-encoding: chunked\r\n\r\n{:x}\r\n{BAD}\r\n0\r\nmcp-session-id: {session}\r\n\r\n",
        head.replace(&format!("mcp-session-id: {session}\r\n"), ""),
        BAD.len()
    );
    assert_eq!(site.exchange(only_late.as_bytes()).await.status, 400);
    assert!(site.executed(SERVER).is_empty());
}

#[tokio::test]
async fn only_the_plain_way_to_a_server_leads_there() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let good = good("no way");
    let usual = String::from_utf8(request(&site.head(SERVER), &format!("mcp-session-id: {session}\r\n"), good.as_bytes())).unwrap();
    let line = "POST /mcp/open-http HTTP/1.1";
    for (first, statuses) in [
        ("post /mcp/open-http HTTP/1.1", &[400, 405][..]),
        ("PUT /mcp/open-http HTTP/1.1", &[405]),
        ("PATCH /mcp/open-http HTTP/1.1", &[405]),
        ("TRACE /mcp/open-http HTTP/1.1", &[405]),
        ("OPTIONS /mcp/open-http HTTP/1.1", &[405]),
        ("POST /mcp/open-http/ HTTP/1.1", &[404]),
        ("POST //mcp/open-http HTTP/1.1", &[404]),
        ("POST /mcp//open-http HTTP/1.1", &[404]),
        ("POST /mcp/./open-http HTTP/1.1", &[404]),
        ("POST /mcp/closed-http/../open-http HTTP/1.1", &[404]),
        ("POST /mcp/%6fpen-http HTTP/1.1", &[404]),
        ("POST /mcp/open-http%00 HTTP/1.1", &[404]),
        ("POST /mcp/open-http;a=b HTTP/1.1", &[404]),
        ("POST /MCP/open-http HTTP/1.1", &[404]),
        ("POST /mcp/OPEN-HTTP HTTP/1.1", &[404]),
        ("POST /mcp/open-http HTTP/2.0", &[400, 505, 0]),
        ("POST /mcp/open-http", &[400, 0]),
    ] {
        let raw = site.exchange(usual.replacen(line, first, 1).as_bytes()).await;
        assert!(statuses.contains(&raw.status), "{first}: {raw:?}");
    }
    let other = site.session("closed-http", "2025-11-25").await;
    let foreign = usual.replace(&session, &other);
    assert_eq!(site.exchange(foreign.as_bytes()).await.status, 404, "a session of another server");
    assert!(site.executed(SERVER).is_empty());
}

#[tokio::test]
async fn bytes_that_come_one_by_one_and_requests_that_come_at_once_are_the_same_requests() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let asked = |body: &str| request(&site.head(SERVER), &format!("mcp-session-id: {session}\r\n"), body.as_bytes());
    let mut line = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    line.set_nodelay(true).unwrap();
    for byte in asked(BAD).iter().chain(&asked(&good("by bytes"))) {
        line.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut line).await.state().as_deref(), Some("denied"));
    assert_eq!(read(&mut line).await.json()["result"], json!({"content": []}));
    // A character and an escape that are cut in two by a chunk's end.
    let text = good("ä\u{1f600}\\").replace('\u{1f600}', "\\ud83d\\ude00");
    let chunks: String = text.bytes().map(|byte| format!("1\r\n{}\r\n", byte as char)).collect();
    let chunks: Vec<u8> = chunks.chars().map(|c| c as u8).chain(*b"0\r\n\r\n").collect();
    let head = format!("{}content-type: application/json\r\nmcp-session-id: {session}\r\ntransfer-encoding: chunked\r\n\r\n", site.head(SERVER));
    assert_eq!(site.exchange(&[head.into_bytes(), chunks].concat()).await.json()["result"], json!({"content": []}));

    let mut line = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    let all = [asked(&good("first")), asked(BAD), asked(&good("third")), asked(BAD)].concat();
    line.write_all(&all).await.unwrap();
    for denied in [false, true, false, true] {
        let raw = read(&mut line).await;
        assert_eq!(raw.state().as_deref() == Some("denied"), denied, "{raw:?}");
    }
    assert_eq!(site.executed(SERVER), ["by bytes", "ä\u{1f600}\\", "first", "third"]);
}

#[tokio::test]
async fn a_server_gets_our_headers_and_none_of_the_agents() {
    let site = Site::new().await;
    let session = site.session(SERVER, "2025-11-25").await;
    let more = format!(
        "mcp-session-id: {session}\r\ncookie: a=b\r\naccept-encoding: gzip, br\r\nmcp-name: x\r\nmcp-method: y\r\nx-forwarded-for: 10.0.0.1\r\n\
         proxy-authorization: Basic eA==\r\nlast-event-id: 7\r\ntraceparent: 00\r\nuser-agent: evil\r\nexpect: 100-continue\r\nrange: bytes=0-1\r\n"
    );
    let bytes = request(&site.head(SERVER), &more, good("headers").as_bytes());
    let mut line = TcpStream::connect(("127.0.0.1", site.port)).await.unwrap();
    line.write_all(&bytes).await.unwrap();
    let mut raw = read(&mut line).await;
    if raw.status == 100 {
        raw = read(&mut line).await;
    }
    assert_eq!(raw.json()["result"], json!({"content": []}), "{raw:?}");
    let ours = ["authorization", "accept", "content-type", "content-length", "host", "user-agent", "mcp-protocol-version"];
    for headers in site.headers(SERVER) {
        assert!(headers.keys().all(|name| ours.contains(&name.as_str())), "{headers:?}");
        assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer own"]);
        assert_eq!(headers["content-type"], "application/json");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("paraph/"));
    }
    assert_eq!(site.executed(SERVER), ["headers"]);
}
