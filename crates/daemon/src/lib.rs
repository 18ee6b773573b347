//! The engine's edge: configuration, sockets, HTTP, and the one place where the meanings of the rooms become statuses.
//!
//! ```text
//! run.rs        the daemon's life: start, serve, reload, end
//! config.rs     dockerd's flags and daemon.json; config/table.rs has each of them once; flags.rs is the grammar
//! rooms.rs      the rooms opened, with what the configuration says to each
//! check.rs      the rooms checked, of an engine that runs and of one that does not
//! lock.rs       one daemon for one data root; the pid file
//! install.rs    the dhow-init that supervisors are started from
//! listen.rs     unix sockets, and those of systemd; notify.rs tells it when all is ready
//! server.rs     connections and the fence around each request; router.rs finds the route
//! request.rs    query, headers, body, within limits; response.rs answers; error.rs maps errors to statuses
//! pipe.rs       bodies for rooms that block; blocking.rs is the one seam to them
//! hijack.rs     connections that stop being HTTP; attach.rs carries their bytes; detach.rs knows the keys
//! routes/       one module per noun
//! ```
//!
//! Invariants
//! - No domain decision is made here: a route reads its parameters, calls one room, and writes the answer.
//! - No request is larger than its limit, and none takes the daemon with it: panics and errors end at the fence.
//! - What blocks runs behind [`blocking`]; what streams ends when its client leaves.
//! - Every setting is carried out or refused by name.
//!
//! This room never parents a container, and knows neither the runtime nor the client.

mod attach;
mod blocking;
mod check;
mod config;
mod detach;
mod error;
mod flags;
mod hijack;
mod install;
mod listen;
mod lock;
mod notify;
mod pipe;
mod request;
mod response;
mod rooms;
mod router;
mod routes;
mod run;
mod server;

use std::ffi::OsString;
use std::process::ExitCode;

pub use run::main;

/// The programs that the binary carries inside itself.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// `dhow-init`
    pub init: &'static [u8],
    /// The program of the built-in image.
    pub hello: &'static [u8],
}

/// `dhow archive …`: the engine runs itself under this name, confined to one root file system.
pub fn archive(args: &[OsString]) -> ExitCode {
    container::archive::main(args)
}
