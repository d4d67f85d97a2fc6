//! A stdio server: a child process under the guard, one JSON-RPC message per line (MCP transports, stdio).
//! Its output is hostile: lines have a cap, noise is counted and never shown, stderr is always drained.
//! Made by `instances`; the whole process group ends with it.

use super::RequestFailure;
use super::board::{Board, Heard};
use super::leave::Leave;
use super::lines::{Line, Lines};
use super::stdin::{self, Said};
use crate::config::Transport;
use crate::mcp::guard;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Messages waiting for the child to read them.
const OUTGOING: usize = 64;
/// Lines of standard error kept, and the characters kept of each.
const STDERR_LINES: usize = 20;
const STDERR_CHARS: usize = 400;
/// After stdin is closed, and after SIGTERM. The second is longer than the guard's own patience.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
/// What an ended child's pipes may still hold is read this long; a grandchild may keep them open for ever.
const DRAIN: Duration = Duration::from_secs(1);

type Stderr = Arc<Mutex<VecDeque<String>>>;

pub(super) struct ProcessLink {
    server: String,
    outgoing: mpsc::Sender<Said>,
    stderr: Stderr,
    /// The group's id, which is the guard's process id; `None` inside once it has been waited for, because the
    /// number may then belong to somebody else.
    group: Arc<Mutex<Option<Pid>>>,
    /// Closes the child's stdin.
    hang_up: CancellationToken,
    gone: watch::Receiver<bool>,
}

impl ProcessLink {
    /// Starts the child; the error is a sentence for people.
    pub(super) async fn start(server: &str, transport: &Transport, guard_program: &Path, board: Arc<Board>, cap: usize) -> Result<ProcessLink, String> {
        let Transport::Process { command, env, cwd, env_clear } = transport else {
            return Err(format!("Server {server} is not a process."));
        };
        if let Some(folder) = cwd.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("Server {server} could not be started: its cwd {} is not a folder.", folder.display()));
        }
        let mut guarded = std::process::Command::new(guard_program);
        guarded.arg("guard").arg("--").args(command);
        if *env_clear {
            guarded.env_clear();
        } else {
            // Paraph's own settings hold secrets; they are none of the child's business.
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PARAPH_")).for_each(|(name, _)| {
                guarded.env_remove(name);
            });
        }
        guarded.envs(env.iter().map(|(name, value)| (name, value.expose()))).env(guard::PARENT, std::process::id().to_string());
        if let Some(folder) = cwd {
            guarded.current_dir(folder);
        }
        guarded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        guarded.process_group(0);
        let mut child = guard::spawn_from_lasting_thread(guarded)
            .await
            .map_err(|error| format!("Server {server} could not be started: the guard {} did not run: {error}.", guard_program.display()))?;
        let (Some(child_in), Some(stdout), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(format!("Server {server} could not be started: its pipes are missing."));
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        let (gone_now, gone) = watch::channel(false);
        let link = ProcessLink {
            server: server.to_owned(),
            outgoing: outgoing.clone(),
            stderr: Stderr::default(),
            group: Arc::new(Mutex::new(pid)),
            hang_up: CancellationToken::new(),
            gone,
        };
        tokio::spawn(stdin::write(child_in, queue, link.hang_up.clone()));
        let errors = tokio::spawn(drain(errors, Arc::clone(&link.stderr)));
        let read = read(server.to_owned(), stdout, Arc::clone(&board), outgoing.downgrade(), cap);
        let watch = Watch { server: server.to_owned(), child, group: Arc::clone(&link.group), board, gone: gone_now };
        tokio::spawn(watch.run(tokio::spawn(read), errors));
        Ok(link)
    }

    /// Queues a message; until it is written, `leave` can keep it back.
    pub(super) async fn say(&self, text: String, leave: Option<&Arc<Leave>>) -> Result<(), RequestFailure> {
        let place = self.outgoing.reserve().await;
        let place = place.map_err(|_| RequestFailure::NeverLeft(format!("The process of server {} does not read its input any more.", self.server)))?;
        place.send(Said::new(text, leave.cloned()));
        Ok(())
    }

    pub(super) fn say_soon(&self, text: String) {
        let _ = self.outgoing.try_send(Said::new(text, None));
    }

    pub(super) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Closes stdin, then asks the group to end, then ends it.
    pub(super) async fn close(&self) {
        self.hang_up.cancel();
        let mut gone = self.gone.clone();
        for (patience, signal) in [(PATIENCE.0, Signal::TERM), (PATIENCE.1, Signal::KILL)] {
            if tokio::time::timeout(patience, gone.wait_for(|gone| *gone)).await.is_ok() {
                return;
            }
            end_group(&self.group, signal);
        }
        let _ = tokio::time::timeout(PATIENCE.0, gone.wait_for(|gone| *gone)).await;
    }
}

