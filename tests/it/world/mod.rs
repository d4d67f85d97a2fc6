//! The world around the real program: the gateway as a process, agents, reviewers and a browser, each on its real
//! protocol. Nothing here reaches into the crate: what a test can do, an operator, an agent or a reviewer can do too.
//! Used by the tests of whole processes (`kill`, `power`, `full`, `sdks`, `upstream_servers`, `browser`).

mod agent;
mod browser;
mod desk;
mod disk;
mod front;
mod gateway;
mod real_parts;
mod sdk;

pub use agent::{Agent, text_of};
pub use browser::Browser;
pub use desk::Desk;
pub use disk::Disk;
pub use front::Front;
pub use gateway::{Address, Gateway, World, all_gone};
pub use real_parts::{EverythingServer, axe, node, python, script, sdk_folder, smtp_python, time_server_python};
pub use sdk::{Sdk, SdkAgent};

use std::future::Future;
use std::time::Duration;

/// How long anything that is to happen may take, on a machine that compiles something else meanwhile.
pub const SOON: Duration = Duration::from_secs(40);

/// Looks again and again until `look` finds something; fails with `what` when it never does.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client that speaks to this machine only and follows nothing by itself. Without TLS, whose certificates are slow to load.
pub fn http() -> reqwest::Client {
    https(&[])
}

/// The same, trusting these certificates.
pub fn https(authorities: &[reqwest::Certificate]) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(authorities.iter().cloned())
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("an HTTP client")
}
