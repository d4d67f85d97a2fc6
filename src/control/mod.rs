//! How commands reach the data whether or not a gateway runs: `socket` is the gateway's ear, `line` the command's
//! mouth, `answer` what both do with a question, `key` the file that signs exports,
//! `restore` the way back from a backup.
//! `serve` opens the socket, `cli` asks.

mod answer;
mod key;
mod line;
mod restore;
mod socket;
mod view;

pub use answer::{Answer, ENTRIES, Request, Response};
pub use key::{load_or_make_key, load_or_make_mask_key, load_or_make_session_key};
pub use line::{Line, LineError, ask};
pub use restore::{RestoreFault, Restored, restore, restoring_folder};
pub use socket::listen;
pub use view::{AgentView, TokenView};
