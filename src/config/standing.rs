//! How the configuration stands: when the one that is in force was read, what is wrong in the file as it is now, what
//! waits for a restart. Written by `reload`, shown to operators by `web`; clones share it and are told of a change.

use super::Mistake;
use jiff::Timestamp;
use std::sync::Arc;
use tokio::sync::watch;

/// A handle; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<watch::Sender<Reading>>);

/// How it stands at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// When the configuration that is in force was read; `None` for one that is in no file.
    pub loaded_at: Option<Timestamp>,
    /// The file as it is now is not in force.
    pub refused: Option<Refused>,
    /// What the file says and only a restart applies; everything else of the file is in force.
    pub needs_restart: Vec<Mistake>,
}

/// Why a file is not in force.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Since when there has been a file that is not in force.
    pub since: Timestamp,
    /// In the order of the text.
    pub mistakes: Vec<Mistake>,
}

impl Standing {
    /// How it stands now.
    pub fn now(&self) -> Reading {
        self.0.borrow().clone()
    }

    /// Tells of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Reading> {
        self.0.subscribe()
    }

    /// A file is in force.
    pub fn loaded(&self, at: Timestamp, needs_restart: Vec<Mistake>) {
        self.0.send_replace(Reading { loaded_at: Some(at), refused: None, needs_restart });
    }

    /// A file is not in force; what was in force stays so.
    pub fn refuse(&self, at: Timestamp, mistakes: Vec<Mistake>) {
        self.0.send_modify(|reading| {
            let since = reading.refused.as_ref().map_or(at, |refused| refused.since);
            reading.refused = Some(Refused { since, mistakes });
        });
    }
}
