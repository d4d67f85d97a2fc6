//! Notices that files of the configuration changed: written in place, replaced by rename, behind a link that points
//! elsewhere now (as in a mounted ConfigMap), gone for a moment. Folders are watched, because a file that is replaced
//! takes its watch along. An event only says "look"; whether anything changed is read from the files, so that a lost or
//! a superfluous event does no harm. Used by `reload`; it blocks, so it runs beside the runtime.

use crate::domain::digest::Digest;
use notify_debouncer_full::notify::event::{AccessKind, AccessMode};
use notify_debouncer_full::notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events of one file within this time are one. Also how often the library's thread wakes up to look for any, all the time.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A file counts when it reads the same twice, so long apart: an editor that writes in two steps is waited for.
const STEADY: Duration = Duration::from_millis(40);
/// A file that never rests is read as it is after so many looks.
const LOOKS: usize = 25;
/// How often the files are looked at all the same: a link in the middle of a path, or a folder of another machine,
/// tells nobody.
const LOOK: Duration = Duration::from_secs(10);
/// The same where the system tells nothing.
const POLL: Duration = Duration::from_secs(1);

/// Bytes of a file that are looked at; nothing that is read here may be larger.
const LARGEST: u64 = 8 << 20;

/// What stands in the files; `None` for one that cannot be read.
pub(super) type Contents = Vec<Option<Digest>>;

/// Which folder stands under a path: device and inode.
type Folders = BTreeMap<PathBuf, (u64, u64)>;

/// The watched folders. Nothing is watched before [`Watch::follow`].
pub(super) struct Watch {
    debouncer: Option<Debouncer<RecommendedWatcher, RecommendedCache>>,
    tell: mpsc::Sender<()>,
    folders: Folders,
    /// The system does not tell of every folder.
    polls: bool,
    said: bool,
}

impl Watch {
    /// The watch, and what it says "look" with.
    pub(super) fn new() -> (Watch, mpsc::Receiver<()>) {
        let (tell, told) = mpsc::channel(1);
        (Watch { debouncer: None, tell, folders: Folders::new(), polls: false, said: false }, told)
    }

    /// After how long the files are to be looked at though nothing was told.
    pub(super) fn look_again(&self) -> Duration {
        if self.polls { POLL } else { LOOK }
    }

    /// Watches the folders of these files, and of what they are links to. Whoever calls it looks at the files
    /// afterwards when it says true: what changed before was told to nobody.
    pub(super) fn follow(&mut self, files: &[PathBuf]) -> bool {
        let mut wanted = Folders::new();
        for file in files {
            let behind = std::fs::canonicalize(file).ok();
            for folder in [Some(file.as_path()), behind.as_deref()].into_iter().flatten().filter_map(Path::parent) {
                let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                // One that is missing cannot be watched, and is tried again at every look.
                let id = std::fs::metadata(folder).map_or((0, 0), |found| (found.dev(), found.ino()));
                wanted.insert(folder.to_owned(), id);
            }
        }
        if wanted == self.folders && !self.polls {
            return false;
        }
        let told = self.watch(&wanted);
        let moved = wanted != self.folders;
        self.folders = wanted;
        self.polls = told.is_err();
        if let (Err(cause), false) = (told, self.said) {
            self.said = true;
            tracing::warn!(%cause, "the system does not tell when the configuration changes; its files are read once a second instead");
        }
        moved
    }

    fn watch(&mut self, wanted: &Folders) -> Result<(), notify_debouncer_full::notify::Error> {
        let debouncer = match &mut self.debouncer {
            Some(debouncer) => debouncer,
            None => {
                let tell = self.tell.clone();
                let heard = move |events: DebounceEventResult| {
                    if is_news(&events) {
                        let _told_already = tell.try_send(());
                    }
                };
                self.debouncer.insert(new_debouncer(DEBOUNCE, Some(DEBOUNCE), heard)?)
            }
        };
        for folder in self.folders.keys() {
            // One that is gone took its watch along.
            let _gone = debouncer.unwatch(folder);
        }
        wanted.keys().try_for_each(|folder| debouncer.watch(folder, RecursiveMode::NonRecursive))
    }
}

