//! Who is slow is given up after a time, who sends too much hears so, and neither keeps anybody else waiting.

use super::*;

/// Writes a byte again and again until the other side closes; what it said before.
async fn trickle(line: TcpStream) -> String {
    let (mut reading, mut writing) = line.into_split();
    let writer = tokio::spawn(async move {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut read = Vec::new();
    let ended = tokio::time::timeout(crate::world::SOON, async { while reading.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {} }).await;
    writer.abort();
    assert!(ended.is_ok(), "a client that sends a byte now and then is kept for ever: {}", String::from_utf8_lossy(&read));
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_whether_it_is_the_first_or_the_next() {
    let site = Site::impatient().await;
    let mut first = site.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ").await.unwrap();
    assert!(!trickle(first).await.contains("200 OK"));
    let mut second = site.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nx: ").await.unwrap();
    let said = trickle(second).await;
    assert_eq!(said.matches("200 OK").count(), 1, "{said}");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let site = Site::impatient().await;
    let mut line = site.connect().await;
    assert_eq!(to_end(&mut line).await, "");
    let mut line = site.connect().await;
    line.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(to_end(&mut line).await.ends_with("here"));
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_and_one_that_keeps_coming_is_not() {
    let site = Site::impatient().await;
    let head = |bytes: usize| format!("POST /read HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n");
    let mut slow = site.connect().await;
    slow.write_all(head(10_000).as_bytes()).await.unwrap();
    assert!(trickle(slow).await.starts_with("HTTP/1.1 408 "));
    // Longer under way than a body of no bytes may be, and fast enough.
    let mut steady = site.connect().await;
    steady.write_all(head(40_000).as_bytes()).await.unwrap();
    for _ in 0..10 {
        steady.write_all(&[b'x'; 4000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(to_end(&mut steady).await.ends_with("40000 bytes"));
}

#[tokio::test]
async fn who_sends_too_much_reads_the_refusal_and_not_a_broken_pipe() {
    let site = Site::impatient().await;
    for round in 0..20 {
        let mut line = site.connect().await;
        let bytes = 4 << 20;
        line.write_all(format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).await.unwrap();
        line.write_all(&vec![b'x'; bytes]).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let said = to_end(&mut line).await;
        assert!(said.starts_with("HTTP/1.1 413 ") && said.ends_with("too much"), "round {round}: {said:?}");
    }
}

#[tokio::test]
async fn a_form_and_a_message_that_are_too_large_hear_so_from_the_real_program() {
    let world = crate::world::World::with_demo_server("");
    let token = world.agent("support-bot").await;
    world.reviewer("ann@example.org").await;
    let gateway = world.serve().await;
    let link = world.told(&["reviewer", "link", "ann@example.org"]).await;
    let signed_in = crate::world::http().post(&link).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let address = gateway.url.strip_prefix("http://").unwrap();
    for (path, own, most) in [("/pause", format!("cookie: {cookie}\r\n"), 512 << 10), ("/mcp/demo", format!("authorization: Bearer {token}\r\n"), 4 << 20)] {
        let mut line = TcpStream::connect(address).await.unwrap();
        let bytes = most + (1 << 20);
        line.write_all(format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{own}content-length: {bytes}\r\n\r\n").as_bytes()).await.unwrap();
        line.write_all(&vec![b'x'; bytes]).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let said = tokio::time::timeout(crate::world::SOON, async {
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains("\r\n\r\n") && line.read_buf(&mut said).await.unwrap() > 0 {}
            String::from_utf8_lossy(&said).into_owned()
        });
        let said = said.await.expect("an answer");
        assert!(said.starts_with("HTTP/1.1 413 "), "{path}: {said}");
    }
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_head_has_an_end_in_bytes_and_in_lines() {
    let site = Site::impatient().await;
    for headers in [format!("x: {}\r\n", "y".repeat(70 << 10)), "x: y\r\n".repeat(101)] {
        let mut line = site.connect().await;
        let _closed_meanwhile = line.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
        assert!(to_end(&mut line).await.starts_with("HTTP/1.1 431 "));
    }
    let mut line = site.connect().await;
    line.write_all(format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", "x: y\r\n".repeat(90)).as_bytes()).await.unwrap();
    assert!(to_end(&mut line).await.ends_with("here"));
}

#[tokio::test]
async fn who_leaves_lets_open_connections_finish_and_takes_no_more() {
    let site = Site::open(|listening| listening, &Bounds::default()).await;
    let mut idle = site.connect().await;
    let mut busy = site.connect().await;
    busy.write_all(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nab").await.unwrap();
    // Its handler reads already.
    assert_eq!(site.page("/").await, "here");
    site.leaving.cancel();
    assert_eq!(to_end(&mut idle).await, "");
    busy.write_all(b"c").await.unwrap();
    assert!(to_end(&mut busy).await.ends_with("3 bytes"));
    crate::world::until("nobody listens any more", || async { TcpStream::connect(site.address).await.is_err().then_some(()) }).await;
}
