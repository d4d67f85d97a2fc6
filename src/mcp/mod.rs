//! The edge that speaks MCP (Model Context Protocol): towards servers in `upstream`.
//! It joins agents and servers to `gate` and decides nothing itself.

pub mod demo_server;
pub mod guard;
pub mod upstream;
