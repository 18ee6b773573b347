//! `dhow-init runtime` with real containers: as root, in directories and cgroups of their own, with busybox as their image.
//!
//! ```text
//! world.rs    a bundle of the test's own, and how to run a command on it
//! life.rs     create to delete, and every other command
//! refused.rs  what is wrong, in which words, with which exit code
//! streams.rs  descriptors, console sockets, signals
//! hooks.rs    hooks
//! crash.rs    commands that are killed half way, and commands at once
//! fields.rs   fields of the configuration that only these containers have
//! rootless.rs  by an ordinary user
//! ```

mod crash;
mod fields;
mod hooks;
mod life;
mod refused;
mod rootless;
mod streams;
mod world;
