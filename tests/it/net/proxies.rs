//! Whom a request is from, on the wire: lines of X-Forwarded-For from trusted proxies and from others. The table of
//! everything that can stand there is at `src/domain/proxies.rs`; a real proxy is asked in `nginx.rs`.

use super::*;
use paraph::domain::proxies::{Network, Proxies};

async fn client(site: &Site, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("x-forwarded-for: {line}\r\n")).collect();
    let mut line = site.connect().await;
    line.write_all(format!("GET /client HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n").as_bytes()).await.unwrap();
    to_end(&mut line).await.rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_client_is_the_peer_unless_a_trusted_proxy_says_otherwise() {
    let alone = Site::open(|listening| listening, &Bounds::default()).await;
    assert_eq!(client(&alone, &[]).await, "127.0.0.1");
    assert_eq!(client(&alone, &["203.0.113.9"]).await, "127.0.0.1", "a stranger said it");
    let networks = ["127.0.0.1", "10.0.0.0/8"].map(|text| Network::parse(text).unwrap());
    let behind = Site::open(|listening| listening.with_proxies(Proxies::new(networks.to_vec())), &Bounds::default()).await;
    assert_eq!(client(&behind, &[]).await, "127.0.0.1");
    assert_eq!(client(&behind, &["203.0.113.9"]).await, "203.0.113.9");
    assert_eq!(client(&behind, &["1.1.1.1, 203.0.113.9, 10.0.0.7"]).await, "203.0.113.9");
    assert_eq!(client(&behind, &["1.1.1.1", "203.0.113.9", "10.0.0.7"]).await, "203.0.113.9");
    assert_eq!(client(&behind, &["203.0.113.9, \u{e4}"]).await, "127.0.0.1", "what cannot be read");
}
