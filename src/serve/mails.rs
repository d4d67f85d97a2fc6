//! Keeps the outbox running with the `[mail]` of the configuration that is in force.
//! A task of `serve::start`.

use crate::config::{Mail, MailTransport};
use crate::gate::Gate;
use crate::notify::{self, NotifySettings};
use tokio::sync::watch;

/// Delivers mails, and begins anew when a reload says how from now on. A delivery that is cut off there is not on
/// record and comes again under the same name (contract of the outbox: at least once).
pub(super) async fn deliver(gate: Gate, public_url: String, mut mail: watch::Receiver<Mail>) {
    let draining = gate.draining();
    loop {
        let now = mail.borrow_and_update().clone();
        let delivering = async {
            let settings = NotifySettings { public_url: public_url.clone(), from: now.from, show: now.show, digest: now.digest };
            match now.transport {
                MailTransport::File { path } => notify::run(gate.clone(), notify::Transport::File { folder: path }, settings).await,
                MailTransport::Off => draining.cancelled().await,
            }
        };
        tokio::select! {
            () = delivering => return,
            Ok(()) = mail.changed() => {}
        }
    }
}
