//! The whole body of a request, bounded in bytes; the listener bounds it in time. A body that is too large and one that
//! never came whole are told apart, because people do something else about each. Used by `form` and by the API.

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// More bytes than it may have.
    TooLarge,
    /// It broke off, or came too slowly.
    BrokenOff,
}

/// Reads it to its end.
pub async fn whole(body: Body, most: usize) -> Result<Bytes, Unread> {
    let mut chunks = body.into_data_stream();
    let mut read = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::BrokenOff)?;
        if chunk.len() > most - read.len() {
            return Err(Unread::TooLarge);
        }
        read.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(read))
}
