//! Why a command did not do its work: an exit code and a sentence for standard error. Texts that come from
//! elsewhere pass through `terminal::visible`, because they may carry what an agent wrote.
//! Used by every command.

use super::terminal;
use crate::control::LineError;
use crate::serve::StartError;
use std::io;
use std::process::ExitCode;

/// A sentence and its exit code.
#[derive(Debug)]
pub(super) struct Fault {
    code: u8,
    text: String,
}

impl Fault {
    /// With one of the contract's exit codes.
    pub(super) fn new(code: u8, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// Wrong use or configuration.
    pub(super) fn usage(text: impl Into<String>) -> Fault {
        Fault::new(2, text)
    }

    /// A file that cannot be used.
    pub(super) fn file(path: &std::path::Path, error: &io::Error) -> Fault {
        Fault::new(2, format!("{}: {error}", path.display()))
    }

    /// The same with what was done before it.
    pub(super) fn after(self, done: &str) -> Fault {
        Fault { text: format!("{done}\n{}", self.text), ..self }
    }

    /// Says it and gives the exit code.
    pub(super) fn told(&self) -> ExitCode {
        for line in self.text.lines() {
            terminal::note(&format!("paraph: {}", terminal::visible(line)));
        }
        ExitCode::from(self.code)
    }
}

impl From<LineError> for Fault {
    fn from(error: LineError) -> Fault {
        Fault::new(error.exit_code(), error.to_string())
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Fault {
        Fault::new(error.exit_code(), error.to_string())
    }
}
