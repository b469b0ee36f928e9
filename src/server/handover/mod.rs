//! A new process takes the place of the running one, and no caller notices: the sockets it listens on are passed, not closed, and with
//! them what it has counted. (`SO_REUSEPORT` would not do: whoever waits in the queue of a socket that is closed is turned away.)
//!
//! The two talk over a socket in the state directory. The running one serves until the new one says it is ready, and serves on if the new
//! one ends before it has taken everything:
//!
//! ```text
//! new      asks ──────────────▶ running
//!          ◀── offers, and passes the descriptors of its sockets
//!          … starts: journal, database, policies …
//!          ready ─────────────▶         takes no more connections
//!          ◀─────────── counts, to the end
//!          taken ─────────────▶
//!          ◀──────────── yours          tells its connections to leave, and ends
//!          serves
//! ```
//!
//! An end of the connection without a word means that the running one is gone: the new one serves, by the sockets it has.

mod predecessor;
mod successors;
mod wire;

pub use predecessor::{Predecessor, TakeoverError};
pub(super) use successors::Ready;
pub use successors::Successors;

use std::path::{Path, PathBuf};

/// Where the running process is asked.
fn socket_of(state: &Path) -> PathBuf {
    state.join("handover.sock")
}
