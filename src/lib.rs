//! Paraph: a human-in-the-loop approval gateway for MCP. It stands between agents and MCP servers; every
//! `tools/call` is judged, and what a rule holds waits until a person decides.
//!
//! The life of a held call, each step with its file:
//! 1. `mcp/http.rs` authenticates the agent and parses the request strictly, once (`domain/json.rs`).
//! 2. `gate/admit.rs` asks the policy (`domain/policy/mod.rs`) for its verdict.
//! 3. `gate/hold.rs` writes call, audit entry and letter in one durable change, then waits for a hint.
//! 4. `notify/outbox.rs` sends the letter; `web/live.rs` tells open pages.
//! 5. `gate/review.rs` takes a person's decision, from whichever way it comes.
//! 6. `gate/release.rs` judges once more, writes `Sending`, spends the ticket, writes the end.
//! 7. `gate/deliver.rs` notes that the waiting request has the outcome; else the next identical call collects it.
//! 8. `gate/expire.rs`, `gate/cancel.rs`, `gate/recover.rs` and `gate/resolve.rs` are the other ways a call can go.
//! 9. `store/on_sled` keeps all of it and chains the audit (`domain/audit.rs`).
//! 10. `serve.rs` is the only file that knows every other: it opens, wires, starts and stops; `serve/reload.rs` puts
//!     another configuration in force.

pub mod cli;
pub mod config;
pub mod control;
pub mod domain;
pub mod gate;
pub mod mcp;
pub mod notify;
pub mod observe;
pub mod serve;
pub mod store;
pub mod web;
