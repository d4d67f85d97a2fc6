//! What a failing store may do to a call: it may delay it, refuse it, or leave it `unconfirmed`; it may never send
//! it twice, lose it, or let somebody believe what is not so. One sentence a test, over both engines.

mod bed;
pub mod random;
mod sentences;
pub mod store;
pub mod witness;

pub use bed::{Bed, DM, UNDO};
