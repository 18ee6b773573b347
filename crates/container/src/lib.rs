//! container
#![allow(dead_code)]
mod caps;
mod check;
pub mod error;
pub mod events;
pub mod host;
mod mounts;
mod names;
mod record;
mod restart;
mod seccomp;
mod spec;
mod state;
mod user;
mod watch;
