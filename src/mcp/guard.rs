//! The guard: a tiny process between Paraph and a stdio server, `paraph guard -- COMMAND…`. When Paraph dies,
//! even by `kill -9`, the kernel signals the guard, and the guard ends the server's whole process group. A
//! process of its own, because only `unsafe` code could ask the kernel this for the server itself.
//! Started by `upstream::process`; not for people. A server that makes a session of its own escapes.

use rustix::process::{Pid, Signal, getpgrp, getpid, getppid, kill_process_group, set_parent_process_death_signal, setpgid};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The environment variable with the process id of the guard's parent. The server does not get it.
pub const PARENT: &str = "PARAPH_GUARD_PARENT";

/// Between SIGTERM and SIGKILL.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the guard looks whether the group is empty.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the command until it ends or the parent dies, and returns its exit code (128 + n for signal n; 127
/// when it could not be started).
pub fn run(command: Vec<String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(guard(command))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Not eprintln!, which panics when nobody reads any more.
            let _ = writeln!(io::stderr(), "paraph guard: {error}");
            ExitCode::from(127)
        }
    }
}

async fn guard(command: Vec<String>) -> io::Result<u8> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command given"));
    };
    // The handlers come first: from here on SIGTERM does not end the guard itself.
    let (mut term, mut int, mut hup) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    if getpgrp() != getpid() {
        // Started by hand: what is ended below must not be the starter's own group.
        setpgid(None, None)?;
    }
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have died before the kernel was asked; then no signal comes.
    let expected = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    if expected.is_some() && expected != getppid() {
        return Err(io::Error::other("the parent is gone"));
    }
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_remove(PARENT)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program} could not be started: {error}")))?;
    // The command has the streams now. Kept open here too, they would hide from the gateway that it closed one.
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    let code = tokio::select! {
        status = child.wait() => exit_code(status?),
        _ = term.recv() => 128 + 15,
        _ = int.recv() => 128 + 2,
        _ = hup.recv() => 128 + 1,
    };
    end_the_rest(&mut child).await;
    Ok(code)
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Ends the group's other members; the last resort ends the guard as well.
async fn end_the_rest(child: &mut Child) {
    let group = getpgrp();
    if !has_others(group) {
        return;
    }
    let _ = kill_process_group(group, Signal::TERM);
    let end = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < end {
        // Reaps the child, so that it counts as gone.
        let _ = child.try_wait();
        if !has_others(group) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    let _ = kill_process_group(group, Signal::KILL);
}

/// Whether living processes other than this one are in the group; when that cannot be told, yes.
fn has_others(group: Pid) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let own = std::process::id().to_string();
    let group = group.as_raw_nonzero().get().to_string();
    processes.flatten().any(|process| {
        let name = process.file_name();
        if name.to_str().is_none_or(|name| name == own || !name.starts_with(|one: char| one.is_ascii_digit())) {
            return false;
        }
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { return false };
        // "pid (name) state ppid pgrp …"; the name may hold anything, so read after its last bracket.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        let (state, of) = (fields.next(), fields.nth(1));
        of == Some(group.as_str()) && !matches!(state, Some("Z" | "X"))
    })
}

struct Job {
    command: Command,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Child>>,
}

/// Spawns from one thread that lives as long as the process. The kernel sends the parent-death signal when the
/// *thread* that spawned ends, and tokio may end any of its threads (after `block_in_place`, for one).
///
/// # Errors
/// What the system says when it cannot spawn.
pub(super) async fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = sync_channel::<Job>(16);
        let work = move || {
            for job in queue {
                let _inside = job.runtime.enter();
                let _ = job.done.send(tokio::process::Command::from(job.command).spawn());
            }
        };
        std::thread::Builder::new().name("paraph-spawner".to_owned()).spawn(work).ok().map(|_| jobs)
    });
    let Some(spawner) = spawner else { return Err(io::Error::other("no thread to spawn from")) };
    let (done, spawned) = oneshot::channel();
    let job = Job { command, runtime: Handle::current(), done };
    spawner.try_send(job).map_err(|_| io::Error::other("too many processes are being started at once"))?;
    spawned.await.map_err(|_| io::Error::other("the spawning thread is gone"))?
}
