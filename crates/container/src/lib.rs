//! Containers: create, start, stop, exec, restart policy, state, recovery.
//!
//! ```text
//! containers.rs  the handle, the table, one container, its state under one short lock
//! record.rs      what lies on disk, and its durability      state.rs    what a container does now (pure)
//! rooms.rs       the only calls to image, layer, network, volume
//!
//! create.rs      check/  everything that can be refused      config.rs  the request over the image (pure)
//!                mounts/ binds, --mount, tmpfs (pure)        names.rs   IDs and names
//! outside.rs     paths of the host that users name, behind which a file system may hang
//! start.rs       spec/   the OCI configuration (pure, golden tests)
//!                strict.rs  the stricter defaults
//!                seccomp/ the default filter as a table, clients' profiles
//!                user.rs USER and groups (pure)              view.rs    files of layers without a mount
//!                files.rs hosts, hostname, resolv.conf       undo.rs    steps back
//! exit.rs        after an end                                restart.rs restart policy (pure)
//! watch.rs       the thread that notices ends, and timers    wait.rs    waiting for an end
//! stop.rs        stop, kill, restart, pause                  remove.rs  remove, rename, prune
//! exec.rs        more processes                              streams.rs attach, logs, resize
//! probe.rs       running health checks                       health.rs  what they have found (pure)
//! inspect.rs     list.rs    top.rs    changes.rs    update.rs    stats.rs
//! archive/       cp and export, in a process of their own
//! logs.rs        where its log lies and what each record says
//! fsck.rs        is everything of theirs there, and no more
//! recover.rs     opening                                     events.rs  what happened
//! host.rs        what the machine can do                     caps.rs    capability names (pure)
//! ```
//!
//! Invariants
//! - Files are the truth. A start of the engine and an ordinary end take the same way: read the supervisor's record.
//! - A verb that fails leaves nothing of what it began; names, addresses and ports are free again when it answers.
//! - The short lock of a state is never held over input or output; a container's turn is held through one change and
//!   never while waiting for the container. `ps` and `inspect` need no turn.
//! - What an image says about itself opens nothing: only the request does.
//! - Nothing of a container is executed or loaded by the engine.
//! - `tokio` is here for its channels alone; every other call blocks.
//!
//! It must never know HTTP, and never parents a container's process.

pub mod archive;
mod caps;
mod changes;
mod check;
mod config;
mod containers;
mod create;
mod error;
mod events;
mod exec;
mod exit;
mod files;
mod fsck;
mod health;
mod host;
mod inspect;
mod list;
mod logs;
mod mounts;
mod names;
mod outside;
mod probe;
mod record;
mod recover;
mod remove;
mod restart;
mod rooms;
mod seccomp;
mod spec;
mod start;
mod state;
mod stats;
mod stop;
mod streams;
mod strict;
mod top;
mod undo;
mod update;
mod user;
mod view;
mod wait;
mod watch;

pub use archive::{Archive, Put};
pub use check::LOG_DRIVERS;
pub use containers::{BUILTIN_RUNTIME, Containers, Options, Paths, Rooms};
pub use error::{Error, Result};
pub use events::Events;
pub use exec::ExecStream;
pub use host::{Cgroups, Host};
pub use list::List;
pub use remove::Remove;
pub use spec::Defaults;
pub use streams::{Attach, Attached, LogQuery, Logs};
pub use strict::Profile;
pub use wait::Waiting;