impl Drop for ProcessLink {
    fn drop(&mut self) {
        self.hang_up.cancel();
        // The guard ends the rest of the group.
        end_group(&self.group, Signal::TERM);
    }
}

fn end_group(group: &Mutex<Option<Pid>>, signal: Signal) {
    if let Some(pid) = *group.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = kill_process_group(pid, signal);
    }
}

async fn read(server: String, stdout: ChildStdout, board: Arc<Board>, outgoing: mpsc::WeakSender<Said>, cap: usize) {
    let mut lines = Lines::new(stdout, cap);
    let mut noise = 0u64;
    while let Ok(Some(line)) = lines.next().await {
        let heard = match &line {
            Line::Whole(bytes) if bytes.trim_ascii().is_empty() => continue,
            Line::Whole(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => board.hear(text, None).await,
                Err(_) => Heard::Noise,
            },
            Line::TooLong { .. } => {
                tracing::warn!(server, cap, "a line of the server was longer than bounds.result allows and was dropped");
                board.too_large(&format!("Server {server} answered with more than bounds.result allows; whether it did what was asked is not known."));
                continue;
            }
        };
        match heard {
            Heard::Taken => {}
            Heard::Say(text) => {
                let Some(outgoing) = outgoing.upgrade() else { return };
                if outgoing.send(Said::new(text, None)).await.is_err() {
                    return;
                }
            }
            Heard::Noise => {
                noise += 1;
                // At 1, 10, 100, … so that a noisy server cannot fill the log.
                if noise == 10u64.pow(noise.ilog10()) {
                    tracing::warn!(server, lines = noise, "the server writes lines that are not JSON-RPC to its standard output; they are skipped");
                }
            }
        }
    }
}

async fn drain(errors: ChildStderr, kept: Stderr) {
    // Four bytes are the longest character.
    let mut lines = Lines::new(errors, STDERR_CHARS * 4);
    while let Ok(Some(line)) = lines.next().await {
        let (Line::Whole(bytes) | Line::TooLong { head: bytes }) = line;
        let text: String = String::from_utf8_lossy(&bytes).trim_end().chars().take(STDERR_CHARS).collect();
        let text = text.replace(|one: char| one.is_control() && one != '\t', "\u{fffd}");
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == STDERR_LINES {
            kept.pop_front();
        }
        kept.push_back(text);
    }
}

/// Waits for the child's end and ends what waited for it.
struct Watch {
    server: String,
    child: Child,
    group: Arc<Mutex<Option<Pid>>>,
    board: Arc<Board>,
    gone: watch::Sender<bool>,
}

impl Watch {
    async fn run(mut self, mut read: tokio::task::JoinHandle<()>, mut errors: tokio::task::JoinHandle<()>) {
        let (status, heard_all) = tokio::select! {
            status = self.child.wait() => (status, false),
            _ = &mut read => (self.end_the_mute().await, true),
        };
        if status.as_ref().is_ok_and(|status| status.signal().is_some()) {
            // The guard itself was killed and could end nobody.
            end_group(&self.group, Signal::KILL);
        }
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let drained = async {
            if !heard_all {
                let _ = (&mut read).await;
            }
            let _ = (&mut errors).await;
        };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        read.abort();
        errors.abort();
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.board.close(&format!("The process of server {} ended ({how}) before it answered.", self.server));
        let _ = self.gone.send(true);
    }

    /// Standard output is closed: nothing can be answered any more, so a child that lives on is ended.
    async fn end_the_mute(&mut self) -> std::io::Result<std::process::ExitStatus> {
        if let Ok(status) = tokio::time::timeout(DRAIN, self.child.wait()).await {
            return status;
        }
        self.board.close(&format!("The process of server {} closed its standard output before it answered.", self.server));
        for (patience, signal) in [(PATIENCE.1, Signal::TERM), (PATIENCE.0, Signal::KILL)] {
            end_group(&self.group, signal);
            if let Ok(status) = tokio::time::timeout(patience, self.child.wait()).await {
                return status;
            }
        }
        self.child.wait().await
    }
}
