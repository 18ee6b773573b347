//! daemon
mod blocking;
pub mod config;
mod error;
mod events;
mod flags;
mod hijack;
mod install;
mod listen;
mod lock;
mod notify;
mod request;
mod response;
mod router;
mod server;
