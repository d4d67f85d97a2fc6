//! No child outlives Paraph, however it ends.

use super::*;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Everything started holds standard output, so its end is the end of the last of them.
async fn killed(script: &str) {
    let helper = format!("'{PARAPH}' guard -- sh -c '{script}' & wait");
    let mut helper = Command::new("sh").args(["-c", &helper]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut out = BufReader::new(helper.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).await.unwrap();
    assert_eq!(line, "started\n");
    helper.start_kill().unwrap();
    let mut rest = String::new();
    tokio::time::timeout(Duration::from_secs(20), out.read_to_string(&mut rest)).await.expect("a process outlived its parent").unwrap();
}

#[tokio::test]
async fn a_killed_parent_takes_the_server_and_its_children_along() {
    killed("sleep 1000 & echo started; wait").await;
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed() {
    killed("trap \"\" TERM; sleep 1000 & echo started; while :; do sleep 1000; done").await;
}

#[tokio::test]
async fn the_guard_ends_as_its_command_did_and_takes_leftovers_along() {
    let mut guard = Command::new(PARAPH).args(["guard", "--", "sh", "-c", "sleep 1000 & exit 7"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut rest = String::new();
    let mut out = guard.stdout.take().unwrap();
    tokio::time::timeout(Duration::from_secs(20), out.read_to_string(&mut rest)).await.expect("the leftover lives").unwrap();
    assert_eq!(guard.wait().await.unwrap().code(), Some(7));
}

#[tokio::test]
async fn a_guard_whose_parent_is_gone_starts_nothing() {
    let out = Command::new(PARAPH).args(["guard", "--", "echo", "ran"]).env("PARAPH_GUARD_PARENT", "1999999999").output().await.unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(127), &b""[..]));
}

/// A server that ends only when it is killed, and writes the id of its child.
fn stubborn(folder: &str) -> Upstreams {
    let script = format!(
        "sleep 1000 & echo $! > {folder}/pid; read l; echo '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"protocolVersion\":\"2025-11-25\"}}}}'; while :; do sleep 1000; done"
    );
    let command = vec!["sh".to_owned(), "-c".to_owned(), script];
    upstreams(server(Transport::Process { command, env: BTreeMap::new(), cwd: None, env_clear: false }), &Bounds::default())
}

/// Whether the process whose id is in the file lives; a zombie, which its new parent has yet to collect, does not.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn shutdown_leaves_no_process_of_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let all = stubborn(folder.path().to_str().unwrap());
    peer(&all).await;
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(lives(&pid));
    all.shutdown().await;
    assert!(!lives(&pid));
}

const FOLDER: &str = "GATEWAY_TO_BE_KILLED";

#[tokio::test]
#[ignore = "a part of the test below, which runs it as a process of its own"]
async fn gateway_to_be_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let all = stubborn(&folder);
    let _peer = peer(&all).await;
    std::fs::write(format!("{folder}/started"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_gateway_leaves_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "upstreams::guard::gateway_to_be_killed", "--ignored"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the gateway does not start", || folder.path().join("started").exists()).await;
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(lives(&pid));
    gateway.kill().await.unwrap();
    until("a server outlived the gateway", || !lives(&pid)).await;
}
