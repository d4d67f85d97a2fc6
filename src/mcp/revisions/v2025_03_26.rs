//! Revision 2025-03-26: the methods of 2025-06-18. What it has beyond it are JSON-RPC batches (`batch`); what it
//! lacks is elicitation, which a server asks for, so `hello` does not offer it in the client's name.
//! Read by `revisions` alone.

pub(super) const NAME: &str = "2025-03-26";

pub(super) use super::v2025_06_18::{NOTIFICATIONS, REQUESTS};
