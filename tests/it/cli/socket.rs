//! The control socket while somebody occupies it.

use crate::life::Desk;
use paraph::control::{Answer, Response, listen};
use paraph::domain::export::Attestor;
use paraph::store::on_sled::{OnSled, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

/// The clock is the runtime's and stands still while anybody works: what passes is what the gateway waits for.
#[tokio::test(start_paused = true)]
async fn connections_that_ask_nothing_do_not_use_up_a_commands_patience() {
    let (desk, folder) = (Desk::new().await, tempfile::tempdir().unwrap());
    let backups = Arc::new(OnSled::open(&folder.path().join("data"), &Settings::default()).unwrap());
    let path = folder.path().join("control.sock");
    let ear =
        listen(path.clone(), desk.gate.clone(), Arc::new(Attestor::from_seed([7; 32])), backups, String::new(), paraph::config::Standing::default()).unwrap();
    let ear = tokio::spawn(ear);
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let mut command = UnixStream::connect(&path).await.unwrap();
    command.write_all(b"{\"ask\":\"agents\"}\n").await.unwrap();
    let mut answer = String::new();
    let answered = tokio::time::timeout(Duration::from_secs(60), BufReader::new(command).read_line(&mut answer)).await;
    assert!(answered.is_ok(), "a command gives up after a minute");
    let response: Response = serde_json::from_str(&answer).unwrap();
    assert!(matches!(response.answer, Answer::Agents(agents) if agents.len() == 1));
    desk.gate.draining().cancel();
    ear.await.unwrap();
}
