//! The two ways through the listener, the straight one of agents and the one of everybody else: a path takes the one that
//! is its own, however odd it is written, and both answer in the same form.

use super::to_end;
use crate::metrics::{scrape, value};
use crate::world::World;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How an answer begins, by who gave it.
const REFUSED: &str = r#"{"jsonrpc":"2.0""#;
const PAGE: &str = "<!DOCTYPE html>";
const PROBLEM: &str = r#"{"type":"about:blank""#;

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Vec<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).filter(|(its, _)| its.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

async fn ask(authority: &str, request: &str, token: &str) -> Answer {
    let mut line = TcpStream::connect(authority).await.unwrap();
    line.write_all(format!("{request} HTTP/1.1\r\nhost: {authority}\r\n{token}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let whole = to_end(&mut line).await;
    let (head, body) = whole.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {whole}"));
    Answer { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn a_path_takes_its_own_way_and_both_ways_answer_in_the_same_form() {
    let world = World::with_demo_server("");
    world.listen("public_url = \"https://paraph.example.org\"");
    let (agent, reviewer) = (world.agent("bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let authority = gateway.url.split_once("://").unwrap().1;
    let bearer = format!("authorization: Bearer {agent}\r\n");
    let whole = format!("POST http://{authority}/mcp/none");
    let of_agents = [
        (401, "", "POST /mcp/demo"),
        (401, "", "POST /mcp"),
        (401, "", "HEAD /mcp"),
        (404, &bearer, "POST /mcp"),
        (404, &bearer, "POST /mcp?server=demo"),
        (404, &bearer, "GET /mcp/"),
        (404, &bearer, "POST /mcp/none"),
        (404, &bearer, &whole),
        (404, &bearer, "POST /mcp//demo"),
        (404, &bearer, "POST /mcp/demo/"),
        (404, &bearer, "POST /mcp/d%65mo"),
        (404, &bearer, "POST /mcp/%ff"),
        (404, &bearer, "POST /mcp/../demo"),
        (415, &bearer, "POST /mcp/demo?x"),
        (405, &bearer, "GET /mcp/demo"),
        (405, &bearer, "HEAD /mcp/demo"),
        (405, &bearer, "OPTIONS /mcp/demo"),
        (405, &bearer, "PATCH /mcp/demo"),
        (405, &bearer, "TRACE /mcp/demo"),
        (405, &bearer, "ODD /mcp/demo"),
    ];
    let of_others = [
        (404, "", PAGE, "GET /mcpx"),
        (404, "", PAGE, "GET /Mcp/demo"),
        (404, "", PAGE, "GET //mcp/demo"),
        (404, "", PAGE, "GET /mcp%2Fdemo"),
        (404, "", PAGE, "GET /mc%70/demo"),
        (404, "", PAGE, "GET /./mcp/demo"),
        (404, "", PAGE, "HEAD /mcpx"),
        (200, "", "", "GET /healthz"),
        (200, "", "", "HEAD /healthz"),
        (405, "", "", "POST /healthz"),
        (401, "", PROBLEM, "GET /api/v1/calls"),
    ];
    let agents = of_agents.map(|(status, token, request)| (status, token, REFUSED, request));
    for (status, token, begins, request) in agents.into_iter().chain(of_others) {
        let answer = ask(authority, request, token).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.head);
        let length: usize = answer.header("content-length").concat().parse().unwrap_or_else(|_| panic!("{request}: {}", answer.head));
        if request.starts_with("HEAD") {
            assert!(answer.body.is_empty(), "{request}: {}", answer.body);
        } else {
            assert!(answer.body.starts_with(begins) && answer.body.len() == length, "{request}: {}\n{}", answer.head, answer.body);
        }
        for bound in
            ["content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-resource-policy", "strict-transport-security", "date"]
        {
            assert_eq!(answer.header(bound).len(), 1, "{request}, {bound}: {}", answer.head);
        }
        assert_eq!(answer.header("allow").len(), usize::from(status == 405), "{request}: {}", answer.head);
    }
    // Every answer is counted once, on its own side. The scrape that tells it is not yet among them.
    let (_, text) = scrape(&format!("{}/metrics", gateway.url), Some(&reviewer)).await;
    let counted = |part: &str, class: &str| value(&text, &format!("paraph_http_requests_total{{part=\"{part}\",status=\"{class}\"}}"));
    assert_eq!(counted("mcp", "4xx"), Some(agents.len() as f64), "{text}");
    assert_eq!(counted("pages", "4xx"), Some(7.0), "{text}");
    assert_eq!((counted("probes", "4xx"), counted("api", "4xx")), (Some(1.0), Some(1.0)), "{text}");
    assert!(gateway.stop().await);
}
