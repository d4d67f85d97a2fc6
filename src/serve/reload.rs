//! Reading the configuration again, at SIGHUP and when one of its files changed: all or nothing. A file with a mistake,
//! or with another `[listen]` or `[store]`, changes nothing; log, page and API say so. What a running gateway can take
//! is put in force in an order in which no call finds half of it: the gate first, because it judges.
//! Started by `serve` when there is a file.

use super::listen::Tls;
use super::watch::{Contents, Watch, contents, steady};
use super::wiring::{methods_of, settings_of};
use crate::config::{Config, Loaded, Mail, Mistake, Standing};
use crate::gate::Gate;
use crate::mcp::McpState;
use crate::mcp::upstream::Upstreams;
use crate::web::WebState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

/// The file that a gateway runs with, as it was read at the start.
#[derive(Debug, Clone)]
pub struct Origin {
    /// What the file says, without what the command line put in its place.
    pub written: Config,
    /// Where it is.
    pub file: PathBuf,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
    /// What they held then.
    seen: Contents,
}

/// What takes a changed configuration.
pub(super) struct Parts {
    pub gate: Gate,
    pub upstreams: Arc<Upstreams>,
    pub mcp: McpState,
    pub web: WebState,
    pub tls: Option<Tls>,
    pub mail: watch::Sender<Mail>,
    pub standing: Standing,
}

/// Reads again whenever there is a reason to.
pub(super) struct Reloader {
    parts: Parts,
    file: PathBuf,
    /// What is in force; `[listen]` and `[store]` as the file had them at the start.
    running: Config,
    files: Vec<PathBuf>,
    /// Further files with mistakes: mending one is a reason to read again.
    suspects: Vec<PathBuf>,
    /// What the files held when they were read last.
    seen: Contents,
    watch: Watch,
    told: mpsc::Receiver<()>,
}

/// Why the files are looked at.
enum Reason {
    /// Between reading them at the start and watching them they may have changed.
    Start,
    /// SIGHUP: read again in any case, for secrets in files and variables are not watched.
    Asked,
    /// Something moved, or it is time to look.
    Look,
}

impl Reloader {
    pub(super) fn new(parts: Parts, origin: Origin) -> Reloader {
        let (watch, told) = Watch::new();
        Reloader { parts, file: origin.file, running: origin.written, files: origin.files, suspects: Vec::new(), seen: origin.seen, watch, told }
    }

