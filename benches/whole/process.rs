//! The processes that are measured: each is a child of ours, so that its CPU and memory are its own and not the load
//! tool's. A process counts with all its descendants, because nginx has workers and Paraph a guard for each stdio server;
//! a descendant that is one of our own roles is a server behind the peer and does not count. Used by `peer`, `paraph`
//! and every scenario.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What a process may take to start or to end; a store with 100,000 held calls included.
pub const SOON: Duration = Duration::from_secs(60);
/// `utime` and `stime` are told in this unit, whatever the kernel's own clock is (proc(5), USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// A child; it and its descendants are killed when this is dropped.
pub struct Process {
    child: Child,
    /// The root of the tree.
    pub pid: i32,
    what: String,
}

/// What a tree of processes took so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time of those that run, in steps of 10 ms each.
    pub cpu: Duration,
    /// Bytes of memory at the most (`VmHWM`), each process at its own worst moment.
    pub peak: u64,
    /// Bytes of memory now (`VmRSS`).
    pub resident: u64,
    /// Threads now.
    pub threads: u64,
}

impl Process {
    /// Starts a command. Its standard error goes to the file `log`, its standard input stays open as long as this lives.
    pub fn start(command: &[String], env: &[(&str, &str)], log: &Path) -> Result<Process, String> {
        let Some((program, arguments)) = command.split_first() else { return Err("an empty command".into()) };
        let log = File::options().create(true).append(true).open(log).map_err(|cause| format!("{}: {cause}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| format!("{program}: {cause}"))?;
        let pid = child.id().map_or(0, u32::cast_signed);
        Ok(Process { child, pid, what: command.join(" ") })
    }

    /// Where it listens, from the first line on its standard output, which ends with `ADDRESS:PORT`.
    pub async fn address(&mut self) -> Result<SocketAddr, String> {
        let stdout = self.child.stdout.take().ok_or("its standard output was read before")?;
        let mut lines = BufReader::new(stdout).lines();
        let told = timeout(SOON, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(address) = line.trim().rsplit(['/', ' ']).next().unwrap_or_default().parse() {
                    return Some(address);
                }
            }
            None
        });
        let address = told.await.ok().flatten().ok_or_else(|| format!("{} never told its address", self.what))?;
        // Whoever prints on must not fill the pipe and stop.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(address)
    }

    /// Waits until somebody accepts connections there.
    pub async fn accepts(&mut self, address: SocketAddr) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if let Ok(Some(ended)) = self.child.try_wait() {
                return Err(format!("{} ended with {ended}", self.what));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("{} never listened on {address}", self.what))
    }

    /// What it and its descendants took so far.
    pub fn usage(&self) -> Usage {
        usage(self.pid)
    }

    /// `kill -9`, and waits for its end.
    pub async fn kill(mut self) {
        self.kill_tree();
        let _ = self.child.wait().await;
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        if timeout(SOON, self.child.wait()).await.is_err() {
            self.kill_tree();
        }
    }

    /// Sends the root a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid, signal);
    }

    fn kill_tree(&mut self) {
        // After its end the id may be somebody else's.
        if let Ok(None) = self.child.try_wait() {
            descendants(self.pid).into_iter().for_each(|pid| send(pid, Signal::KILL));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_tree();
    }
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// What a process and those of its descendants that count took so far.
pub fn usage(root: i32) -> Usage {
    tree(root).into_iter().filter_map(of_one).fold(Usage::default(), |sum, one| Usage {
        cpu: sum.cpu + one.cpu,
        peak: sum.peak + one.peak,
        resident: sum.resident + one.resident,
        threads: sum.threads + one.threads,
    })
}

/// The root and its descendants without servers of ours.
fn tree(root: i32) -> Vec<i32> {
    let is_role = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1).is_some_and(|word| word.starts_with(b"role-"))
    };
    descendants(root).into_iter().filter(|pid| *pid == root || !is_role(pid)).collect()
}

/// The root first.
fn descendants(root: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, its)| *its == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

/// The fields of `/proc/PID/stat` from the third on, the state: the second, the name, may hold blanks.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn of_one(pid: i32) -> Option<Usage> {
    let stat = stat(pid)?;
    let ticks = stat.get(11)?.parse::<u32>().ok()? + stat.get(12)?.parse::<u32>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    Some(Usage { cpu: TICK * ticks, peak: field("VmHWM") * 1024, resident: field("VmRSS") * 1024, threads: field("Threads") })
}

/// One line for the head of a report: cores, model, memory, kernel, date.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or_default() >> 10;
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!("{}; {cores} cores, {model}; {memory} MiB; Linux {kernel}; load before {load}", date())
}

/// Today, from the system's own command: the crate's clock is the gate's.
fn date() -> String {
    let told = std::process::Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    told.map_or_else(|_| "?".to_owned(), |told| String::from_utf8_lossy(&told.stdout).trim().to_owned())
}
