//! What Paraph is held against: reverse proxies as axum's own example writes them (axum::serve, hyper-util's client),
//! each with one more of the things that a gate cannot do without. `bare` streams bodies unread; `parse` reads the body and
//! looks the tool up; `r` also writes an audit record to sled behind the call; `d` has the record durable before it
//! forwards, with group commit. Children of this executable, as `role-standin KIND UPSTREAM FOLDER`.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use paraph::gate::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use sled::transaction::ConflictableTransactionError;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

type Client = hyper_util::client::legacy::Client<HttpConnector, Body>;

/// Bytes of a body, as in Paraph's default.
const BODY: usize = 4 << 20;
/// As in Paraph's default.
const CACHE: u64 = 64 << 20;
/// As in Paraph's default.
const FLUSH_EVERY_MS: u64 = 200;
/// Records in one transaction at the most.
const TOGETHER: usize = 64;
/// Records that wait for the committer at the most.
const QUEUE: usize = 1024;

/// A JSON-RPC request; the arguments stay as they are.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// What is known of a tool.
struct Tool {
    reads: bool,
}

/// What becomes of a record before the call goes on.
enum Keeping {
    Nothing,
    Behind(sled::Tree),
    Before(mpsc::Sender<(Record, oneshot::Sender<()>)>),
}

struct Record {
    key: [u8; 8],
    json: Vec<u8>,
}

struct Proxy {
    client: Client,
    upstream: String,
    tools: HashMap<String, Tool>,
    keeping: Keeping,
    next: AtomicU64,
}

/// Prints its address and serves.
pub async fn run(arguments: &[String]) -> Result<(), Error> {
    let [kind, upstream, folder] = arguments else { return Err(Error::other("role-standin KIND UPSTREAM FOLDER")) };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let tools = [(crate::upstream::READING, true), (crate::upstream::SENDING, false)].map(|(name, reads)| (name.to_owned(), Tool { reads }));
    let folder = Path::new(folder).join(kind);
    let keeping = match kind.as_str() {
        "bare" | "parse" => Keeping::Nothing,
        "r" => Keeping::Behind(open(&folder)?.open_tree("audit")?),
        "d" => Keeping::Before(committer(&folder)?),
        other => return Err(Error::other(format!("no stand-in is called {other}"))),
    };
    let proxy = Arc::new(Proxy { client, upstream: upstream.clone(), tools: tools.into(), keeping, next: AtomicU64::new(0) });
    let app = if kind == "bare" { Router::new().fallback(any(stream)) } else { Router::new().fallback(any(parse)) };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::report::say(&format!("listening on {}", listener.local_addr()?));
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app.with_state(proxy)).await
}

/// `bare`: as the example does it.
async fn stream(State(proxy): State<Arc<Proxy>>, request: Request) -> Result<Response, StatusCode> {
    forward(&proxy, request).await
}

/// The others: the body is read, judged, and sent on as it came.
async fn parse(State(proxy): State<Arc<Proxy>>, request: Request) -> Result<Response, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let envelope: Envelope<'_> = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    if envelope.method == "tools/call" {
        let params = envelope.params.ok_or(StatusCode::BAD_REQUEST)?;
        let name = params.name.ok_or(StatusCode::BAD_REQUEST)?;
        let Some(tool) = proxy.tools.get(name.as_ref()) else {
            return Ok(Json(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32602, "message": "no such tool"}})).into_response());
        };
        keep(&proxy, &name, tool, params.arguments).await?;
    }
    forward(&proxy, Request::from_parts(parts, Body::from(body))).await
}

async fn forward(proxy: &Proxy, mut request: Request) -> Result<Response, StatusCode> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(format!("http://{}{path}", proxy.upstream)).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(proxy.client.request(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?.into_response())
}

async fn keep(proxy: &Proxy, name: &str, tool: &Tool, arguments: Option<&RawValue>) -> Result<(), StatusCode> {
    match &proxy.keeping {
        Keeping::Nothing => Ok(()),
        Keeping::Behind(tree) => {
            let record = record(proxy, name, tool, arguments)?;
            tree.insert(record.key, record.json).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            Ok(())
        }
        Keeping::Before(queue) => {
            let (done, durable) = oneshot::channel();
            queue.send((record(proxy, name, tool, arguments)?, done)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            durable.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// One audit record, about 300 bytes.
#[derive(Serialize)]
struct Entry<'a> {
    seq: u64,
    at: jiff::Timestamp,
    kind: &'a str,
    agent: &'a str,
    server: &'a str,
    tool: &'a str,
    reads: bool,
    rule: &'a str,
    digest: &'a str,
    call: &'a str,
    session: &'a str,
}

fn record(proxy: &Proxy, name: &str, tool: &Tool, arguments: Option<&RawValue>) -> Result<Record, StatusCode> {
    let seq = proxy.next.fetch_add(1, Ordering::Relaxed);
    let entry = Entry {
        seq,
        at: SystemClock.now(),
        kind: "call.allowed",
        agent: "support-bot",
        server: "upstream",
        tool: name,
        reads: tool.reads,
        rule: "notes-are-free",
        digest: &digest(arguments),
        call: &format!("c_{seq:032x}"),
        session: &format!("s_{seq:032x}"),
    };
    let json = serde_json::to_vec(&entry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Record { key: seq.to_be_bytes(), json })
}

fn digest(arguments: Option<&RawValue>) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(arguments.map_or("{}", RawValue::get)) {
        text.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])));
    }
    text
}

fn open(folder: &Path) -> Result<sled::Db, Error> {
    Ok(sled::Config::new().path(folder).cache_capacity(CACHE).flush_every_ms(Some(FLUSH_EVERY_MS)).open()?)
}

/// One thread owns the writes: what waits goes into one transaction, becomes durable, and is then answered together.
fn committer(folder: &Path) -> Result<mpsc::Sender<(Record, oneshot::Sender<()>)>, Error> {
    let db = open(folder)?;
    let tree = db.open_tree("audit")?;
    // sled's flush leaves the file's data in the device's hands (no fsync); this descriptor asks for the rest.
    let file = File::open(folder.join("db"))?;
    let (queue, mut waiting) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("committer".into()).spawn(move || {
        let mut batch = Vec::with_capacity(TOGETHER);
        while waiting.blocking_recv_many(&mut batch, TOGETHER) > 0 {
            if let Err(cause) = commit(&db, &tree, &file, &batch) {
                // The queue closes with this thread, and every call is refused from here on.
                eprintln!("the committer ends: {cause}");
                return;
            }
            batch.drain(..).for_each(|(_, done): (Record, oneshot::Sender<()>)| {
                let _ = done.send(());
            });
        }
    })?;
    Ok(queue)
}

fn commit(db: &sled::Db, tree: &sled::Tree, file: &File, batch: &[(Record, oneshot::Sender<()>)]) -> Result<(), Error> {
    tree.transaction(|tree| {
        for (record, _) in batch {
            tree.insert(&record.key, record.json.as_slice())?;
        }
        Ok::<(), ConflictableTransactionError<()>>(())
    })
    .map_err(|cause| Error::other(format!("{cause:?}")))?;
    db.flush()?;
    file.sync_data()
}