    /// Runs until the gate drains.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        let draining = self.parts.gate.draining();
        let mut reason = Reason::Start;
        loop {
            Box::pin(self.look(&reason)).await;
            reason = tokio::select! {
                () = draining.cancelled() => return,
                Some(()) = hangup.recv() => Reason::Asked,
                Some(()) = self.told.recv() => Reason::Look,
                () = tokio::time::sleep(self.watch.look_again()) => Reason::Look,
            };
        }
    }

    /// Looks at the files and applies them if there is a reason.
    async fn look(&mut self, reason: &Reason) {
        let mut anyway = !matches!(reason, Reason::Look);
        loop {
            let files: Vec<PathBuf> = self.files.iter().chain(&self.suspects).cloned().collect();
            let (watched, seen_before) = (files.clone(), std::mem::take(&mut self.seen));
            let (fresh, told) = Watch::new();
            let mut watch = std::mem::replace(&mut self.watch, fresh);
            // Files block, and a slow disk must not keep calls waiting.
            let looked = tokio::task::spawn_blocking(move || {
                watch.follow(&watched);
                let moved = anyway || contents(&watched) != seen_before;
                let seen = if moved { steady(&watched) } else { seen_before.clone() };
                let same = seen == seen_before;
                (watch, seen, moved, same)
            });
            let Ok((watch, seen, moved, same)) = looked.await else {
                self.told = told;
                return;
            };
            (self.watch, self.seen) = (watch, seen);
            if !moved {
                return;
            }
            let file = self.file.clone();
            let read = tokio::task::spawn_blocking(move || Config::load(&file, &|name| std::env::var(name).ok())).await;
            // A panic of the reader is a mistake like others: it must not end a gateway that runs.
            let read =
                read.unwrap_or_else(|_| Err(vec![self.mistake("could not be read: the reader failed", "The log has the cause; it is a fault of Paraph.")]));
            self.take(read, matches!(reason, Reason::Start) && same).await;
            if self.files.iter().chain(&self.suspects).eq(&files) {
                return;
            }
            // Other files than those that were looked at: they are read once more under their watch.
            anyway = true;
        }
    }

    async fn take(&mut self, read: Result<Loaded, Vec<Mistake>>, quietly: bool) {
        let mut loaded = match read {
            Ok(loaded) => loaded,
            Err(mistakes) => return self.refuse(mistakes),
        };
        let stopped = loaded.stopped_by(&self.running);
        if !stopped.is_empty() {
            return self.refuse(stopped);
        }
        let needs_restart = loaded.keep_what_runs(&self.running);
        if let Err(failure) = self.apply(&loaded.config).await {
            let problem = format!("is without a mistake, but it could not be put on record; nothing of it is applied. Reference {}", failure.reference);
            // Forgotten, so that the next look tries again.
            self.seen.clear();
            return self.refuse(vec![self.mistake(&problem, "It is tried again every few seconds; the log has the cause.")]);
        }
        self.running = loaded.config;
        self.files = loaded.files;
        self.suspects.clear();
        if !quietly {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(servers = self.running.servers.len(), "the configuration was read again and is in force");
        }
        for waiting in &needs_restart {
            tracing::warn!("{waiting}");
        }
        self.parts.standing.loaded(self.parts.gate.clock().now(), needs_restart);
    }

    /// About the whole file.
    fn mistake(&self, problem: &str, mend: &str) -> Mistake {
        Mistake { file: self.file.display().to_string(), line: 0, column: 0, key: String::new(), problem: problem.to_owned(), mend: mend.to_owned() }
    }

    /// Keeps what is in force and says why.
    fn refuse(&mut self, mistakes: Vec<Mistake>) {
        let named = mistakes.iter().map(|mistake| PathBuf::from(&mistake.file)).filter(|file| !self.files.contains(file) && file.is_file());
        self.suspects = named.collect();
        self.suspects.sort();
        self.suspects.dedup();
        for mistake in &mistakes {
            tracing::error!("{mistake}");
        }
        tracing::error!(mistakes = mistakes.len(), "the configuration was read again and is not in force; the gateway runs on with the one it has");
        self.parts.standing.refuse(self.parts.gate.clock().now(), mistakes);
    }

    async fn apply(&self, config: &Config) -> Result<(), crate::gate::Failure> {
        let parts = &self.parts;
        parts.gate.reload(settings_of(config)).await?;
        let came = parts.upstreams.replace(config.servers.clone(), &config.bounds);
        parts.mcp.replace(&methods_of(config), &config.bounds);
        parts.web.bound_bodies(config.bounds.body);
        if let (Some(tls), Some(read)) = (&parts.tls, &config.listen.tls)
            && tls.replace(&read.identity)
        {
            tracing::info!("the certificate was read again; connections that come from now on get the new one");
        }
        parts.mail.send_if_modified(|mail| std::mem::replace(mail, config.mail.clone()) != config.mail);
        // From here on nothing is new for calls that come. A failure is in the log; such a call is withdrawn all the
        // same, when it is to be sent or at the next start.
        if let Ok(withdrawn @ 1..) = parts.gate.withdraw_homeless().await {
            tracing::info!(withdrawn, "calls of servers that are not in the configuration any more were taken back");
        }
        parts.mcp.end_homeless();
        if !came.is_empty() {
            let (upstreams, leaving) = (parts.upstreams.clone(), parts.gate.draining());
            tokio::spawn(async move {
                tokio::select! {
                    () = upstreams.survey(&came) => {}
                    () = leaving.cancelled() => {}
                }
            });
        }
        Ok(())
    }
}

impl Origin {
    /// What was read from a file, before the command line changes it.
    pub fn of(file: &Path, loaded: &Loaded) -> Origin {
        Origin { written: loaded.config.clone(), file: file.to_owned(), files: loaded.files.clone(), seen: contents(&loaded.files) }
    }
}
