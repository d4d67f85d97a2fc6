//! The running gateway's ear for commands on this machine: `DATA/control.sock`, one JSON line per question and
//! per answer. Who may open the socket (mode 0600, in a folder of mode 0700) is the operator; there is no
//! further check. Called by `serve`.

use super::answer::{Answer, Request, Response, answer};
use crate::config::Standing;
use crate::domain::export::Attestor;
use crate::gate::Gate;
use crate::store::backup::Backups;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of one question.
const QUESTION: usize = 64 << 10;
/// Commands talking at once.
const COMMANDS: usize = 16;
/// How long a command may take from one question to the next.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to its first one: commands ask at once, and whoever asks nothing keeps others waiting.
const FIRST_SILENCE: Duration = Duration::from_secs(5);

/// Who answers, and with what.
struct Ear {
    gate: Gate,
    attestor: Arc<Attestor>,
    backups: Arc<dyn Backups>,
    public_url: String,
    standing: Standing,
}

/// Takes the socket; the returned future answers until the gate drains. A file that nobody answers on is replaced.
///
/// # Errors
/// Another process answers there, or the path cannot be used.
pub fn listen(
    path: PathBuf,
    gate: Gate,
    attestor: Arc<Attestor>,
    backups: Arc<dyn Backups>,
    public_url: String,
    standing: Standing,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    if path.exists() {
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers there")),
            Err(_) => std::fs::remove_file(&path)?,
        }
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let draining = gate.draining();
    let ear = Arc::new(Ear { gate, attestor, backups, public_url, standing });
    Ok(async move {
        serve(&listener, &ear, &draining).await;
        let _ = std::fs::remove_file(&path);
    })
}

async fn serve(listener: &UnixListener, ear: &Arc<Ear>, draining: &CancellationToken) {
    let room = Arc::new(Semaphore::new(COMMANDS));
    let talks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = draining.cancelled() => break,
            accepted = accept(listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, seat)) => {
                let (ear, draining) = (ear.clone(), draining.clone());
                talks.spawn(async move {
                    let _seat = seat;
                    if let Err(cause) = talk(stream, &ear, &draining).await {
                        tracing::debug!(%cause, "a command hung up");
                    }
                });
            }
            Err(cause) => {
                tracing::warn!(%cause, "the control socket refused a command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    talks.close();
    talks.wait().await;
}

async fn accept(listener: &UnixListener, room: &Arc<Semaphore>) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let seat = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, seat))
}

async fn talk(stream: UnixStream, ear: &Ear, draining: &CancellationToken) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut questions = FramedRead::new(reading, LinesCodec::new_with_max_length(QUESTION));
    let mut patience = FIRST_SILENCE;
    loop {
        let question = tokio::select! {
            () = draining.cancelled() => return Ok(()),
            question = tokio::time::timeout(patience, questions.next()) => question,
        };
        let Ok(Some(question)) = question else { return Ok(()) };
        patience = SILENCE;
        let request = question.ok().and_then(|text| serde_json::from_str::<Request>(&text).ok());
        let understood = request.is_some();
        let response = match request {
            Some(Request::Configuration {}) => {
                let mistakes = ear.standing.now().refused.map(|refused| refused.mistakes).unwrap_or_default();
                let mistakes = mistakes.iter().map(ToString::to_string).collect();
                Response { public_url: ear.public_url.clone(), notes: Vec::new(), answer: Answer::Configuration(mistakes) }
            }
            Some(request) => answer(&ear.gate, &ear.attestor, ear.backups.as_ref(), &ear.public_url, request).await,
            None => Response { public_url: ear.public_url.clone(), notes: Vec::new(), answer: Answer::NotUnderstood },
        };
        let mut line = serde_json::to_vec(&response).map_err(io::Error::other)?;
        line.push(b'\n');
        writing.write_all(&line).await?;
        // What came after a line that is no question cannot be trusted to begin a line.
        if !understood {
            return Ok(());
        }
    }
}
