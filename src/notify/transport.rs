//! How a mail leaves: as a file, or through a mail server. `File` writes one `.eml` per mail and person: to a temporary
//! name, synced, then renamed, so that a reader of the folder never sees half a mail. Called by `outbox` and `trial`.

use super::fault::Whose;
use super::mail::{Mail, MailError};
use super::smtp::{Smtp, Taken};
use crate::config::{MailTransport, SmtpServer};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The ways out.
#[derive(Debug, Clone)]
pub enum Transport {
    /// One `.eml` file per mail and person.
    File {
        /// Made when it is not there, readable by its owner alone.
        folder: PathBuf,
    },
    /// A mail server.
    Smtp(Arc<Smtp>),
}

/// Where a mail is when it has left.
#[derive(Debug, Clone)]
pub enum Left {
    /// In this file.
    File(PathBuf),
    /// With the mail server.
    Taken(Taken),
}

impl Transport {
    /// As the configuration says; `None` when mails do not leave at all. `public_url` is what links point at.
    pub fn of(configured: &MailTransport, public_url: &str) -> Option<Transport> {
        match configured {
            MailTransport::Off => None,
            MailTransport::File { path } => Some(Transport::File { folder: path.clone() }),
            MailTransport::Smtp(server) => Some(Transport::smtp(server.clone(), public_url)),
        }
    }

    fn smtp(server: SmtpServer, public_url: &str) -> Transport {
        let uri = public_url.parse::<http::Uri>().ok();
        Transport::Smtp(Arc::new(Smtp::new(server, uri.as_ref().and_then(http::Uri::host).unwrap_or_default())))
    }

    /// Returns when the mail is durable at its next station.
    pub async fn deliver(&self, mail: Mail) -> Result<Left, MailError> {
        match self {
            Transport::File { folder } => {
                let folder = folder.clone();
                let written = tokio::task::spawn_blocking(move || write(&folder, &mail.key, &mail.message.formatted())).await;
                Ok(Left::File(written.map_err(|_| MailError::Ended)?.map_err(MailError::Folder)?))
            }
            Transport::Smtp(smtp) => Ok(Left::Taken(smtp.send(&mail.message).await?)),
        }
    }

    /// Mails that may be under way at once.
    pub(super) fn width(&self) -> usize {
        match self {
            Transport::File { .. } => 1,
            Transport::Smtp(smtp) => smtp.width(),
        }
    }

    /// No further mail is at hand.
    pub(super) async fn rest(&self) {
        match self {
            Transport::File { .. } => {}
            Transport::Smtp(smtp) => smtp.rest().await,
        }
    }
}

impl MailError {
    /// Whether the way failed, or this mail.
    pub(super) fn whose(&self) -> Whose {
        match self {
            MailError::Smtp(fault) => fault.whose(),
            MailError::Folder(_) | MailError::From => Whose::Way,
            MailError::Address => Whose::MailForGood,
            MailError::Template(_) | MailError::Headers | MailError::Ended => Whose::MailForNow,
        }
    }

    /// What is the matter and what to do, in fixed sentences.
    pub(super) fn told(&self) -> (&'static str, &'static str) {
        match self {
            MailError::Smtp(fault) => (fault.cause(), fault.mend()),
            MailError::Folder(_) => {
                ("mails cannot be written to their folder", "Look at [mail] path, its rights and the disk; the log has the system's words.")
            }
            MailError::From => ("[mail] from cannot stand in a mail", "Write a mailbox such as \"Paraph <paraph@example.org>\"."),
            MailError::Address | MailError::Template(_) | MailError::Headers | MailError::Ended => {
                ("a mail could not be made", "This is a fault in Paraph, or an address that is none; the log has the cause.")
            }
        }
    }
}

fn write(folder: &Path, key: &str, mail: &[u8]) -> io::Result<PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (unfinished, finished) = (folder.join(format!(".{key}.part")), folder.join(format!("{key}.eml")));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(mail)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &finished)?;
    // The new name is durable only with the folder.
    std::fs::File::open(folder)?.sync_all()?;
    Ok(finished)
}
