//! The pure half: what a call is, what a policy says of it, what a person must see, what the audit holds.
//! No clock, no randomness, no I/O: time and ids come in as arguments, so every rule can be tested as a table.
//! Called by `gate` and by the engines, which run the same functions inside their transactions.

pub mod audit;
pub mod call;
pub mod client;
pub mod digest;
pub mod door;
pub mod export;
pub mod hold;
pub mod json;
pub mod letter;
pub mod limit;
pub mod mask;
pub mod message;
pub mod pause;
pub mod people;
pub mod policy;
pub mod proxies;
pub mod quantity;
pub mod recipient;
pub mod reveal;
pub mod risk;
pub mod schema;
pub mod sign_in;
pub mod spelling;
