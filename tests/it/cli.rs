//! The real program, as an operator runs it: what it prints where, and with which exit code.

mod audit;
mod calls;
mod check;
mod data;
mod demo;
mod init;
mod pause;
mod people;
mod policy;
mod socket;
mod store;
mod usage;
mod watch;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_paraph");

/// A folder with a configuration whose data folder does not exist yet.
struct Place {
    folder: TempDir,
}

/// What a run left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output, which must be one line.
    fn line(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.err);
        let line = self.out.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "more than one line on standard output: {}", self.out);
        line
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[mail]\ntransport = \"off\"\n[servers.demo]\ncommand = [{PROGRAM:?}, \"demo-server\"]\ndefault = \"deny\"\n\
             [[servers.demo.rules]]\nname = \"dms\"\ntools = [\"send_dm\"]\naction = \"require_approval\"\nreviewers = [\"desk\"]\n"
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Place { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env_remove("PARAPH_URL").env_remove("PARAPH_TOKEN").env_remove("PARAPH_LOG").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    fn serve(&self) -> Gateway {
        self.serve_logging(Path::new("/dev/null"))
    }

    fn serve_logging(&self, log: &Path) -> Gateway {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").expect("the promised line").to_owned();
        Gateway { child, url }
    }

    /// An export with some entries, as lines.
    fn export(&self) -> Vec<String> {
        for name in ["a", "b", "c"] {
            assert_eq!(self.run(&["agent", "add", name]).code, 0);
        }
        let export = self.run(&["audit", "export"]);
        assert_eq!(export.code, 0, "{}", export.err);
        export.out.lines().map(str::to_owned).collect()
    }

    fn verify(&self, lines: &[String], more: &[&str]) -> Ran {
        std::fs::write(self.path().join("audit.ndjson"), lines.join("\n") + "\n").unwrap();
        self.run(&[&["audit", "verify", "audit.ndjson"], more].concat())
    }
}

/// A gateway that is ended with the test.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_secret(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 43 && rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
}
