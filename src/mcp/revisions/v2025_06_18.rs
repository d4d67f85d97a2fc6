//! Revision 2025-06-18. `initialize`, `ping`, `tools/call`, `notifications/initialized` and
//! `notifications/cancelled` are not in the lists: Paraph answers them itself or judges them first.
//! Read by `revisions` alone.

pub(super) const NAME: &str = "2025-06-18";

pub(super) const REQUESTS: [&str; 10] = [
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
];

pub(super) const NOTIFICATIONS: [&str; 2] = ["notifications/progress", "notifications/roots/list_changed"];
