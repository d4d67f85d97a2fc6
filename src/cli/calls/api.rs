//! The HTTP API from the side of a command: one token, no redirects, every refusal as a sentence and an exit
//! code. Also used by `demo`, which decides over the same API as everybody else.

use crate::cli::fault::Fault;
use crate::cli::settings::Where;
use clap::Args;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a gateway may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a token file; a larger one is a mix-up.
const TOKEN_BYTES: u64 = 4096;

/// Which gateway and as whom.
#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// The gateway [default: the one in the configuration]
    #[arg(long, global = true, env = "PARAPH_URL", value_name = "URL")]
    url: Option<String>,
    /// A file with the API token
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An API client.
pub(in crate::cli) struct Api {
    client: Client,
    url: Url,
    token: String,
}

impl Api {
    /// With what the command line and the environment say.
    pub(super) fn open(gateway: &Gateway, place: &Where) -> Result<Api, Fault> {
        let url = match &gateway.url {
            Some(url) => url.clone(),
            None if place.is_there() => {
                let config = place.config()?;
                config.listen.url_at(&config.listen.address)
            }
            None => return Err(Fault::usage("which gateway? Set PARAPH_URL, or give --url URL or --config FILE")),
        };
        Api::new(&url, token(gateway)?)
    }

    /// `token` is an API token.
    pub(in crate::cli) fn new(url: &str, token: String) -> Result<Api, Fault> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| Fault::usage("the gateway's URL must look like http://127.0.0.1:8420"))?;
        let client = client(&url).build().map_err(|error| Fault::new(1, format!("no HTTP client: {}", plain(&error))))?;
        Ok(Api { client, url, token })
    }

    /// One call, whole. The gateway notes that this person was served its text.
    pub(in crate::cli) async fn call(&self, id: &str) -> Result<Value, Fault> {
        self.ask(Method::GET, &call_path(id)?, &[], None).await
    }

    /// Decides on the text that `call` shows.
    pub(in crate::cli) async fn decide(&self, call: &Value, verdict: &str, reason: Option<&str>) -> Result<Value, Fault> {
        let path = format!("{}/decision", call_path(call["id"].as_str().unwrap_or_default())?);
        let body = serde_json::json!({ "verdict": verdict, "digest": call["digest"], "version": call["version"], "reason": reason });
        self.ask(Method::POST, &path, &[], Some(&body)).await
    }

    /// Approves the text that `call` shows, or `arguments` in its place.
    pub(super) async fn approve(&self, call: &Value, reason: Option<&str>, arguments: Option<&Value>) -> Result<Value, Fault> {
        let path = format!("{}/decision", call_path(call["id"].as_str().unwrap_or_default())?);
        let mut body = serde_json::json!({ "verdict": "approve", "digest": call["digest"], "version": call["version"], "reason": reason });
        if let Some(arguments) = arguments {
            body["arguments"] = arguments.clone();
        }
        self.ask(Method::POST, &path, &[], Some(&body)).await
    }

    /// Says what became of the call that `call` shows.
    pub(super) async fn resolve(&self, call: &Value, resolution: &Value) -> Result<Value, Fault> {
        let path = format!("{}/resolution", call_path(call["id"].as_str().unwrap_or_default())?);
        self.ask(Method::POST, &path, &[], Some(resolution)).await
    }

    /// Takes an approval back.
    pub(super) async fn undo(&self, id: &str) -> Result<Value, Fault> {
        let (status, value) = self.exchange(Method::POST, &format!("{}/undo", call_path(id)?), &[], None).await?;
        match (status, value["state"].as_str()) {
            (StatusCode::CONFLICT, Some("held")) => Err(Fault::new(1, "the call is held: there is no approval to take back")),
            (StatusCode::CONFLICT, Some(state)) => Err(Fault::new(1, format!("too late, nothing was taken back: the call is {}", state.replace('_', " ")))),
            _ => good(status, value),
        }
    }

    /// Opens the way to a call's recipient.
    pub(super) async fn lift(&self, id: &str) -> Result<Value, Fault> {
        self.ask(Method::POST, &format!("{}/lift", call_path(id)?), &[], None).await
    }

    /// Asks and reads the JSON of a good answer.
    pub(in crate::cli) async fn ask(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Value, Fault> {
        let (status, value) = self.exchange(method, path, query, body).await?;
        good(status, value)
    }

    /// Asks and reads the JSON of whatever is answered.
    async fn exchange(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<(StatusCode, Value), Fault> {
        let asked = self.send(method, path, query, body);
        let answered = tokio::time::timeout(PATIENCE, async {
            let response = asked.await?;
            let status = response.status();
            Ok::<_, Fault>((status, response.bytes().await.map_err(|error| unreachable(&error))?))
        });
        let (status, bytes) = answered.await.map_err(|_| Fault::new(3, format!("the gateway did not answer within {} s", PATIENCE.as_secs())))??;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Asks and gives the open answer, for streams; a refusal is an error.
    pub(super) async fn stream(&self, path: &str) -> Result<Response, Fault> {
        let response = self.send(Method::GET, path, &[], None).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.unwrap_or_default();
        Err(refused(status, &serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    async fn send(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Response, Fault> {
        let mut url = self.url.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).bearer_auth(&self.token).header("Paraph-Via", "cli");
        request = match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => request.header(ACCEPT, "application/json, text/event-stream"),
        };
        request.send().await.map_err(|error| unreachable(&error))
    }
}

/// A client that follows no redirects, since a token must not travel on, and asks no proxy for this machine.
pub(in crate::cli) fn client(url: &Url) -> reqwest::ClientBuilder {
    let builder = Client::builder().redirect(redirect::Policy::none()).connect_timeout(Duration::from_secs(10));
    let is_here = url.host_str().is_some_and(|host| matches!(host, "localhost" | "[::1]") || host.starts_with("127."));
    if is_here { builder.no_proxy() } else { builder }
}

fn call_path(id: &str) -> Result<String, Fault> {
    let ordinary = !id.is_empty() && id.len() <= 64 && id.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'));
    if ordinary { Ok(format!("/api/v1/calls/{id}")) } else { Err(Fault::usage("a call's id looks like c_… ; `paraph calls` lists them")) }
}

fn token(gateway: &Gateway) -> Result<String, Fault> {
    let text = match &gateway.token_file {
        Some(path) => {
            let metadata = std::fs::metadata(path).map_err(|error| Fault::file(path, &error))?;
            if metadata.len() > TOKEN_BYTES {
                return Err(Fault::usage(format!("{} is too large for a token", path.display())));
            }
            std::fs::read_to_string(path).map_err(|error| Fault::file(path, &error))?
        }
        None => std::env::var("PARAPH_TOKEN")
            .map_err(|_| Fault::usage("who asks? Set PARAPH_TOKEN or give --token-file; `paraph reviewer token EMAIL` makes one"))?,
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::usage("this is no API token; `paraph reviewer token EMAIL` makes one"));
    }
    Ok(text.to_owned())
}

fn unreachable(error: &reqwest::Error) -> Fault {
    Fault::new(3, format!("the gateway could not be reached: {}", plain(error)))
}

/// The innermost cause, which says most; never the URL.
fn plain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn good(status: StatusCode, value: Value) -> Result<Value, Fault> {
    match status.is_success() {
        true if value.is_null() => Err(Fault::new(3, "what answers at this URL is no Paraph gateway")),
        true => Ok(value),
        false => Err(refused(status, &value)),
    }
}

fn refused(status: StatusCode, body: &Value) -> Fault {
    let told = body["detail"].as_str().or(body["title"].as_str());
    let reference = body["reference"].as_str().map(|reference| format!(" (reference {reference})")).unwrap_or_default();
    let text = match status {
        StatusCode::UNAUTHORIZED => "the gateway does not know this token, or it has expired".to_owned(),
        StatusCode::NOT_FOUND if told.is_none() => "there is no such call".to_owned(),
        // The body is the call as it is.
        StatusCode::CONFLICT if body["state"].is_string() => settled(body),
        StatusCode::PRECONDITION_FAILED => "the call changed after it was shown; read it again".to_owned(),
        _ => told.map_or_else(|| format!("the gateway answered {}", status.as_u16()), str::to_owned),
    };
    // A proxy that has lost its gateway is the gateway not being reached.
    let code = if matches!(status.as_u16(), 502..=504) { 3 } else { 1 };
    Fault::new(code, format!("{text}{reference}"))
}

fn settled(call: &Value) -> String {
    let state = call["state"].as_str().unwrap_or_default().replace('_', " ");
    let last = call["decisions"].as_array().and_then(|decisions| decisions.iter().rev().find(|decision| decision["void"] != true));
    match last {
        Some(decision) => {
            let word = |key: &str| decision[key].as_str().unwrap_or("?");
            format!("the call is already {state}: {} decided first, at {}", word("by"), word("at"))
        }
        None => format!("the call is already {state}"),
    }
}