/// Reading is no news; else our own look would ask for the next one.
fn is_news(events: &DebounceEventResult) -> bool {
    let reads = |kind: &EventKind| matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write));
    events.as_ref().map_or(true, |events| events.iter().any(|event| !reads(&event.kind)))
}

/// Reads the files until they rest.
pub(super) fn steady(files: &[PathBuf]) -> Contents {
    let mut seen = contents(files);
    for _ in 0..LOOKS {
        std::thread::sleep(STEADY);
        let again = contents(files);
        if again == seen {
            break;
        }
        seen = again;
    }
    seen
}

/// Reads the files.
pub(super) fn contents(files: &[PathBuf]) -> Contents {
    files.iter().map(|file| content(file).ok()).collect()
}

/// What is no file, or too large for one, is told apart by that alone: a pipe in its place would never end.
fn content(path: &Path) -> std::io::Result<Digest> {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Ok(Digest::of_bytes(format!("{:?} of {} bytes", metadata.file_type(), metadata.len()).as_bytes()));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Digest::of_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is told, and then no more: what one change says must not stand in for the next.
    async fn is_told(told: &mut mpsc::Receiver<()>) -> bool {
        let heard = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.is_ok();
        while tokio::time::timeout(DEBOUNCE * 5, told.recv()).await.is_ok() {}
        heard
    }

    #[tokio::test]
    async fn writing_replacing_removing_and_swapping_a_link_are_told_and_reading_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::create_dir(place("one")).unwrap();
        std::fs::create_dir(place("two")).unwrap();
        for (name, text) in [("one/c.toml", "1"), ("two/c.toml", "2")] {
            std::fs::write(place(name), text).unwrap();
        }
        std::os::unix::fs::symlink("one", place("data")).unwrap();
        std::os::unix::fs::symlink("data/c.toml", place("c.toml")).unwrap();
        let files = [place("c.toml")];
        let (mut watch, mut told) = Watch::new();
        assert!(watch.follow(&files));
        assert!(!watch.follow(&files), "nothing moved");
        assert_eq!(watch.look_again(), LOOK);

        let first = contents(&files);
        std::fs::write(place("one/c.toml"), "3").unwrap();
        assert!(is_told(&mut told).await, "written behind the link");
        assert_ne!(contents(&files), first);

        std::os::unix::fs::symlink("two", place("data.new")).unwrap();
        std::fs::rename(place("data.new"), place("data")).unwrap();
        assert!(is_told(&mut told).await, "the link was swapped");
        assert!(watch.follow(&files), "another folder is behind it");

        std::fs::write(place("two/c.new"), "4").unwrap();
        std::fs::rename(place("two/c.new"), place("two/c.toml")).unwrap();
        assert!(is_told(&mut told).await, "replaced");
        std::fs::remove_file(place("c.toml")).unwrap();
        assert!(is_told(&mut told).await, "removed");
        assert_eq!(contents(&files), [None]);
        assert!(is_news(&Err(Vec::new())), "events were lost");
        let read = notify_debouncer_full::notify::Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any)));
        assert!(!is_news(&Ok(vec![notify_debouncer_full::DebouncedEvent::new(read, tokio::time::Instant::now().into_std())])));
    }

    #[test]
    fn what_is_no_file_differs_from_one_and_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["pipe", "file", "huge", "folder"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&files[0]).status().unwrap().success());
        std::fs::write(&files[1], "").unwrap();
        std::fs::File::create(&files[2]).unwrap().set_len(LARGEST + 1).unwrap();
        std::fs::create_dir(&files[3]).unwrap();
        let found = contents(&files);
        let distinct: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!((distinct.len(), found[0].is_some()), (4, true), "{found:?}");
    }

    #[test]
    fn a_folder_that_cannot_be_watched_is_looked_at_every_second_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("later/c.toml");
        let (mut watch, _told) = Watch::new();
        watch.follow(std::slice::from_ref(&file));
        assert_eq!(watch.look_again(), POLL);
        std::fs::create_dir(folder.path().join("later")).unwrap();
        assert!(watch.follow(std::slice::from_ref(&file)));
        assert_eq!(watch.look_again(), LOOK);
    }
}
