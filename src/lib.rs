//! Paraph: a human-in-the-loop approval gateway for MCP.

pub mod config;
pub mod domain;
pub mod gate;
pub mod mcp;
pub mod store;
pub mod web;
