//! Keeps the outbox running with the `[mail]` of the configuration that is in force, a task of `serve::start`; and sends
//! the one mail of `paraph mail test`, with the same parts, whether a gateway runs or not.

use crate::config::{Config, Mail, MailTransport};
use crate::gate::{Clock as _, Gate, SystemClock};
use crate::notify::{self, NotifySettings, Pace, Transport};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use crate::notify::{Left, Tried, TryError};

/// How long mails that are under way may take when a reload says how from now on.
const FINISH: Duration = Duration::from_secs(10);

/// Delivers mails, and begins anew when a reload says how from now on. Mails that are under way then are finished; one
/// that takes too long is cut off, is not on record, and comes again with the same Message-ID or file name (contract of
/// the outbox: at least once).
pub(super) async fn deliver(gate: Gate, public_url: String, mut mail: watch::Receiver<Mail>) {
    let draining = gate.draining();
    let mut pace = Pace::default();
    loop {
        let now = mail.borrow_and_update().clone();
        let Some(transport) = Transport::of(&now.transport, &public_url) else {
            gate.mailing().begin_anew();
            tokio::select! {
                () = draining.cancelled() => return,
                Ok(()) = mail.changed() => continue,
            }
        };
        let stop = CancellationToken::new();
        let delivering = notify::run_until(gate.clone(), transport, settings(&now, &public_url), &mut pace, stop.clone());
        tokio::pin!(delivering);
        tokio::select! {
            () = &mut delivering => return,
            Ok(()) = mail.changed() => {
                stop.cancel();
                if tokio::time::timeout(FINISH, delivering).await.is_err() {
                    tracing::warn!("a mail was still under way when [mail] changed; it is sent again");
                }
            }
        }
    }
}

fn settings(mail: &Mail, public_url: &str) -> NotifySettings {
    NotifySettings { public_url: public_url.to_owned(), from: mail.from.clone(), show: mail.show, digest: mail.digest }
}

/// What `paraph mail test` found out.
#[derive(Debug)]
pub struct MailTest {
    /// Where mails go: a mail server with its port, or a folder.
    pub to: String,
    /// What links in mails point at.
    pub public_url: String,
    /// The mail that left, or why it did not.
    pub tried: Result<Tried, TryError>,
}

/// Sends one mail as the configuration says; `None` when it says that none is sent.
pub async fn test_mail(config: &Config, address: &str) -> Option<MailTest> {
    let public_url = config.listen.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen.address));
    let transport = Transport::of(&config.mail.transport, &public_url)?;
    let to = match &config.mail.transport {
        MailTransport::Smtp(server) if server.host.contains(':') => format!("[{}]:{}", server.host, server.port),
        MailTransport::Smtp(server) => format!("{}:{}", server.host, server.port),
        MailTransport::File { path } => path.display().to_string(),
        MailTransport::Off => return None,
    };
    let (clock, mut drawn) = (SystemClock, [0; 8]);
    clock.random(&mut drawn);
    let id: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
    let tried = notify::try_out(&transport, &settings(&config.mail, &public_url), address, &id, clock.now()).await;
    Some(MailTest { to, public_url, tried })
}
