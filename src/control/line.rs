//! A command's line to the data: the running gateway's socket when somebody answers there, otherwise the store
//! itself. One line serves many questions, so that an export sees one store. Called by `cli`.

use super::answer::{Answer, Request, Response, answer};
use crate::config::Config;
use crate::serve::{self, Offline, StartError};
use crate::store::on_sled::OpenError;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_stream::StreamExt as _;
use tokio_util::codec::{FramedRead, LinesCodec};

/// Bytes of one answer.
const ANSWER: usize = 64 << 20;
/// How long a gateway may take for one answer; revoking an agent with many calls takes the longest.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a backup.
const BACKUP_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// A gateway listens and does not answer, or the store is in use by somebody who does not listen.
    #[error("{0}")]
    Unreachable(String),
    /// The store could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The answer is a no.
    #[error("{0}")]
    Refused(String),
    /// Nobody could do this.
    #[error("{0}")]
    Misused(String),
}

impl LineError {
    /// The contract's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            LineError::Unreachable(_) => 3,
            LineError::Start(error) => error.exit_code(),
            LineError::Refused(_) => 1,
            LineError::Misused(_) => 2,
        }
    }
}

/// An open line.
pub struct Line {
    to: To,
}

enum To {
    Gateway { answers: FramedRead<OwnedReadHalf, LinesCodec>, questions: OwnedWriteHalf },
    Store { offline: Box<Offline>, public_url: String },
}

/// Asks one question.
pub async fn ask(config: &Config, request: Request) -> Result<Response, LineError> {
    let mut line = Line::open(config).await?;
    let response = line.ask(request).await;
    line.close().await;
    response
}

impl Line {
    /// Reaches the running gateway, or opens the store.
    pub async fn open(config: &Config) -> Result<Line, LineError> {
        let socket = config.store.path.join("control.sock");
        if let Ok(stream) = UnixStream::connect(&socket).await {
            let (reading, questions) = stream.into_split();
            return Ok(Line { to: To::Gateway { answers: FramedRead::new(reading, LinesCodec::new_with_max_length(ANSWER)), questions } });
        }
        let offline = match serve::open_offline(config).await {
            Err(StartError::Store(OpenError::InUse(folder))) => {
                let why = "another process has it open and does not answer on control.sock. If a gateway is starting or stopping, try again; otherwise stop that process";
                return Err(LineError::Unreachable(format!("the data folder {} is in use: {why}.", folder.display())));
            }
            opened => opened?,
        };
        let public_url = config.listen.url_at(&config.listen.address);
        Ok(Line { to: To::Store { offline: Box::new(offline), public_url } })
    }

    /// Whether a gateway runs and answers.
    pub fn is_gateway(&self) -> bool {
        matches!(self.to, To::Gateway { .. })
    }

    /// Asks; a refusal is an error.
    pub async fn ask(&mut self, request: Request) -> Result<Response, LineError> {
        let response = match &mut self.to {
            To::Store { offline, public_url } => answer(&offline.gate, &offline.attestor, offline.backups(), public_url, request).await,
            To::Gateway { answers, questions } => match tokio::time::timeout(patience(&request), over_socket(answers, questions, &request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(cause)) => {
                    return Err(LineError::Unreachable(format!("the running gateway hung up: {cause}. Ask again; if it is stopping, wait for its end.")));
                }
                Err(_) => return Err(LineError::Unreachable("the running gateway did not answer in time".into())),
            },
        };
        match response.answer {
            Answer::Refused(why) => Err(LineError::Refused(why)),
            Answer::Misused(why) => Err(LineError::Misused(why)),
            Answer::NotUnderstood => Err(LineError::Unreachable("the running gateway is of another version; restart it".into())),
            _ => Ok(response),
        }
    }

    /// Hangs up; closes the store if it was opened here.
    pub async fn close(self) {
        if let To::Store { offline, .. } = self.to {
            offline.close().await;
        }
    }
}

/// A backup takes as long as the disk needs; a gateway that dies meanwhile hangs up.
fn patience(request: &Request) -> Duration {
    if matches!(request, Request::Backup { .. }) { BACKUP_PATIENCE } else { PATIENCE }
}

async fn over_socket(answers: &mut FramedRead<OwnedReadHalf, LinesCodec>, questions: &mut OwnedWriteHalf, request: &Request) -> io::Result<Response> {
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    questions.write_all(&line).await?;
    match answers.next().await {
        Some(Ok(text)) => serde_json::from_str(&text).map_err(io::Error::other),
        Some(Err(cause)) => Err(io::Error::other(cause)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}
