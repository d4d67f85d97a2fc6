//! The stdio front (`paraph connect`): for clients that can only start a process. Lines of JSON-RPC go in, each is posted
//! to the running gateway, and whatever comes back is one line, in whatever order it comes: a call that waits for a
//! person holds up nothing else.
//!
//! It outlives the gateway's restarts, and never does a thing twice for that. A request whose connection broke is
//! - posted again when it provably never arrived, when the gateway has no such session, or when it only reads;
//! - resumed by `Last-Event-ID` when its stream had an id: then it is a held call of revision 2025-11-25;
//! - else answered by us: that nobody knows. The gateway would attach a held call's repetition, but an allowed one it
//!   would execute again (semantics.md 6), and a broken connection does not say which of the two it was.
//!
//! A client that closes its end is gone, which takes nothing back: held calls stay held (semantics.md 7).
//! Called by `cli::connect`. Everything that waits is bounded.

mod bridge;
mod gateway;
mod line;
mod listen;
mod pause;
mod post;
mod request;
mod session;
mod told;

use crate::mcp::upstream::lines::{Line, Lines};
use bridge::{Front, Out};
use gateway::Gateway;
use line::{Kind, Message};
use reqwest::Url;
use session::{Refusal, Session};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of a line that is passed on; as many as `bounds.body` of the gateway has by default.
pub const LINE: usize = 4 << 20;
/// Bytes of a line that is still read for its id, so that whoever waits is told that it is too long.
const READ: usize = 8 * LINE;
/// Messages without an answer that wait for the gateway.
const QUEUE: usize = 256;
/// Lines that a slow client may lag behind.
const LAG: usize = 64;
/// After the client closed its end: for what is about to be answered and for cancels that are still to be told. Clients
/// lose patience after 2 s.
const FAREWELL: Duration = Duration::from_millis(1_200);

/// Says a line to the person, beside the protocol.
pub type Notes = Arc<dyn Fn(&str) + Send + Sync>;

/// Which gateway and as whom.
pub struct Settings {
    /// `…/mcp/SERVER`.
    pub url: Url,
    /// The agent's token.
    pub token: String,
    /// How long the gateway may take to be there at the start.
    pub wait: Duration,
    /// How long a request waits for a gateway that went away.
    pub patience: Duration,
}

/// Why the front ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client closed its end, or the front was asked to stop.
    Left,
    /// The gateway does not let this client in; a sentence.
    Refused(String),
    /// The gateway was not there at the start; a sentence.
    Unreachable(String),
}

/// Whether a URL leads to this computer.
pub fn is_this_computer(url: &Url) -> bool {
    url.host_str().is_some_and(|host| matches!(host, "localhost" | "[::1]") || host.starts_with("127."))
}

/// Bridges until the client or `stop` ends it.
///
/// # Errors
/// A sentence, when the token or the URL cannot be used at all.
pub async fn run<I, O>(settings: Settings, input: I, output: O, stop: impl Future<Output = ()>, notes: Notes) -> Result<End, String>
where
    I: AsyncRead + Unpin + Send,
    O: AsyncWrite + Unpin + Send + 'static,
{
    let (out, lines) = mpsc::channel(LAG);
    let gateway = Gateway::new(settings.url, &settings.token, notes.clone())?;
    let front = Arc::new(Front::new(gateway, settings.patience, out, notes));
    let (queue, waiting) = mpsc::channel(QUEUE);
    let writing = tokio::spawn(write(lines, output, front.ended.clone()));
    let listening = tokio::spawn(listen::listen(front.clone()));
    let posting = tokio::spawn(post::drive(front.clone(), waiting));
    // What is being answered; a request that waits in a stream may wait for long and is not among them.
    let requests = TaskTracker::new();
    let asked_to_stop = tokio::select! {
        () = stop => true,
        () = front.ended.cancelled() => true,
        () = read(&front, input, &queue, &requests, settings.wait) => false,
    };
    drop(queue);
    listening.abort();
    let by = Instant::now() + FAREWELL;
    if !asked_to_stop {
        requests.close();
        let last = async { tokio::join!(requests.wait(), posting) };
        let _ = timeout_at(by, last).await;
    }
    front.beside.close();
    let _ = timeout_at(by, front.beside.wait()).await;
    let _ = timeout_at(by, front.written()).await;
    writing.abort();
    if let Some(session) = front.sessions.last() {
        front.gateway.end(&session.headers).await;
    }
    Ok(front.end())
}

async fn write<O: AsyncWrite + Unpin>(mut lines: mpsc::Receiver<Out>, mut output: O, ended: CancellationToken) {
    while let Some(out) = lines.recv().await {
        let written = match out {
            Out::Line(line) => async { output.write_all(line.as_bytes()).await.and(output.flush().await) }.await,
            Out::Written(told) => {
                let _ = told.send(());
                Ok(())
            }
        };
        if written.is_err() {
            // Nobody reads any more.
            return ended.cancel();
        }
    }
}

/// Takes up one line after the other; never waits for the gateway.
async fn read<I: AsyncRead + Unpin>(front: &Arc<Front>, input: I, queue: &mpsc::Sender<Message>, requests: &TaskTracker, wait: Duration) {
    let mut lines = Lines::new(input, READ);
    loop {
        let line = match lines.next().await {
            Ok(Some(Line::Whole(line))) => line,
            Ok(Some(Line::TooLong { .. })) => {
                front.refuse(&[], -32600, &too_long()).await;
                continue;
            }
            Ok(None) | Err(_) => return,
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let length = line.len();
        let Some(message) = line::read(line) else {
            front.refuse(&[], -32700, "The line is no JSON.").await;
            continue;
        };
        if length > LINE {
            front.refuse(&message.asked, -32600, &too_long()).await;
            continue;
        }
        match &message.kind {
            Kind::Initialize => match front.sessions.begin() {
                Some(old) => drop(requests.spawn(open(front.clone(), message, wait, old))),
                None => front.refuse(&message.asked, -32600, "initialize is under way already.").await,
            },
            Kind::Requests => match front.sit(&message) {
                Some(place) => drop(tokio::spawn(request::Request::new(front.clone(), message, place, requests.token()).run())),
                None => front.refuse(&message.asked, -32603, "Too many requests are under way, or one of this id.").await,
            },
            Kind::Cancel(key) => front.cancel(key, message.text),
            Kind::Initialized | Kind::Other => {
                if message.kind == Kind::Initialized {
                    front.initialized_is_leaving();
                }
                if let Err(error) = queue.try_send(message) {
                    front.note("too many notifications wait for the gateway; one was dropped");
                    if error.into_inner().kind == Kind::Initialized {
                        front.initialized_is_told();
                    }
                }
            }
        }
    }
}

fn too_long() -> String {
    format!("The line has more than {LINE} bytes.")
}

/// The client's `initialize`. One that is refused for good ends the front: only a person can mend that.
async fn open(front: Arc<Front>, message: Message, wait: Duration, old: Option<Arc<Session>>) {
    if let Some(old) = old {
        front.gateway.end(&old.headers).await;
    }
    let end = match front.sessions.open(&front, &message, wait).await {
        Ok(()) => return,
        Err(Refusal::ForGood(why)) => End::Refused(why),
        Err(Refusal::Unreachable) => {
            End::Unreachable(format!("The gateway could not be reached within {} s. Is it running, and is the URL right?", wait.as_secs()))
        }
    };
    let (End::Refused(why) | End::Unreachable(why)) = &end else { return };
    front.refuse(&message.asked, -32603, why).await;
    front.end_with(end);
}
