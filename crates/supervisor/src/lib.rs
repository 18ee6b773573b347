//! One process per container: its parent, the owner of its streams and its log, the writer of its exit record.
//!
//! ```text
//! protocol.rs   what passes between the daemon and a supervisor, and the records on disk
//! spawn.rs      the daemon's side of a start: run `dhow-init supervise`, hand it a Launch
//! connect.rs    the daemon's side afterwards: connections to `<run>/sock`, reading frames
//! log/          Docker's json-file and local formats: encode, write with rotation, read backwards and forwards, follow
//! serve/        the supervisor itself: one thread, one poll loop
//! foreign/      the Runtime that runs runc or crun by path
//! ```
//!
//! Invariants
//! - A container that has been started is never lost: the death of the daemon at any moment leaves the supervisor, the
//!   container and the way back to both (`<run>/sock`, `start.json`, `exit.json`).
//! - Nothing in here ever blocks for the sake of one client: output for a slow one is queued up to a bound, then the
//!   container is held back, and a client that takes nothing for [`serve::STALL`] is cut off.
//! - A line of output reaches the log once, whole and in order, or (disk full) is counted as dropped in the log itself.
//! - `exit.json` appears complete or not at all, and before the control sockets close.
//! - Memory is given back when a burst is over: an idle supervisor holds no buffers.
//!
//! What it must never know: images, names, networks, restart policies, HTTP. It does not import `runtime`: the built-in
//! one reaches it through [`serve::Runtime`].

mod connect;
pub mod foreign;
pub mod log;
pub mod protocol;
pub mod serve;
pub mod spawn;

pub use connect::{connect, read_frame, request};
pub use spawn::{Spawner, spawn};
