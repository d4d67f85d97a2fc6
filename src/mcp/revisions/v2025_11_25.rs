//! Revision 2025-11-25: towards servers the same methods as 2025-06-18 but for tasks, which are not offered:
//! `hello` takes the capability out, so no client asks for them and none is missed.
//! Read by `revisions` alone.

pub(super) const NAME: &str = "2025-11-25";

pub(super) use super::v2025_06_18::{NOTIFICATIONS, REQUESTS};
