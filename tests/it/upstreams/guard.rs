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

#[tokio::test]
async fn shutdown_leaves_no_process_of_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "sleep 1000 & echo $! > {}/pid; read l; echo '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"protocolVersion\":\"2025-11-25\"}}}}'; while :; do sleep 1000; done",
        folder.path().display()
    );
    let config = server(Transport::Process { command: vec!["sh".into(), "-c".into(), script], env: BTreeMap::new(), cwd: None, env_clear: false });
    let all = upstreams(config, &Bounds::default());
    peer(&all).await;
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    assert!(std::fs::exists(&stat).unwrap());
    all.shutdown().await;
    // A zombie that its new parent has yet to collect is no process any more.
    assert!(std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}
