//! What lies in the data folder besides calls: the store is opened here, and the keys that are made at the first start.
//! Called by `serve::start` and `offline`.

use super::StartError;
use crate::config::StoreConfig;
use crate::control;
use crate::domain::export::Attestor;
use crate::domain::mask::MaskKey;
use crate::gate::Clock;
use crate::mcp::SessionKey;
use crate::store::on_sled::{self, OnSled};
use std::path::Path;

pub(super) async fn open_store(config: &StoreConfig, ballast: u64) -> Result<OnSled, StartError> {
    let (data, settings) = (config.path.clone(), on_sled::Settings { min_free: config.min_free, ballast, ..on_sled::Settings::default() });
    let opened = tokio::task::spawn_blocking(move || OnSled::open(&data, &settings)).await;
    match opened {
        Ok(opened) => Ok(opened?),
        Err(cause) => Err(StartError::File { what: "the store".into(), cause: std::io::Error::other(cause) }),
    }
}

pub(super) async fn close_store(store: OnSled) {
    store.close().await;
}

pub(super) fn open_key(data: &Path, clock: &dyn Clock) -> Result<Attestor, StartError> {
    let path = data.join("audit.key");
    control::load_or_make_key(&path, clock).map_err(|cause| StartError::File { what: path.display().to_string(), cause })
}

pub(super) fn open_mask_key(data: &Path, clock: &dyn Clock) -> Result<MaskKey, StartError> {
    let path = data.join("mask.key");
    control::load_or_make_mask_key(&path, clock).map_err(|cause| StartError::File { what: path.display().to_string(), cause })
}

pub(super) fn open_session_key(data: &Path, clock: &dyn Clock) -> Result<SessionKey, StartError> {
    let path = data.join("session.key");
    let key = control::load_or_make_session_key(&path, clock).map_err(|cause| StartError::File { what: path.display().to_string(), cause })?;
    Ok(SessionKey(key))
}
