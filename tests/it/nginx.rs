//! Behind a real nginx, with the file of docs/deploy as it stands: only ports, paths and names are this test's own.

use crate::net::Authority;
use crate::world::{Agent, Desk, SOON, World, text_of, until};
use axum::routing::get;
use paraph::config::Bounds;
use paraph::domain::client::Client;
use paraph::domain::proxies::{Network, Proxies};
use paraph::serve::listen::Listening;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

const OURS: &str = include_str!("../../docs/deploy/nginx.conf");

/// A port that is free now; nginx takes none of its own choice.
async fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Our file for this name and port, before this gateway.
fn ours(listen: u16, upstream: &str) -> String {
    let mut text = OURS.to_owned();
    for (from, to) in [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{listen} ssl;")),
        ("server_name paraph.example.org;", "server_name localhost;".into()),
        ("/etc/letsencrypt/live/paraph.example.org/fullchain.pem", "cert.pem".into()),
        ("/etc/letsencrypt/live/paraph.example.org/privkey.pem", "key.pem".into()),
        ("http://127.0.0.1:8420;", format!("{upstream};")),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, &to);
    }
    text
}

async fn nginx(world: &World, servers: &str, ports: &[u16]) -> Child {
    let folder = world.path("");
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|kind| format!("{kind}_temp_path {folder}/{kind};\n")).collect();
    let text = format!("daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n");
    std::fs::write(world.path("nginx.conf"), text).unwrap();
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let log = std::fs::File::create(world.path("nginx.log")).unwrap();
    let mut command = Command::new("nginx");
    command.env("PATH", path).arg("-p").arg(world.path("")).arg("-c").arg(world.path("nginx.conf")).args(["-e", "stderr"]);
    let child = command.stdin(Stdio::null()).stderr(log).kill_on_drop(true).spawn().expect("nginx starts; tests/run installs it");
    for port in ports {
        until("nginx listens", || async { TcpStream::connect(("127.0.0.1", *port)).await.ok() }).await;
    }
    child
}

async fn end(mut child: Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    // Its workers end with it, which they would not after a kill.
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    tokio::time::timeout(SOON, child.wait()).await.expect("nginx ends").unwrap();
}

#[tokio::test]
async fn agents_and_reviewers_work_through_nginx_and_outcomes_are_told_once() {
    // With the line that an operator may forget, and without.
    for forgets in [false, true] {
        let (world, authority, port) = (World::with_demo_server(""), Authority::new(), port().await);
        authority.issue(&["localhost"], &world.path("cert.pem"), &world.path("key.pem"));
        let public = format!("https://localhost:{port}");
        world.listen(&format!("public_url = \"{public}\"\ntrusted_proxies = [\"127.0.0.1\"]"));
        let (token, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
        let gateway = world.serve().await;
        let mut text = ours(port, &gateway.url);
        if forgets {
            let line = text.lines().find(|line| line.trim_start().starts_with("proxy_buffering off;")).unwrap().to_owned();
            text = text.replace(&line, "");
        }
        let proxy = nginx(&world, &text, &[port]).await;
        let client = authority.client();
        let desk = Desk::over(client.clone(), &public, &ann);
        let agent = Agent::over(client.clone(), &format!("{public}/mcp/demo"), &token).await;

        let events = client.get(format!("{public}/api/v1/events")).bearer_auth(&ann).send();
        let mut events = tokio::time::timeout(SOON, events).await.expect("a stream begins at once").unwrap();
        let asked = agent.begin("send_dm", json!({"to": "@bob", "text": "through nginx"}));
        let held = desk.held("through nginx").await;
        assert_eq!(held["agent_waiting"], true);
        let mut told = String::new();
        while !told.contains("call.held") {
            let chunk = tokio::time::timeout(SOON, events.chunk()).await.expect("events pass while the stream is open").unwrap().unwrap();
            told += &String::from_utf8_lossy(&chunk);
        }
        desk.approve(&held).await;
        let answer = tokio::time::timeout(SOON, asked).await.expect("the answer passes").unwrap().unwrap();
        assert!(text_of(&answer["result"]).contains("@bob"), "{answer}");
        // nginx has hung up on Paraph by then; the agent has read its answer all the same, and the same text is a new call.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let again = agent.begin("send_dm", json!({"to": "@bob", "text": "through nginx"}));
        let second = desk.held("through nginx").await;
        assert_ne!(second["id"], held["id"]);
        desk.reject(&second, "Once is enough.").await;
        assert!(text_of(&again.await.unwrap().unwrap()["result"]).contains("Once is enough"));

        let foreign = client.get(format!("{public}/")).header("host", "evil.example").send().await.unwrap();
        assert_eq!(foreign.status(), 403);
        let link = world.told(&["reviewer", "link", "ann@example.org"]).await;
        assert!(link.starts_with(&public), "{link}");
        assert_eq!(client.get(&link).send().await.unwrap().status(), 200);
        drop(events);
        end(proxy).await;
        assert!(gateway.stop().await);
    }
}

#[tokio::test]
async fn the_client_is_found_behind_one_nginx_and_behind_two_whatever_it_writes() {
    let (world, authority) = (World::new(""), Authority::new());
    authority.issue(&["localhost"], &world.path("cert.pem"), &world.path("key.pem"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/", get(|client: axum::Extension<Client>| async move { client.address.to_string() }));
    let trusted = Proxies::new(vec![Network::parse("127.0.0.1").unwrap()]);
    let leaving = CancellationToken::new();
    tokio::spawn(Listening::new(listener, &Bounds::default()).with_proxies(trusted).serve(app, leaving.clone()));
    let (near, far) = (port().await, port().await);
    let servers = format!("{}{}", ours(near, &upstream), ours(far, &format!("https://127.0.0.1:{near}")));
    let proxy = nginx(&world, &servers, &[near, far]).await;
    // The proxies are at 127.0.0.1; whoever else is on this machine is at another address of it.
    let stranger = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let trust = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trust]).local_address(stranger).build().unwrap();
    for port in [near, far] {
        for forged in [None, Some("203.0.113.9"), Some("127.0.0.1"), Some("nonsense, 127.0.0.1")] {
            let mut asked = client.get(format!("https://localhost:{port}/"));
            if let Some(forged) = forged {
                asked = asked.header("x-forwarded-for", forged);
            }
            assert_eq!(asked.send().await.unwrap().text().await.unwrap(), "127.0.0.2", "{forged:?}");
        }
    }
    end(proxy).await;
    leaving.cancel();
}
