//! What `tests/run` installs, by the environment variables it sets. A test that needs a part which is not there fails.

use super::SOON;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The variable's path, which must exist.
pub(super) fn part(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{variable} names nothing: run tests/run, which installs what is missing, or leave these tests out with tests/run --fast"))
}

/// The Node that the SDK scripts run on.
pub fn node() -> PathBuf {
    part("PARAPH_TEST_NODE")
}

/// The folder with the `node_modules` of tests/clients.
pub(super) fn clients_folder() -> PathBuf {
    part("PARAPH_TEST_CLIENTS")
}

/// The Python that has the first version of the SDK.
pub fn python() -> PathBuf {
    part("PARAPH_TEST_PYTHON")
}

/// The folder with the SDKs for Node in its `node_modules`.
pub fn sdk_folder() -> PathBuf {
    clients_folder()
}

/// The Python that has `mcp_server_time`.
pub fn time_server_python() -> PathBuf {
    part("PARAPH_TEST_TIME_SERVER")
}

/// The Python that has aiosmtpd.
pub fn smtp_python() -> PathBuf {
    part("PARAPH_TEST_SMTP_PYTHON")
}

/// The source of axe, which looks for accessibility faults in the page it runs in.
pub fn axe() -> String {
    std::fs::read_to_string(clients_folder().join("node_modules/axe-core/axe.min.js")).expect("axe")
}

/// A file of tests/clients.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// The reference server "everything".
pub struct EverythingServer {
    /// Held for its end.
    _child: Child,
    /// Its Streamable HTTP endpoint.
    pub url: String,
}

impl EverythingServer {
    /// The program and its arguments for stdio, as TOML.
    pub fn command() -> String {
        format!("[{:?}, {:?}, \"stdio\"]", node().display().to_string(), Self::program().display().to_string())
    }

    /// Starts it as a Streamable HTTP server.
    pub async fn over_http() -> EverythingServer {
        let mut child = Command::new(node())
            .arg("--import")
            .arg(script("announce-port.mjs"))
            .arg(Self::program())
            .arg("streamableHttp")
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node starts");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let port = async {
            let mut seen = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(port) = line.strip_prefix("announced port ") {
                    return Ok(port.to_owned());
                }
                seen.push(line);
            }
            Err(seen.join("\n"))
        };
        let port = tokio::time::timeout(SOON, port).await.expect("the server starts in time").expect("the server announces its port");
        // It goes on writing: a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        EverythingServer { _child: child, url: format!("http://127.0.0.1:{port}/mcp") }
    }

    fn program() -> PathBuf {
        clients_folder().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
    }
}
