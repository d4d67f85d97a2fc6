//! Store and gate without listeners, for the commands that work on a store nobody serves.
//! Deadlines stand still and nothing leaves: a command only looks, or changes what it was told to.
//! Called by `control`.

use super::StartError;
use super::folder::{close_store, open_key, open_store};
use super::wiring::settings_of;
use crate::config::{Config, StoreConfig};
use crate::domain::export::Attestor;
use crate::gate::{Clock, DRAIN, Gate, SystemClock};
use crate::mcp::upstream::Upstreams;
use crate::store::Store;
use crate::store::backup::{Backups, Contents};
use crate::store::on_sled::OnSled;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Store and gate without listeners.
pub struct Offline {
    /// The gate.
    pub gate: Gate,
    /// Signs the audit's head.
    pub attestor: Arc<Attestor>,
    store: OnSled,
}

impl Offline {
    /// Writes a backup.
    pub fn backups(&self) -> &dyn Backups {
        &self.store
    }

    /// Writes what waits and closes the store.
    pub async fn close(self) {
        self.gate.close(DRAIN).await;
        close_store(self.store).await;
    }
}

/// Opens the store and a gate for one command.
pub async fn open_offline(config: &Config) -> Result<Offline, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // A ballast is for the gateway to make; a command only passes by.
    let store = open_store(&config.store, 0).await?;
    let attestor = Arc::new(open_key(&config.store.path, clock.as_ref())?);
    let upstreams = Arc::new(Upstreams::new(BTreeMap::new(), &config.bounds, PathBuf::new()));
    // No `resume_work`: a command must not let calls expire or leave, nor withdraw them for servers it does not know.
    let gate = Gate::open(Arc::new(store.clone()) as Arc<dyn Store>, upstreams, clock, settings_of(config));
    gate.recover().await?;
    Ok(Offline { gate, attestor, store })
}

/// Takes back what a store that was just unpacked from a backup may not believe, and closes it; how many calls
/// became unconfirmed. The folder has not its name yet, so nobody else knows it.
pub async fn after_restore(config: &Config, folder: &Path, contents: &Contents) -> Result<usize, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = StoreConfig { path: folder.to_owned(), ..config.store.clone() };
    let store = open_store(&place, 0).await?;
    open_key(folder, clock.as_ref())?;
    let upstreams = Arc::new(Upstreams::new(BTreeMap::new(), &config.bounds, PathBuf::new()));
    let gate = Gate::open(Arc::new(store.clone()) as Arc<dyn Store>, upstreams, clock, settings_of(config));
    let unsure = gate.after_restore(contents.made_at, &contents.head).await;
    gate.close(DRAIN).await;
    close_store(store).await;
    Ok(unsure?)
}
